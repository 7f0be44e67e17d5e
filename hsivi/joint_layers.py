"""The layers of jointly trained HSIVI (Algorithm 2), whatever trains them: how they begin and how they sample.

All share one network, which is at first the score model's, so that a layer is at first a step of DDIM (eq. (19)).
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from hsivi.hierarchy import DDIMHierarchy
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.score_model import NetworkScoreModel


class LayerSettings(Protocol):
    """What of a recipe the layers depend on; see `hsivi.recipe.Recipe`."""

    @property
    def variance(self) -> str:
        """How the variance is parametrised."""
        ...

    @property
    def eta(self) -> float:
        """Noise of the DDIM step that the layers begin with."""
        ...

    @property
    def final_noise(self) -> bool:
        """Whether the last layer adds its noise."""
        ...


def reason_to_decline(problem: Problem) -> str | None:
    """Return why there are no such layers, or None: a score that is a formula, or a last layer without noise."""
    if not isinstance(problem.teacher, NetworkScoreModel):
        return "its layers start from the score model's network, and here the score is a formula"
    if problem.schedule.sigma(problem.grid[0]) == 0:
        return "the time grid ends at clean data, where the last layer has no density; take one that does not, as hsivi"
    return None


def initial_hierarchy(problem: Problem, score_model: NetworkScoreModel, settings: LayerSettings) -> DDIMHierarchy:
    """Return layers with the network of a score model, a replica each of its own, and log-variance 0."""
    first = next(score_model.network.parameters())
    shape = problem.event_shape if settings.variance != "isotropic" else (1,) * len(problem.event_shape)
    log_variance = torch.zeros(score_model.network.replicas, *shape, dtype=first.dtype, device=first.device)
    return DDIMHierarchy(score_model, problem.grid, settings.eta, log_variance)


def untrained_parameters(problem: Problem, settings: LayerSettings) -> dict[str, Tensor]:
    """Return one replica's parameters before training, of which no duration depends."""
    hierarchy = initial_hierarchy(problem, problem.copies(1), settings)
    return {name: parameter.detach() for name, parameter in hierarchy.named_parameters()}


def sample_layers(
    problem: Problem, settings: LayerSettings, noise: SampleNoise, state: Mapping[str, Tensor]
) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0 of shape (n, \\*event), with one evaluation of the layers' network a sample and layer."""
    network = problem.network.with_parameters(part(state, "network."))
    hierarchy = DDIMHierarchy(network, problem.grid, settings.eta, state["log_variance"])
    hierarchy.score_model = problem.counted(hierarchy.score_model)

    def step_noise(t: int) -> Tensor:
        drawn = noise.step(t)[None]
        return drawn if t > 0 or settings.final_noise else torch.zeros_like(drawn)

    for x in hierarchy.propagate(noise.prior()[None], problem.nfe, 0, step_noise):
        yield x[0]


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return what of a state has a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
