"""Targets of Bayesian inference: densities that can be evaluated, up to a constant, and their scores.

A target is a function of x alone.  Bridges lead to it, objectives use its score or its log-density, and nothing here
knows who asks.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from hsivi.gaussian import DiagonalGaussian

Value = TypeVar("Value")


class Target(Protocol):
    """A distribution p on R^d."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one sample, (d,)."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), up to a constant that does not depend on x, with shape (\\*batch); x is (\\*batch, d)."""
        ...

    def score(self, x: Tensor) -> Tensor:
        """Return grad_x log p(x) with the shape of ``x``."""
        ...


def placed(value: Value, like: Tensor) -> Value:
    """Return a target, or another dataclass, with all its tensors of the type and on the device of ``like``.

    Dataclasses within are placed too; what is neither a tensor nor a dataclass stays as it is.
    """
    found: Any = value
    if isinstance(found, Tensor):
        found = found.to(like)
    elif dataclasses.is_dataclass(found) and not isinstance(found, type):
        names = [field.name for field in dataclasses.fields(found) if field.init]
        found = dataclasses.replace(found, **{name: placed(getattr(found, name), like) for name in names})
    return cast(Value, found)


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of isotropic Gaussians, normalised  (HSIVI, section 5.1).

    Attributes:
        means: shape (K, d).
        variances: shape (K,).
        weights: shape (K,), positive, summing to one.
    """

    means: Tensor
    variances: Tensor
    weights: Tensor

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return (self.means.shape[1],)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density, shape (\\*batch)."""
        return torch.logsumexp(self._log_joint(x), -1)

    def score(self, x: Tensor) -> Tensor:
        """Return the score, shape of ``x``: components' scores weighted by their posterior probabilities."""
        weights = torch.softmax(self._log_joint(x), -1) / self.variances.to(x)
        return weights @ self.means.to(x) - weights.sum(-1, keepdim=True) * x

    def _log_joint(self, x: Tensor) -> Tensor:
        """Return the log of weight times density of every component, shape (\\*batch, K)."""
        variances = self.variances.to(x)
        distance = (x[..., None, :] - self.means.to(x)).square().sum(-1)
        normaliser = 0.5 * x.shape[-1] * torch.log(2 * math.pi * variances)
        return self.weights.to(x).log() - normaliser - 0.5 * distance / variances


@dataclass(frozen=True)
class ConditionedDiffusion:
    """Posterior of a discretised Langevin path given noisy observations of all its points  (HSIVI, eq. (11)).

    The prior is the Euler-Maruyama chain x_i = x_{i-1} + b(x_{i-1}) step + sqrt(step) xi_i from x_0 = 0 with the
    drift b(x) = 10 x (1 - x^2); the likelihood is N(y; x, noise_std^2 I).  `log_prob` is the joint log p(x, y) with
    all constants, so that lower bounds on the evidence log p(y) mean something.

    Attributes:
        observations: y, shape (d,).
        step: time between neighbouring points.
        noise_std: standard deviation of the observation noise.
    """

    observations: Tensor
    step: float = 0.01
    noise_std: float = 0.1

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return tuple(self.observations.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) + log p(y | x), shape (\\*batch)."""
        prior = DiagonalGaussian(torch.zeros_like(x), torch.full_like(x[..., :1], math.sqrt(self.step)))
        likelihood = DiagonalGaussian(x, torch.full_like(x[..., :1], self.noise_std))
        return prior.log_prob(self._increments(x)) + likelihood.log_prob(self.observations.to(x))

    def score(self, x: Tensor) -> Tensor:
        """Return grad_x log p(x | y), shape of ``x``."""
        pull = self._increments(x) / self.step
        slope = 1 + self.step * (10 - 30 * x[..., :-1].square())
        ahead = torch.nn.functional.pad(pull[..., 1:] * slope, (0, 1))
        return ahead - pull + (self.observations.to(x) - x) / self.noise_std**2

    def _increments(self, x: Tensor) -> Tensor:
        """Return sqrt(step) xi, the part of each increment that the drift does not explain."""
        before = torch.nn.functional.pad(x[..., :-1], (1, 0))
        return x - before - self.step * 10 * before * (1 - before.square())


@dataclass(frozen=True)
class Whitened:
    """A target in the coordinates u = (x - mean) / std of a diagonal Gaussian.

    Attributes:
        target: the distribution of x.
        base: gives mean and std.
    """

    target: Target
    base: DiagonalGaussian

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return self.target.event_shape

    def log_prob(self, u: Tensor) -> Tensor:
        """Return the log-density of u, shape (\\*batch); it has the same constant as the target's."""
        std = self.base.std.to(u)
        return self.target.log_prob(self.restore(u)) + std.log().expand_as(u).sum(-1)

    def score(self, u: Tensor) -> Tensor:
        """Return the score with respect to u, shape of ``u``."""
        return self.base.std.to(u) * self.target.score(self.restore(u))

    def restore(self, u: Tensor) -> Tensor:
        """Return x = mean + std u."""
        return self.base.mean.to(u) + self.base.std.to(u) * u
