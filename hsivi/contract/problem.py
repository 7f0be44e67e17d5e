"""The problems of the contract: Gaussian data under noise, and a Gaussian posterior, where everything is known.

Small on purpose, and asymmetric, so that a wrong sign or a swapped axis shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from hsivi.gaussian import DiagonalGaussian
from hsivi.nn.stacked import ReplicaStack
from hsivi.noise import standard_normal
from hsivi.problem import InferenceProblem, Problem
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule, Schedule
from hsivi.score_model import NetworkScoreModel, ScoreModel
from hsivi.time_grid import grids, time_grid


class GaussianNetwork(ReplicaStack):
    """The exact noise model of N(mean, var) data as a trainable stack, sigma (x - sqrt(ab) m) / (ab v + sigma^2).

    Arguments:
        mean: shape of one sample.
        variance: shape of one sample.
        schedule: the noise schedule whose network times it is called with.
    """

    def __init__(self, mean: Tensor, variance: Tensor, schedule: Schedule) -> None:
        super().__init__()
        self.event_ndim = mean.ndim
        self.mean = nn.Parameter(mean[None].clone())
        self.variance = nn.Parameter(variance[None].clone())
        self.schedule = schedule

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.mean)

    def copies(self, replicas: int) -> Self:
        """Return a trainable stack of equal copies of a stack of one."""
        stack = type(self)(self.mean[0].detach(), self.variance[0].detach(), self.schedule)
        for parameter in stack.parameters():
            parameter.data = parameter.data.repeat(replicas, *(1,) * self.event_ndim)
        return stack

    def select(self, parameters: Mapping[str, Tensor], replica: int) -> dict[str, Tensor]:
        """Return, of a stack's parameters by name, those of one replica as the parameters of a stack of one."""
        return {name: value[replica : replica + 1].clone() for name, value in parameters.items()}

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the noise in ``x`` of shape (R, \\*batch, \\*event) at network times that broadcast over its batch."""
        level, batch = self._level(time), x.ndim - self.event_ndim
        level = level.reshape(*(1,) * (batch - level.ndim), *level.shape, *(1,) * self.event_ndim)
        signal, std = self.schedule.alpha_bar(level).sqrt(), self.schedule.sigma(level)
        mean, variance = (p.reshape(len(p), *(1,) * (batch - 1), *p.shape[1:]) for p in (self.mean, self.variance))
        return std * (x - signal * mean) / (signal.square() * variance + std.square())

    def _level(self, time: Tensor) -> Tensor:
        if isinstance(self.schedule, QuadraticSchedule):
            return (time / self.schedule.embedding_scale).sqrt()
        return time


@dataclass(frozen=True)
class GaussianData:
    """Data N(mean, diag(variance)), asymmetric.

    Attributes:
        mean: shape of one sample.
        variance: shape of one sample.
        schedule: noise schedule of the diffusion.
    """

    mean: Tensor
    variance: Tensor
    schedule: Schedule = QuadraticSchedule()  # noqa: RUF009  (frozen)

    def problem(self, nfe: int, grid: str = "full", dtype: torch.dtype = torch.float32) -> Problem:
        """Return the problem with a budget on a named time grid.

        Raises:
            ValueError: the schedule has no such grid for that budget.
        """
        network = GaussianNetwork(self.mean.to(dtype), self.variance.to(dtype), self.schedule).requires_grad_(False)
        levels = time_grid(self.schedule, grid, nfe) if nfe else None
        teacher = NetworkScoreModel(network, self.schedule)
        return Problem(nfe, tuple(self.mean.shape), self.draw, teacher, levels)

    def problems(self, nfe: int, first: str) -> Iterator[Problem]:
        """Yield the problem on the named grid ``first``, then on all others of the schedule that allow the budget."""
        for grid in [first, *(name for name in grids(self.schedule) if name != first)][: None if nfe else 1]:
            try:
                yield self.problem(nfe, grid)
            except ValueError:
                continue

    def draw(self, n: int, *key: int | str) -> Tensor:
        """Return n samples of the data that depend on ``key`` alone."""
        return self.mean + self.variance.sqrt() * standard_normal((n, *self.mean.shape), *key)


VECTOR = GaussianData(torch.tensor([0.5, -0.3]), torch.tensor([0.6, 0.2]))
IMAGE = GaussianData(torch.linspace(-0.5, 0.5, 16).reshape(1, 4, 4), torch.linspace(0.2, 0.8, 16).reshape(1, 4, 4))
LEVELS = LinearBetaSchedule()


def vectors(nfe: int) -> Iterator[Problem]:
    """Yield vectors on the schedule of the 2-D data, then on the images' one, on one time grid after the other."""
    yield from VECTOR.problems(nfe, "full")
    yield from replace(VECTOR, schedule=LEVELS).problems(nfe, "uniform")


def images(nfe: int) -> Iterator[Problem]:
    """Yield images on the digits' schedule and time grid, which ends at clean data, then on other grids."""
    yield from replace(IMAGE, schedule=LEVELS).problems(nfe, "ddim_quad_floor")
    yield from IMAGE.problems(nfe, "hsivi")


def many_steps(nfe: int) -> Iterator[Problem]:
    """Yield vectors on grids from pure noise on, so that N(0, I) is where the diffusion ends."""
    for problem in vectors(nfe):
        # sqrt(alpha_bar) of the mean is left of the data in x_T: at most 0.05 of it, which the check allows for.
        if nfe == 0 or float(problem.schedule.alpha_bar(problem.grid[-1])) <= 0.0021:
            yield problem


@dataclass(frozen=True)
class GaussianPosterior:
    """A target with the density exp(log_evidence) N(x; mean, cov), in the dtype of x.

    Attributes:
        mean: shape (d,).
        cov: shape (d, d).
        log_evidence: log p(y), which lower bounds are compared with.
    """

    mean: Tensor
    cov: Tensor
    log_evidence: float

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return tuple(self.mean.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x, y) with the shape of the batch."""
        density = MultivariateNormal(self.mean.to(x), self.cov.to(x), validate_args=False)
        log_density: Tensor = density.log_prob(x)
        return log_density + self.log_evidence

    def score(self, x: Tensor) -> Tensor:
        """Return grad_x log p(x | y), shape of ``x``."""
        return (self.mean.to(x) - x) @ self.cov.inverse().to(x)

    def draw(self, n: int, *key: int | str) -> Tensor:
        """Return n float32 samples that depend on ``key`` alone."""
        z = standard_normal((n, *self.event_shape), *key).to(self.cov)
        x: Tensor = self.mean + z @ torch.linalg.cholesky(self.cov).mT
        return x.float()


@dataclass(frozen=True)
class NoisedPosterior(ScoreModel):
    """The exact score of a Gaussian posterior under noise with alpha_bar(s) = 1 - s^2.

    Attributes:
        posterior: the distribution without noise.
        schedule: has that alpha_bar.
        event_ndim: one, for vectors.
    """

    posterior: GaussianPosterior
    schedule: Schedule = QuadraticSchedule()  # noqa: RUF009  (frozen)
    event_ndim: int = 1

    def score(self, x: Tensor, s: Tensor) -> Tensor:
        """Return grad_x log p_s(x) with the shape of ``x`` at one level."""
        alpha_bar, cov = self.schedule.alpha_bar(s).to(x), self.posterior.cov.to(x)
        noised = alpha_bar * cov + (1 - alpha_bar) * torch.eye(len(cov)).to(x)
        return (alpha_bar.sqrt() * self.posterior.mean.to(x) - x) @ noised.inverse()

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        """Return E[eps | u_s = x] with the shape of ``x``."""
        return -self.score(x, s) * self.schedule.sigma(s).to(x)


POSTERIOR = GaussianPosterior(
    torch.tensor([0.8, -0.5], dtype=torch.float64),
    torch.tensor([[0.7, 0.3], [0.3, 0.4]], dtype=torch.float64),
    log_evidence=1.7,
)
BASE = DiagonalGaussian(torch.tensor([0.2, 0.3]), torch.tensor([1.3, 0.8]))


def posterior(nfe: int) -> Iterator[InferenceProblem]:
    """Yield the Gaussian posterior with a base that is neither it nor the standard normal."""
    yield InferenceProblem(nfe, (2,), POSTERIOR.draw, POSTERIOR, BASE, NoisedPosterior(POSTERIOR))
