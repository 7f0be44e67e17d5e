"""The Laplace approximation: the Gaussian that has a density's mode and its curvature there."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.distributions import MultivariateNormal

from hsivi.target import Target

Array = NDArray[np.float64]
GRADIENT_TOLERANCE = 1e-6
"""Euclidean norm of the score at which the search for the mode ends."""


@dataclass(frozen=True)
class Laplace:
    """N(mean, covariance) in float64.

    Attributes:
        mean: the mode, shape (d,).
        covariance: inverse of the negative Hessian of the log-density at the mode, shape (d, d).
        log_evidence: approximation of the log of the density's integral, nats.
    """

    mean: Tensor
    covariance: Tensor
    log_evidence: float

    def sample_from(self, noise: Tensor) -> Tensor:
        """Return the samples that standard normal ``noise`` of shape (\\*batch, d) stands for, of its type."""
        scale = torch.linalg.cholesky(self.covariance)
        x: Tensor = self.mean.to(noise) + noise @ scale.mT.to(noise)
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density, shape (\\*batch); x is (\\*batch, d)."""
        mean, covariance = self.mean.to(x), self.covariance.to(x)
        log_density: Tensor = MultivariateNormal(mean, covariance, validate_args=False).log_prob(x)
        return log_density


def laplace(target: Target, start: Tensor) -> Laplace:
    """Return the Laplace approximation at the mode that Newton's method with a trust region finds from ``start``.

    Arguments:
        target: its score must be differentiable by `torch.func.jacfwd`.
        start: shape (d,).

    Raises:
        ValueError: no mode was found, for instance because the search ended at a saddle or in a valley.
    """

    def tensor(x: Array) -> Tensor:
        return torch.from_numpy(x).to(torch.float64)

    def hessian(x: Tensor) -> Tensor:
        matrix: Tensor = torch.func.jacfwd(target.score)(x)
        return 0.5 * (matrix + matrix.mT)

    def value(x: Array) -> float:
        return -float(target.log_prob(tensor(x)))

    def slope(x: Array) -> Array:
        gradient: Array = -target.score(tensor(x)).numpy()
        return gradient

    def curvature(x: Array) -> Array:
        matrix: Array = -hessian(tensor(x)).numpy()
        return matrix

    begin: Array = start.detach().cpu().to(torch.float64).numpy()
    options: Any = {"gtol": GRADIENT_TOLERANCE}
    found = minimize(value, begin, jac=slope, hess=curvature, method="trust-exact", options=options)
    mode = tensor(found.x)
    left, precision = float(target.score(mode).norm()), -hessian(mode)
    if not left < 100 * GRADIENT_TOLERANCE:
        raise ValueError(
            f"Laplace approximation: got a score of norm {left:.2g} where the search ended, expected a mode; start it "
            f"elsewhere"
        )
    lowest = float(torch.linalg.eigvalsh(precision)[0])
    if not lowest > 0:
        raise ValueError(
            f"Laplace approximation: got curvature {lowest:.2g} along one direction at the stationary point, expected "
            f"a mode, where all are positive; start elsewhere"
        )
    covariance = torch.linalg.inv(precision)
    log_evidence = target.log_prob(mode) + 0.5 * len(mode) * math.log(2 * math.pi) - 0.5 * torch.logdet(precision)
    return Laplace(mode, 0.5 * (covariance + covariance.mT), float(log_evidence))
