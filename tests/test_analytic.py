"""Analytic-DPM: the estimate of how much noise is predicted, the variances it gives, and the two samplers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hsivi.checkpoint import Session
from hsivi.config import ConfigError
from hsivi.noise import SampleNoise, standard_normal
from hsivi.problem import Problem
from hsivi.reverse_process import ancestral, implicit
from hsivi.sampler import draw, fit, load_baseline, make_config
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule, Schedule
from hsivi.score_model import GaussianMixtureScoreModel, ScoreModel
from hsivi.score_statistics import MeanSquareNoise, estimate_mean_square_noise, optimal_std
from hsivi.time_grid import time_grid
from tests.oracles import assert_mean

QUADRATIC, LINEAR = QuadraticSchedule(), LinearBetaSchedule()
MEAN, VARIANCE = torch.tensor([0.5, -0.3, 0.1], dtype=torch.float64), 0.3
GRIDS = [(QUADRATIC, "hsivi"), (QUADRATIC, "var_linear"), (LINEAR, "hsivi"), (LINEAR, "ends_included")]
"""One that ends at a noisy level and one that ends at clean data, of each schedule."""
IDS = ["quadratic-noisy", "quadratic-clean", "linear-noisy", "linear-clean"]
Y = 2 / 255 * math.sqrt(math.pi / 2)


class Asked(ScoreModel):
    """The exact noise model of N(MEAN, VARIANCE I) data; it remembers what it was asked."""

    event_ndim = 1

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        variance = torch.tensor([VARIANCE], dtype=torch.float64)
        self.model = GaussianMixtureScoreModel(schedule, MEAN[None], variance, torch.ones(1))
        self.calls: list[tuple[float, Tensor]] = []

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        self.calls.append((float(s), x))
        return self.model.noise(x, s)


def float64(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawing(mean: Tensor, variance: float) -> Callable[..., Tensor]:
    return lambda n, *key: (mean + variance**0.5 * standard_normal((n, len(mean)), *key)).float()


def given(schedule: Schedule, name: str, steps: int = 8, training: Any = None) -> Problem:
    levels = time_grid(schedule, name, steps)
    return Problem(steps, (3,), drawing(MEAN, VARIANCE), Asked(schedule), levels, training)


def exact(schedule: Schedule, levels: Tensor) -> Tensor:
    """E ||eps||^2 / d = sigma^2 / (alpha_bar v + sigma^2) at s_1, ..., s_T."""
    alpha_bar = schedule.alpha_bar(levels[1:])
    return (1 - alpha_bar) / (alpha_bar * VARIANCE + 1 - alpha_bar)


def samples(name: str, values: dict[str, Any], problem: Problem, mean_square: Tensor | None, n: int = 200) -> Tensor:
    baseline = load_baseline(name)
    state = {} if mean_square is None else {"mean_square_noise": mean_square}
    return draw(baseline, problem, make_config(baseline, values, name), 7, n, state).x


# ------------------------------------------------------------------ the estimate
@pytest.mark.parametrize(("schedule", "name"), GRIDS, ids=IDS)
def test_the_estimate_agrees_with_the_closed_form(schedule: Schedule, name: str) -> None:
    problem, n, k = given(schedule, name), 4_000, 5
    estimate = estimate_mean_square_noise(problem, n, Session("estimate"))
    expected = exact(schedule, problem.grid)
    # eps is N(0, m I) here, so ||eps||^2 / d has variance 2 m^2 / d.
    error = expected * (2 / (3 * n)) ** 0.5
    assert estimate.dtype == torch.float64
    assert ((estimate - expected).abs() <= k * error).all(), (estimate - expected) / error


def test_it_asks_at_the_levels_of_the_trajectory_only() -> None:
    problem = given(LINEAR, "ends_included", 6)
    estimate_mean_square_noise(problem, 2_500, Session("estimate"))
    teacher = problem.teacher
    assert isinstance(teacher, Asked)
    levels, sizes = [level for level, _ in teacher.calls], [x.shape[-2] for _, x in teacher.calls]
    assert levels == problem.grid[1:].tolist() * 3, "T levels in each of three batches"
    assert sizes == [1024] * 12 + [2_500 - 2048] * 6
    assert problem.counter.count == 0, "the estimate is made once and not for each sample"


def test_it_does_not_depend_on_the_batch() -> None:
    values = []
    for batch in (1, 100, 256, 1_000):
        estimate = MeanSquareNoise(given(QUADRATIC, "hsivi", 3), 301, batch)
        while estimate.iteration < estimate.iterations:
            estimate.step()
        values.append(estimate.value)
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-6, atol=0)  # float32 noise, in batches of other sizes


def test_it_sums_in_double_precision() -> None:
    """In float32 a thousand batches of 1 / 3 would be off by 1e-5."""
    problem = given(QUADRATIC, "hsivi", 2)
    problem.teacher.noise = lambda x, s: torch.full_like(x, 3**-0.5)  # type: ignore[method-assign]
    estimate = MeanSquareNoise(problem, 1_000, 1)
    while estimate.iteration < estimate.iterations:
        estimate.step()
    third = float(torch.tensor(3**-0.5)) ** 2
    torch.testing.assert_close(estimate.value, torch.full((2,), third, dtype=torch.float64), rtol=1e-13, atol=0)


def test_it_resumes() -> None:
    whole, first, second = (MeanSquareNoise(given(QUADRATIC, "hsivi", 3), 900, 200) for _ in range(3))
    for _ in range(whole.iterations):
        whole.step()
    for _ in range(2):
        first.step()
    second.load_state_dict(first.state_dict())
    while second.iteration < second.iterations:
        second.step()
    assert torch.equal(second.value, whole.value)


def test_it_learns_from_training_points() -> None:
    """Points of variance v' give E ||eps||^2 / d = sigma^2 (alpha_bar v' + sigma^2) / (alpha_bar v + sigma^2)^2."""
    other, n = 0.05, 4_000
    problem = given(QUADRATIC, "hsivi", training=drawing(MEAN, other))
    alpha_bar = QUADRATIC.alpha_bar(problem.grid[1:])
    ratio = (alpha_bar * other + 1 - alpha_bar) / (alpha_bar * VARIANCE + 1 - alpha_bar)
    expected = exact(QUADRATIC, problem.grid) * ratio
    estimate = estimate_mean_square_noise(problem, n, Session("estimate"))
    assert ((estimate - expected).abs() <= 5 * expected * (2 / (3 * n)) ** 0.5).all()


def test_points_and_noise_are_drawn_anew() -> None:
    """For data at zero a teacher is asked at pure noise: of variance one, uncorrelated between levels and points."""
    problem, n = given(QUADRATIC, "hsivi", 3, training=lambda n, *key: torch.zeros(n, 3)), 1_024
    estimate_mean_square_noise(problem, n, Session("estimate"))
    teacher = problem.teacher
    assert isinstance(teacher, Asked)
    noise = torch.stack([x[0] / QUADRATIC.sigma(torch.tensor(s)) for s, x in teacher.calls]).double()
    rows = torch.cat([noise.flatten(1), noise[:1].roll(256, 1).flatten(1), noise[:1].roll(1, 2).flatten(1)])
    correlation = rows @ rows.T / rows.shape[1]
    assert (correlation - torch.eye(5)).abs().max() < 6 / (3 * n) ** 0.5
    keys: list[Any] = []
    estimate_mean_square_noise(
        given(QUADRATIC, "hsivi", 3, lambda n, *key: keys.append(key) or torch.zeros(n, 3)), n, Session("")
    )
    assert len({key[-1] for key in keys[1:]}) == len(keys[1:]) == 4, "a key for each block of points"


@pytest.mark.parametrize("name", ["analytic_ddpm", "analytic_ddim"])
def test_every_seed_gets_the_same_estimate(name: str) -> None:
    baseline, problem = load_baseline(name), given(QUADRATIC, "hsivi")
    states = fit(baseline, problem, make_config(baseline, {"samples": 300}, ""), (0, 1, 2), Session("fit"))
    expected = estimate_mean_square_noise(problem, 300, Session("estimate"))
    assert [list(state) for state in states] == [["mean_square_noise"]] * 3
    assert all(torch.equal(state["mean_square_noise"], expected) for state in states)


# ------------------------------------------------------------------ the variances
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("schedule", "name"), GRIDS, ids=IDS)
def test_gaussian_marginals_are_reproduced_exactly(schedule: Schedule, name: str, eta: float) -> None:
    """slope^2 (alpha_bar_r v + sigma_r^2) + std^2 = alpha_bar_s v + sigma_s^2 at every noisy level; means follow."""
    problem = given(schedule, name)
    levels, teacher = problem.grid, problem.teacher
    alpha_bar = schedule.alpha_bar(levels)
    mean, variance = alpha_bar.sqrt()[:, None] * MEAN, alpha_bar * VARIANCE + 1 - alpha_bar
    std = float64(optimal_std(schedule, levels, exact(schedule, levels), eta, 1.0, None))
    still, x = [0.0] * 8, torch.stack([mean[-1], mean[-1] + 1])
    walks = [implicit(teacher, levels, x, eta, still, lambda t: x, None)]
    if eta == 1:
        walks.append(ancestral(teacher, levels, x, still, lambda t: x, None))
    for walk in walks:
        path = torch.stack([x, *walk]).flip(0)  # by level: s_0 first
        slope = (path[:-1, 1] - path[:-1, 0]) / (path[1:, 1] - path[1:, 0])
        torch.testing.assert_close(path[:, 0], mean, rtol=1e-10, atol=1e-10)
        reached = slope[:, 0].square() * variance[1:] + std.square()
        first = int(levels[0] == schedule.clean)
        torch.testing.assert_close(reached[first:], variance[first:-1], rtol=1e-10, atol=1e-12)
        if first:  # the mean of the last step lacks the variance of u_0 given u_1
            lacking = (1 - alpha_bar[1]) * VARIANCE / (alpha_bar[1] * VARIANCE + 1 - alpha_bar[1])
            torch.testing.assert_close(reached[0], VARIANCE - lacking, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "values"), [("analytic_ddpm", {}), ("analytic_ddim", {}), ("analytic_ddim", {"eta": 0.5})]
)
@pytest.mark.parametrize(("schedule", "grid"), [(LINEAR, "hsivi"), (QUADRATIC, "full")], ids=["linear", "quadratic"])
def test_samples_have_the_moments_of_the_data(name: str, values: dict[str, Any], schedule: Schedule, grid: str) -> None:
    """In ten steps, but for what is left of x_T ~ N(0, I), which stands in for the law of level s_T."""
    problem, n = given(schedule, grid, 10), 20_000
    mean_square = exact(schedule, problem.grid)
    x = samples(name, values, problem, mean_square, n).double()
    alpha_bar = schedule.alpha_bar(problem.grid)
    variance = alpha_bar * VARIANCE + 1 - alpha_bar
    eta = 1.0 if name == "analytic_ddpm" else values.get("eta", 0.0)
    std = float64(optimal_std(schedule, problem.grid, mean_square, eta, 1.0, None))
    left = ((variance[:-1] - std.square()) / variance[1:]).sqrt().prod()
    mean = alpha_bar[0].sqrt() * MEAN - left * alpha_bar[-1].sqrt() * MEAN
    reached = variance[0] + left**2 * (1 - variance[-1])
    assert_mean(x, mean)
    assert_mean((x - mean).square(), reached.expand(3), what="variance")
    standard = (x - mean) / reached.sqrt()
    assert_mean(standard[:, 0] * standard[:, 1], 0.0, what="correlation")


def test_ddpm_alone_lacks_variance_in_few_steps() -> None:
    """What the optimal variance is for."""
    problem = given(LINEAR, "hsivi", 5)
    naive = samples("ddpm", {}, problem, None, 20_000).var(0)
    optimal = samples("analytic_ddpm", {}, problem, exact(LINEAR, problem.grid), 20_000).var(0)
    assert (naive < 0.8 * VARIANCE).all()
    assert ((optimal - VARIANCE).abs() < 0.05 * VARIANCE).all()


@pytest.mark.parametrize("clip", [None, 0.4])
@pytest.mark.parametrize(("schedule", "name"), GRIDS, ids=IDS)
def test_predicting_all_noise_gives_ddpm_and_ddim(schedule: Schedule, name: str, clip: float | None) -> None:
    """m = 1 says that x0 is certain, so nothing is added to the posterior variance."""
    problem, one = given(schedule, name), torch.ones(8).double()
    analytic = samples("analytic_ddpm", {"clip": clip}, problem, one)
    torch.testing.assert_close(analytic, samples("ddpm", {"clip": clip}, problem, None), rtol=1e-6, atol=1e-6)
    for eta in (0.0, 0.6):
        analytic = samples("analytic_ddim", {"clip": clip, "eta": eta}, problem, one)
        naive = samples("ddim", {"clip": clip, "eta": eta}, problem, None)
        torch.testing.assert_close(analytic, naive, rtol=1e-6, atol=1e-6)
    capped = samples("analytic_ddpm", {"clip": clip, "largest_variance": 0.0}, problem, 0 * one)
    torch.testing.assert_close(capped, samples("ddpm", {"clip": clip}, problem, None), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("largest", [1.0, 0.2])
@pytest.mark.parametrize(("schedule", "name"), GRIDS, ids=IDS)
def test_the_variance_of_x0_is_bounded(schedule: Schedule, name: str, largest: float) -> None:
    """Below zero (m > 1) it is zero, above the bound it is the bound, and elsewhere it is what m says."""
    levels = time_grid(schedule, name, 6)
    alpha_bar = schedule.alpha_bar(levels)
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    wanted = float64([0.1, -0.2, 0.3, 2.0, 0.99, -5.0])
    mean_square = 1 - wanted * alpha_bar[1:] / (1 - alpha_bar[1:])
    std = optimal_std(schedule, levels, mean_square, 1.0, largest, None)
    kappa = float64([0.1, 0, min(0.3, largest), largest, min(0.99, largest), 0])
    posterior = beta * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])
    expected = (posterior + alpha_bar[:-1] * (beta / (1 - alpha_bar[1:])).square() * kappa).sqrt()
    if levels[0] == schedule.clean:
        expected[0] = 0
    torch.testing.assert_close(float64(std), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize(("schedule", "name"), GRIDS, ids=IDS)
def test_the_final_bound_concerns_the_last_noisy_step_only(schedule: Schedule, name: str, eta: float) -> None:
    levels = time_grid(schedule, name, 6)
    mean_square = exact(schedule, levels)
    free = optimal_std(schedule, levels, mean_square, eta, 1.0, None)
    last = int(levels[0] == schedule.clean)
    if last:
        assert free[0] == 0, "a step to clean data returns its mean"
    assert all(std > 0 for std in free[last:])
    y = free[last] / Y
    for bound, expected in ((0.5 * y, 0.5 * free[last]), (2 * y, free[last]), (0.0, 0.0)):
        bounded = optimal_std(schedule, levels, mean_square, eta, 1.0, bound)
        assert bounded[last] == pytest.approx(expected, rel=1e-12)
        assert [*bounded[:last], *bounded[last + 1 :]] == [*free[:last], *free[last + 1 :]]
    assert optimal_std(schedule, levels, mean_square, eta, 1.0, 1.0)[last] <= 0.009830  # the paper's numbers
    assert optimal_std(schedule, levels, mean_square, eta, 1.0, 2.0)[last] <= 0.019660


def test_one_step_to_clean_data_has_no_noise_to_bound() -> None:
    levels = torch.tensor([0.0, 0.9]).double()
    assert optimal_std(QUADRATIC, levels, torch.tensor([0.5]), 0.0, 1.0, 1.0) == [0.0]


@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("name", ["analytic_ddpm", "analytic_ddim"])
def test_samplers_pass_their_settings_on(name: str, eta: float) -> None:
    problem, noise = given(QUADRATIC, "hsivi"), SampleNoise(7, 0, 200, (3,))
    levels, mean_square = problem.grid, exact(QUADRATIC, problem.grid)
    values: dict[str, Any] = {"clip": 0.7, "largest_variance": 0.1, "final_clip": 0.2}
    if name == "analytic_ddim":
        values["eta"] = eta
        std = optimal_std(QUADRATIC, levels, mean_square, eta, 0.1, 0.2)
        walk = implicit(problem.teacher, levels, noise.prior(), eta, std, noise.step, 0.7)
    else:
        std = optimal_std(QUADRATIC, levels, mean_square, 1.0, 0.1, 0.2)
        walk = ancestral(problem.teacher, levels, noise.prior(), std, noise.step, 0.7)
    assert torch.equal(samples(name, values, problem, mean_square), list(walk)[-1])
    for key in ("clip", "largest_variance", "final_clip"):
        fewer = {k: v for k, v in values.items() if k != key}
        assert not torch.equal(samples(name, fewer, problem, mean_square), samples(name, values, problem, mean_square))


@pytest.mark.parametrize("name", ["analytic_ddpm", "analytic_ddim"])
def test_the_bound_on_x0_binds_where_it_should(name: str) -> None:
    problem = given(LINEAR, "ends_included")
    mean_square = exact(LINEAR, problem.grid)
    free = samples(name, {}, problem, mean_square)
    assert free.abs().max() > 1
    assert samples(name, {"clip": 0.4}, problem, mean_square).abs().max() <= 0.4
    wide = samples(name, {"clip": 100.0}, problem, mean_square)
    torch.testing.assert_close(wide, free, rtol=1e-4, atol=1e-4)  # x0 is divided by sqrt(alpha_bar) = 0.006 in float32


@pytest.mark.parametrize("name", ["analytic_ddpm", "analytic_ddim"])
@pytest.mark.parametrize("values", [{"samples": 0}, {"clip": 0.0}, {"largest_variance": -1.0}, {"final_clip": -1.0}])
def test_settings_that_make_no_sense_are_one_line(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(values))}: got") as caught:
        make_config(load_baseline(name), values, name)
    assert "\n" not in str(caught.value)
