"""Schedules and time grids, with the numbers of the paper's experiments."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule
from hsivi.time_grid import time_grid

TOY = QuadraticSchedule()
IMAGE = LinearBetaSchedule()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_quadratic_alpha_bar_is_a_decreasing_variance(times):
    s = torch.tensor(sorted(times), dtype=torch.float64)
    alpha_bar = TOY.alpha_bar(s)
    assert ((alpha_bar >= 0) & (alpha_bar <= 1)).all()
    assert (alpha_bar.diff() <= 0).all()
    assert torch.allclose(alpha_bar + TOY.sigma(s) ** 2, torch.ones_like(s), rtol=0, atol=1e-15)


@given(
    st.floats(1e-5, 1e-3),
    st.floats(2e-3, 0.05),
    st.integers(2, 1000),
    st.sampled_from([torch.float32, torch.float64, torch.int64]),
)
def test_linear_beta_alpha_bar_is_a_decreasing_variance(beta_min, beta_max, num_levels, dtype):
    schedule = LinearBetaSchedule(beta_min, beta_max, num_levels)
    alpha_bar = schedule.alpha_bar(torch.arange(-1, num_levels).to(dtype))
    assert alpha_bar[0] == 1
    assert ((alpha_bar > 0) & (alpha_bar <= 1)).all()
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar.dtype == (dtype if dtype.is_floating_point else torch.get_default_dtype())


def test_linear_beta_values():
    s = torch.tensor([-1.0, 0.0, 1.0, 800.0], dtype=torch.float64)
    second = (1 - 1e-4) * (1 - (1e-4 + (0.02 - 1e-4) / 999))
    exact = torch.tensor([1, 1 - 1e-4, second, IMAGE.alpha_bars[801].item()], dtype=torch.float64)
    torch.testing.assert_close(IMAGE.alpha_bar(s), exact, rtol=1e-14, atol=0)
    assert abs(IMAGE.alpha_bar(s)[3] - 0.00151) < 5e-6  # the starting level of the image experiments


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
    assert time_grid(TOY, "full", steps)[-1] == 0.999


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [(5, [0, 32, 128, 288, 512, 800]), (10, [0, 8, 32, 72, 128, 200, 288, 392, 512, 648, 800])],
)
def test_image_grid_and_the_floor_form_of_the_paper(steps, numbers):
    assert time_grid(IMAGE, "hsivi", steps).tolist() == numbers
    assert [800 * t * t // steps**2 for t in range(steps + 1)] == numbers  # floor((sqrt(800) t / T)^2), exactly


def test_image_grid_of_15_steps_rounds():
    numbers = [0, 4, 14, 32, 57, 89, 128, 174, 228, 288, 356, 430, 512, 601, 697, 800]
    assert time_grid(IMAGE, "hsivi", 15).tolist() == numbers


def test_ddim_grid_ends_with_a_jump_to_clean_data():
    grid = time_grid(IMAGE, "ddim_quad_floor", 5)
    assert grid.tolist() == [-1, 0, 50, 200, 450, 800]
    assert IMAGE.alpha_bar(grid)[0] == 1
    assert time_grid(IMAGE, "full", 1000).tolist() == list(range(-1, 1000))


@given(st.integers(1, 20))
def test_grids_increase(steps):
    grids = [time_grid(TOY, "hsivi", steps), time_grid(TOY, "full", steps), time_grid(IMAGE, "hsivi", steps)]
    for grid in grids:
        assert grid.shape == (steps + 1,)
        assert grid.dtype == torch.float64
        assert (grid.diff() > 0).all()


@given(st.floats(0, 1, exclude_max=True))
def test_training_times_are_the_discrete_levels(u):
    time = torch.tensor([u], dtype=torch.float64)
    level = TOY.training_times(time).item() * 1000
    assert abs(level - round(level)) < 1e-9
    assert 1 <= round(level) <= 1000
    assert IMAGE.training_times(time).item() in range(1000)


def test_network_times():
    s = torch.tensor([0.1, 0.5], dtype=torch.float64)
    torch.testing.assert_close(TOY.network_time(s), torch.tensor([10.0, 250.0], dtype=torch.float64))
    assert torch.equal(IMAGE.network_time(s), s)


@pytest.mark.parametrize("schedule", [TOY, IMAGE], ids=["toy", "image"])
def test_errors_name_what_was_given(schedule):
    with pytest.raises(ValueError, match=r"got 'cubic', expected one of .*hsivi"):
        time_grid(schedule, "cubic", 5)
    with pytest.raises(ValueError, match="got 0 steps, expected at least 1"):
        time_grid(schedule, "hsivi", 0)


@pytest.mark.parametrize(("name", "steps"), [("full", 10), ("hsivi", 200), ("ddim_quad_floor", 1)])
def test_a_grid_without_that_many_levels_is_refused(name, steps):
    with pytest.raises(ValueError, match=f"got {steps} steps"):
        time_grid(IMAGE, name, steps)
