"""swd_ref: the sliced Wasserstein-1 distance of a 2-D sample to a target known by a very large draw."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _directions(num_angles: int) -> Array:
    angles = np.pi * np.arange(num_angles) / num_angles
    return np.stack([np.cos(angles), np.sin(angles)])


@dataclass(frozen=True)
class SlicedReference:
    """Quantiles of the target's projections onto equally spaced directions.

    Attributes:
        quantiles: the (i + 1/2) / n quantiles of each projection, shape (n, angles).
        null_mean: mean distance of a sample of size n drawn from the target itself.
    """

    quantiles: Array
    null_mean: float

    @classmethod
    def build(cls, reference: Array, nulls: list[Array], num_angles: int = 32) -> "SlicedReference":
        """Build the reference from a large draw (N, 2) and independent target samples of the size to be judged."""
        levels = (np.arange(len(nulls[0])) + 0.5) / len(nulls[0])
        projected = np.sort(reference @ _directions(num_angles), axis=0)
        quantiles = projected[(levels * len(reference)).astype(np.int64)]
        blank = cls(quantiles, 0.0)
        return cls(quantiles, float(np.mean([blank.evaluate(null) for null in nulls])))

    def evaluate(self, sample: Array) -> float:
        """Return the mean absolute difference of sorted projections and quantiles, less its null mean.

        Raises:
            ValueError: the sample has another shape than (n, 2).
        """
        if sample.shape != (len(self.quantiles), 2):
            raise ValueError(
                f"swd_ref: got a sample of shape {sample.shape}, expected {(len(self.quantiles), 2)}; draw that many"
            )
        projected = np.sort(sample @ _directions(self.quantiles.shape[1]), axis=0)
        return float(np.abs(projected - self.quantiles).mean() - self.null_mean)
