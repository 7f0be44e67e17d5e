"""DPM-Solver against diffusers, identities, exact integrals, and the closed form of the flow of Gaussian data."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler
from torch import Tensor

from hsivi.config import ConfigError
from hsivi.dpm_solver import ExponentialIntegrator
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.sampler import draw, load_baseline, make_config, skip_reason
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule, Schedule, half_log_snr
from hsivi.score_model import GaussianMixtureScoreModel, ScoreModel
from hsivi.time_grid import fast_orders, time_grid

LINEAR, QUADRATIC = LinearBetaSchedule(), QuadraticSchedule()
SINGLE, FAST, MULTI = "dpm_solver", "dpm_solver_fast", "dpm_solver_multistep"
ALGORITHM = {"noise": "dpmsolver", "data": "dpmsolver++"}
PREDICTIONS = pytest.mark.parametrize("prediction", ["noise", "data"])
FLOAT32_TABLES = {"rtol": 2e-5, "atol": 2e-5}  # diffusers keeps its levels in float32
FLOAT64 = {"rtol": 1e-9, "atol": 1e-9}
NUM, SEED = 200, 5

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array__:DeprecationWarning")  # diffusers'


def mixture(schedule: Schedule) -> ScoreModel:
    means, variances = torch.tensor([[0.5, -0.3], [-0.6, 0.4]]), torch.tensor([0.05, 0.1])
    return GaussianMixtureScoreModel(schedule, means.double(), variances.double(), torch.tensor([0.3, 0.7]).double())


def problem(model: ScoreModel, levels: Tensor, dim: int = 2) -> Problem:
    return Problem(len(levels) - 1, (dim,), lambda n, *key: torch.zeros(n, dim), teacher=model, levels=levels)


def prior(dim: int = 2, num: int = NUM) -> Tensor:
    return SampleNoise(SEED, 0, num, (dim,), dtype=torch.float64).prior()


def path(name: str, values: dict[str, Any], given: Problem, num: int = NUM) -> Tensor:
    """Return x_{T-1}, ..., x_0 in float64, shape (T, num, d)."""
    noise = SampleNoise(SEED, 0, num, given.event_shape, dtype=torch.float64)
    baseline = load_baseline(name)
    given.counter.count = 0
    return torch.stack(list(baseline.sample(given, make_config(baseline, values, name), noise, {})))


def ends(orders: tuple[int, ...]) -> set[int]:
    return set(np.cumsum(orders).tolist())


# diffusers


def diffusers_path(
    kind: Any, given: Problem, own_tables: bool, ends: set[int] | None = None, **settings: Any
) -> Tensor:
    """Run a scheduler of diffusers on integer levels, or with the levels of any grid put in.

    Its inner stages follow ``solver_type`` too, unlike DPM-Solver's, which are those of ``heun`` in a step of order 3
    whatever the end.  With ``ends``, the numbers of evaluations after which a step ends, they are.
    """
    scheduler = kind(1000, 1e-4, 0.02, final_sigmas_type="sigma_min", **settings)
    evaluated = given.grid[1:].flip(0)
    scheduler.set_timesteps(timesteps=evaluated.long().tolist() if own_tables else list(range(len(evaluated), 0, -1)))
    if not own_tables:
        scheduler.sigmas = (-half_log_snr(LINEAR, given.grid.flip(0))).exp()
    x, states = prior(), []
    for i, (index, s) in enumerate(zip(scheduler.timesteps, evaluated, strict=True)):
        if ends is not None:
            scheduler.register_to_config(solver_type="midpoint" if i + 1 in ends else "heun")
        x = scheduler.step(given.teacher.noise(x, s), index, x).prev_sample
        states.append(x)
    return torch.stack(states)


@PREDICTIONS
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("grid", "nfe"), [("time_uniform", 9), ("hsivi", 10), ("hsivi", 7)])
def test_singlestep_is_that_of_diffusers(grid: str, nfe: int, order: int, prediction: str) -> None:
    given = problem(mixture(LINEAR), time_grid(LINEAR, grid, nfe).round())
    settings = {"solver_order": order, "solver_type": "midpoint", "lower_order_final": nfe % order > 0}
    theirs = diffusers_path(DPMSolverSinglestepScheduler, given, True, algorithm_type=ALGORITHM[prediction], **settings)
    ours = path(SINGLE, {"order": order, "prediction": prediction}, given)
    torch.testing.assert_close(ours, theirs, **FLOAT32_TABLES)


@PREDICTIONS
@pytest.mark.parametrize(
    ("grid", "nfe", "own_tables"),
    [("hsivi", 9, True), ("hsivi", 12, True), ("time_uniform", 9, False), ("logsnr", 6, False)],
)
def test_taylor_is_heun_of_diffusers(grid: str, nfe: int, own_tables: bool, prediction: str) -> None:
    given = problem(mixture(LINEAR), time_grid(LINEAR, grid, nfe))
    settings = {"algorithm_type": ALGORITHM[prediction], "solver_order": 3, "solver_type": "heun"}
    theirs = diffusers_path(DPMSolverSinglestepScheduler, given, own_tables, **settings)
    ours = path(SINGLE, {"order": 3, "correction": "taylor", "prediction": prediction}, given)
    torch.testing.assert_close(ours, theirs, **(FLOAT32_TABLES if own_tables else FLOAT64))


@PREDICTIONS
@pytest.mark.parametrize("nfe", [3, 5, 6, 7, 10, 11])
@pytest.mark.parametrize("grid", ["fast_logsnr", "logsnr", "time_uniform", "hsivi"])
def test_fast_is_composed_of_steps_of_diffusers(grid: str, nfe: int, prediction: str) -> None:
    """With our levels in float64; the schedule of orders is the scheduler's own."""
    given = problem(mixture(LINEAR), time_grid(LINEAR, grid, nfe))
    settings = {"algorithm_type": ALGORITHM[prediction], "solver_order": 3, "lower_order_final": True}
    theirs = diffusers_path(DPMSolverSinglestepScheduler, given, False, ends(fast_orders(nfe)), **settings)
    torch.testing.assert_close(path(FAST, {"prediction": prediction}, given), theirs, **FLOAT64)
    if nfe % 3:
        ours = path(SINGLE, {"order": 3, "prediction": prediction}, given)
        torch.testing.assert_close(ours, theirs, **FLOAT64)


@PREDICTIONS
@pytest.mark.parametrize("lower_order_final", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(
    ("grid", "nfe", "own_tables"),
    [("hsivi", 5, True), ("hsivi", 10, True), ("time_uniform", 9, False), ("logsnr", 6, False)],
)
def test_multistep_is_that_of_diffusers(
    grid: str, nfe: int, own_tables: bool, order: int, lower_order_final: bool, prediction: str
) -> None:
    """Its states are float32 on any grid."""
    given = problem(mixture(LINEAR), time_grid(LINEAR, grid, nfe))
    settings = {"algorithm_type": ALGORITHM[prediction], "solver_order": order, "lower_order_final": lower_order_final}
    theirs = diffusers_path(DPMSolverMultistepScheduler, given, own_tables, **settings)
    values = {"order": order, "prediction": prediction, "lower_order_final": lower_order_final}
    torch.testing.assert_close(path(MULTI, values, given), theirs, **FLOAT32_TABLES)


# identities

GRIDS = [(s, g) for s in (LINEAR, QUADRATIC) for g in ("fast_logsnr", "logsnr", "time_uniform", "hsivi")]


@pytest.mark.parametrize(("schedule", "grid"), GRIDS)
@PREDICTIONS
def test_order_one_is_ddim(schedule: Schedule, grid: str, prediction: str) -> None:
    given = problem(mixture(schedule), time_grid(schedule, grid, 7))
    ddim = path("ddim", {}, given)
    for name in (SINGLE, MULTI):
        torch.testing.assert_close(path(name, {"order": 1, "prediction": prediction}, given), ddim, **FLOAT64)


@PREDICTIONS
def test_the_first_state_is_ddim(prediction: str) -> None:
    """A single evaluation leaves no choice."""
    given = problem(mixture(LINEAR), time_grid(LINEAR, "logsnr", 7))
    first = path("ddim", {}, given)[0]
    rows = [(SINGLE, {"order": o}) for o in (2, 3)] + [(MULTI, {"order": o}) for o in (2, 3)] + [(FAST, {})]
    for name, values in rows:
        torch.testing.assert_close(path(name, {**values, "prediction": prediction}, given)[0], first, **FLOAT64)


@PREDICTIONS
def test_budgets_below_the_order(prediction: str) -> None:
    """K = 1 and 2 are one step of order K; K = 3 is one of order 3, and (2, 1) in DPM-Solver-fast."""
    for nfe in (1, 2):
        given = problem(mixture(LINEAR), time_grid(LINEAR, "logsnr", nfe))
        expected = path(SINGLE, {"order": nfe, "prediction": prediction}, given)
        assert torch.equal(path(SINGLE, {"order": 3, "prediction": prediction}, given), expected)
        assert torch.equal(path(FAST, {"prediction": prediction}, given), expected)
    given = problem(mixture(LINEAR), time_grid(LINEAR, "logsnr", 3))
    expected = path(SINGLE, {"order": 2, "prediction": prediction}, given)
    assert torch.equal(path(FAST, {"prediction": prediction}, given), expected)


def test_options_of_the_multistep_solver_do_something() -> None:
    given = problem(mixture(LINEAR), time_grid(LINEAR, "logsnr", 6))
    full = path(MULTI, {"order": 3, "lower_order_final": False}, given)
    lower = path(MULTI, {"order": 3, "lower_order_final": True}, given)
    exact = path(MULTI, {"order": 3, "lower_order_final": False, "curvature": "exact"}, given)
    assert torch.equal(full[:4], lower[:4]) and not torch.equal(full[4], lower[4])
    assert torch.equal(full[:2], exact[:2]) and not torch.equal(full[2], exact[2])


# exact integrals


class Polynomial(ScoreModel):
    """Outputs that are a polynomial in half log-SNR, whatever the state: as noise, or as data."""

    event_ndim = 1

    def __init__(self, degree: int, prediction: str) -> None:
        self.schedule = QUADRATIC
        self.coefficients = [0.7, -0.4, 0.3][: degree + 1]
        self.prediction = prediction

    def output(self, log_snr: np.ndarray) -> np.ndarray:
        return np.polynomial.polynomial.polyval(log_snr, self.coefficients)

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        m = torch.from_numpy(np.asarray(self.output(half_log_snr(self.schedule, s).numpy())))
        if self.prediction == "noise":
            return m.expand(x.shape)
        return (x - self.schedule.alpha_bar(s).sqrt() * m) / self.schedule.sigma(s)

    def solution(self, x: Tensor, levels: Tensor) -> Tensor:
        """Return x_0 by quadrature, directly from d(x / a) = -e^-lambda eps dlambda or d(x / sigma) = e^lambda x0."""
        low, high = (half_log_snr(self.schedule, levels[i]).item() for i in (-1, 0))
        nodes, weights = np.polynomial.legendre.leggauss(60)
        log_snr = low + (high - low) * (nodes + 1) / 2
        sign = -1 if self.prediction == "noise" else 1
        integral = sign * (high - low) / 2 * (weights * np.exp(sign * log_snr) * self.output(log_snr)).sum()
        signal, std = self.schedule.alpha_bar(levels).sqrt(), self.schedule.sigma(levels)
        scale = signal if self.prediction == "noise" else std
        return scale[0] * (x / scale[-1] + integral)


ROUGH = torch.tensor([0.05, 0.11, 0.3, 0.36, 0.55, 0.7, 0.85], dtype=torch.float64)


@PREDICTIONS
@pytest.mark.parametrize(
    ("name", "values", "degree"),
    [
        (SINGLE, {"order": 1}, 0),
        (SINGLE, {"order": 3}, 1),
        (SINGLE, {"order": 3, "correction": "taylor"}, 2),
    ],
)
def test_singlestep_is_exact_for_polynomials(name: str, values: dict[str, Any], degree: int, prediction: str) -> None:
    """On levels without any pattern, in one step and in two: the exact ones see all states a step leaves behind."""
    model = Polynomial(degree, prediction)
    steps = 1 if degree == 0 else 3
    for levels in (ROUGH[: steps + 1], ROUGH[-steps - 1 :], ROUGH):
        given = problem(model, levels)
        last = path(name, {**values, "prediction": prediction}, given)[-1]
        torch.testing.assert_close(last, model.solution(prior(), levels), **FLOAT64)


@PREDICTIONS
@pytest.mark.parametrize(("begin", "degree"), [(1, 0), (2, 1), (3, 2)])
def test_inner_states_are_exact_for_polynomials(begin: int, degree: int, prediction: str) -> None:
    """The states of a step of order 3 are solutions at their own levels, of as high a degree as there are outputs."""
    model = Polynomial(degree, prediction)
    given = problem(model, ROUGH[2:6])
    states = path(SINGLE, {"order": 3, "correction": "taylor", "prediction": prediction}, given)
    torch.testing.assert_close(states[begin - 1], model.solution(prior(), ROUGH[5 - begin : 6]), **FLOAT64)


@PREDICTIONS
def test_third_order_multistep_is_exact_for_parabolas(prediction: str) -> None:
    """Its last step; the states before it come from lower orders.  Released code takes half of the curvature."""
    model = Polynomial(2, prediction)
    given = problem(model, ROUGH)
    values = {"order": 3, "prediction": prediction, "lower_order_final": False}
    for curvature, right in (("exact", True), ("released", False)):
        before, last = path(MULTI, {**values, "curvature": curvature}, given)[-2:]
        assert torch.allclose(last, model.solution(before, ROUGH[:2]), **FLOAT64) == right


# the papers' order 2, as printed, on uneven levels


def numbers(levels: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    columns = QUADRATIC.alpha_bar(levels).sqrt(), QUADRATIC.sigma(levels), half_log_snr(QUADRATIC, levels)
    return list(zip(*columns, strict=True))


def test_order_two_as_printed() -> None:
    """DPM-Solver-2 with any r1 (Lu et al., 2022)."""
    levels, x, model = ROUGH[1:4], prior(), mixture(QUADRATIC)
    (a_t, std_t, lam_t), (_, _, lam_1), (a_s, _, lam_s) = numbers(levels)
    inner, last = path(SINGLE, {"order": 2}, problem(model, levels))
    h = lam_t - lam_s
    eps, eps_1 = model.noise(x, levels[2]), model.noise(inner, levels[1])
    growth, r1 = std_t * torch.expm1(h), (lam_1 - lam_s) / h
    torch.testing.assert_close(last, a_t / a_s * x - growth * eps - growth / (2 * r1) * (eps_1 - eps), **FLOAT64)


def test_two_steps_as_printed() -> None:
    """DPM-Solver++(2M)  (Lu et al., 2022b, Algorithm 2)."""
    levels, x, model = ROUGH[1:4], prior(), mixture(QUADRATIC)
    (a_t, std_t, lam_t), (_, std_1, lam_1), (_, _, lam_s) = numbers(levels)
    middle, last = path(MULTI, {"lower_order_final": False}, problem(model, levels))
    h = lam_t - lam_1
    r = (lam_1 - lam_s) / h
    d = (1 + 1 / (2 * r)) * model.denoised(middle, levels[1]) - 1 / (2 * r) * model.denoised(x, levels[2])
    torch.testing.assert_close(last, std_t / std_1 * middle - a_t * torch.expm1(-h) * d, **FLOAT64)


# convergence to the closed form of the flow of Gaussian data

MEAN, VARIANCE = torch.tensor([0.5, -0.3], dtype=torch.float64), 0.2


def gaussian(schedule: Schedule) -> ScoreModel:
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixtureScoreModel(schedule, MEAN[None], VARIANCE * one, one)


def gaussian_flow(schedule: Schedule, levels: Tensor, x: Tensor) -> Tensor:
    """Return x_{T-1}, ..., x_0 of the probability-flow ODE from ``x`` = x_T for data N(MEAN, VARIANCE)."""
    signal = schedule.alpha_bar(levels).sqrt()[:, None, None]
    std = (signal.square() * VARIANCE + schedule.sigma(levels).square()[:, None, None]).sqrt()
    return (signal[:-1] * MEAN + std[:-1] / std[-1] * (x - signal[-1] * MEAN)).flip(0)


def smooth(schedule: Schedule, steps: int) -> Tensor:
    """Levels whose steps shrink towards both ends, where solvers take steps of lower order."""
    low, high = (half_log_snr(schedule, torch.tensor(s).double()) for s in (schedule.lowest, schedule.highest))
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    u = u.square() * (3 - 2 * u)
    return schedule.level(torch.sigmoid(2 * (low * (1 - u) + high * u)))


def slope(name: str, values: dict[str, Any], schedule: Schedule, grid: str, budgets: tuple[int, int]) -> float:
    errors = []
    for nfe in budgets:
        levels = smooth(schedule, nfe) if grid == "smooth" else time_grid(schedule, grid, nfe)
        last = path(name, values, problem(gaussian(schedule), levels))[-1]
        errors.append((last - gaussian_flow(schedule, levels, prior())[-1]).abs().max().item())
    return math.log(errors[0] / errors[1]) / math.log(budgets[1] / budgets[0])


@PREDICTIONS
@pytest.mark.parametrize(
    ("name", "values", "schedule", "grid", "more", "order"),
    [
        (SINGLE, {"order": 1}, QUADRATIC, "logsnr", 0, 1),
        (SINGLE, {"order": 2}, QUADRATIC, "logsnr", 0, 2),
        (SINGLE, {"order": 3}, QUADRATIC, "logsnr", 0, 3),
        (SINGLE, {"order": 3}, QUADRATIC, "smooth", 0, 3),
        (SINGLE, {"order": 3, "correction": "taylor"}, QUADRATIC, "logsnr", 0, 3),
        (SINGLE, {"order": 3, "correction": "taylor"}, QUADRATIC, "smooth", 0, 3),
        (FAST, {}, QUADRATIC, "fast_logsnr", 2, 3),
        # Other budgets end in a step of order 1, which costs an order unless it is short.
        (FAST, {}, QUADRATIC, "smooth", 0, 3),
        (FAST, {}, QUADRATIC, "smooth", 1, 3),
        (MULTI, {"order": 1}, QUADRATIC, "logsnr", 0, 1),
        (MULTI, {"order": 2}, QUADRATIC, "logsnr", 0, 2),
        (MULTI, {"order": 2, "lower_order_final": False}, LINEAR, "logsnr", 0, 2),
        # As do the first steps of a multistep method.
        (MULTI, {"order": 3, "curvature": "exact"}, QUADRATIC, "smooth", 0, 3),
        (MULTI, {"order": 3, "curvature": "exact", "lower_order_final": False}, QUADRATIC, "smooth", 0, 3),
        (MULTI, {"order": 3, "curvature": "released"}, LINEAR, "logsnr", 0, 2),
    ],
)
def test_order_of_convergence(
    name: str, values: dict[str, Any], schedule: Schedule, grid: str, more: int, order: int, prediction: str
) -> None:
    fewer = (192 if grid == "smooth" else 96) + more
    found = slope(name, {**values, "prediction": prediction}, schedule, grid, (fewer, 2 * fewer - more))
    assert found == pytest.approx(order, abs=0.15)


@PREDICTIONS
@pytest.mark.parametrize(
    ("name", "values"),
    [(SINGLE, {"order": 2}), (SINGLE, {"order": 3}), (FAST, {}), (MULTI, {"order": 2}), (MULTI, {"order": 3})],
)
def test_every_state_lies_at_the_level_of_the_grid(name: str, values: dict[str, Any], prediction: str) -> None:
    """Inner states too: short steps without any pattern leave errors far below what the flow does in one of them."""
    levels = 0.5 + 0.02 * ROUGH
    states = path(name, {**values, "prediction": prediction}, problem(gaussian(QUADRATIC), levels))
    flow = gaussian_flow(QUADRATIC, levels, prior())
    assert (flow[1:] - flow[:-1]).abs().amax((1, 2)).min() > 1e-3
    torch.testing.assert_close(states, flow, rtol=0, atol=1e-4)


# orders and grids


@pytest.mark.parametrize("nfe", range(1, 61))
def test_fast_orders(nfe: int) -> None:
    orders = fast_orders(nfe)
    last = {0: (2, 1), 1: (1,), 2: (2,)}[nfe % 3]
    assert sum(orders) == nfe
    assert len(orders) == nfe // 3 + 1
    assert orders == (3,) * (len(orders) - len(last)) + last


def test_fast_orders_as_published() -> None:
    published = {1: [1], 2: [2], 3: [2, 1], 5: [3, 2], 10: [3, 3, 3, 1], 15: [3, 3, 3, 3, 2, 1], 20: [3] * 6 + [2]}
    assert {nfe: list(fast_orders(nfe)) for nfe in published} == published


@pytest.mark.parametrize("schedule", [LINEAR, QUADRATIC])
@pytest.mark.parametrize("nfe", [1, 2, 3, 5, 6, 10, 15, 20])
def test_fast_grid(schedule: Schedule, nfe: int) -> None:
    """Outer levels are equidistant in half log-SNR, inner ones lie at halves or thirds of their step."""
    log_snr = half_log_snr(schedule, time_grid(schedule, "fast_logsnr", nfe)).flip(0)
    orders, first = fast_orders(nfe), 0
    length = (log_snr[-1] - log_snr[0]) / len(orders)
    for order in orders:
        expected = log_snr[first] + length * torch.arange(order + 1) / order
        torch.testing.assert_close(log_snr[first : first + order + 1], expected, rtol=0, atol=1e-5)
        first += order


# five evaluations


def furthest(name: str, values: dict[str, Any], levels: Tensor) -> float:
    """Return the largest absolute value of 2,000 samples, with the score of narrow modes at -0.7 and 0.7."""
    means, half = torch.tensor([[0.7], [-0.7]]).double(), torch.full((2,), 0.5).double()
    model = GaussianMixtureScoreModel(LINEAR, means, torch.full((2,), 0.05**2).double(), half)
    return path(name, values, problem(model, levels, 1), 2000)[-1].abs().max().item()


def test_fast_blows_up_at_five_evaluations() -> None:
    """As in the published tables (Fréchet distance 329): a property of (3, 2), neither of the budget nor the score."""
    assert furthest(FAST, {}, time_grid(LINEAR, "fast_logsnr", 5)) > 3
    for nfe in (6, 10):
        assert furthest(FAST, {}, time_grid(LINEAR, "fast_logsnr", nfe)) < 1.2
    assert furthest(FAST, {"prediction": "data"}, time_grid(LINEAR, "fast_logsnr", 5)) < 1.2
    for grid in ("fast_logsnr", "logsnr", "time_uniform", "hsivi"):
        levels = time_grid(LINEAR, grid, 5)
        for order in (1, 2, 3):
            assert furthest(MULTI, {"order": order}, levels) < 1.2
        assert furthest(SINGLE, {"order": 2, "prediction": "data"}, levels) < 1.2


def test_order_two_at_five_evaluations_needs_its_own_grid() -> None:
    """Steps (2, 2, 1) of equal length, or short ones at low noise, stay in range; steps of 2, 2 and 1 parts do not."""
    for grid in ("order2_logsnr", "time_uniform", "hsivi"):
        assert furthest(SINGLE, {}, time_grid(LINEAR, grid, 5)) < 1.2
    assert furthest(SINGLE, {}, time_grid(LINEAR, "logsnr", 5)) > 1.2


# what a solver is and is not asked


class Recorder(ScoreModel):
    """Remembers the levels it was asked at."""

    def __init__(self, model: ScoreModel) -> None:
        self.model, self.schedule, self.event_ndim = model, model.schedule, model.event_ndim
        self.asked: list[Tensor] = []

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        self.asked.append(s)
        return self.model.noise(x, s)


ROWS = [
    *((SINGLE, {"order": o, "prediction": p}) for o in (1, 2, 3) for p in ("noise", "data")),
    *((FAST, {"prediction": p}) for p in ("noise", "data")),
    *((MULTI, {"order": o, "prediction": p}) for o in (1, 2, 3) for p in ("noise", "data")),
]


@pytest.mark.parametrize(("schedule", "grid"), GRIDS)
def test_every_level_is_asked_once_in_descending_order(schedule: Schedule, grid: str) -> None:
    for nfe in (1, 3, 5, 8):
        for name, values in ROWS:
            recorder = Recorder(mixture(schedule))
            given = problem(recorder, time_grid(schedule, grid, nfe))
            baseline = load_baseline(name)
            config = make_config(baseline, values, name)
            assert skip_reason(baseline, given, config) is None
            run = draw(baseline, given, config, SEED, 3, {}, trajectory=3)
            assert torch.equal(torch.stack(recorder.asked), given.grid[1:].flip(0))
            assert run.nfe == nfe
            assert run.trajectory.shape == (nfe + 1, 3, 2)
            assert run.x.isfinite().all()


class Half(ScoreModel):
    """A score model that keeps the type of its input."""

    event_ndim = 1

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        return x / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_is_kept_and_coefficients_are_numbers(dtype: torch.dtype) -> None:
    levels = time_grid(LINEAR, "logsnr", 6)
    for prediction in ("noise", "data"):
        solver = ExponentialIntegrator(Half(LINEAR), levels, prediction)
        x_T = prior().to(dtype)
        kept = x_T.clone()
        for stages in (solver.singlestep((3, 2, 1), "taylor"), solver.multistep(3, True, "exact")):
            assert all(isinstance(v, float) for stage in stages for v in (stage.carry, *stage.weights))
            assert {x.dtype for x in solver.run(x_T, stages)} == {dtype}
        assert torch.equal(x_T, kept), "nothing is changed in place"


def test_states_that_were_yielded_stay_as_they_are() -> None:
    given = problem(mixture(LINEAR), time_grid(LINEAR, "logsnr", 6))
    baseline = load_baseline(FAST)
    noise = SampleNoise(SEED, 0, 10, (2,))
    copies, states = [], []
    for x in baseline.sample(given, make_config(baseline, {}, FAST), noise, {}):
        states.append(x)
        copies.append(x.clone())
    assert all(torch.equal(x, copy) for x, copy in zip(states, copies, strict=True))


@pytest.mark.parametrize("name", [SINGLE, FAST, MULTI])
def test_unsuitable_grids_are_declined(name: str) -> None:
    baseline = load_baseline(name)
    config = make_config(baseline, {}, name)

    def reason(levels: Tensor) -> str:
        found = skip_reason(baseline, problem(mixture(LINEAR), levels.double()), config)
        assert found is not None and "\n" not in found and "logsnr" in found
        return found

    for grid in ("ddim_quad_floor", "uniform", "var_quadratic"):
        assert "clean data" in reason(time_grid(LINEAR, grid, 5))
    assert "repeats a level" in reason(torch.tensor([0, 3, 3, 999]))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (SINGLE, {"order": 4}, "order: got 4, expected: input should be 1, 2 or 3"),
        (SINGLE, {"order": 2, "correction": "taylor"}, "correction: got 'taylor' at order 2"),
        (SINGLE, {"prediction": "score"}, "expected: input should be 'noise' or 'data'"),
        (FAST, {"order": 3}, "order"),
        (MULTI, {"order": 0}, "order: got 0"),
        (MULTI, {"order": 2, "curvature": "exact"}, "curvature: got 'exact' at order 2"),
    ],
)
def test_wrong_settings_are_one_line(name: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make_config(load_baseline(name), values, "toy2d.yaml")
    assert "\n" not in str(caught.value)


def test_defaults() -> None:
    """What a row gets that sets nothing."""
    single, fast, multi = (make_config(load_baseline(name), {}, name) for name in (SINGLE, FAST, MULTI))
    assert (single.order, single.prediction, single.correction) == (2, "noise", "dpmsolver")
    assert fast.prediction == "noise"
    assert (multi.order, multi.prediction, multi.lower_order_final, multi.curvature) == (2, "data", True, "released")
