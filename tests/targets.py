"""Small targets whose moments are known to machine precision or by quadrature; they share no code with the package."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hsivi.gaussian import DiagonalGaussian
from hsivi.problem import InferenceProblem
from hsivi.target import Target


@dataclass(frozen=True)
class NormalTarget:
    """exp(log_evidence) times the density of N(mean, precision^{-1}); mean (d,), precision (d, d), float64."""

    mean: Tensor
    precision: Tensor
    log_evidence: float = 0.0

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (len(self.mean),)

    @property
    def covariance(self) -> Tensor:
        return torch.linalg.inv(self.precision)

    def log_prob(self, x: Tensor) -> Tensor:
        away = x - self.mean.to(x)
        constant = 0.5 * (torch.logdet(self.precision) - len(self.mean) * math.log(2 * math.pi)) + self.log_evidence
        return constant.to(x) - 0.5 * (away @ self.precision.to(x) * away).sum(-1)

    def score(self, x: Tensor) -> Tensor:
        return (self.mean.to(x) - x) @ self.precision.to(x)


PRECISION = torch.tensor([[4.0, 1.2, -0.5], [1.2, 2.0, 0.4], [-0.5, 0.4, 1.0]], dtype=torch.float64)
NORMAL = NormalTarget(torch.tensor([0.7, -1.1, 2.0], dtype=torch.float64), PRECISION, log_evidence=-3.25)


def problem(target: Target, mean: Tensor, std: Tensor) -> InferenceProblem:
    """An inference problem whose base is N(mean, diag(std^2)); it cannot be drawn from."""

    def draw(n: int, *key: int | str) -> Tensor:
        raise NotImplementedError

    return InferenceProblem(0, target.event_shape, draw, target, DiagonalGaussian(mean, std))


def normal_density(x: np.ndarray, mean: np.ndarray | float, variance: float) -> np.ndarray:
    return np.exp(-0.5 * (x - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)


def moments_of_two_points(
    y: np.ndarray, step: float = 0.01, noise_std: float = 0.1
) -> tuple[float, np.ndarray, np.ndarray]:
    """Evidence, mean and covariance of eq. (11) with two points, by the trapezoidal rule on a grid."""
    axis = np.linspace(-3, 3, 1201)
    first, second = np.meshgrid(axis, axis, indexing="ij")
    density = normal_density(first, 0, step) * normal_density(y[0], first, noise_std**2)
    moved = first + 10 * first * (1 - first**2) * step
    density *= normal_density(second, moved, step) * normal_density(y[1], second, noise_std**2)
    evidence = density.sum() * (axis[1] - axis[0]) ** 2  # the density vanishes at the borders, so end corrections do
    points = np.stack([first.ravel(), second.ravel()], 1)
    weights = density.ravel() / density.sum()
    mean = weights @ points
    return float(evidence), mean, (points - mean).T @ (weights[:, None] * (points - mean))
