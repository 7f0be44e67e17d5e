"""k-nearest-neighbour estimates of divergences between two samples, as the ITE toolbox defines them.

Notation: r_k(x; S) is the distance from x to its k-th nearest neighbour in S (itself excluded where x is in S).
All values are in nats and none is clipped, so estimates of a zero divergence scatter around zero.

References:
    Szabo, "Information theoretical estimators toolbox", JMLR 2014.
    Kozachenko and Leonenko, 1987; Wang, Kulkarni and Verdu, "Divergence estimation", IEEE Trans. IT 2009.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import digamma, gammaln

Array = NDArray[np.float64]
NEIGHBOURS = 3
"""ITE's default k."""


def _distances(tree: KDTree, points: Array, rank: int, what: str) -> Array:
    distances = np.asarray(tree.query(points, k=[rank])[0])[:, 0]
    if not (distances > 0).all():
        raise ValueError(
            f"nearest-neighbour divergence: {what} holds points with {NEIGHBOURS} or more exact copies, expected "
            f"samples of a density; do not resample or quantise them"
        )
    return distances


def _check(x: Array, y: Array) -> None:
    if x.shape != y.shape or x.ndim != 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(
            f"nearest-neighbour divergence: got samples of shapes {x.shape} and {y.shape}, expected two finite "
            f"samples of one shape (n, d); draw equally many points from both"
        )


def entropy(x: Array, k: int = NEIGHBOURS) -> float:
    """Return the Kozachenko-Leonenko estimate of the differential entropy of a sample of shape (n, d)."""
    n, d = x.shape
    if n <= k:
        raise ValueError(f"entropy: got {n} points, expected more than {k}; draw more samples")
    radius = _distances(KDTree(x), x, k + 1, "the sample")
    log_unit_ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    return float(np.log(n - 1) - digamma(k) + log_unit_ball + d * np.log(radius).mean())


def jensen_shannon(x: Array, y: Array, k: int = NEIGHBOURS) -> float:
    """Return H(x and y pooled) - (H(x) + H(y)) / 2, ITE's ``MDJS_HS`` at equal weights.

    Never above log((2n - 1) / (n - 1)), the value for disjoint samples.

    Arguments:
        x: shape (n, d).
        y: shape (n, d).
        k: number of the neighbour.

    Raises:
        ValueError: shapes differ, values are not finite, or a point has k or more exact copies.
    """
    _check(x, y)
    return entropy(np.concatenate([x, y]), k) - (entropy(x, k) + entropy(y, k)) / 2


def kullback_leibler(x: Array, y: Array, k: int = NEIGHBOURS) -> float:
    """Return the estimate of KL(p_x || p_y), ITE's ``BDKL_KnnK``; arguments and errors as `jensen_shannon`."""
    _check(x, y)
    n, d = x.shape
    within = _distances(KDTree(x), x, k + 1, "the first sample")
    across = _distances(KDTree(y), x, k, "the second sample")
    return float(d * np.log(across / within).mean() + np.log(len(y) / (n - 1)))
