"""Laplace approximation: a Gaussian at the mode with the log-density's curvature there (Tierney & Kadane, 1986).

Newton's method from the mean of the bridge's base distribution finds the mode in a few iterations, so nothing is
stored between stages.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hsivi.laplace import Laplace, laplace
from hsivi.noise import SampleNoise
from hsivi.problem import InferenceProblem

TITLE = "Laplace"
CITATION = "tierney1986accurate"
NFE = (0,)
TASKS = ("inference",)


@dataclass(frozen=True)
class Config:
    """No settings."""


def skip(problem: InferenceProblem, config: Config) -> str | None:
    """Decline a target without a mode where the search ends."""
    try:
        _approximate(problem)
    except ValueError as error:
        return str(error)
    return None


def sample(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield samples of the approximation."""
    yield _approximate(problem).sample_from(noise.prior())


def elbo(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return log p(x) - log q(x) at the method's own samples, shape (n,), in float64."""
    approximation = _approximate(problem)
    x = approximation.sample_from(noise.prior().to(torch.float64))
    return {"elbo": problem.target.log_prob(x) - approximation.log_prob(x)}


def _approximate(problem: InferenceProblem) -> Laplace:
    return laplace(problem.target, problem.base.mean)
