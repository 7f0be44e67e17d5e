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


CLIP = 0.4
"""Binds for most samples: the data's modes lie 0.58 and 0.72 from zero."""


def respaced(given: Problem, **settings: Any) -> DDIMScheduler:
    """Any grid is a full grid of respaced betas (beta_j = 1 - alpha_bar_j / alpha_bar_{j-1})."""
    alpha_bar = SCHEDULE.alpha_bar(given.grid)
    betas = (1 - alpha_bar[1:] / alpha_bar[:-1]).numpy()
    scheduler = DDIMScheduler(
        num_train_timesteps=given.nfe, trained_betas=betas, set_alpha_to_one=True, steps_offset=0, **settings
    )
    scheduler.set_timesteps(given.nfe)
    return scheduler


def theirs_ddim(given: Problem, scheduler: DDIMScheduler, eta: float, use_clipped_model_output: bool = False) -> Tensor:
    noise = SampleNoise(5, 0, NUM, (2,))
    x = noise.prior()
    for index in scheduler.timesteps:
        eps = given.teacher.noise(x, given.grid[index + 1])
        drawn = noise.step(int(index)) if eta > 0 else None
        x = scheduler.step(
            eps, index, x, eta, use_clipped_model_output=use_clipped_model_output, variance_noise=drawn
        ).prev_sample
    return x


def theirs_ddpm(given: Problem, variance: str, clip: float | None, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    noise = SampleNoise(5, 0, NUM, (2,))
    scheduler = DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        variance_type=variance,
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    scheduler.set_timesteps(timesteps=given.grid[1:].long().flip(0).tolist())
    x = noise.prior()
    for t, index in zip(reversed(range(given.nfe)), scheduler.timesteps, strict=True):
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, t=t, **__: noise.step(t))
        x = scheduler.step(given.teacher.noise(x, given.grid[t + 1]), index, x).prev_sample
    return x


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_ddim(steps: int) -> None:
    given = problem(steps, "ddim_quad_floor")
    x = theirs_ddim(given, respaced(given, clip_sample=False), eta=0.0)
    torch.testing.assert_close(samples("ddim", {}, steps, "ddim_quad_floor"), x, **TOLERANCE)


@pytest.mark.parametrize("rederive", [False, True], ids=["keep", "rederive"])
@pytest.mark.parametrize("eta", [0.0, 0.6])
@pytest.mark.parametrize("grid", ["ddim_quad_floor", "uniform"])
def test_ddim_that_clips(grid: str, eta: float, rederive: bool) -> None:
    given = problem(10, grid)
    scheduler = respaced(given, clip_sample=True, clip_sample_range=CLIP)
    x = theirs_ddim(given, scheduler, eta, use_clipped_model_output=rederive)
    values = {"eta": eta, "clip": CLIP, "rederive_noise": rederive}
    ours = samples("ddim", values, 10, grid)
    torch.testing.assert_close(ours, x, **TOLERANCE)
    other = samples("ddim", values | {"rederive_noise": not rederive}, 10, grid)
    assert (ours - other).abs().max() > 0.01, "the variants differ"


@pytest.mark.parametrize("clip", [None, CLIP, 1.0])
@pytest.mark.parametrize("steps", [5, 10])
def test_ddpm(steps: int, clip: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On DDIM's quadratic grid, whose last step goes from level 0 to clean data without noise."""
    x = theirs_ddpm(problem(steps, "ddim_quad_floor"), "fixed_small", clip, monkeypatch)
    torch.testing.assert_close(samples("ddpm", {"clip": clip}, steps, "ddim_quad_floor"), x, **TOLERANCE)


@pytest.mark.parametrize("clip", [None, CLIP, 1.0])
@pytest.mark.parametrize("grid", ["ddim_quad_floor", "uniform"])
def test_ddpm_with_the_large_variance(grid: str, clip: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    x = theirs_ddpm(problem(10, grid), "fixed_large", clip, monkeypatch)
    values = {"variance": "large", "clip": clip, "final_noise": False}
    torch.testing.assert_close(samples("ddpm", values, 10, grid), x, **TOLERANCE)
    noisy = samples("ddpm", values | {"final_noise": True}, 10, grid)
    final = SampleNoise(5, 0, NUM, (2,)).step(0)
    torch.testing.assert_close(noisy, x + 0.01 * final, **TOLERANCE)  # beta_0 = 1e-4


def test_ddim_with_eta_one_is_their_ddpm(monkeypatch: pytest.MonkeyPatch) -> None:
    x = theirs_ddpm(problem(10, "ddim_quad_floor"), "fixed_small", None, monkeypatch)
    torch.testing.assert_close(samples("ddim", {"eta": 1.0}, 10, "ddim_quad_floor"), x, **TOLERANCE)


def test_clipped_ddpm_is_ddim_with_eta_one_and_noise_that_fits() -> None:
    """The ancestral mean is the implicit one with eps derived from the clipped x0."""
    ours = samples("ddpm", {"clip": CLIP}, 10, "uniform")
    implicit = samples("ddim", {"eta": 1.0, "clip": CLIP, "rederive_noise": True}, 10, "uniform")
    torch.testing.assert_close(ours, implicit, **TOLERANCE)
