"""Ancestral sampling with the posterior variance.

From x_r at level r to level s < r, with alpha_{r|s} = alpha_bar_r / alpha_bar_s and beta_{r|s} = 1 - alpha_{r|s}:

    x_s ~ N( [sqrt(alpha_bar_s) beta_{r|s} x0 + sqrt(alpha_{r|s}) sigma_s^2 x_r] / sigma_r^2,
             beta_{r|s} sigma_s^2 / sigma_r^2 )

where x0 is the denoised x_r (Ho et al., 2020, eq. (7), on a subsequence of levels).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hsivi.noise import SampleNoise
from hsivi.problem import Problem

TITLE = "DDPM"
CITATION = "ho2020denoising"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        clip: bound on the absolute value of the denoised x0, or None for no bound.
    """

    clip: float | None = None


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    levels = problem.grid
    alpha_bar = problem.schedule.alpha_bar(levels).tolist()
    variance = problem.schedule.sigma(levels).square().tolist()
    x = noise.prior()
    for t in reversed(range(problem.nfe)):
        x0 = problem.score_model.denoised(x, levels[t + 1])
        if config.clip is not None:
            x0 = x0.clamp(-config.clip, config.clip)
        ratio = alpha_bar[t + 1] / alpha_bar[t]
        mean = (alpha_bar[t] ** 0.5 * (1 - ratio) * x0 + ratio**0.5 * variance[t] * x) / variance[t + 1]
        std = ((1 - ratio) * variance[t] / variance[t + 1]) ** 0.5
        x = mean + std * noise.step(t)
        yield x
