"""iDDIM: its states as combinations of denoised predictions, read off with a score model that says what is wanted."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsivi.config import ConfigError
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.sampler import load_baseline, make_config
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule, Schedule
from hsivi.score_model import GaussianMixtureScoreModel, ScoreModel
from hsivi.time_grid import time_grid

IMAGE, TOY = LinearBetaSchedule(), QuadraticSchedule()
NUM = 100
GRIDS = [(IMAGE, "iddim"), (IMAGE, "hsivi"), (IMAGE, "ddim_quad_floor"), (IMAGE, "var_linear"), (TOY, "hsivi")]
MIXES = st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0]) | st.floats(0, 1)
STEPS = st.integers(2, 12)
CHAINS = ["mixed", "separate"]
WHERE = {"mix": MIXES, "steps": STEPS, "chain": st.sampled_from(CHAINS), "where": st.sampled_from(GRIDS)}


class Saying(ScoreModel):
    """A model whose denoised x0 is, whatever x is, the k-th of given ones at the k-th of given levels."""

    event_ndim = 1

    def __init__(self, schedule: Schedule, levels: Tensor, predictions: Tensor) -> None:
        self.schedule = schedule
        self.levels = levels.tolist()
        self.predictions = predictions
        self.asked: list[tuple[float, Tensor]] = []

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        k = len(self.levels) - 1 - len(self.asked)
        self.asked.append((s.item(), x[0]))
        assert s.item() == self.levels[k]
        return (x - self.schedule.alpha_bar(s).sqrt() * self.predictions[k]) / self.schedule.sigma(s)


def mixture(schedule: Schedule) -> GaussianMixtureScoreModel:
    means, variances = torch.tensor([[0.5, -0.3], [-0.6, 0.4]]), torch.tensor([0.05, 0.1])
    parts = (means, variances, torch.tensor([0.3, 0.7]))
    return GaussianMixtureScoreModel(schedule, *(part.double() for part in parts))


def path(model: ScoreModel, levels: Tensor, noise: Any, values: dict[str, Any], name: str = "iddim") -> list[Tensor]:
    """Return x_{T-1}, ..., x_0."""
    shape, steps = tuple(noise.prior().shape[1:]), len(levels) - 1
    problem = Problem(steps, shape, lambda n, *key: torch.zeros(n, *shape), teacher=model, levels=levels)
    baseline = load_baseline(name)
    states = list(baseline.sample(problem, make_config(baseline, values, name), noise, {}))
    assert len(states) == problem.counter.count == steps
    return states


def start(x: Tensor) -> SimpleNamespace:
    """Return a noise that knows x_T alone: a step that asked for more would fail."""
    return SimpleNamespace(prior=lambda: x)


def normal(dtype: torch.dtype = torch.float64) -> SampleNoise:
    return SampleNoise(5, 0, NUM, (2,), dtype=dtype)


def coefficients(levels: Tensor, schedule: Schedule, values: dict[str, Any]) -> Tensor:
    """Return what x_{t-1} is made of: row t for t = T..1, columns x_T, x0^1, ..., x0^T; shape (T, T + 1)."""
    unit = torch.eye(len(levels), dtype=torch.float64)
    return torch.cat(path(Saying(schedule, levels, unit), levels, start(unit[:1]), values))


def straight(levels: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """Return B_{t-1} and C_{t-1} for t = T..1: the path between x0 and x_T (eq. (5) and (8)); shape (T,) each."""
    scale, std = schedule.alpha_bar(levels).sqrt(), schedule.sigma(levels)
    share = std[:-1] / std[-1]
    return (scale[:-1] - share * scale[-1]).flip(0), share.flip(0)


def expected_weights(a: list[float], t: int, mix: float, chain: str) -> list[float]:
    """Return omega_t^k for k = t..T, with A_k in ``a``.

    Separate: eq. (34).  Mixed: unrolling x_{t-1} / sigma_{t-1} = (1 - m) [x_t / sigma_t + (A_{t-1} - A_t) x0^t] +
    m [x_T / sigma_T + (A_{t-1} - A_T) x0^t] puts a factor 1 - m on every prediction at every later step.
    """
    last = len(a) - 1
    if chain == "separate":
        older = [(1 - mix) * (a[k - 1] - a[k]) for k in range(t + 1, last + 1)]
        return [a[t - 1] - a[t] + mix * (a[t] - a[last]), *older]
    return [
        (1 - mix) ** (k - t) * ((1 - mix) * (a[k - 1] - a[k]) + mix * (a[k - 1] - a[last])) for k in range(t, last + 1)
    ]


@settings(deadline=None, max_examples=30)
@given(**WHERE)
def test_every_state_is_a_convex_ensemble_on_the_straight_path(
    mix: float, steps: int, chain: str, where: tuple[Schedule, str]
) -> None:
    schedule, grid = where
    levels = time_grid(schedule, grid, steps)
    rows = coefficients(levels, schedule, {"mix": mix, "chain": chain})
    toward, left = straight(levels, schedule)
    torch.testing.assert_close(rows[:, 0], left, rtol=1e-9, atol=1e-12)  # sqrt(bbar_{t-1} / bbar_T) x_T
    torch.testing.assert_close(rows[:, 1:].sum(1), toward, rtol=1e-9, atol=1e-12)
    weights = rows[:, 1:] / toward[:, None]
    assert (weights > -1e-9).all()
    for row, t in enumerate(reversed(range(1, steps + 1))):
        assert (weights[row, : t - 1] == 0).all(), "no prediction is used before it is made"


@settings(deadline=None, max_examples=30)
@given(**WHERE)
def test_weights(mix: float, steps: int, chain: str, where: tuple[Schedule, str]) -> None:
    schedule, grid = where
    levels = time_grid(schedule, grid, steps)
    rows = coefficients(levels, schedule, {"mix": mix, "chain": chain})
    toward, _ = straight(levels, schedule)
    ratio = (schedule.alpha_bar(levels).sqrt() / schedule.sigma(levels)).tolist()
    lowest = 2 if schedule.sigma(levels[0]) == 0 else 1  # A_0 is infinite for clean data
    for t in range(lowest, steps + 1):
        omega = torch.tensor(expected_weights(ratio, t, mix, chain), dtype=torch.float64)
        torch.testing.assert_close(rows[steps - t, t:] / toward[steps - t], omega / omega.sum(), rtol=1e-8, atol=1e-10)


def test_the_two_readings_differ() -> None:
    """The third of four steps on the paper's grid, from the oldest prediction to the latest."""
    levels = time_grid(IMAGE, "iddim", 4)
    toward, _ = straight(levels, IMAGE)
    published = {"mixed": [0.021, 0.136, 0.843], "separate": [0.030, 0.128, 0.843]}
    for chain, numbers in published.items():
        weights = coefficients(levels, IMAGE, {"mix": 0.3, "chain": chain})[2, 1:] / toward[2]
        expected = torch.tensor(numbers, dtype=torch.float64)
        torch.testing.assert_close(weights[1:].flip(0), expected, rtol=0, atol=6e-4)


@pytest.mark.parametrize(("schedule", "grid"), GRIDS)
@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_two_readings_agree_at_the_ends_and_for_two_steps(schedule: Schedule, grid: str, mix: float) -> None:
    for steps in (2, 3, 6):
        levels = time_grid(schedule, grid, steps)
        ours, other = (path(mixture(schedule), levels, normal(), {"mix": mix, "chain": chain}) for chain in CHAINS)
        close = torch.allclose(torch.stack(ours), torch.stack(other), rtol=1e-10, atol=1e-10)
        # A last step to clean data forgets the past, so that two of three steps are where they could differ.
        same = mix in (0.0, 1.0) or steps <= (3 if schedule.sigma(levels[0]) == 0 else 2)
        assert close == same, (steps, mix)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(("schedule", "grid"), GRIDS)
def test_without_mixing_it_is_ddim(schedule: Schedule, grid: str, chain: str) -> None:
    for steps in (2, 5, 20):
        levels = time_grid(schedule, grid, steps)
        ours = path(mixture(schedule), levels, normal(), {"mix": 0.0, "chain": chain})
        ddim = path(mixture(schedule), levels, normal(), {}, "ddim")
        torch.testing.assert_close(torch.stack(ours), torch.stack(ddim), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(("schedule", "grid"), GRIDS)
def test_the_radical_model_starts_every_step_from_the_noise(schedule: Schedule, grid: str, chain: str) -> None:
    levels, model = time_grid(schedule, grid, 6), mixture(schedule)
    x = prior = normal().prior()
    toward, left = straight(levels, schedule)
    for row, got in enumerate(path(model, levels, normal(), {"mix": 1.0, "chain": chain})):
        x = toward[row] * model.denoised(x, levels[6 - row]) + left[row] * prior  # eq. (10)
        torch.testing.assert_close(got, x, rtol=1e-9, atol=1e-9)


def test_the_radical_model_is_the_default() -> None:
    assert make_config(load_baseline("iddim"), {}, "").chain == "separate"
    levels = time_grid(IMAGE, "iddim", 5)
    default, radical = (path(mixture(IMAGE), levels, normal(), values)[-1] for values in ({}, {"mix": 1.0}))
    assert torch.equal(default, radical)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_model_is_asked_about_the_mixed_state(chain: str, mix: float) -> None:
    levels = time_grid(IMAGE, "iddim", 5)
    unit = torch.eye(6, dtype=torch.float64)
    model = Saying(IMAGE, levels, unit)
    states = path(model, levels, start(unit[:1]), {"mix": mix, "chain": chain})
    assert [s for s, _ in model.asked] == levels[1:].flip(0).tolist()
    for (_, asked), state in zip(model.asked, [unit[:1], *states[:-1]], strict=True):
        assert torch.equal(asked, state)


@settings(deadline=None, max_examples=30)
@given(MIXES, STEPS, st.sampled_from(CHAINS), st.sampled_from(["iddim", "ddim_quad_floor", "var_linear"]))
def test_the_last_step_to_clean_data_returns_the_denoised(mix: float, steps: int, chain: str, grid: str) -> None:
    levels, model = time_grid(IMAGE, grid, steps), mixture(IMAGE)
    states = path(model, levels, normal(), {"mix": mix, "chain": chain})
    torch.testing.assert_close(states[-1], model.denoised(states[-2], levels[1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_clip_bounds_every_prediction(chain: str, mix: float) -> None:
    """A clipped chain is the chain of the clipped predictions, on grids with and without noise at the end."""
    wild = torch.tensor([[0.0], [0.5], [-3.0], [1.5], [0.2]], dtype=torch.float64)
    prior = torch.tensor([[0.7], [-2.0]], dtype=torch.float64)
    for grid in ("iddim", "hsivi"):
        levels = time_grid(IMAGE, grid, 4)
        values = {"mix": mix, "chain": chain}
        clipped = path(Saying(IMAGE, levels, wild), levels, start(prior), {**values, "clip": 0.8})
        plain = path(Saying(IMAGE, levels, wild.clamp(-0.8, 0.8)), levels, start(prior), values)
        torch.testing.assert_close(torch.stack(clipped), torch.stack(plain), rtol=1e-9, atol=1e-12)
        loose = path(Saying(IMAGE, levels, wild), levels, start(prior), {**values, "clip": 9.0})
        assert torch.equal(
            torch.stack(loose), torch.stack(path(Saying(IMAGE, levels, wild), levels, start(prior), values))
        )
    model, levels = mixture(IMAGE), time_grid(IMAGE, "iddim", 5)
    last = path(model, levels, normal(), {"mix": mix, "chain": chain, "clip": 0.3})[-1]
    assert last.abs().max() <= 0.3 + 1e-12


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("grid", ["iddim", "ddim_quad_floor"])
def test_without_mixing_it_is_the_ddim_of_diffusers(grid: str, clip: float | None) -> None:
    """What is clipped is also what the noise is derived from, as with ``use_clipped_model_output``."""
    steps, model = 10, mixture(IMAGE)
    levels = time_grid(IMAGE, grid, steps)
    alpha_bar = IMAGE.alpha_bar(levels)
    scheduler = DDIMScheduler(
        num_train_timesteps=steps,
        trained_betas=(1 - alpha_bar[1:] / alpha_bar[:-1]).numpy(),
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
        set_alpha_to_one=True,
        steps_offset=0,
    )
    scheduler.set_timesteps(steps)
    x = normal(torch.float32).prior()
    for index in scheduler.timesteps:
        eps = model.noise(x, levels[index + 1])
        x = scheduler.step(eps, index, x, use_clipped_model_output=True).prev_sample
    ours = path(model, levels, normal(torch.float32), {"mix": 0.0, "clip": clip})[-1]
    torch.testing.assert_close(ours, x, rtol=5e-5, atol=5e-5)  # diffusers keeps its tables in float32


def test_a_constant_mix_does_not_converge() -> None:
    """With the exact score of N(0, 0.3): DDIM approaches its variance, ``separate`` another, ``mixed`` none."""
    data = 0.3
    part = torch.zeros(1, 1).double(), torch.tensor([data]).double(), torch.ones(1).double()
    model, one = GaussianMixtureScoreModel(IMAGE, *part), torch.ones(1, 1, dtype=torch.float64)

    def ratio(mix: float, chain: str, steps: int) -> float:
        levels = time_grid(IMAGE, "iddim", steps)
        return path(model, levels, start(one), {"mix": mix, "chain": chain})[-1].item() ** 2 / data

    for chain in CHAINS:
        assert 0.7 < ratio(0.0, chain, 10) < ratio(0.0, chain, 100) < 1
        assert ratio(1.0, chain, 100) > 10
    assert 1.05 < ratio(0.1, "separate", 100) < ratio(0.1, "separate", 200) < 1.12
    assert 2 < ratio(0.1, "mixed", 100) < 0.7 * ratio(0.1, "mixed", 200)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        *[({"mix": mix}, "mix: got") for mix in (-0.01, 1.01, float("nan"), "all", None)],
        *[({"chain": "both"}, "chain: got 'both', expected: input should be 'separate' or 'mixed'")],
        *[({"clip": clip}, "clip: got") for clip in (0.0, -1.0, "one")],
        *[({"m": 0.3}, "got 'm', expected")],
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make_config(load_baseline("iddim"), values, "digits.yaml: iddim")
    assert "\n" not in str(caught.value)
