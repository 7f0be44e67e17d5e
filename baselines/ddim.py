"""Denoising diffusion implicit models: a deterministic step at eta = 0, ancestral sampling at eta = 1.

    x_s = sqrt(alpha_bar_s) x0 + sqrt(sigma_s^2 - c^2) eps + c z,   c = eta sqrt(beta_{r|s}) sigma_s / sigma_r

with eps the predicted noise in x_r and x0 the denoised x_r (Song et al., 2021, eq. (12) and (16)); nothing is clipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hsivi.hierarchy import DDIMCoefficients
from hsivi.noise import SampleNoise
from hsivi.problem import Problem

TITLE = "DDIM"
CITATION = "song2021denoising"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        eta: share of the posterior's standard deviation that is added as noise.
    """

    eta: float = 0.0


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    levels = problem.grid
    step = DDIMCoefficients(problem.schedule, levels, config.eta)
    x = noise.prior()
    for t in reversed(range(problem.nfe)):
        x = step.x_scale[t] * x + step.noise_scale[t] * problem.score_model.noise(x, levels[t + 1])
        if config.eta > 0:
            x = x + step.std[t] * noise.step(t)
        yield x
