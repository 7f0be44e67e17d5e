"""Noise schedules of variance-preserving diffusions, and the time grids that cut them into T steps.

Notation: ``s`` is diffusion time, ``alpha_bar(s)`` the paper's alpha(s), a variance, and
``sigma(s)^2 = 1 - alpha_bar(s)``, so that u_s | u_0 ~ N(sqrt(alpha_bar) u_0, sigma^2 I)  (HSIVI, section 4.2).
A grid for T function evaluations has T + 1 increasing times s_0, ..., s_T; layer t maps x_{t+1} (level s_{t+1})
to x_t (level s_t), and x_T ~ N(0, I) is taken to be a sample of level s_T.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """A noise schedule: ``alpha_bar`` decreases from one as ``s`` grows."""

    def alpha_bar(self, s: Tensor) -> Tensor:
        """Return the signal variance at times ``s``, with the shape of ``s``."""
        ...

    def sigma(self, s: Tensor) -> Tensor:
        """Return sqrt(1 - alpha_bar(s)), exact where it is small, with the shape of ``s``."""
        ...

    def network_time(self, s: Tensor) -> Tensor:
        """Return what a network's time embedding is fed at times ``s``, with the shape of ``s``."""
        ...

    def training_times(self, u: Tensor) -> Tensor:
        """Map uniform numbers in [0, 1) to the discrete times on which the score model is trained."""
        ...

    def time_grid(self, name: str, num_steps: int) -> Tensor:
        """Return the named grid s_0 < ... < s_T as a float64 tensor of shape (num_steps + 1,).

        Raises:
            ValueError: the schedule has no grid of that name, or the number of steps does not fit it.
        """
        ...


def sigma(schedule: Schedule, s: Tensor) -> Tensor:
    """Return ``schedule.sigma(s)``."""
    return schedule.sigma(s)


def _require_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"time grid: got {num_steps} steps, expected at least 1; give a positive NFE")


def _unknown_grid(name: str, known: Mapping[str, object]) -> ValueError:
    return ValueError(f"time grid: got {name!r}, expected one of {', '.join(sorted(known))}; choose a listed name")


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

    def alpha_bar(self, s: Tensor) -> Tensor:
        """Return 1 - s^2."""
        return 1 - s.square()

    def sigma(self, s: Tensor) -> Tensor:
        """Return s itself: in float32, sqrt(1 - (1 - s^2)) would be off by 0.7 per cent at s = 0.001."""
        return s

    def network_time(self, s: Tensor) -> Tensor:
        """Return the scaled noise variance, which is what EmbT of the paper's network embeds."""
        return self.embedding_scale * s.square()

    def training_times(self, u: Tensor) -> Tensor:
        """Map u in [0, 1) to i / num_levels, i = 1..num_levels."""
        return ((u * self.num_levels).floor() + 1) / self.num_levels

    def time_grid(self, name: str, num_steps: int) -> Tensor:
        """Return one of the grids ``hsivi`` and ``full``; see `Schedule.time_grid`.

        ``hsivi`` is s_t = s_min + (s_max - s_min) t / T, whose end point makes N(0, I) a fair stand-in for
        standardised data.  ``full`` runs to s = 0.999, the last training level at which x_0 is still defined.
        """
        _require_steps(num_steps)
        ends = {"hsivi": self.s_max, "full": 1 - 1 / self.num_levels}
        if name not in ends:
            raise _unknown_grid(name, ends)
        return torch.linspace(self.s_min, ends[name], num_steps + 1, dtype=torch.float64)


@dataclass(frozen=True)
class LinearBetaSchedule:
    """alpha_bar(s) = prod_{j <= s} (1 - beta_j) with beta linear in j = 0..num_levels - 1  (Ho et al., 2020).

    Times are level indices; index -1 stands for clean data (alpha_bar = 1).

    Attributes:
        beta_min: first beta.
        beta_max: last beta.
        num_levels: number of discrete levels.
    """

    beta_min: float = 1e-4
    beta_max: float = 0.02
    num_levels: int = 1000
    _tables: dict[tuple[str, torch.dtype, torch.device], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def alpha_bars(self) -> Tensor:
        """The cumulative products for indices -1, 0, ..., num_levels - 1, float64, shape (num_levels + 1,)."""
        betas = torch.linspace(self.beta_min, self.beta_max, self.num_levels, dtype=torch.float64)
        return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)])

    def alpha_bar(self, s: Tensor) -> Tensor:
        """Return the cumulative product at integer indices ``s`` (any dtype holding whole numbers >= -1)."""
        return self._look_up("alpha_bar", self.alpha_bars, s)

    def sigma(self, s: Tensor) -> Tensor:
        """Return sqrt(1 - alpha_bar), rounded once from float64."""
        return self._look_up("sigma", (1 - self.alpha_bars).sqrt(), s)

    def _look_up(self, name: str, table: Tensor, s: Tensor) -> Tensor:
        dtype = s.dtype if s.is_floating_point() else torch.get_default_dtype()
        key = (name, dtype, s.device)
        if key not in self._tables:
            self._tables[key] = table.to(dtype=dtype, device=s.device)
        return self._tables[key][s.long() + 1]

    def network_time(self, s: Tensor) -> Tensor:
        """Return the level index itself."""
        return s

    def training_times(self, u: Tensor) -> Tensor:
        """Map u in [0, 1) to an index 0..num_levels - 1."""
        return (u * self.num_levels).floor()

    def time_grid(self, name: str, num_steps: int) -> Tensor:
        """Return one of the grids ``hsivi``, ``ddim_quad`` and ``full``; see `Schedule.time_grid`.

        ``hsivi`` is round(linspace(0, sqrt(0.8 N), T + 1)^2) and ends at index 0 (equal to the paper's floor form
        for T = 5 and 10).  ``ddim_quad`` is DDIM's floor(linspace(0, sqrt(0.8 N), T)^2) followed by a jump to
        clean data.  ``full`` is every index, so it needs T = num_levels.
        """
        _require_steps(num_steps)
        end = (0.8 * self.num_levels) ** 0.5
        grids = {
            "hsivi": lambda: torch.linspace(0, end, num_steps + 1, dtype=torch.float64).square().round(),
            "ddim_quad": lambda: self._with_clean(
                torch.linspace(0, end, max(num_steps, 2), dtype=torch.float64).square().add(1e-9).floor()
            ),
            "full": lambda: self._with_clean(torch.arange(self.num_levels, dtype=torch.float64)),
        }
        if name not in grids:
            raise _unknown_grid(name, grids)
        grid = grids[name]()
        if len(grid) != num_steps + 1 or len(grid.unique()) != len(grid):
            raise ValueError(
                f"time grid {name!r}: got {num_steps} steps, which does not give that many distinct levels of "
                f"{self.num_levels}; use another NFE or another grid"
            )
        return grid

    @staticmethod
    def _with_clean(times: Tensor) -> Tensor:
        return torch.cat([times.new_full((1,), -1), times])
