"""The files ddpm.py and ddim.py against the schedulers of diffusers, step by step, with an exact noise model.

diffusers keeps its tables in float32, so agreement is asked to a few units of that precision over ten steps.
"""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm
from torch import Tensor

from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.sampler import draw, load_baseline, make_config
from hsivi.schedule import LinearBetaSchedule
from hsivi.score_model import GaussianMixtureScoreModel
from hsivi.time_grid import time_grid

SCHEDULE = LinearBetaSchedule()
NUM = 200
TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


def problem(steps: int, grid: str) -> Problem:
    means, variances = torch.tensor([[0.5, -0.3], [-0.6, 0.4]]), torch.tensor([0.05, 0.1])
    model = GaussianMixtureScoreModel(SCHEDULE, means, variances, torch.tensor([0.3, 0.7]))
    levels = time_grid(SCHEDULE, grid, steps)
    return Problem(steps, (2,), lambda n, *key: torch.zeros(n, 2), teacher=model, levels=levels)


def samples(name: str, values: dict[str, Any], steps: int, grid: str) -> Tensor:
    baseline = load_baseline(name)
    return draw(baseline, problem(steps, grid), make_config(baseline, values, name), 5, NUM, {}).x


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_ddim(steps: int) -> None:
    """Any grid is a full grid of respaced betas (beta_j = 1 - alpha_bar_j / alpha_bar_{j-1})."""
    given = problem(steps, "ddim_quad_floor")
    alpha_bar = SCHEDULE.alpha_bar(given.grid)
    betas = (1 - alpha_bar[1:] / alpha_bar[:-1]).numpy()
    scheduler = DDIMScheduler(
        num_train_timesteps=steps, trained_betas=betas, clip_sample=False, set_alpha_to_one=True, steps_offset=0
    )
    scheduler.set_timesteps(steps)
    x = SampleNoise(5, 0, NUM, (2,)).prior()
    for index in scheduler.timesteps:
        noise = given.teacher.noise(x, given.grid[index + 1])
        x = scheduler.step(noise, index, x, eta=0.0).prev_sample
    torch.testing.assert_close(samples("ddim", {}, steps, "ddim_quad_floor"), x, **TOLERANCE)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("steps", [5, 10])
def test_ddpm(steps: int, clip: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On DDIM's quadratic grid, whose last step goes from level 0 to clean data without noise."""
    given, noise = problem(steps, "ddim_quad_floor"), SampleNoise(5, 0, NUM, (2,))
    scheduler = DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        variance_type="fixed_small",
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    times = given.grid[1:].long().flip(0)
    scheduler.set_timesteps(timesteps=times.tolist())
    x = noise.prior()
    for t, index in zip(reversed(range(steps)), scheduler.timesteps, strict=True):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, t=t, **__: noise.step(t))
        x = scheduler.step(given.teacher.noise(x, given.grid[t + 1]), index, x).prev_sample
    torch.testing.assert_close(samples("ddpm", {"clip": clip}, steps, "ddim_quad_floor"), x, **TOLERANCE)
