"""How much of an image is decided by the prior's draw x_T, and how much by the randomness after it.  No torch here."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.floating[Any]]


def spread_from_one_prior(fan: Images, independent: Images) -> tuple[float, float]:
    """Return the spread of images that share x_T, in units of the spread of independent ones.

    Spread is the mean squared distance, over all pixels, of two different images.  The ratio is 0 for a deterministic
    sampler and 1 where x_T does not matter.  For distances of the pairs i < j of m images,
    mean |x_i - x_j|^2 = 2 / (m - 1) sum_i |x_i - mean|^2, so no pair is formed.

    Arguments:
        fan: shape (priors, members, \\*event), at least two priors and two members of each.
        independent: samples of the same sampler, each with its own x_T, shape (n, \\*event), at least two.

    Returns:
        The ratio, and its standard error: the scatter over priors and that of the independent spread, to first order.

    Raises:
        ValueError: shapes differ, or there are too few images.
    """
    if fan.ndim < 3 or fan.shape[2:] != independent.shape[1:] or min(*fan.shape[:2], len(independent)) < 2:
        raise ValueError(
            f"diversity: got images of shapes {fan.shape} and {independent.shape}, expected (priors, members, *event) "
            f"and (n, *event) with at least two of each; draw more or reshape them"
        )
    members, n = fan.shape[1], len(independent)
    given = np.array([_deviations(images).sum() for images in fan]) * 2 / (members - 1)
    alone = _deviations(independent) * 2 * n / (n - 1)
    value = float(given.mean() / alone.mean())
    error_given = given.std(ddof=1) / math.sqrt(len(given))
    error_alone = alone.std(ddof=1) / math.sqrt(n)
    return value, float(math.hypot(error_given, value * error_alone) / alone.mean())


def _deviations(images: Images) -> NDArray[np.float64]:
    """Return the squared distance of each image to their mean, shape (n,)."""
    points = images.reshape(len(images), -1).astype(np.float64)
    points -= points[0].copy()  # so that equal images have exactly none
    deviations: NDArray[np.float64] = np.square(points - points.mean(0)).sum(1)
    return deviations
