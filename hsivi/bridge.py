"""Bridges: the auxiliary distributions p_0 (target), ..., p_{T-1} that the layers are trained to match."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from hsivi.gaussian import DiagonalGaussian
from hsivi.score_model import ScoreAtLevels, ScoreModel
from hsivi.target import Target, placed


class Bridge(Protocol):
    """What every bridge knows: how many distributions, and their scores."""

    @property
    def num_layers(self) -> int:
        """T."""
        ...

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return S_t(x), shape of ``x``; ``t`` holds layer indices and broadcasts against the batch."""
        ...


@dataclass(frozen=True)
class DiffusionBridge:
    """p_t is the distribution of u_{s_t}, known through a score model  (HSIVI, Example 2 and eq. (9)).

    Attributes:
        score_model: the teacher S*, whose parameters do not change; its inputs have shape (R, \\*batch, \\*event).
        levels: the T + 1 times s_0 < ... < s_T; the last one has no target, it is the level of the prior.
    """

    score_model: ScoreModel
    levels: Tensor
    _at_levels: ScoreAtLevels = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with torch.no_grad():
            object.__setattr__(self, "_at_levels", self.score_model.at(self.levels).now())

    @property
    def num_layers(self) -> int:
        """T."""
        return len(self.levels) - 1

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return S_t(x), shape of ``x``; ``t`` holds layer indices and broadcasts against the batch."""
        return self._at_levels.score(x, t)

    def noise_variance(self) -> Tensor:
        """Return 1 - alpha_bar(s_t) for t = 0..T-1, shape (T,): the weight beta(t) of eq. (10) at power one."""
        return self.score_model.schedule.sigma(self.levels[:-1]).square()


@dataclass(frozen=True)
class GeometricBridge:
    """p_t is proportional to base^(1 - lambda_t) target^lambda_t  (HSIVI, Example 1 and eq. (6)).

    Attributes:
        target: p.
        base: p_base.
        weights: lambda_0 = 1 > ... > lambda_{T-1} >= 0, shape (T,).
    """

    target: Target
    base: DiagonalGaussian
    weights: Tensor

    @property
    def num_layers(self) -> int:
        """T."""
        return len(self.weights)

    def placed(self, like: Tensor) -> "GeometricBridge":
        """Return the same with its constants of the type and on the device of ``like``, for many calls there."""
        return placed(self, like)

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return S_t(x) = (1 - lambda_t) S_base(x) + lambda_t S(x), shape of ``x``."""
        weight = self.weights[t][..., None].to(x)
        return (1 - weight) * self._base(x).score(x) + weight * self.target.score(x)

    def log_prob(self, x: Tensor, t: Tensor) -> Tensor:
        """Return log p_t(x) up to a constant, shape (\\*batch)."""
        weight = self.weights[t].to(x)
        return (1 - weight) * self._base(x).log_prob(x) + weight * self.target.log_prob(x)

    def _base(self, x: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.base.mean.to(x), self.base.std.to(x))


def geometric_weights(num_layers: int, ends_at_base: bool) -> Tensor:
    """Return lambda_t, float64, shape (T,).

    Arguments:
        num_layers: T.
        ends_at_base: lambda_t = 1 - t / (T - 1), so that p_{T-1} is the base itself (conditioned diffusion), instead
            of 1 - t / T, where the base would be p_T (mixture).  With one layer lambda_0 = 1 either way.
    """
    t = torch.arange(num_layers, dtype=torch.float64)
    return 1 - t / (max(num_layers - 1, 1) if ends_at_base else num_layers)
