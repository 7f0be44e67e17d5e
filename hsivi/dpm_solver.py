"""Exponential integrators of the probability-flow ODE: the steps of DPM-Solver and DPM-Solver++.

With a = sqrt(alpha_bar), half log-SNR lambda = log(a / sigma) and h = lambda_t - lambda_s > 0, the solution from level
s to a less noisy level t is, in the two forms of the model's output m  (Lu et al., 2022, Proposition 3.1; Lu et al.,
2022b, Proposition 4.1),

    noise:  x_t = (a_t / a_s) x_s         - sigma_t  int_0^h e^(h - u) m(lambda_s + u) du,    m = eps,
    data:   x_t = (sigma_t / sigma_s) x_s + a_t      int_0^h e^(u - h) m(lambda_s + u) du,    m = x0.

A polynomial in place of m is integrated exactly: int_0^h e^(k (h - u)) u^j / j! du = h^(j + 1) phi_(j + 1)(k h), k = 1
for noise and -1 for data.  So every state is one linear combination of an earlier state and of the model's outputs;
the numbers of these combinations are computed before the first evaluation, in float64.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hsivi.schedule import Schedule, half_log_snr
from hsivi.score_model import ScoreModel

Prediction = Literal["noise", "data"]
Correction = Literal["dpmsolver", "taylor"]
Curvature = Literal["released", "exact"]


@dataclass(frozen=True)
class Stage:
    """What follows one evaluation: x <- carry * x_start + sum_i weights[i] * m_i.

    Attributes:
        age: number of evaluations between x_start and the newest one; zero if x_start is where it was made.
        carry: factor of x_start.
        weights: factors of the model's outputs, newest first; older ones are not used.
    """

    age: int
    carry: float
    weights: tuple[float, ...]


class ExponentialIntegrator:
    """Steps between the levels of a grid; after T evaluations, at s_T, ..., s_1, the state is x_0.

    Arguments:
        score_model: inputs (\\*batch, \\*event).
        levels: s_0 < ... < s_T, float64, with finite half log-SNR (see `refusal`); inner levels are levels of the grid.
        prediction: the form of the ODE.
    """

    def __init__(self, score_model: ScoreModel, levels: Tensor, prediction: Prediction) -> None:
        self.score_model = score_model
        self.levels = levels
        self.prediction = prediction
        schedule = score_model.schedule
        self._signal: list[float] = schedule.alpha_bar(levels).sqrt().tolist()
        self._std: list[float] = schedule.sigma(levels).tolist()
        self._log_snr: list[float] = half_log_snr(schedule, levels).tolist()

    def singlestep(self, orders: Sequence[int], correction: Correction) -> list[Stage]:
        """Return the stages of steps of the given orders, from s_T on; their sum is T.

        A step of order 2 or 3 passes one or two inner levels, wherever the grid has them  (Lu et al., 2022,
        Algorithms 1 and 2).  At order 3, ``dpmsolver`` takes the output to be a line through the step's first and last
        evaluation; ``taylor`` a parabola through all three.
        """
        stages, start = [], len(self.levels) - 1
        for order in orders:
            stages += self._step(start, order, correction)
            start -= order
        return stages

    def multistep(self, order: int, lower_order_final: bool, curvature: Curvature) -> list[Stage]:
        """Return T stages, each of which starts at the newest state and uses the last ``order`` outputs.

        The first stages have fewer outputs to use  (Lu et al., 2022b, Algorithm 2).

        Arguments:
            order: 1, 2 or 3.
            lower_order_final: whether the stage that ends at s_t has at most order t + 1.
            curvature: at order 3, ``exact`` integrates the parabola through three outputs, ``released`` with half of
                its second derivative.
        """
        stages, count = [], len(self.levels) - 1
        for end in reversed(range(count)):
            start = end + 1
            possible = min(order, count - end, start if lower_order_final else order)
            carry, moments = self._moments(start, end)
            weights: tuple[float, ...] = moments[:1]
            if possible == 2:
                weights = _line(moments[0], moments[0] / 2, self._position(start + 1, start, end))
            if possible == 3:
                if curvature == "released":  # the official code lacks the 2 of m'' = 2 * second divided difference
                    moments = (moments[0], moments[1], moments[2] / 2)
                earlier = (self._position(start + i, start, end) for i in (1, 2))
                weights = _parabola(moments, *earlier)
            stages.append(Stage(0, carry, weights))
        return stages

    def run(self, x: Tensor, stages: Sequence[Stage]) -> Iterator[Tensor]:
        """Yield x_(T-1), ..., x_0 from ``x`` = x_T, one state after each evaluation."""
        states, outputs = deque([x], maxlen=3), deque[Tensor](maxlen=3)
        for i, stage in zip(range(len(self.levels) - 1, 0, -1), stages, strict=True):
            outputs.appendleft(self._output(states[0], i))
            x = stage.carry * states[stage.age]
            for weight, output in zip(stage.weights, outputs, strict=False):  # outputs of earlier steps are kept too
                x = x.add(output, alpha=weight) if weight else x
            states.appendleft(x)
            yield x

    def _output(self, x: Tensor, i: int) -> Tensor:
        eps = self.score_model.noise(x, self.levels[i])
        return eps if self.prediction == "noise" else (x - self._std[i] * eps) / self._signal[i]

    def _step(self, start: int, order: int, correction: Correction) -> list[Stage]:
        carry, moments = self._moments(start, start - 1)
        stages = [Stage(0, carry, moments[:1])]
        if order > 1:
            carry, moments = self._moments(start, start - 2)
            # The paper's order 2 has h^2 / 2 phi_1 where a line has h^2 phi_2: the same for short steps, not for long.
            slope = moments[0] / 2 if order == 2 else moments[1]
            stages.append(Stage(1, carry, _line(moments[0], slope, self._position(start - 1, start, start - 2))[::-1]))
        if order > 2:
            carry, moments = self._moments(start, start - 3)
            r1, r2 = (self._position(start - i, start, start - 3) for i in (1, 2))
            if correction == "dpmsolver":
                first, last = _line(moments[0], moments[1], r2)
                stages.append(Stage(2, carry, (last, 0.0, first)))
            else:
                stages.append(Stage(2, carry, _parabola(moments, r1, r2)[::-1]))
        return stages

    def _moments(self, start: int, end: int) -> tuple[float, tuple[float, float, float]]:
        """Return x_start's factor, and what m, h m' and h^2 m'' at the start of a step contribute to its end."""
        h = self._log_snr[end] - self._log_snr[start]
        if self.prediction == "noise":
            carry, gain, z = self._signal[end] / self._signal[start], -self._std[end], h
        else:
            carry, gain, z = self._std[end] / self._std[start], self._signal[end], -h
        phi1 = math.expm1(z) / z
        phi2 = (phi1 - 1) / z
        phi3 = (phi2 - 0.5) / z
        return carry, (gain * h * phi1, gain * h * phi2, gain * h * phi3)

    def _position(self, i: int, start: int, end: int) -> float:
        """Return where a level lies in a step, as a fraction of the step in half log-SNR; negative before the step."""
        return (self._log_snr[i] - self._log_snr[start]) / (self._log_snr[end] - self._log_snr[start])


def refusal(schedule: Schedule, levels: Tensor) -> str | None:
    """Return in one line why the solvers cannot use a grid, or None."""
    needed = "it needs distinct noisy levels, for example the time grid logsnr"
    if not half_log_snr(schedule, levels).isfinite().all():
        return f"the time grid has a level of infinite log-SNR (clean data); {needed}"
    return f"the time grid repeats a level; {needed}" if (levels.diff() <= 0).any() else None


def _line(value: float, slope: float, r: float) -> tuple[float, float]:
    """Return the factors of m(0) and m(r) in value * m(0) + slope * m'(0), m being a line."""
    return value - slope / r, slope / r


def _parabola(moments: tuple[float, float, float], p: float, q: float) -> tuple[float, float, float]:
    """Return the factors of m(0), m(p) and m(q) in the moments times m(0), m'(0) and m''(0), m being a parabola."""
    value, slope, curvature = moments
    at_p = (slope * q - 2 * curvature) / (p * (q - p))
    at_q = (2 * curvature - slope * p) / (q * (q - p))
    return value - at_p - at_q, at_p, at_q
