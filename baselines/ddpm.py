"""Ancestral sampling with the posterior variance, or with that of the forward step.

From x_r at level r to level s < r, with alpha_{r|s} = alpha_bar_r / alpha_bar_s and beta_{r|s} = 1 - alpha_{r|s}:

    x_s ~ N( [sqrt(alpha_bar_s) beta_{r|s} x0 + sqrt(alpha_{r|s}) sigma_s^2 x_r] / sigma_r^2,  v ),

    v = beta_{r|s} sigma_s^2 / sigma_r^2  (posterior)   or   v = beta_{r|s}  (large)

where x0 is the denoised x_r (Ho et al., 2020, eq. (7) and section 3.2, on a subsequence of levels).  The two variances
are right for data that are a point and data that are N(0, I).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveFloat
from torch import Tensor

from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.reverse_process import ancestral

TITLE = "DDPM"
CITATION = "ho2020denoising"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        variance: ``posterior`` or ``large``.
        clip: bound on the absolute value of the denoised x0, or None for no bound.
        final_noise: whether the last step adds noise.  Official code never does; it matters for ``large``, and for
            ``posterior`` on grids that end at a noisy level (to clean data the posterior variance is zero).
    """

    variance: Literal["posterior", "large"] = "posterior"
    clip: PositiveFloat | None = None
    final_noise: bool = True


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    alpha_bar = problem.schedule.alpha_bar(problem.grid).tolist()
    variance = problem.schedule.sigma(problem.grid).square().tolist()
    std = []
    for t in range(problem.nfe):
        beta = 1 - alpha_bar[t + 1] / alpha_bar[t]
        std.append((beta * variance[t] / variance[t + 1] if config.variance == "posterior" else beta) ** 0.5)
    if not config.final_noise:
        std[0] = 0.0
    return ancestral(problem.score_model, problem.grid, noise.prior(), std, noise.step, config.clip)
