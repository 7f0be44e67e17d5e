"""How much noise a score model predicts on average, and the reverse variances that are optimal for it.

For steps x_s = mean + std z whose mean is a x_r + b x0 with x0 = E[u_0 | u_r = x_r], the isotropic variance that
minimises the Kullback-Leibler divergence from the forward process to the sampler is

    std^2 = c^2 + b^2 kappa_r,   kappa_r = (sigma_r^2 / alpha_bar_r) (1 - m_r),   m_r = E ||eps(u_r, r)||^2 / d

with c the standard deviation given x0 itself (Bao et al., 2022, theorem 1).  kappa is the variance of u_0 given u_r,
averaged over u_r and over the components, so it is at least zero, and at most ((b - a) / 2)^2 for data in [a, b].
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hsivi.checkpoint import Session
from hsivi.hierarchy import DDIMCoefficients
from hsivi.noise import BLOCK, SampleNoise, standard_normal
from hsivi.problem import Problem
from hsivi.schedule import Schedule
from hsivi.score_model import Single

BATCH = 1_024
KEY = "score statistics"


class MeanSquareNoise:
    """Monte Carlo estimate of m at the levels s_1..s_T of a grid, from training points and noise keyed by their number.

    A session runs it a batch at a time.  The same points serve all levels; the noise is drawn anew.

    Arguments:
        problem: its teacher is asked, uncounted, because the estimate is made once and not for each sample.
        samples: points a level.
        batch: points at a time; the estimate depends on it by rounding alone.

    Attributes:
        iteration: batches done.
        iterations: batches in all.
    """

    def __init__(self, problem: Problem, samples: int, batch: int = BATCH) -> None:
        self.samples = samples
        self.batch = batch
        self.iteration = 0
        self.iterations = math.ceil(samples / batch)
        self._model = Single(problem.teacher)
        self._levels = problem.grid
        self._event_shape = problem.event_shape
        self._draw = problem.learn_from
        self._device = self._draw(1, KEY).device
        self._signal = problem.schedule.alpha_bar(problem.grid).sqrt().tolist()
        self._sigma = problem.schedule.sigma(problem.grid).tolist()
        self._total = torch.zeros(problem.nfe, dtype=torch.float64)

    @property
    def value(self) -> Tensor:
        """m_1, ..., m_T, float64, shape (T,), once all batches are done."""
        return self._total / (self.samples * math.prod(self._event_shape))

    @torch.no_grad()
    def step(self) -> None:
        """Add the next batch at every level."""
        start = self.iteration * self.batch
        stop = min(start + self.batch, self.samples)
        numbers = SampleNoise(0, start, stop, self._event_shape, device=self._device)
        x0 = numbers.rows(lambda block: self._draw(BLOCK, KEY, block))
        for t in range(1, len(self._levels)):
            noise = numbers.rows(partial(self._noise, t))
            predicted = self._model.noise(self._signal[t] * x0 + self._sigma[t] * noise, self._levels[t])
            self._total[t - 1] += predicted.double().square().sum().cpu()
        self.iteration += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted estimate continues from."""
        return {"iteration": self.iteration, "total": self._total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.iteration, self._total = state["iteration"], state["total"]

    def _noise(self, t: int, block: int) -> Tensor:
        return standard_normal((BLOCK, *self._event_shape), KEY, "noise", t, block)


def estimate_mean_square_noise(problem: Problem, samples: int, session: Session) -> Tensor:
    """Return the estimate of m_1, ..., m_T, float64, shape (T,), with progress lines and resumable."""
    estimate = MeanSquareNoise(problem, samples)
    session.train(estimate, estimate.iterations)
    return estimate.value


def optimal_std(
    schedule: Schedule, levels: Tensor, mean_square: Tensor, eta: float, largest: float, final_clip: float | None
) -> list[float]:
    """Return the standard deviation of the step to x_t for t = 0..T-1, for `hsivi.reverse_process`.

    A last step to clean data returns its mean: the optimal variance would be kappa_1, noise in the result itself.  A
    last step to a noisy level is a step like any other and adds noise.

    Arguments:
        schedule: noise schedule.
        levels: s_0..s_T, float64.
        mean_square: m_1..m_T, shape (T,).
        eta: c as a share of the posterior's standard deviation: 1 for ancestral means, DDIM's eta for implicit ones.
        largest: upper bound of kappa, in squared units of the data.
        final_clip: y of the bound std <= (2 y / 255) sqrt(pi / 2) on the last step that adds noise, or None.  For data
            in [-1, 1] it keeps the mean absolute noise at y of 255 grey values or below  (Bao et al., 2022).
    """
    signal, sigma = schedule.alpha_bar(levels).sqrt(), schedule.sigma(levels)
    kappa = ((sigma[1:] / signal[1:]).square() * (1 - mean_square.to(sigma))).clamp(0, largest)
    c = DDIMCoefficients(schedule, levels, eta).std
    direction = (sigma[:-1].square() - c.square()).clamp_min(0).sqrt()
    x0_scale = signal[:-1] - direction * signal[1:] / sigma[1:]
    std: list[float] = (c.square() + x0_scale.square() * kappa).sqrt().tolist()
    last = 0
    if levels[0] == schedule.clean:
        std[0], last = 0.0, 1
    if final_clip is not None and last < len(std):
        std[last] = min(std[last], 2 * final_clip / 255 * math.sqrt(math.pi / 2))
    return std
