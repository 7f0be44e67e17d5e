"""Noise schedules of variance-preserving diffusions.

Notation: ``s`` is diffusion time, ``alpha_bar(s)`` the paper's alpha(s), a variance, and
``sigma(s)^2 = 1 - alpha_bar(s)``, so that u_s | u_0 ~ N(sqrt(alpha_bar) u_0, sigma^2 I)  (HSIVI, section 4.2).
`hsivi.time_grid` cuts a schedule into T steps.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """A noise schedule: ``alpha_bar`` decreases from one as ``s`` grows."""

    @property
    def clean(self) -> float:
        """Time of clean data, where alpha_bar is one."""
        ...

    @property
    def lowest(self) -> float:
        """The lowest noisy level, where samplers stop that cannot go to clean data."""
        ...

    @property
    def highest(self) -> float:
        """The level that N(0, I) stands in for."""
        ...

    def alpha_bar(self, s: Tensor) -> Tensor:
        """Return the signal variance at times ``s``, with the shape of ``s``."""
        ...

    def sigma(self, s: Tensor) -> Tensor:
        """Return sqrt(1 - alpha_bar(s)), exact where it is small, with the shape of ``s``."""
        ...

    def level(self, alpha_bar: Tensor) -> Tensor:
        """Return the real-valued times of float64 signal variances: the inverse of `alpha_bar`."""
        ...

    def network_time(self, s: Tensor) -> Tensor:
        """Return what a network's time embedding is fed at times ``s``, with the shape of ``s``."""
        ...

    def training_times(self, u: Tensor) -> Tensor:
        """Map uniform numbers in [0, 1) to the discrete times on which the score model is trained."""
        ...


def half_log_snr(schedule: Schedule, s: Tensor) -> Tensor:
    """Return lambda(s) = log(sqrt(alpha_bar) / sigma), half the log signal-to-noise ratio; infinite for clean data."""
    return 0.5 * schedule.alpha_bar(s).log() - schedule.sigma(s).log()


@dataclass(frozen=True)
class QuadraticSchedule:
    """1 - alpha_bar(s) = s^2 for s in [0, 1]  (HSIVI, section 5.2 and E.2.1).

    Attributes:
        num_levels: number of equidistant training times 1/num_levels, ..., 1.
        s_min: lowest level of the bridge; the paper's 0.01.
        s_max: level of the prior; the square root of the paper's 0.8.
        embedding_scale: factor on 1 - alpha_bar before the sinusoidal embedding (not stated in the paper).
    """

    num_levels: int = 1000
    s_min: float = 0.01
    s_max: float = 0.8**0.5
    embedding_scale: float = 1000.0
    clean: float = field(default=0.0, init=False)

    @property
    def lowest(self) -> float:
        """The paper's lowest level."""
        return self.s_min

    @property
    def highest(self) -> float:
        """The paper's level of the prior."""
        return self.s_max

    def alpha_bar(self, s: Tensor) -> Tensor:
        """Return 1 - s^2."""
        return 1 - s.square()

    def sigma(self, s: Tensor) -> Tensor:
        """Return s itself: in float32, sqrt(1 - (1 - s^2)) would be off by 0.7 per cent at s = 0.001."""
        return s

    def level(self, alpha_bar: Tensor) -> Tensor:
        """Return sqrt(1 - alpha_bar)."""
        return (1 - alpha_bar).sqrt()

    def network_time(self, s: Tensor) -> Tensor:
        """Return the scaled noise variance, which is what EmbT of the paper's network embeds."""
        return self.embedding_scale * s.square()

    def training_times(self, u: Tensor) -> Tensor:
        """Map u in [0, 1) to i / num_levels, i = 1..num_levels."""
        return ((u * self.num_levels).floor() + 1) / self.num_levels


class DiscreteSchedule(ABC):
    """alpha_bar(s) = prod_{j <= s} (1 - beta_j), j = 0..num_levels - 1: the product of a discrete-time diffusion.

    Times are level indices; index -1 stands for clean data (alpha_bar = 1).  At whole indices the product is looked up;
    in between, for methods that step between trained levels, it is continued by the schedule's own formula.

    Attributes:
        num_levels: number of discrete levels.
    """

    num_levels: int
    clean: float = -1.0
    lowest: float = 0.0

    @property
    @abstractmethod
    def betas(self) -> Tensor:
        """The noise variances of single steps, float64, shape (num_levels,)."""

    @abstractmethod
    def _log_product(self, s: Tensor) -> Tensor:
        """Return log alpha_bar at real ``s`` in [-1, num_levels - 1], float64, decreasing."""

    @property
    def highest(self) -> float:
        """The last index."""
        return float(self.num_levels - 1)

    @cached_property
    def alpha_bars(self) -> Tensor:
        """The cumulative products for indices -1, 0, ..., num_levels - 1, float64, shape (num_levels + 1,)."""
        return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - self.betas, 0)])

    def alpha_bar(self, s: Tensor) -> Tensor:
        """Return the product up to ``s`` in [-1, num_levels - 1]."""
        whole = self._look_up("alpha_bar", self.alpha_bars, s)
        return whole if not s.is_floating_point() else whole.where(s == s.floor(), self._log_product(s).exp().to(s))

    def sigma(self, s: Tensor) -> Tensor:
        """Return sqrt(1 - alpha_bar), rounded once from float64."""
        whole = self._look_up("sigma", (1 - self.alpha_bars).sqrt(), s)
        if not s.is_floating_point():
            return whole
        return whole.where(s == s.floor(), torch.expm1(self._log_product(s)).neg().sqrt().to(s))

    def level(self, alpha_bar: Tensor) -> Tensor:
        """Return real-valued indices, by bisection between the neighbouring whole ones.

        Raises:
            ValueError: a variance lies outside the schedule's.
        """
        table = self.alpha_bars
        if ((alpha_bar < table[-1]) | (alpha_bar > 1)).any():
            raise ValueError(
                f"level: got signal variances from {alpha_bar.min():.3g} to {alpha_bar.max():.3g}, expected them in "
                f"[{table[-1]:.3g}, 1]; choose levels of the schedule"
            )
        above = torch.searchsorted(-table, -alpha_bar.double())  # the first index that is at least as noisy
        upper = above.double() - 1
        exact, lower = table[above] == alpha_bar, upper - 1
        found = upper.clone()
        for _ in range(60):
            middle = (lower + found) / 2
            noisier = self._log_product(middle) < alpha_bar.log()
            found, lower = torch.where(noisier, middle, found), torch.where(noisier, lower, middle)
        return torch.where(exact, upper, found)

    def network_time(self, s: Tensor) -> Tensor:
        """Return the level index itself."""
        return s

    def training_times(self, u: Tensor) -> Tensor:
        """Map u in [0, 1) to an index 0..num_levels - 1."""
        return (u * self.num_levels).floor()

    @cached_property
    def _tables(self) -> dict[tuple[str, torch.dtype, torch.device], Tensor]:
        return {}

    def _look_up(self, name: str, table: Tensor, s: Tensor) -> Tensor:
        dtype = s.dtype if s.is_floating_point() else torch.get_default_dtype()
        key = (name, dtype, s.device)
        if key not in self._tables:
            self._tables[key] = table.to(dtype=dtype, device=s.device)
        return self._tables[key][s.long() + 1]


@dataclass(frozen=True)
class LinearBetaSchedule(DiscreteSchedule):
    """beta linear in the index  (Ho et al., 2020), continued by the Gamma function  (Kong and Ping, 2021, appendix B).

    Attributes:
        beta_min: first beta.
        beta_max: last beta.
        num_levels: number of discrete levels.
    """

    beta_min: float = 1e-4
    beta_max: float = 0.02
    num_levels: int = 1000

    @property
    def betas(self) -> Tensor:
        """Equidistant numbers."""
        return torch.linspace(self.beta_min, self.beta_max, self.num_levels, dtype=torch.float64)

    def _log_product(self, s: Tensor) -> Tensor:
        """Return log of D^(s+1) Gamma(b + 1) / Gamma(b - s) with D the step of beta."""
        slope = (self.beta_max - self.beta_min) / (self.num_levels - 1)
        b = (1 - self.beta_min) / slope
        return (s.double() + 1) * math.log(slope) + math.lgamma(b + 1) - torch.lgamma(b - s.double())


_MAX_BETA = 0.999


@dataclass(frozen=True)
class CosineSchedule(DiscreteSchedule):
    """alpha_bar(s) = f(s + 1) / f(0), f(i) = cos^2(pi/2 (i/N + 0.008) / 1.008)  (Nichol and Dhariwal, 2021, eq. 17).

    f(N) is zero, so every beta is at most 0.999.  This changes the last one alone: the one before is below 3/4.  In
    between, the same cap on beta(s) = 1 - f(s + 1) / f(s) at real s gives alpha_bar(s) = max(f(s + 1), f(s) / 1000) /
    f(0): the closed form up to index N - 1.033, then a thousandth of the level one index before.

    Attributes:
        num_levels: number N of discrete levels.
    """

    num_levels: int = 1000

    @property
    def betas(self) -> Tensor:
        """Steps between values of f, capped."""
        f = (self._angle * torch.arange(self.num_levels, -1, -1, dtype=torch.float64)).sin().square()
        return (1 - f[1:] / f[:-1]).clamp(max=_MAX_BETA)

    @property
    def _angle(self) -> float:
        """The angle of one index; f(i) = sin^2(angle (N - i)), which unlike the cosine is exact where it is small."""
        return math.pi / 2 / (1.008 * self.num_levels)

    def _log_product(self, s: Tensor) -> Tensor:
        left = self.num_levels - 1 - s.double()
        closed, capped = ((self._angle * steps).sin().square() for steps in (left, left + 1))
        f_0 = math.sin(self._angle * self.num_levels) ** 2
        return torch.maximum(closed, (1 - _MAX_BETA) * capped).log() - math.log(f_0)
