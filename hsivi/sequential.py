"""Sequential training of a hierarchy with independent layers (HSIVI, Algorithm 1).

Layers are trained one after another, from the one next to the prior to the one that yields x_0.  While layer t is
trained, the layers before it are fixed: they only supply its mixing draws x_{t+1}.  With one layer this is SIVI.

One iteration draws x_{t+1}, updates the critic on x_t (SIVI-SM only) and then the layer, with new noise for x_t.
Randomness is a function of (seed, iteration), as in joint training.  The trainer knows no formula.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsivi.bridge import Bridge, GeometricBridge
from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import IndependentHierarchy
from hsivi.nn.mlp import MLP
from hsivi.objective import LowerBound, ScoreFunction, ScoreMatching, from_score
from hsivi.optimise import Average, NonFiniteLoss, Optimiser, with_gradients
from hsivi.recipe import SequentialRecipe
from hsivi.rng import generator

AHEAD = 16
"""Iterations whose random numbers and mixing draws are made together: the layers above are fixed, and few calls for
much are cheaper than many for little."""


@dataclass(frozen=True)
class LayerInfo:
    """What one iteration may log.

    Attributes:
        layer: t.
        loss: of the layer, mean over the batch, shape (R,).
    """

    layer: int
    loss: Tensor


@dataclass
class SequentialTrainer:
    """Everything that is carried from one iteration to the next, and the step that carries it.

    Attributes:
        hierarchy: the layers.
        bridge: the targets.
        recipe: hyper-parameters.
        seeds: one a replica.
        iteration: iterations done, over all layers.
    """

    hierarchy: IndependentHierarchy
    bridge: Bridge
    recipe: SequentialRecipe
    seeds: Sequence[int]
    iteration: int = 0
    critic: MLP | None = field(default=None, init=False)
    _ahead: tuple[tuple[int, int], Tensor, Tensor] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        uses_density = self.recipe.objective == "lb" and self.recipe.target == "density"
        if uses_density and not isinstance(self.bridge, GeometricBridge):
            kind = type(self.bridge).__name__
            raise ValueError(f"target: got 'density' with {kind}, expected a bridge that has one; use 'score'")
        if isinstance(self.bridge, GeometricBridge):
            self.bridge = self.bridge.placed(self.hierarchy.log_variances[0])
        # A GPU waits for the processor's random numbers: in 300 dimensions they took three quarters of a step.
        on_gpu = self.hierarchy.log_variances[0].is_cuda
        self._map_seeds = ThreadPoolExecutor(len(self.seeds)).map if on_gpu else map
        self._objective = ScoreMatching() if self.recipe.objective == "sm" else LowerBound(self.recipe.auxiliaries)
        self._begin(self.layer)

    @property
    def iterations(self) -> int:
        """Iterations of the whole training."""
        return self.hierarchy.num_layers * self.recipe.iterations

    @property
    def layer(self) -> int:
        """The layer t that the next iteration trains."""
        return max(self.hierarchy.num_layers - 1 - self.iteration // self.recipe.iterations, 0)

    def step(self) -> LayerInfo:
        """Update the critic, where there is one, and the current layer once.

        Raises:
            NonFiniteLoss: a loss is infinite or undefined.
        """
        t, recipe = self.layer, self.recipe
        draws = recipe.batch * (recipe.critic_updates if self.critic is not None else 1)
        if recipe.objective == "lb":
            draws = max(draws, (recipe.auxiliaries or 0) + 1)
        mixing, noise = self._draws(t, draws)
        own = mixing if self.critic is None else mixing[:, : recipe.batch]
        # The critic learns from the layer that is updated after it: one evaluation serves both, but for compiled code,
        # whose gradients begin where it does.
        layer = None if recipe.compile else self.hierarchy.conditional(own, t)
        if self.critic is not None:
            self._update_critic(t, mixing, noise[1], layer)
        loss = self._update_layer(t, own, noise[0, :, : recipe.batch], layer)
        self.iteration += 1
        if self.iteration % recipe.iterations == 0:
            self._finish(t)
        return LayerInfo(t, loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {
            "iteration": self.iteration,
            "hierarchy": self.hierarchy.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "average": self._average.values,
            "critic": self.critic.state_dict() if self.critic is not None else None,
            "critic_optimiser": self._critic_optimiser.state_dict() if self.critic is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.iteration = state["iteration"]
        self._begin(self.layer)
        self.hierarchy.load_state_dict(state["hierarchy"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average.load(state["average"])
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
            self._critic_optimiser.load_state_dict(state["critic_optimiser"])

    # ------------------------------------------------------------------------------------------------ internals
    def _begin(self, t: int) -> None:
        """Make everything that belongs to the training of layer t; layers but this one are fixed."""
        recipe, shared = self.recipe, (self.recipe.adam_betas, self.recipe.schedule, self.recipe.iterations)
        self.hierarchy.requires_grad_(False)
        own = self.hierarchy.layer_parameters(t)
        for parameter in own.values():
            parameter.requires_grad_(True)
        self._optimiser = Optimiser(own.values(), recipe.learning_rate, *shared)
        self._average = Average(own, recipe.ema)
        if recipe.objective == "sm":
            if self.critic is None or not recipe.critic_warm_start:
                self.critic = self._new_critic(t)
            assert recipe.critic_learning_rate is not None
            self._critic_optimiser = Optimiser(self.critic.parameters(), recipe.critic_learning_rate, *shared)
            critics = self._critic_optimiser.parameters
            self._critic_gradients = with_gradients(self._critic_loss, critics, compiled=recipe.compile)
        loss = self._score_matching if recipe.objective == "sm" else self._lower_bound
        self._gradients = with_gradients(loss, self._optimiser.parameters, compiled=recipe.compile)
        if recipe.compile:
            torch.compiler.reset()  # PyTorch keeps few programs of a function, and counts those of the layers before

    def _new_critic(self, t: int) -> MLP:
        variance = self.hierarchy.log_variances[t]
        dim = variance.shape[1]
        return MLP(tuple(self.seeds), f"critic.{t}", (dim, *self.recipe.critic_hidden, dim)).to(variance)

    @torch.no_grad()
    def _finish(self, t: int) -> None:
        """Fix layer t at its average and go on to the next."""
        own = self.hierarchy.layer_parameters(t)
        for name, value in self._average.parameters().items():
            own[name].copy_(value)
        if t > 0:
            self._begin(t - 1)

    def _noise(self, key: tuple[str | int, ...], kinds: int, draws: int) -> Tensor:
        """Draw noise of shape (kinds, R, draws, d), a function of (seed, \\*key) for each replica."""
        variance = self.hierarchy.log_variances[0]
        noise = np.empty((len(self.seeds), kinds, draws, variance.shape[1]), "float32")

        def draw(seed: int, own: NDArray[np.float32]) -> None:
            generator(seed, "sequential", *key).standard_normal(dtype="float32", out=own)

        list(self._map_seeds(draw, self.seeds, noise))
        return torch.from_numpy(noise).to(variance).transpose(0, 1)

    @torch.no_grad()
    def _draws(self, t: int, draws: int) -> tuple[Tensor, Tensor]:
        """Return x_{t+1} of the fixed layers for this iteration, shape (R, draws, d), and noise for x_t.

        The noise has shape (kinds, R, draws, d): for the layer's update and, where there is a critic, for the critic's.
        """
        block, row = divmod(self.iteration % self.recipe.iterations, AHEAD)
        if self._ahead is None or self._ahead[0] != (t, block):
            layers, kinds = self.hierarchy.num_layers, 1 if self.critic is None else 2
            count = min(AHEAD, self.recipe.iterations - block * AHEAD)
            noise = self._noise(("mixing", t, block), layers - t, count * draws)
            above = self.hierarchy.propagate(noise[-1], layers, t + 1, lambda i: noise[i - t - 1])
            self._ahead = (t, block), (noise[-1], *above)[-1], self._noise(("step", t, block), kinds, count * draws)
        window = slice(row * draws, (row + 1) * draws)
        return self._ahead[1][:, window], self._ahead[2][:, :, window]

    def _target_score(self, t: int) -> ScoreFunction:
        index = torch.tensor(t)
        return lambda x: self.bridge.score(x, index)

    def _scores(self, t: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return S and g at x: the critic's network is g, or f of eq. (4), which is S less g."""
        assert self.critic is not None
        output = self.critic(x)
        target = self._target_score(t)(x)
        return target, output if self.recipe.critic == "g" else target - output

    def _update_critic(self, t: int, mixing: Tensor, noise: Tensor, layer: DiagonalGaussian | None) -> None:
        recipe = self.recipe
        for k in range(recipe.critic_updates):
            rows = slice(k * recipe.batch, (k + 1) * recipe.batch)
            found = self._critic_gradients(t, mixing[:, rows], noise[:, rows], layer if k == 0 else None)
            self._descend(self._critic_optimiser, found, f"critic loss of layer {t}")
        self._critic_optimiser.advance()

    def _update_layer(self, t: int, mixing: Tensor, noise: Tensor, layer: DiagonalGaussian | None) -> Tensor:
        frozen = list(self.critic.parameters()) if self.critic is not None else []
        for parameter in frozen:
            parameter.requires_grad_(False)
        found = self._gradients(t, mixing, noise, layer)
        for parameter in frozen:
            parameter.requires_grad_(True)
        value = self._descend(self._optimiser, found, f"variational loss of layer {t}")
        self._optimiser.advance()
        with torch.no_grad():
            self._average.update()
        return value

    # Losses have shape (R, B), for mixing draws and noise of shape (R, B, d); a layer is that of the draws, if known.
    def _critic_loss(self, t: int, mixing: Tensor, noise: Tensor, layer: DiagonalGaussian | None) -> Tensor:
        assert isinstance(self._objective, ScoreMatching)
        assert self.critic is not None
        with torch.no_grad():
            layer = layer or self.hierarchy.conditional(mixing, t)
            x, wanted = layer.rsample(noise), layer.score_at(noise)
            if self.recipe.critic == "f":  # S - f is to be the conditional score
                wanted = self._target_score(t)(x) - wanted
        return self._objective.critic_loss(self.critic(x), wanted)

    def _score_matching(self, t: int, mixing: Tensor, noise: Tensor, layer: DiagonalGaussian | None) -> Tensor:
        assert isinstance(self._objective, ScoreMatching)
        layer = layer or self.hierarchy.conditional(mixing, t)
        return self._objective.variational_loss(layer, noise, lambda x: self._scores(t, x))

    def _lower_bound(self, t: int, mixing: Tensor, noise: Tensor, layer: DiagonalGaussian | None) -> Tensor:
        """Return minus the lower bound; of the mixing draws there may be more than of the noise."""
        assert isinstance(self._objective, LowerBound)
        layer = layer or self.hierarchy.conditional(mixing, t)
        if self.recipe.target == "density" and isinstance(self.bridge, GeometricBridge):
            bridge, index = self.bridge, torch.tensor(t)
            return self._objective.variational_loss(layer, noise, lambda x: bridge.log_prob(x, index))
        return self._objective.variational_loss(layer, noise, from_score(self._target_score(t)))

    def _descend(self, optimiser: Optimiser, found: tuple[Tensor, Sequence[Tensor | None]], term: str) -> Tensor:
        """Take one step down the gradients of losses and return their means, shape (R,)."""
        loss, gradients = found
        value = loss.mean(1)
        if not math.isfinite(value.sum().item()):  # a sum is not finite where a term is not, and is cheaper to ask
            raise NonFiniteLoss(
                f"{term}: got a non-finite value at iteration {self.iteration}, expected finite losses; lower the "
                f"learning rates in the recipe"
            )
        optimiser.clear()
        optimiser.gather(gradients)
        optimiser.step()
        return value
