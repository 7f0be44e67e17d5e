"""Time grids: the levels at which a sampler with a budget of T function evaluations works.

A grid has T + 1 levels s_0 <= s_1 <= ... <= s_T.  Layer or step t maps x_{t+1} (level s_{t+1}) to x_t (level s_t), the
score model is asked at s_1, ..., s_T, and x_T ~ N(0, I) is taken to be a sample of level s_T.  Where s_0 is the
schedule's clean level the last step goes to clean data; otherwise the sample keeps the noise of s_0.

Solvers that evaluate inside a step count these inner levels as levels of the grid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hsivi.schedule import CosineSchedule, DiscreteSchedule, QuadraticSchedule, Schedule, half_log_snr


@dataclass(frozen=True)
class TimeGrid:
    """A named rule for levels.

    Attributes:
        name: what experiments call it, and records.
        summary: the rule in one line, with where it comes from.
        build: returns the levels of a schedule for T evaluations, float64.
        repeats: whether neighbouring levels may be equal, as in official code that rounds: the evaluation is spent.
    """

    name: str
    summary: str
    build: Callable[[Schedule, int], Tensor]
    repeats: bool = False


def time_grid(schedule: Schedule, name: str, num_steps: int) -> Tensor:
    """Return the levels of a named grid, float64, shape (num_steps + 1,).

    Raises:
        ValueError: the schedule has no grid of that name, or the number of steps does not fit it.
    """
    if num_steps < 1:
        raise ValueError(f"time grid: got {num_steps} steps, expected at least 1; give a positive NFE")
    known = grids(schedule)
    if name not in known:
        raise ValueError(f"time grid: got {name!r}, expected one of {', '.join(known)}; choose a listed name")
    grid, levels = known[name], known[name].build(schedule, num_steps)
    gaps = levels.diff()
    increases = bool((gaps >= 0 if grid.repeats else gaps > 0).all())
    if len(levels) != num_steps + 1 or not increases or levels[-1] <= schedule.lowest:
        raise ValueError(
            f"time grid {name!r}: got {num_steps} steps, which does not give that many distinct levels up to a noisy "
            f"one; use another NFE or another grid"
        )
    return levels


def grids(schedule: Schedule) -> dict[str, TimeGrid]:
    """Return the grids of a schedule by name."""
    own: tuple[TimeGrid, ...]
    if isinstance(schedule, CosineSchedule):
        own = (_HSIVI_UNIFORM, *_OF_LEVELS, *_OF_NOISE)
    elif isinstance(schedule, DiscreteSchedule):
        own = (_HSIVI_QUADRATIC, *_OF_LEVELS, *_OF_NOISE, *_OF_VARIANCES)
    else:
        own = (*_OF_TIME, *_OF_NOISE, *_OF_VARIANCES)
    return {grid.name: grid for grid in own}


def fast_orders(num_evaluations: int) -> tuple[int, ...]:
    """Return the orders of the steps of DPM-Solver-fast, which sum to the budget  (Lu et al., 2022, section 3.4)."""
    threes, rest = divmod(num_evaluations, 3)
    return (3,) * (threes - 1) + (2, 1) if rest == 0 else (3,) * threes + (rest,)


def _line(start: float, end: float, count: int) -> Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64)


def _to_clean(schedule: Schedule, evaluated: Tensor) -> Tensor:
    return torch.cat([evaluated.new_full((1,), schedule.clean), evaluated])


def _count(schedule: Schedule) -> int:
    assert isinstance(schedule, DiscreteSchedule | QuadraticSchedule)
    return schedule.num_levels


def _squares(schedule: Schedule, count: int) -> Tensor:
    """Return the squares of ``count`` equidistant numbers, from 0 to eight tenths of the levels."""
    return _line(0, (0.8 * _count(schedule)) ** 0.5, count).square()


def _uniform(schedule: Schedule, steps: int) -> Tensor:
    return _to_clean(schedule, torch.arange(steps, dtype=torch.float64) * (_count(schedule) // steps))


def _ends_included(schedule: Schedule, steps: int) -> Tensor:
    return _to_clean(schedule, (_line(1, _count(schedule), steps)).round() - 1)


def _iddim(schedule: Schedule, steps: int) -> Tensor:
    # c T^2 = N: the exact fraction, since ceil of a float may be one too many.
    squares = [-(-_count(schedule) * i * i // steps**2) - 1 for i in range(1, steps + 1)]
    return _to_clean(schedule, torch.tensor(squares, dtype=torch.float64))


def _top(schedule: Schedule) -> float:
    """Return the highest level of the grids of DPM-Solver.

    Its official code drops indices whose half log-SNR is below -5.1, made for cosine schedules: they end at -9.9, where
    x_0 is the network's error times 20,000.  The linear schedule ends at -5.06 and keeps all of them.
    """
    if not isinstance(schedule, CosineSchedule):
        return schedule.highest
    half = half_log_snr(schedule, torch.arange(schedule.num_levels, dtype=torch.float64))
    return float((half >= -5.1).sum() - 1)


def _log_snr_levels(schedule: Schedule, at: Tensor) -> Tensor:
    """Return levels at fractions ``at`` of the way from the lowest to the highest level in half log-SNR."""
    low, high = (torch.tensor(s, dtype=torch.float64) for s in (schedule.lowest, _top(schedule)))
    from_low = half_log_snr(schedule, low) * (1 - at) + half_log_snr(schedule, high) * at
    levels = schedule.level(torch.sigmoid(2 * from_low[1:-1]))
    return torch.cat([low[None], levels, high[None]])


def equal_orders(order: int, num_evaluations: int) -> tuple[int, ...]:
    """Return the orders of a solver whose steps all have one order, but for what is left of the budget at the end."""
    steps, rest = divmod(num_evaluations, order)
    return (order,) * steps + ((rest,) if rest else ())


def _solver_log_snr(schedule: Schedule, orders: tuple[int, ...]) -> Tensor:
    """Return levels for steps of these orders: ends equidistant in half log-SNR, inner levels at equal parts."""
    begins = [(step + inner / order) for step, order in enumerate(orders) for inner in range(order)]
    at = 1 - torch.tensor([*begins, len(orders)], dtype=torch.float64) / len(orders)
    return _log_snr_levels(schedule, at.flip(0))


def _from_variances(shape: str, capped: bool) -> Callable[[Schedule, int], Tensor]:
    """Return FastDPM's VAR rule: levels whose one-step variances are linear or quadratic in the step's number.

    One parameter is found by bisection so that the variances lead to the highest level.  The official code caps it,
    and where a cap binds (few steps) the grid starts at a lower level although the sampler starts from N(0, I).
    """

    def variances(x: float, steps: int) -> Tensor:
        if shape == "linear":
            return _line(1e-4, x, steps)
        return 1e-4 * (1 + torch.arange(steps, dtype=torch.float64) * x).square()

    def build(schedule: Schedule, steps: int) -> Tensor:
        goal = float(schedule.alpha_bar(torch.tensor(schedule.highest, dtype=torch.float64)))
        linear, quadratic = (0.99, 95 / steps) if capped else (1.0, 99 / max(steps - 1, 1))
        low, high = 0.0, linear if shape == "linear" else quadratic
        for _ in range(64):
            middle = (low + high) / 2
            reached = float((1 - variances(middle, steps)).prod()) <= goal
            low, high = (low, middle) if reached else (middle, high)
        signal = (1 - variances(high, steps)).cumprod(0)
        return _to_clean(schedule, schedule.level(signal.clamp_min(goal)))

    return build


_HSIVI_QUADRATIC = TimeGrid(
    "hsivi",
    "round(linspace(0, sqrt(0.8 N), T + 1)^2), ends at index 0 (HSIVI, E.2.2)",
    lambda schedule, steps: _squares(schedule, steps + 1).round(),
)
_HSIVI_UNIFORM = TimeGrid(
    "hsivi",
    "every floor(N / (T + 1))-th index, T + 1 of them, from index 0 (HSIVI, official code for ImageNet-64)",
    lambda schedule, steps: torch.arange(steps + 1, dtype=torch.float64) * (_count(schedule) // (steps + 1)),
)
_OF_LEVELS = (
    TimeGrid(
        "ddim_quad_floor",
        "floor(linspace(0, sqrt(0.8 N), T)^2), then clean data (Song et al., 2021, D.2)",
        lambda schedule, steps: _to_clean(schedule, _squares(schedule, steps).add(1e-9).floor()),
        repeats=True,
    ),
    TimeGrid(
        "quad_round",
        "round(linspace(0, sqrt(0.8 N), T)^2), then clean data",
        lambda schedule, steps: _to_clean(schedule, _squares(schedule, steps).round()),
        repeats=True,
    ),
    TimeGrid("uniform", "every floor(N / T)-th index from 0, then clean data (Song et al., 2021, D.2)", _uniform),
    TimeGrid(
        "ends_included",
        "round(linspace(1, N, T)) - 1, then clean data (Bao et al., 2022; the official code's 'linear')",
        _ends_included,
    ),
    TimeGrid(
        "linear_floor",
        "floor(linspace(0, N - 1, T)), then clean data (Kong and Ping, 2021: STEP, linear)",
        lambda schedule, steps: _to_clean(schedule, _line(0, _count(schedule) - 1, steps).add(1e-9).floor()),
    ),
    TimeGrid("iddim", "ceil(N i^2 / T^2) - 1 for i = 1..T, then clean data (iDDIM paper)", _iddim, repeats=True),
    TimeGrid(
        "full",
        "every index, then clean data; needs T = N",
        lambda schedule, steps: _to_clean(schedule, torch.arange(_count(schedule), dtype=torch.float64)),
    ),
)
_OF_TIME = (
    TimeGrid(
        "hsivi",
        "equidistant in s from 0.01 to sqrt(0.8) (HSIVI, D.3)",
        lambda schedule, steps: _line(schedule.lowest, schedule.highest, steps + 1),
    ),
    TimeGrid(
        "full",
        "equidistant in s from 0.01 to 0.999, the last training level at which x_0 is defined",
        lambda schedule, steps: _line(schedule.lowest, 1 - 1 / _count(schedule), steps + 1),
    ),
)
_OF_NOISE = (
    TimeGrid(
        "time_uniform",
        "equidistant in s from the lowest to the highest level (Lu et al., 2022)",
        lambda schedule, steps: _line(schedule.lowest, _top(schedule), steps + 1),
    ),
    TimeGrid(
        "logsnr",
        "equidistant in half log-SNR from the lowest to the highest level (Lu et al., 2022)",
        lambda schedule, steps: _log_snr_levels(schedule, _line(0, 1, steps + 1)),
    ),
    TimeGrid(
        "fast_logsnr",
        "outer steps of DPM-Solver-fast equidistant in half log-SNR, inner levels at equal parts (Lu et al., 2022)",
        lambda schedule, steps: _solver_log_snr(schedule, fast_orders(steps)),
    ),
    TimeGrid(
        "order2_logsnr",
        "the same for steps of order 2, the last of order 1 where T is odd",
        lambda schedule, steps: _solver_log_snr(schedule, equal_orders(2, steps)),
    ),
    TimeGrid(
        "order3_logsnr",
        "the same for steps of order 3, the last of order T modulo 3",
        lambda schedule, steps: _solver_log_snr(schedule, equal_orders(3, steps)),
    ),
)
# Not for the cosine schedule: the first variance is the linear schedule's beta_0 and the caps are made for its range.
_OF_VARIANCES = (
    TimeGrid(
        "var_quadratic",
        "levels from quadratic variances with the official caps, then clean data (Kong and Ping, 2021: VAR)",
        _from_variances("quadratic", capped=True),
    ),
    TimeGrid(
        "var_linear",
        "levels from linear variances with the official cap, then clean data (Kong and Ping, 2021: VAR)",
        _from_variances("linear", capped=True),
    ),
    TimeGrid(
        "var_quadratic_uncapped",
        "levels from quadratic variances that reach the highest level, then clean data",
        _from_variances("quadratic", capped=False),
    ),
    TimeGrid(
        "var_linear_uncapped",
        "levels from linear variances that reach the highest level, then clean data",
        _from_variances("linear", capped=False),
    ),
)
