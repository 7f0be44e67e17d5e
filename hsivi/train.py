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
from hsivi.optimise import Average, NonFiniteLoss, Optimiser
from hsivi.recipe import Recipe
from hsivi.rng import generator
from hsivi.score_model import NetworkScoreModel


@dataclass(frozen=True)
class Pairs:
    """Samples (x_{t+1}, x_t) of the current layers.

    Attributes:
        mixing: x_{t+1}, shape (R, L, B, \\*event).
        x: x_t, shape (R, L, B', \\*event); B' = 2B where noise is antithetic.
        conditional_score: grad log q_t(x_t | x_{t+1}), shape of ``x``.
        t: layer indices, shape (L, 1) or (R, L, 1).
    """

    mixing: Tensor
    x: Tensor
    conditional_score: Tensor
    t: Tensor

    def batch(self, start: int, stop: int, independent: bool) -> "Pairs":
        """Return the pairs that come from chains ``start`` to ``stop - 1``."""
        if independent:
            return Pairs(
                self.mixing[:, start:stop],
                self.x[:, start:stop],
                self.conditional_score[:, start:stop],
                self.t[:, start:stop],
            )
        ways = self.x.shape[2] // self.mixing.shape[2]
        window = slice(ways * start, ways * stop)
        return Pairs(self.mixing[:, :, start:stop], self.x[:, :, window], self.conditional_score[:, :, window], self.t)


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
        self._weight = self.bridge.noise_variance().to(self.hierarchy.std) ** recipe.beta_power
        self._microbatches = parallel.own_share(recipe.microbatches)

    def _groups(self) -> list[dict[str, Any]]:
        """Return the layers' parameters, the variance with its own learning rate."""
        variance, recipe = self.hierarchy.log_variance, self.recipe
        others = [p for p in self.hierarchy.parameters() if p is not variance]
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
            window = k * critic_batch, (k + 1) * critic_batch, independent
            critic_loss = self._descend(
                self._critic_optimiser,
                "critic",
                {part: pairs.batch(*window) for part, pairs in drawn.items()},
                self._critic_loss,
            )
        self.critic.network.requires_grad_(False)
        variational_loss = self._descend(
            self._optimiser,
            "variational",
            {part: pairs.batch(first, first + batch, independent) for part, pairs in drawn.items()},
            self._variational_loss,
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

    @torch.no_grad()
    def _rollout(self, chains: int, part: int) -> Pairs:
        hierarchy, antithetic = self.hierarchy, self.recipe.antithetic
        noise = self._noise("rollout", part, (hierarchy.num_layers + 1, chains, *self.event_shape))
        x = noise[:, -1]
        columns: list[tuple[Tensor, Tensor, Tensor]] = []
        for t in reversed(range(hierarchy.num_layers)):
            layer = hierarchy.conditional(x, torch.tensor(t, device=x.device))
            mixing, eps = x, noise[:, t]
            x = layer.rsample(eps)
            score = layer.score_at(eps)
            both = torch.stack([x, layer.rsample(-eps)], 2).flatten(1, 2) if antithetic else x
            scores = torch.stack([score, -score], 2).flatten(1, 2) if antithetic else score
            columns.append((mixing, both, scores))
        mixing, xs, scores = (torch.stack(list(c)[::-1], 1) for c in zip(*columns, strict=True))
        if self.recipe.rollout == "shared":
            return Pairs(mixing, xs, scores, torch.arange(hierarchy.num_layers, device=x.device)[:, None])
        return self._one_layer_a_chain(mixing, xs, scores, part)

    def _one_layer_a_chain(self, mixing: Tensor, xs: Tensor, scores: Tensor, part: int) -> Pairs:
        chains = mixing.shape[2]
        draws = [self._generator(seed, "t", part).integers(0, mixing.shape[1], chains) for seed in self.seeds]
        t = torch.stack([torch.from_numpy(d) for d in draws]).to(mixing.device)

        def select(values: Tensor) -> Tensor:
            # (R, T, w * chains, *event) -> (R, chains, w, *event), keeping layer t of each chain
            grouped = values.reshape(*values.shape[:2], chains, -1, *values.shape[3:]).movedim(2, 1)
            index = t.reshape(*t.shape, *(1,) * (grouped.ndim - 2)).expand(*grouped.shape[:2], 1, *grouped.shape[3:])
            return torch.gather(grouped, 2, index).squeeze(2)

        return Pairs(select(mixing), select(xs), select(scores), t[..., None])

    def _critic_loss(self, pairs: Pairs, _: int) -> Tensor:
        critic = self.critic.score(pairs.x, self.bridge.levels[pairs.t].to(pairs.x))
        return self._weight[pairs.t] * self.objective.critic_loss(critic, pairs.conditional_score)

    def _variational_loss(self, pairs: Pairs, part: int) -> Tensor:
        noise = self._noise("layers", part, pairs.mixing.shape[1:])
        layer = self.hierarchy.conditional(pairs.mixing, pairs.t)
        if self.recipe.antithetic:
            layer = DiagonalGaussian(torch.cat([layer.mean, layer.mean], 2), layer.std)
            noise = torch.cat([noise, -noise], 2)
        levels = self.bridge.levels[pairs.t].to(noise)
        return self._weight[pairs.t] * self.objective.variational_loss(
            layer, noise, lambda x: self.bridge.score(x, pairs.t), lambda x: self.critic.score(x, levels)
        )

    def _descend(
        self, optimiser: Optimiser, term: str, batches: dict[int, Pairs], loss_of: Callable[[Pairs, int], Tensor]
    ) -> Tensor:
        """Take one step on the mean loss of this process's micro-batches and return it, shape (R,)."""
        optimiser.clear()
        values = []
        for part, pairs in batches.items():
            loss = loss_of(pairs, part)
            value = loss.flatten(1).mean(1)
            if not value.isfinite().all():
                layer = pairs.t.expand(loss.shape)[~loss.isfinite()].flatten()[:1].tolist()
                raise NonFiniteLoss(
                    f"{term} loss: got a non-finite value at iteration {self.iteration}, layer {layer}, expected "
                    f"finite losses; lower the learning rates or raise the number of critic updates in the recipe"
                )
            (value.sum() / len(batches)).backward()
            values.append(value.detach())
        optimiser.step()
        return torch.stack(values).mean(0)
