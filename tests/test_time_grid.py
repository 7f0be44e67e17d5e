"""Time grids against rules written a second time in exact arithmetic, and against published numbers."""

import math
from fractions import Fraction
from functools import cache

import pytest
import torch

from hsivi.schedule import CosineSchedule, LinearBetaSchedule, QuadraticSchedule, half_log_snr
from hsivi.score_model_config import TIME_GRIDS
from hsivi.time_grid import fast_orders, grids, time_grid

TOY = QuadraticSchedule()
IMAGE = LinearBetaSchedule()
COSINE = CosineSchedule()
SCHEDULES = {"quadratic": TOY, "linear_beta": IMAGE}
BOTH = pytest.mark.parametrize("schedule", [TOY, IMAGE], ids=["toy", "image"])
EVERY = pytest.mark.parametrize(
    ("schedule", "name"),
    [(schedule, name) for schedule in (TOY, IMAGE) for name in grids(schedule)],
    ids=[f"{kind}-{name}" for kind, schedule in SCHEDULES.items() for name in grids(schedule)],
)
STEPS = range(1, 61)
VAR = ["var_quadratic", "var_linear", "var_quadratic_uncapped", "var_linear_uncapped"]
ENDS_NOISY = {"hsivi", "time_uniform", "logsnr", "fast_logsnr", "order2_logsnr", "order3_logsnr"}
REFUSED = {
    **{(IMAGE, "hsivi"): set(range(41, 61)), (IMAGE, "full"): set(STEPS)},
    **{(IMAGE, name): {1} for name in ("ddim_quad_floor", "quad_round", "uniform", "ends_included", "linear_floor")},
    **{(schedule, name): {1} for schedule in (TOY, IMAGE) for name in VAR},
}


@cache
def accepted(schedule, name):
    """Return the levels by number of steps, for all numbers that are not refused."""
    numbers = [steps for steps in STEPS if steps not in REFUSED.get((schedule, name), set())]
    return {steps: time_grid(schedule, name, steps) for steps in numbers}


@EVERY
def test_every_grid_is_a_grid(schedule, name):
    repeats = grids(schedule)[name].repeats
    for steps, levels in accepted(schedule, name).items():
        assert levels.shape == (steps + 1,)
        assert levels.dtype == torch.float64
        assert (levels.diff() >= 0).all() if repeats else (levels.diff() > 0).all()
        noisy = name in ENDS_NOISY or (schedule is TOY and name == "full")
        assert levels[0] == (schedule.lowest if noisy else schedule.clean)
        assert levels[1] >= schedule.lowest - 1e-9
        top = 0.999 if schedule is TOY and name == "full" else schedule.highest
        assert schedule.lowest < levels[-1] <= top


@EVERY
def test_steps_for_which_there_is_no_grid(schedule, name):
    for steps in REFUSED.get((schedule, name), set()):
        with pytest.raises(ValueError, match=f"time grid '{name}': got {steps} steps, .*; use another") as caught:
            time_grid(schedule, name, steps)
        assert "\n" not in str(caught.value)


def ceiling(numerator, denominator):
    return math.ceil(Fraction(numerator, denominator))


WHOLE = {
    "ddim_quad_floor": lambda n: [800 * j * j // (n - 1) ** 2 for j in range(n)],
    "uniform": lambda n: [j * (1000 // n) for j in range(n)],
    "linear_floor": lambda n: [999 * j // (n - 1) for j in range(n)],
    "iddim": lambda n: [ceiling(1000 * i * i, n * n) - 1 for i in range(1, n + 1)],
}


@pytest.mark.parametrize("name", WHOLE)
def test_indices_that_end_at_clean_data(name):
    for steps, levels in accepted(IMAGE, name).items():
        assert levels.tolist() == [-1, *WHOLE[name](steps)], steps


ROUNDED = {
    "hsivi": lambda n: [Fraction(800 * j * j, n * n) for j in range(n + 1)],
    "quad_round": lambda n: [-1, *(Fraction(800 * j * j, (n - 1) ** 2) for j in range(n))],
    "ends_included": lambda n: [-1, *(Fraction(999 * j, n - 1) for j in range(n))],
}


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_indices(name):
    """Where a half is rounded to is left open, as in official code: the float may lie on either side of it."""
    for steps, levels in accepted(IMAGE, name).items():
        assert all(level == int(level) for level in levels.tolist())
        for level, exact in zip(levels.tolist(), ROUNDED[name](steps), strict=True):
            assert abs(int(level) - exact) <= Fraction(1, 2)


@pytest.mark.parametrize("steps", [100, 1000])
def test_published_budgets_at_which_rounding_repeats_levels(steps):
    """Table 1 of the iDDIM paper goes to 1000 steps on its quadratic grid: repeated levels spend their evaluation."""
    for name in ("iddim", "ddim_quad_floor"):
        levels = time_grid(IMAGE, name, steps)
        assert levels.tolist() == [-1, *WHOLE[name](steps)]
        assert (levels.diff() == 0).any()


def test_the_full_grid_has_every_index():
    assert time_grid(IMAGE, "full", 1000).tolist() == list(range(-1, 1000))


@pytest.mark.parametrize(
    ("schedule", "name", "first", "last"),
    [
        (TOY, "hsivi", 0.01, 0.8**0.5),
        (TOY, "full", 0.01, 0.999),
        (TOY, "time_uniform", 0.01, 0.8**0.5),
        (IMAGE, "time_uniform", 0, 999),
    ],
)
def test_equidistant_times(schedule, name, first, last):
    for steps, levels in accepted(schedule, name).items():
        expected = [first + (last - first) * t / steps for t in range(steps + 1)]
        torch.testing.assert_close(levels, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0)
        assert (levels[0], levels[-1]) == (first, last)  # exactly: the lowest level is a level of its own


def parts_of_steps(orders):
    """Return how far each evaluation is from the highest level, in units of one outer step."""
    return [step + Fraction(inner, order) for step, order in enumerate(orders) for inner in range(order)]


@BOTH
@pytest.mark.parametrize("name", ["logsnr", "fast_logsnr", "order2_logsnr", "order3_logsnr"])
def test_equidistant_half_log_snr(schedule, name):
    for steps, levels in accepted(schedule, name).items():
        orders = {
            "logsnr": (1,) * steps,
            "fast_logsnr": fast_orders(steps),
            "order2_logsnr": (2,) * (steps // 2) + (1,) * (steps % 2),
            "order3_logsnr": (3,) * (steps // 3) + ((steps % 3,) if steps % 3 else ()),
        }[name]
        begins = [float(part / len(orders)) for part in [*parts_of_steps(orders), len(orders)]]
        got = half_log_snr(schedule, levels).flip(0)
        at = torch.tensor(begins, dtype=torch.float64)
        torch.testing.assert_close(got, got[0] + (got[-1] - got[0]) * at, rtol=0, atol=2e-6)
        assert (levels[0], levels[-1]) == (schedule.lowest, schedule.highest)


@pytest.mark.parametrize(
    ("budget", "orders"),
    [
        *[(1, (1,)), (2, (2,)), (3, (2, 1)), (4, (3, 1)), (5, (3, 2)), (6, (3, 2, 1)), (10, (3, 3, 3, 1))],
        *[(15, (3, 3, 3, 3, 2, 1)), (20, (3,) * 6 + (2,)), (50, (3,) * 16 + (2,))],
    ],
)
def test_orders_of_dpm_solver_fast(budget, orders):
    assert fast_orders(budget) == orders


def one_step_variances(schedule, levels):
    signal = schedule.alpha_bar(levels)
    return 1 - signal[1:] / signal[:-1]


@BOTH
@pytest.mark.parametrize("name", VAR)
def test_variances_are_linear_or_quadratic_in_the_step(schedule, name):
    """The levels are found by inverting alpha_bar, so this also tests the inverse where FastDPM uses it."""
    for steps, levels in accepted(schedule, name).items():
        eta = one_step_variances(schedule, levels)
        shape = eta if "linear" in name else eta.sqrt()
        assert abs(eta[0] - 1e-4) < 1e-9
        line = shape[0] + (shape[-1] - shape[0]) * torch.arange(steps, dtype=torch.float64) / (steps - 1)
        torch.testing.assert_close(shape, line, rtol=0, atol=2e-8)
        torch.testing.assert_close(schedule.level(schedule.alpha_bar(levels)), levels, rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize("name", VAR)
def test_the_highest_level_is_reached_unless_a_cap_binds(schedule, name):
    for steps, levels in accepted(schedule, name).items():
        eta = one_step_variances(schedule, levels)
        caps = {"var_quadratic": (1 + 95 * (steps - 1) / steps) ** 2 * 1e-4, "var_linear": 0.99}
        if levels[-1] < schedule.highest - 1e-6:
            assert abs(eta[-1] / caps[name] - 1) < 1e-6, "a grid that starts lower has the largest variance allowed"
        else:
            assert eta[-1] < caps.get(name, 1.0)


@pytest.mark.parametrize(
    ("name", "steps", "start"),
    [
        *[("var_quadratic", 5, 384), ("var_quadratic", 10, 617), ("var_quadratic", 15, 788)],
        *[("var_quadratic", 20, 930), ("var_quadratic", 50, 999)],
        *[("var_linear", 5, 826), ("var_linear", 10, 999), ("var_linear", 50, 999)],
        *[(f"{name}_uncapped", steps, 999) for name in VAR[:2] for steps in (5, 10, 15, 20, 50)],
    ],
)
def test_where_fastdpm_starts(name, steps, start):
    """At few steps the caps of the official code keep VAR away from the level of N(0, I) that it starts with."""
    assert round(time_grid(IMAGE, name, steps)[-1].item()) == start


def test_a_capped_start_keeps_a_large_share_of_the_signal():
    assert abs(IMAGE.alpha_bar(time_grid(IMAGE, "var_quadratic", 5)[-1]) - 0.22) < 0.005


@pytest.mark.parametrize(
    ("name", "steps", "numbers"),
    [
        ("hsivi", 5, [0, 32, 128, 288, 512, 800]),
        ("hsivi", 10, [0, 8, 32, 72, 128, 200, 288, 392, 512, 648, 800]),
        ("hsivi", 15, [0, 4, 14, 32, 57, 89, 128, 174, 228, 288, 356, 430, 512, 601, 697, 800]),
        ("ddim_quad_floor", 5, [-1, 0, 50, 200, 450, 800]),
        ("ddim_quad_floor", 10, [-1, 0, 9, 39, 88, 158, 246, 355, 483, 632, 800]),
        ("quad_round", 10, [-1, 0, 10, 40, 89, 158, 247, 356, 484, 632, 800]),
        ("uniform", 10, [-1, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900]),
        ("uniform", 15, [-1, *range(0, 15 * 66, 66)]),
        ("ends_included", 5, [-1, 0, 250, 499, 749, 999]),  # 1, 250.75, 500.5, 750.25, 1000, from one
        ("linear_floor", 5, [-1, 0, 249, 499, 749, 999]),
        ("iddim", 4, [-1, 63 - 1, 250 - 1, 563 - 1, 1000 - 1]),
    ],
)
def test_published_indices(name, steps, numbers):
    assert time_grid(IMAGE, name, steps).tolist() == numbers


@pytest.mark.parametrize("steps", [5, 10])
def test_the_floor_form_of_the_hsivi_paper(steps):
    exact = [800 * t * t // steps**2 for t in range(steps + 1)]  # floor((sqrt(800) t / T)^2)
    assert time_grid(IMAGE, "hsivi", steps).tolist() == exact


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [
        (5, [0.01, 0.18689, 0.36377, 0.54066, 0.71754, 0.89443]),
        (10, [0.01, 0.09844, 0.18689, 0.27533, 0.36377, 0.45221, 0.54066, 0.62910, 0.71754, 0.80598, 0.89443]),
    ],
)
def test_toy_grid(steps, numbers):
    grid = time_grid(TOY, "hsivi", steps)
    torch.testing.assert_close(grid, torch.tensor(numbers, dtype=torch.float64), rtol=0, atol=5.1e-6)  # 5 decimals
    assert abs(float(TOY.sigma(grid[-1]) ** 2) - 0.8) < 1e-15


def test_clean_data_have_no_noise():
    for name in ("ddim_quad_floor", "iddim", "var_quadratic"):
        level = time_grid(IMAGE, name, 5)[0]
        assert (IMAGE.alpha_bar(level), IMAGE.sigma(level)) == (1, 0)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_experiments_know_the_same_names(kind):
    assert set(grids(SCHEDULES[kind])) == set(TIME_GRIDS[kind])
    assert len(TIME_GRIDS[kind]) == len(set(TIME_GRIDS[kind]))


@EVERY
def test_every_grid_has_a_summary_of_one_line(schedule, name):
    grid = grids(schedule)[name]
    assert grid.name == name
    assert 20 < len(grid.summary) <= 120
    assert "\n" not in grid.summary


@BOTH
def test_errors_are_one_line_and_name_what_was_given(schedule):
    cases = {
        ("cubic", 5): r"got 'cubic', expected one of .*hsivi.*; choose a listed name",
        ("hsivi", 0): "got 0 steps, expected at least 1; give a positive NFE",
        ("hsivi", -3): "got -3 steps, expected at least 1",
    }
    for (name, steps), words in cases.items():
        with pytest.raises(ValueError, match=words) as caught:
            time_grid(schedule, name, steps)
        assert "\n" not in str(caught.value)


def test_a_grid_of_the_other_schedule_is_refused():
    with pytest.raises(ValueError, match="got 'ddim_quad_floor', expected one of hsivi, full"):
        time_grid(TOY, "ddim_quad_floor", 5)


# ---------------------------------------------------------------------------------------------- the cosine schedule
def test_the_cosine_schedule_has_the_grids_of_the_linear_one_but_fastdpms():
    assert list(grids(COSINE)) == [name for name in grids(IMAGE) if name not in VAR]
    assert all(20 < len(grid.summary) <= 120 for grid in grids(COSINE).values())


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [
        (1, [0, 500]),
        (5, [0, 166, 332, 498, 664, 830]),
        (10, [0, 90, 180, 270, 360, 450, 540, 630, 720, 810, 900]),
        (15, [0, 62, 124, 186, 248, 310, 372, 434, 496, 558, 620, 682, 744, 806, 868, 930]),
    ],
)
def test_the_hsivi_grid_of_the_cosine_schedule_is_uniform(steps, numbers):
    assert time_grid(COSINE, "hsivi", steps).tolist() == numbers


@pytest.mark.parametrize(("steps", "amplitude"), [(5, 0.260), (10, 0.154), (15, 0.107)])
def test_how_much_signal_the_uniform_grid_starts_from(steps, amplitude):
    """The start from N(0, I) misses this share of the signal's amplitude."""
    assert abs(COSINE.alpha_bar(time_grid(COSINE, "hsivi", steps)[-1]).sqrt().item() - amplitude) < 5e-4


INDEX_RULES = ["ddim_quad_floor", "quad_round", "uniform", "ends_included", "linear_floor", "iddim"]


@pytest.mark.parametrize("name", INDEX_RULES)
def test_rules_of_indices_do_not_depend_on_the_noise(name):
    for steps in (2, 5, 10, 15, 50):
        assert torch.equal(time_grid(COSINE, name, steps), time_grid(IMAGE, name, steps))


@pytest.mark.parametrize("name", grids(COSINE))
def test_every_cosine_grid_is_a_grid(name):
    for steps in [1000] if name == "full" else range(2, 61):
        levels = time_grid(COSINE, name, steps)
        assert levels.shape == (steps + 1,)
        assert levels.dtype == torch.float64
        assert (levels.diff() >= (0 if grids(COSINE)[name].repeats else 1e-9)).all()
        assert levels[0] == (COSINE.lowest if name in ENDS_NOISY else COSINE.clean)
        assert 0 < levels[-1] <= COSINE.highest


def test_the_top_of_the_cosine_schedule_for_dpm_solver():
    """The official code keeps the indices whose half log-SNR is -5.1 or more."""
    half = half_log_snr(COSINE, torch.tensor([995, 996], dtype=torch.float64))
    assert half[0] > -5.1 > half[1]
    for name in ("time_uniform", "logsnr", "fast_logsnr", "order2_logsnr", "order3_logsnr"):
        assert time_grid(COSINE, name, 10)[-1] == 995
    assert half_log_snr(IMAGE, torch.tensor(999.0)) > -5.1  # so nothing is dropped from the linear schedule


@pytest.mark.parametrize("steps", [1, 5, 10, 15, 50])
def test_cosine_levels_equidistant_in_half_log_snr(steps):
    """Against the closed form solved for the time, without a search."""
    levels = time_grid(COSINE, "logsnr", steps)
    angle = 0.008 / 1.008 * math.pi / 2
    half = [0.5 * math.log(a / (1 - a)) for a in COSINE.alpha_bar(levels[[0, -1]]).tolist()]
    for t, level in enumerate(levels.tolist()):
        signal = 1 / (1 + math.exp(-2 * (half[0] + (half[1] - half[0]) * t / steps)))
        time = math.acos(math.sqrt(signal) * math.cos(angle)) / (math.pi / 2) * 1.008 - 0.008
        assert abs(level - (1000 * time - 1)) < 1e-8


def test_uniform_steps_the_cosine_schedule_has_no_room_for():
    with pytest.raises(ValueError, match=r"time grid 'hsivi': got 10 steps, .*; use another"):
        time_grid(CosineSchedule(10), "hsivi", 10)
    with pytest.raises(ValueError, match="got 'var_linear', expected one of hsivi, ddim_quad_floor"):
        time_grid(COSINE, "var_linear", 5)


def test_experiments_know_the_cosine_grids() -> None:
    assert set(grids(COSINE)) == set(TIME_GRIDS["cosine"])
