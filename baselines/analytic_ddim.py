"""DDIM's means with the optimal variance: noise estimated from the score model, even at eta = 0.

    std^2 = c^2 + (sqrt(alpha_bar_s) - sqrt(sigma_s^2 - c^2) sqrt(alpha_bar_r) / sigma_r)^2 kappa_r

with c = eta sqrt(beta_{r|s}) sigma_s / sigma_r, and kappa_r the average variance of x0 given x_r, which follows from
how much noise the score model predicts on average (Bao et al., 2022, theorem 1).  Where x0 is clipped, the predicted
noise is kept.  A last step to clean data adds no noise; one to a noisy level does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from hsivi.checkpoint import Session
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.reverse_process import implicit
from hsivi.score_statistics import estimate_mean_square_noise, optimal_std

TITLE = "Analytic-DDIM"
CITATION = "bao2022analytic"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        samples: training points of the Monte Carlo estimate, at each level of the grid.
        clip: bound on the absolute value of the denoised x0, or None for no bound.
        largest_variance: upper bound of kappa; ((b - a) / 2)^2 for data in [a, b].
        final_clip: y of the bound std <= (2 y / 255) sqrt(pi / 2) on the last step that adds noise, or None.
        eta: share of the posterior's standard deviation in c.
    """

    samples: PositiveInt = 4_000
    clip: PositiveFloat | None = None
    largest_variance: NonNegativeFloat = 1.0
    final_clip: NonNegativeFloat | None = None
    eta: NonNegativeFloat = 0.0


def fit(problem: Problem, config: Config, seeds: tuple[int, ...], session: Session) -> list[dict[str, Tensor]]:
    """Return E ||eps||^2 / d at s_1..s_T, the same for every seed."""
    mean_square = estimate_mean_square_noise(problem, config.samples, session)
    return [{"mean_square_noise": mean_square} for _ in seeds]


def untrained(problem: Problem, config: Config) -> dict[str, Tensor]:
    """Return half the square of pure noise at every level, so that every step has a variance to add as after `fit`."""
    return {"mean_square_noise": torch.full((problem.nfe,), 0.5, dtype=torch.float64)}


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    mean_square, bounds = state["mean_square_noise"], (config.largest_variance, config.final_clip)
    std = optimal_std(problem.schedule, problem.grid, mean_square, config.eta, *bounds)
    return implicit(problem.score_model, problem.grid, noise.prior(), config.eta, std, noise.step, config.clip)
