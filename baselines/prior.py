"""Control: the prior N(0, I) itself, the value every metric takes when nothing is done."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hsivi.noise import SampleNoise
from hsivi.problem import Problem

TITLE = "Prior (control)"
CITATION = "yu2023hierarchical"
NFE = (0,)
LIMIT = False  # a control: it never comes near the data


@dataclass(frozen=True)
class Config:
    """No settings."""


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_T."""
    yield noise.prior()
