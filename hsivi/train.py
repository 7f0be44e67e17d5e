"""Joint training of a hierarchy with shared parameters (HSIVI, Algorithm 2; eq. (18)-(21)).

One iteration rolls chains x_T -> x_0 out under the current layers, updates the critic several times on them, then
updates the layers once.  Between two updates of the layers their law does not change, so one rollout serves all
critic updates in between.  ``rollout: independent`` uses one layer t ~ U{0..T-1} of every chain, as the paper does;
``rollout: shared`` uses every layer of every chain, which has the same expectation and needs about T times fewer
network calls a training pair.

Randomness is a function of (seed, step), so a resumed run continues bit for bit, and a replica's noise does not
depend on the stack it is trained in.  A batch is cut into micro-batches with random numbers of their own, which
processes share out (`hsivi.parallel`).  The trainer knows no formula: losses come from the objective.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hsivi import parallel
from hsivi.bridge import DiffusionBridge
from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import DDIMHierarchy
from hsivi.objective import ScoreMatching
from hsivi.optimise import Average, Optimiser, stop_where_not_finite, whole, with_gradients
from hsivi.recipe import Recipe
from hsivi.rng import generator
from hsivi.rollout import Pairs, all_layers, one_layer_a_chain
from hsivi.score_model import NetworkScoreModel


@dataclass(frozen=True)
class TrainInfo:
    """What one iteration may log.

    Attributes:
        variational_loss: mean over the batch, shape (R,); with shared rollouts the Fisher divergence's estimate.
        critic_loss: of the last critic update, shape (R,).
    """

    variational_loss: Tensor
    critic_loss: Tensor


@dataclass
class JointTrainer:
    """Everything that is carried from one iteration to the next, and the step that carries it.

    Attributes:
        hierarchy: the layers.
        critic: g of Proposition 1, initialised at the teacher.
        bridge: the targets.
        objective: the loss of one layer.
        recipe: hyper-parameters.
        seeds: one a replica.
        event_shape: shape of one sample.
        iteration: iterations done.
    """

    hierarchy: DDIMHierarchy
    critic: NetworkScoreModel
    bridge: DiffusionBridge
    objective: ScoreMatching
    recipe: Recipe
    seeds: Sequence[int]
    event_shape: tuple[int, ...]
    iteration: int = 0
    average: Average = field(init=False)

    def __post_init__(self) -> None:
        recipe, network = self.recipe, self.critic.network
        if recipe.clip_norm is not None and network.replicas > 1:
            raise ValueError(
                f"clip_norm: got {recipe.clip_norm} with {network.replicas} replicas trained as one, expected one; set "
                f"train_once in the experiment, or leave clip_norm out"
            )
        shared: dict[str, Any] = {
            "betas": recipe.adam_betas,
            "decay": recipe.schedule,
            "horizon": recipe.iterations,
            "final_rate": recipe.final_rate,
            "warm_up": recipe.warm_up,
            "clip_norm": recipe.clip_norm,
            "amsgrad": recipe.amsgrad,
        }
        self._optimiser = Optimiser(self._groups(), recipe.learning_rate, **shared)
        self._critic_optimiser = Optimiser(network.parameters(), recipe.critic_learning_rate, **shared)
        self.average = Average(dict(self.hierarchy.named_parameters()), recipe.ema)
        self._critic = self.critic.at(self.bridge.levels[:-1].to(self.hierarchy.std))
        self._weight = self.bridge.noise_variance().to(self.hierarchy.std) ** recipe.beta_power
        self._microbatches = parallel.own_share(recipe.microbatches)
        self._simulate = whole(all_layers) if recipe.compile else all_layers
        if recipe.compile:
            torch.compiler.reset()  # PyTorch keeps few programs of a function, and counts those of other trainings
            self.hierarchy.layers()  # to have what depends on the levels alone, which compiled code may not keep
        parts, critics, layers = len(self._microbatches), self._critic_optimiser.parameters, self._optimiser.parameters
        self._critic_gradients = with_gradients(self._critic_loss, critics, parts, recipe.compile)
        self._variational_gradients = with_gradients(self._variational_loss, layers, parts, recipe.compile)

    def _groups(self) -> list[dict[str, Any]]:
        """Return the layers' parameters, the variance with its own learning rate."""
        variance, recipe = self.hierarchy.log_variance, self.recipe
        others = [p for p in self.hierarchy.parameters() if p is not variance]
        if recipe.variance == "fixed":
            variance.requires_grad_(False)
            return [{"params": others}]
        return [{"params": others}, {"params": [variance], "lr": recipe.variance_learning_rate or recipe.learning_rate}]

    def step(self) -> TrainInfo:
        """Update the critic ``critic_updates`` times and the layers once.

        Raises:
            NonFiniteLoss: a loss is infinite or undefined.
        """
        recipe, parts = self.recipe, self.recipe.microbatches
        updates = recipe.critic_updates if self.iteration else max(recipe.critic_updates, recipe.critic_warmup)
        independent = recipe.rollout == "independent"
        batch, critic_batch = recipe.batch // parts, recipe.critic_batch // parts
        # The paper draws new chains for the layers.  Shared rollouts lend them the critic's: the noise of the layers'
        # update is new, so only x_{t+1} is seen twice.
        first = updates * critic_batch if independent else 0
        drawn = {part: self._rollout(max(updates * critic_batch, first + batch), part) for part in self._microbatches}
        for k in range(updates):
            window = k * critic_batch, (k + 1) * critic_batch
            critic_loss = self._descend(
                self._critic_optimiser,
                "critic",
                {part: pairs.batch(*window) for part, pairs in drawn.items()},
                lambda pairs, _: self._critic_gradients(pairs),
            )
        self.critic.network.requires_grad_(False)
        variational_loss = self._descend(
            self._optimiser,
            "variational",
            {part: pairs.batch(first, first + batch) for part, pairs in drawn.items()},
            lambda pairs, part: self._variational_gradients(pairs, self._noise("layers", part, pairs.mixing.shape[1:])),
        )
        self.critic.network.requires_grad_(True)
        self._optimiser.advance()
        self._critic_optimiser.advance()
        self.average.update()
        self.iteration += 1
        return TrainInfo(variational_loss, critic_loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {
            "iteration": self.iteration,
            "hierarchy": self.hierarchy.state_dict(),
            "critic": self.critic.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "critic_optimiser": self._critic_optimiser.state_dict(),
            "average": self.average.values,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.iteration = state["iteration"]
        self.hierarchy.load_state_dict(state["hierarchy"])
        self.critic.network.load_state_dict(state["critic"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._critic_optimiser.load_state_dict(state["critic_optimiser"])
        self.average.load(state["average"])

    # ------------------------------------------------------------------------------------------------ internals
    def _noise(self, purpose: str, part: int, shape: Sequence[int]) -> Tensor:
        """Draw noise of shape (R, \\*shape), a function of (seed, iteration, purpose, micro-batch) for each replica."""
        draws = [
            torch.from_numpy(self._generator(seed, purpose, part).standard_normal(tuple(shape), "float32"))
            for seed in self.seeds
        ]
        return torch.stack(draws).to(self.hierarchy.std)

    def _generator(self, seed: int, purpose: str, part: int) -> np.random.Generator:
        return generator(seed, "train", self.iteration, purpose, *([part] if self.recipe.microbatches > 1 else []))

    def _rollout(self, chains: int, part: int) -> Pairs:
        hierarchy, antithetic = self.hierarchy, self.recipe.antithetic
        noise = self._noise("rollout", part, (hierarchy.num_layers + 1, chains, *self.event_shape))
        if self.recipe.rollout == "shared":
            return self._simulate(hierarchy, noise, antithetic)
        t = [self._generator(seed, "t", part).integers(0, hierarchy.num_layers, chains) for seed in self.seeds]
        return one_layer_a_chain(hierarchy, noise, np.stack(t), antithetic)

    def _critic_loss(self, pairs: Pairs) -> Tensor:
        critic = self._critic.score(pairs.x, pairs.t)
        return self._weight[pairs.t] * self.objective.critic_loss(critic, pairs.conditional_score)

    def _variational_loss(self, pairs: Pairs, noise: Tensor) -> Tensor:
        layer = self.hierarchy.conditional(pairs.mixing, pairs.t)
        if self.recipe.antithetic:
            layer = DiagonalGaussian(torch.cat([layer.mean, layer.mean], 2), layer.std)
            noise = torch.cat([noise, -noise], 2)
        return self._weight[pairs.t] * self.objective.variational_loss(
            layer, noise, lambda x: (self.bridge.score(x, pairs.t), self._critic.score(x, pairs.t))
        )

    def _descend(
        self,
        optimiser: Optimiser,
        term: str,
        batches: dict[int, Pairs],
        gradients_of: Callable[[Pairs, int], tuple[Tensor, Sequence[Tensor | None]]],
    ) -> Tensor:
        """Take one step on the mean loss of this process's micro-batches and return it, shape (R,)."""
        optimiser.clear()
        values, problem = [], None
        for part, pairs in batches.items():
            loss, gradients = gradients_of(pairs, part)
            value = loss.flatten(1).mean(1)
            if not math.isfinite(value.sum().item()):
                layer = pairs.t.expand(loss.shape)[~loss.isfinite()].flatten()[:1].tolist()
                problem = (
                    f"{term} loss: got a non-finite value at iteration {self.iteration}, layer {layer}, expected "
                    f"finite losses; lower the learning rates or raise the number of critic updates in the recipe"
                )
                break
            optimiser.gather(gradients)
            values.append(value)
        stop_where_not_finite(problem)
        optimiser.step()
        return torch.stack(values).mean(0)
