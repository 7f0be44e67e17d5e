"""What is stored of samples: all of them, or the moments that their metrics need.  No torch here.

This stands apart from the metrics, so that an edit of a metric draws no samples again.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["all", "moments"]
STORED_SAMPLES = 2_000
"""Samples of each set that are kept beside their moments."""
ARRAYS = ("samples", "mean", "covariance", "fan")
"""What metrics are given of a run; each array has a part for every seed in front, ``fan`` one for the first only."""


def summarise(kind: Kind, samples: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return what is stored of samples of shape (seeds, sets, n, \\*event).

    Returns:
        ``samples``; where only moments are needed the first of each set, and over all n of them ``mean``
        (seeds, sets, d) and the unbiased ``covariance`` (seeds, sets, d, d), float64.
    """
    if kind == "all":
        return {"samples": samples}
    seeds, sets, _, dimension = samples.shape
    moments = [_moments(points) for of_seed in samples for points in of_seed]
    return {
        "samples": samples[:, :, :STORED_SAMPLES],
        "mean": np.reshape([mean for mean, _ in moments], (seeds, sets, dimension)),
        "covariance": np.reshape([covariance for _, covariance in moments], (seeds, sets, dimension, dimension)),
    }


def _moments(points: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (d,) and unbiased covariance (d, d) of points (n, d)."""
    points = points.astype(np.float64)
    return points.mean(0), np.cov(points, rowvar=False)
