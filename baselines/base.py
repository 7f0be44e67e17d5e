"""Control: the bridge's base distribution itself, where every method starts.

For the conditioned diffusion it is N(y, sigma^2 I), the likelihood as a function of the path.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hsivi.gaussian import DiagonalGaussian
from hsivi.noise import SampleNoise
from hsivi.problem import InferenceProblem

TITLE = "Base (control)"
CITATION = "yu2023hierarchical"
NFE = (0,)
TASKS = ("inference",)


@dataclass(frozen=True)
class Config:
    """No settings."""


def sample(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield samples of the base distribution."""
    z = noise.prior()
    yield _base(problem, z).rsample(z)


def elbo(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return log p(x) - log q(x) at the method's own samples, shape (n,), in float64."""
    z = noise.prior().to(torch.float64)
    base = _base(problem, z)
    x = base.rsample(z)
    return {"elbo": problem.target.log_prob(x) - base.log_prob(x)}


def _base(problem: InferenceProblem, like: Tensor) -> DiagonalGaussian:
    """Return the base distribution with the type and device of ``like``."""
    return DiagonalGaussian(problem.base.mean.to(like), problem.base.std.to(like))
