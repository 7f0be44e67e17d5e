"""js_cell: a calibrated one-sample Jensen-Shannon divergence on a grid, for 2-D targets that can be sampled.

The target's cell probabilities come from a very large reference draw.  Cells in which a sample of size n expects
at least ``MIN_EXPECTED`` points stand alone; the others are merged into three groups by expected count, the last
of which collects the mass that lies off the target's support.  The raw divergence JS(p, q_hat) is positive even for
a perfect sample; its null mean m0 and deviation s0 are measured on multinomial draws, and

    js_cell = ln 2 (raw - m0) / (ln 2 - m0),   z = (raw - m0) / s0

is zero in the mean when the sample is right and at most ln 2.  Binning loses information, so the value lies below
the true divergence; it is calibrated for the one sample size it was built for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

Array = NDArray[np.float64]
MIN_EXPECTED = 5.0
GROUP_EDGES = (0.05, 0.5, MIN_EXPECTED)


@dataclass(frozen=True)
class CellReference:
    """Cell probabilities of a target and the null distribution of the divergence at one sample size.

    Attributes:
        edges_x: grid edges of the first axis, shape (m + 1,).
        edges_y: grid edges of the second axis, shape (m + 1,).
        group: group of each cell, shape (m + 2, m + 2); the rim holds the outside.
        probability: target probability of each group, shape (groups,); the last group is off the support.
        num_samples: sample size n.
        null_mean: m0.
        null_std: s0.
    """

    edges_x: Array
    edges_y: Array
    group: NDArray[np.int64]
    probability: Array
    num_samples: int
    null_mean: float
    null_std: float

    @classmethod
    def build(
        cls, reference: Array, num_samples: int, rng: np.random.Generator, cells: int = 32, num_nulls: int = 400
    ) -> "CellReference":
        """Build the reference from a large draw of shape (N, 2)."""
        low, high = reference.min(0), reference.max(0)
        margin = 0.05 * (high - low)
        edges = np.linspace(low - margin, high + margin, cells + 1)
        share = _histogram(reference, edges[:, 0], edges[:, 1]) / len(reference)
        expected = num_samples * share
        group = np.full(share.shape, -1, dtype=np.int64)
        alone = expected >= MIN_EXPECTED
        group[alone] = np.arange(alone.sum())
        rare = np.digitize(expected[~alone], GROUP_EDGES[:2])  # 0: below .05, 1: [.05, .5), 2: [.5, 5)
        group[~alone] = int(alone.sum()) + 2 - rare
        probability = np.bincount(group.ravel(), share.ravel(), minlength=int(alone.sum()) + 3).astype(np.float64)
        nulls = rng.multinomial(num_samples, probability / probability.sum(), num_nulls) / num_samples
        raw = np.array([jensenshannon(probability, q) ** 2 for q in nulls])
        return cls(
            edges[:, 0],
            edges[:, 1],
            group.astype(np.int64),
            probability,
            num_samples,
            float(raw.mean()),
            float(raw.std(ddof=1)),
        )

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], nulls: Mapping[str, Any]) -> "CellReference":
        """Open what `arrays` and `nulls` returned."""
        return cls(
            np.asarray(arrays["edges_x"], np.float64),
            np.asarray(arrays["edges_y"], np.float64),
            np.asarray(arrays["group"], np.int64),
            np.asarray(arrays["probability"], np.float64),
            **nulls,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return grid and probabilities."""
        return {name: getattr(self, name) for name in ("edges_x", "edges_y", "group", "probability")}

    def nulls(self) -> dict[str, Any]:
        """Return sample size and null moments, as values JSON can hold."""
        return {name: getattr(self, name) for name in ("num_samples", "null_mean", "null_std")}

    def evaluate(self, sample: Array) -> dict[str, float]:
        """Return ``js_cell``, its ``z`` and raw value, and the fraction of points off the support.

        Arguments:
            sample: shape (num_samples, 2).

        Raises:
            ValueError: the sample has another size than the reference was calibrated for, or is not finite.
        """
        if sample.shape != (self.num_samples, 2) or not np.isfinite(sample).all():
            raise ValueError(
                f"js_cell: got a sample of shape {sample.shape}, expected {self.num_samples} finite points in 2-D; "
                f"the null distribution holds for that size only, so draw as many"
            )
        histogram = _histogram(sample, self.edges_x, self.edges_y)
        counts = np.bincount(self.group.ravel(), histogram.ravel(), minlength=len(self.probability))
        raw = float(jensenshannon(self.probability, counts) ** 2)
        return {
            "js_cell": float(np.log(2) * (raw - self.null_mean) / (np.log(2) - self.null_mean)),
            "js_cell_z": (raw - self.null_mean) / self.null_std,
            "js_cell_raw": raw,
            "off_support": float(counts[-1] / self.num_samples),
        }


def _histogram(points: Array, edges_x: Array, edges_y: Array) -> Array:
    """Count points in the cells, with an outer rim for what lies outside."""
    open_edges = [np.concatenate([[-np.inf], edges, [np.inf]]) for edges in (edges_x, edges_y)]
    return np.asarray(np.histogram2d(points[:, 0], points[:, 1], bins=open_edges)[0])
