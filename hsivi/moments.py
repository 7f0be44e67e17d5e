"""Mean and covariance of more points than fit in memory.  No torch here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of points.

    Attributes:
        count: number of points.
        mean: shape (d,).
        scatter: sum of outer products of deviations from the mean, shape (d, d).
    """

    count: int
    mean: Array
    scatter: Array

    @classmethod
    def of(cls, points: NDArray[np.floating[Any]]) -> "Moments":
        """Return the moments of ``points``, shape (n, d); none of no points."""
        if not len(points):
            return cls(0, np.zeros(points.shape[1]), np.zeros((points.shape[1], points.shape[1])))
        mean = points.mean(0, dtype=np.float64)
        deviation = points - mean
        return cls(len(points), mean, deviation.T @ deviation)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of points together, without cancellation  (Chan et al., 1983)."""
        count = self.count + other.count
        if not count:
            return self
        shift = other.mean - self.mean
        between = self.count * (other.count / count) * np.outer(shift, shift)
        return Moments(count, self.mean + shift * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Array:
        """The unbiased covariance, shape (d, d)."""
        return self.scatter / (self.count - 1)
