"""Joint training of a hierarchy with the lower bound: Algorithm 2 of HSIVI with SIVI-LB in place of SIVI-SM.

The paper trains SIVI-LB layer by layer and leaves the joint form to future work.  One iteration rolls chains out under
the current layers and updates all layers once: layer t raises its lower bound (eq. (2)) against the bridge's p_t, with
the x_{t+1} of the other chains for auxiliaries.  Of p_t only the score is known, and the gradient needs no more (eq.
(7)).  There is no critic.  Each layer's bound sees x_{t+1} as given, as in Algorithm 2, so one rollout serves all.

Randomness is a function of (seed, iteration), and a replica's noise does not depend on the stack it is trained in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hsivi import parallel
from hsivi.bridge import DiffusionBridge
from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import DDIMHierarchy
from hsivi.lower_bound_recipe import LowerBoundRecipe
from hsivi.noise import standard_normal
from hsivi.objective import LowerBound, from_score
from hsivi.optimise import Average, NonFiniteLoss, Optimiser
from hsivi.rollout import all_layers


@dataclass
class JointLowerBoundTrainer:
    """Everything that is carried from one iteration to the next, and the step that carries it.

    Attributes:
        hierarchy: the layers.
        bridge: the targets.
        recipe: hyper-parameters.
        seeds: one a replica.
        event_shape: shape of one sample.
        iteration: iterations done.
    """

    hierarchy: DDIMHierarchy
    bridge: DiffusionBridge
    recipe: LowerBoundRecipe
    seeds: Sequence[int]
    event_shape: tuple[int, ...]
    iteration: int = 0
    average: Average = field(init=False)

    def __post_init__(self) -> None:
        if parallel.processes() > 1:
            raise ValueError(
                f"devices: got {parallel.processes()} processes, expected one; the auxiliaries of a batch cannot be "
                f"shared out"
            )
        recipe = self.recipe
        if recipe.variance == "fixed":
            self.hierarchy.log_variance.requires_grad_(False)
        self._optimiser = Optimiser(
            [p for p in self.hierarchy.parameters() if p.requires_grad],
            recipe.learning_rate,
            recipe.adam_betas,
            recipe.schedule,
            recipe.iterations,
            recipe.final_rate,
            recipe.warm_up,
        )
        self.average = Average(dict(self.hierarchy.named_parameters()), recipe.ema)
        self._objective = LowerBound(recipe.auxiliaries)
        self._weight = layer_weights(self.hierarchy, self.bridge)

    def step(self) -> Tensor:
        """Update all layers once and return the weighted mean of their losses, shape (R,).

        Its gradient is that of the bounds; its value means nothing, because p_t is known through its score.

        Raises:
            NonFiniteLoss: a loss is infinite or undefined.
        """
        loss = self.losses(self._noise())
        bad = ~loss.isfinite().all(2).all(0)
        if bad.any():
            raise NonFiniteLoss(
                f"lower bound: got a non-finite value at iteration {self.iteration}, layer "
                f"{bad.nonzero().flatten()[:1].tolist()}, expected finite losses; lower the learning rate in the recipe"
            )
        value = (self._weight[:, None] * loss).flatten(1).mean(1)
        self._optimiser.descend(value.sum())
        self._optimiser.advance()
        self.average.update()
        self.iteration += 1
        return value.detach()

    def losses(self, noise: Tensor) -> Tensor:
        """Return minus the bound of every layer and chain, shape (R, T, B), for noise as `all_layers` takes it."""
        mixing, eps = all_layers(self.hierarchy, noise, antithetic=False).mixing, noise[:, :-1]
        t = torch.arange(self.hierarchy.num_layers, device=noise.device)[:, None]
        layer = self.hierarchy.conditional(mixing, t)
        std = layer.std.expand(*layer.std.shape[:3], *self.event_shape)
        flat = DiagonalGaussian(layer.mean.flatten(3), std.flatten(3))

        def score(x: Tensor) -> Tensor:
            return self.bridge.score(x.unflatten(3, self.event_shape), t).flatten(3)

        signs = (eps, -eps) if self.recipe.antithetic else (eps,)
        every = [self._objective.variational_loss(flat, e.flatten(3), from_score(score)) for e in signs]
        return torch.stack(every).mean(0)

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {
            "iteration": self.iteration,
            "hierarchy": self.hierarchy.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "average": self.average.values,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.iteration = state["iteration"]
        self.hierarchy.load_state_dict(state["hierarchy"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.average.load(state["average"])

    def _noise(self) -> Tensor:
        """Draw noise of shape (R, T + 1, B, \\*event), a function of (seed, iteration) for each replica."""
        shape = (self.hierarchy.num_layers + 1, self.recipe.batch, *self.event_shape)
        draws = [standard_normal(shape, seed, "joint lower bound", self.iteration) for seed in self.seeds]
        return torch.stack(draws).to(self.hierarchy.std)


def layer_weights(hierarchy: DDIMHierarchy, bridge: DiffusionBridge) -> Tensor:
    """Return beta(t) = sigma_t / |b_t|, shape (T,), with b_t the factor of eps in mu_t.

    The gradient of a Kullback-Leibler divergence in the network's output eps is b_t times a difference of scores, which
    is sigma_t^-1 times an error in units of eps.  So beta(t) gives the same error the same gradient at every layer.
    SIVI-SM needs about sigma_t^2 there, since a Fisher divergence grows as sigma_t^-2 and a divergence of
    Kullback-Leibler does not.  |b_t| is near sigma_t but for the last layer, whose step is from s_1 to almost clean
    data: without beta(t) that layer's gradient is 19 times the others' on 2-D data with T = 5.

    Raises:
        ValueError: the network does not act at some layer.
    """
    scale = hierarchy.noise_scale.abs()
    if (scale == 0).any():
        raise ValueError("time grid: got a layer whose mean does not depend on the network, expected none; change eta")
    return bridge.noise_variance().to(scale).sqrt() / scale
