"""FastDPM's reverse process: a sampler whose noise share kappa leads from DDIM-rev (0) to DDPM-rev (1).

From x_s to x_{s-1}, with eta_s = 1 - alpha_bar_s / alpha_bar_{s-1} the variance that one step of the short chain adds:

    x_{s-1} = [x_s - sigma_s eps] / sqrt(1 - eta_s) + sqrt(sigma_{s-1}^2 - kappa^2 v_s) eps + kappa sqrt(v_s) z,
    v_s = eta_s sigma_{s-1}^2 / sigma_s^2

with eps the predicted noise in x_s and v_s the posterior variance (Kong and Ping, 2021, section 3); nothing is
clipped.  How the short chain is cut is the time grid's business, and so are its names.  STEP takes trained levels:
``ddim_quad_floor``, ``linear_floor``.  VAR takes variances eta_s and asks for the noise at real-valued times:
``var_quadratic``, ``var_linear`` with the caps of the official code, ``var_quadratic_uncapped`` and
``var_linear_uncapped`` without them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from hsivi.noise import SampleNoise
from hsivi.problem import Problem

TITLE = "FastDPM"
CITATION = "kong2021fast"
CONTRACT = {"DDIM-rev": {}, "DDPM-rev": {"kappa": 1.0}}


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        kappa: share of the posterior's standard deviation that is added as noise: 0 is DDIM-rev, 1 is DDPM-rev.
    """

    kappa: Annotated[float, Field(ge=0, le=1)] = 0.0


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0, each of shape (n, \\*event)."""
    levels = problem.grid
    alpha_bar = problem.schedule.alpha_bar(levels).tolist()
    std = problem.schedule.sigma(levels).tolist()
    x = noise.prior()
    for t in reversed(range(problem.nfe)):
        eta = 1 - alpha_bar[t + 1] / alpha_bar[t]
        share = config.kappa * (eta**0.5 / std[t + 1])  # of the noise in x_s that is drawn anew
        eps = problem.score_model.noise(x, levels[t + 1])
        x = (x - std[t + 1] * eps) / (1 - eta) ** 0.5 + std[t] * max(1 - share**2, 0.0) ** 0.5 * eps
        if config.kappa > 0:
            x = x + std[t] * share * noise.step(t)
        yield x
