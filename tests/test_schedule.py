"""Noise schedules: variances, their continuation between trained levels, and the inverse."""

import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from hsivi.schedule import CosineSchedule, LinearBetaSchedule, QuadraticSchedule, half_log_snr

TOY = QuadraticSchedule()
IMAGE = LinearBetaSchedule()
COSINE = CosineSchedule()
BOTH = pytest.mark.parametrize("schedule", [TOY, IMAGE], ids=["toy", "image"])
INDICES = torch.arange(-1, 1000, dtype=torch.float64)
BETWEEN = torch.linspace(-1, 999, 20_001, dtype=torch.float64)


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


def test_a_range_of_levels():
    assert (TOY.clean, TOY.lowest, TOY.highest) == (0.0, 0.01, 0.8**0.5)
    assert (IMAGE.clean, IMAGE.lowest, IMAGE.highest) == (-1.0, 0.0, 999.0)
    assert LinearBetaSchedule(num_levels=10).highest == 9


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types_and_shapes_are_kept(schedule, dtype):
    s = torch.linspace(schedule.lowest, schedule.highest, 12, dtype=dtype).reshape(3, 4)
    for got in (schedule.alpha_bar(s), schedule.sigma(s), half_log_snr(schedule, s), schedule.network_time(s)):
        assert got.dtype == dtype
        assert got.shape == s.shape
    assert schedule.level(schedule.alpha_bar(s.double())).shape == s.shape


@given(st.floats(0, 1))
def test_float32_is_float64_rounded_once(at):
    s = torch.tensor([-1 + 1000 * at], dtype=torch.float32)
    for name in ("alpha_bar", "sigma"):
        function = getattr(IMAGE, name)
        torch.testing.assert_close(function(s), function(s.double()).float(), rtol=2e-7, atol=0)


@BOTH
def test_signal_and_noise_variance_sum_to_one(schedule):
    s = torch.linspace(schedule.clean, schedule.highest, 5_001, dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha_bar(s) + schedule.sigma(s) ** 2, torch.ones_like(s), rtol=0, atol=1e-12)


@BOTH
def test_half_log_snr(schedule):
    s = torch.linspace(schedule.lowest, schedule.highest, 1_001, dtype=torch.float64)
    expected = [0.5 * math.log(a / (1 - a)) for a in schedule.alpha_bar(s).tolist()]
    torch.testing.assert_close(half_log_snr(schedule, s), torch.tensor(expected, dtype=torch.float64))
    assert half_log_snr(schedule, torch.tensor(schedule.clean)) == math.inf


def test_half_log_snr_of_the_published_ends():
    """DPM-Solver's range for the linear schedule, -5.059 to 4.605."""
    ends = half_log_snr(IMAGE, torch.tensor([999.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([-5.059, 4.605], dtype=torch.float64), rtol=0, atol=5e-4)


def test_the_gamma_function_continues_the_table():
    difference = IMAGE._log_product(INDICES) - IMAGE.alpha_bars.log()
    assert difference.abs().max() < 1e-9


def test_the_continuation_is_near_linear_interpolation_of_the_logarithm():
    """DPM-Solver's code interpolates log alpha_bar between whole indices; FastDPM continues the product."""
    whole = BETWEEN.floor().clamp(max=998).long() + 1
    log, weight = IMAGE.alpha_bars.log(), BETWEEN + 1 - whole
    interpolated = (log[whole] * (1 - weight) + log[whole + 1] * weight).exp()
    relative = (IMAGE.alpha_bar(BETWEEN) / interpolated - 1).abs()
    assert relative.max() < 3e-6
    assert relative.max() > 1e-6  # but they are not the same


def test_the_continuation_obeys_the_recursion_of_the_product():
    """alpha_bar(s) = alpha_bar(s - 1) (1 - beta(s)) at real s, with beta linear, as at whole indices."""
    s = torch.linspace(0.25, 998.75, 3_995, dtype=torch.float64)
    beta = IMAGE.beta_min + (IMAGE.beta_max - IMAGE.beta_min) / 999 * s
    torch.testing.assert_close(IMAGE.alpha_bar(s), IMAGE.alpha_bar(s - 1) * (1 - beta), rtol=1e-9, atol=0)


def test_alpha_bar_decreases_between_levels():
    assert (IMAGE.alpha_bar(BETWEEN).diff() < 0).all()
    assert (IMAGE.sigma(BETWEEN).diff() > 0).all()


@BOTH
def test_level_inverts_alpha_bar(schedule):
    s = torch.linspace(schedule.lowest, schedule.highest, 5_001, dtype=torch.float64)
    torch.testing.assert_close(schedule.level(schedule.alpha_bar(s)), s, rtol=0, atol=1e-6)
    signal = torch.linspace(float(schedule.alpha_bar(s[-1])), 1, 5_001, dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha_bar(schedule.level(signal)), signal, rtol=0, atol=1e-9)


def test_level_is_exact_at_whole_indices():
    assert torch.equal(IMAGE.level(IMAGE.alpha_bars), INDICES)


@pytest.mark.parametrize("signal", [1.01, 1e-6])
def test_a_level_outside_the_schedule_is_one_line(signal):
    with pytest.raises(ValueError, match=r"level: got signal variances .*, expected them in \[.*, 1\]; ") as caught:
        IMAGE.level(torch.tensor([0.5, signal], dtype=torch.float64))
    assert "\n" not in str(caught.value)


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


# ---------------------------------------------------------------------------------------------- the cosine schedule
def cosine_formula(index, num_levels=1000):
    """Return f(t) / f(0) of Nichol and Dhariwal (2021), equation 17, at t = (index + 1) / num_levels."""

    def f(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    return f((index + 1) / num_levels) / f(0)


@pytest.mark.parametrize("num_levels", [2, 10, 1000, 4000])
def test_the_cosine_schedule_is_its_closed_form_but_for_the_last_level(num_levels):
    schedule = CosineSchedule(num_levels)
    s = torch.cat([torch.arange(-1, num_levels - 1), torch.linspace(-1, num_levels - 1.04, 997)]).double()
    expected = torch.tensor([cosine_formula(i, num_levels) for i in s.tolist()], dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha_bar(s), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(schedule.sigma(s) ** 2, 1 - expected, rtol=1e-12, atol=1e-14)
    last = schedule.alpha_bar(torch.tensor(schedule.highest, dtype=torch.float64)).item()
    assert last == pytest.approx((1 - 0.999) * cosine_formula(num_levels - 2, num_levels), rel=1e-9)


@pytest.mark.parametrize("num_levels", [1, 2, 10, 1000, 4000])
def test_only_the_last_beta_of_the_cosine_schedule_is_capped(num_levels):
    betas = CosineSchedule(num_levels).betas
    assert betas[-1] == 0.999
    assert ((betas[:-1] > 0) & (betas[:-1] < 0.75)).all()


def test_the_cosine_schedule_of_diffusers():
    theirs = DDPMScheduler(beta_schedule="squaredcos_cap_v2", num_train_timesteps=1000)
    index = torch.arange(1000)
    torch.testing.assert_close(COSINE.betas.float(), theirs.betas, rtol=0, atol=1e-6)
    torch.testing.assert_close(COSINE.alpha_bar(index), theirs.alphas_cumprod, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        COSINE.alpha_bar(index[500:]).log(), theirs.alphas_cumprod[500:].log(), rtol=0, atol=2e-4
    )


@pytest.mark.parametrize(("index", "value", "half"), [(830, 0.068, 5e-4), (900, 0.024, 5e-4), (930, 0.0115, 5e-5)])
def test_published_levels_of_the_cosine_schedule(index, value, half):
    assert abs(COSINE.alpha_bar(torch.tensor(index)).item() - value) < half


def test_the_cosine_schedule_obeys_the_capped_recursion_between_levels():
    """alpha_bar(s) = alpha_bar(s - 1) (1 - min(beta(s), 0.999)) at real s, as at whole indices."""
    s = torch.cat([torch.linspace(0, 999, 3_997), torch.linspace(998.9, 999, 101)]).double()
    before = [cosine_formula(i - 1) for i in s.tolist()]
    beta = [min(1 - cosine_formula(i) / b, 0.999) for i, b in zip(s.tolist(), before, strict=True)]
    expected = [b * (1 - step) for b, step in zip(before, beta, strict=True)]
    assert 0 < sum(step == 0.999 for step in beta) < 100  # the cap binds for the last thirtieth of an index
    torch.testing.assert_close(COSINE.alpha_bar(s), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0)


def fine_cosine_times():
    """Return increasing times over the range, more of them at both ends."""
    clean, noisy = (torch.linspace(start, start + 1, 2_001, dtype=torch.float64) for start in (-1, 998))
    return torch.cat([clean, BETWEEN[(BETWEEN > 0.01) & (BETWEEN < 997.99)], noisy])


def test_cosine_alpha_bar_decreases_between_levels():
    s = fine_cosine_times()
    assert (COSINE.alpha_bar(s).diff() < 0).all()
    assert (COSINE.sigma(s).diff() >= 0).all()
    assert (COSINE.alpha_bar(s[0]), COSINE.sigma(s[0])) == (1, 0)
    assert (half_log_snr(COSINE, s).diff() < 0).all()


def test_level_inverts_cosine_alpha_bar():
    s = fine_cosine_times()
    torch.testing.assert_close(COSINE.level(COSINE.alpha_bar(s)), s, rtol=0, atol=1e-9)
    signal = torch.cat([torch.linspace(3e-9, 1, 5_001), torch.logspace(-8.5, 0, 5_001)]).double()
    torch.testing.assert_close(COSINE.alpha_bar(COSINE.level(signal)), signal, rtol=1e-9, atol=0)
    assert torch.equal(COSINE.level(COSINE.alpha_bars), INDICES)


@given(st.integers(1, 4000), st.sampled_from([torch.float32, torch.float64, torch.int64]))
def test_cosine_alpha_bar_is_a_decreasing_variance(num_levels, dtype):
    alpha_bar = CosineSchedule(num_levels).alpha_bar(torch.arange(-1, num_levels).to(dtype))
    assert alpha_bar[0] == 1
    assert ((alpha_bar > 0) & (alpha_bar <= 1)).all()
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar.dtype == (dtype if dtype.is_floating_point else torch.get_default_dtype())


@given(st.floats(0, 1))
def test_float32_cosine_is_float64_rounded_once(at):
    s = torch.tensor([-1 + 1000 * at], dtype=torch.float32)
    for name in ("alpha_bar", "sigma"):
        function = getattr(COSINE, name)
        torch.testing.assert_close(function(s), function(s.double()).float(), rtol=2e-7, atol=0)


def test_the_cosine_schedule_has_the_times_of_a_discrete_one():
    assert (COSINE.clean, COSINE.lowest, COSINE.highest) == (-1.0, 0.0, 999.0)
    s = torch.tensor([0.0, 166.0, 830.0])
    assert torch.equal(COSINE.network_time(s), s)
    assert torch.equal(COSINE.training_times(torch.tensor([0.0, 0.5, 0.9999])), torch.tensor([0.0, 500.0, 999.0]))
    with pytest.raises(ValueError, match=r"level: got signal variances .*, expected them in \[2.43e-09, 1\]; "):
        COSINE.level(torch.tensor([1e-9], dtype=torch.float64))


@pytest.mark.parametrize("kind", [LinearBetaSchedule, CosineSchedule])
def test_discrete_schedules_are_values(kind):
    """Equal settings make equal schedules, whatever has been looked up in them."""
    used, fresh = kind(num_levels=50), kind(num_levels=50)
    used.alpha_bar(torch.tensor(3))
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert used != kind(num_levels=51)
