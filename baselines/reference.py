"""Control: the target itself, the best value a metric can take at this sample size.

Where the target is known through data only, these are held-out points drawn with replacement.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hsivi.noise import BLOCK, SampleNoise
from hsivi.problem import Budget

TITLE = "Target (control)"
CITATION = "yu2023hierarchical"
NFE = (0,)
TASKS = ("diffusion", "inference")


@dataclass(frozen=True)
class Config:
    """No settings."""


def sample(problem: Budget, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield samples of the target, a fresh set for every seed."""
    yield noise.rows(lambda block: problem.draw(BLOCK, noise.seed, "reference", block))
