"""Metrics: what is known about a target is prepared once, then samples are turned into numbers.

A metric's name carries what changes its value.  Every metric that can has a floor, the value that samples of the
target itself take, measured when the reference is prepared.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hsivi.config import DigitsData, ToyData
from hsivi.data import Arrays, Dataset
from hsivi.record import Measurement


class Reference(Protocol):
    """What the metrics of one data set know about the target."""

    def arrays(self) -> Arrays:
        """Return what a file must hold to open the reference again."""
        ...

    def metadata(self) -> dict[str, Any]:
        """Return the rest of what a file must hold, and facts for people, as values JSON can hold."""
        ...

    def measure(self, sample_sets: NDArray[np.float32], seed: int) -> list[Measurement]:
        """Return all metrics of one run.

        Arguments:
            sample_sets: independent sample sets of one run, shape (sets, n, \\*event).
            seed: seed of the run; target samples that a metric needs beside the reference depend on it.
        """
        ...


def prepare(config: ToyData | DigitsData, dataset: Dataset, num_samples: int) -> Reference:
    """Prepare the reference of a data set for samples of size ``num_samples``."""
    if config.kind == "toy2d":
        from hsivi.metrics.toy2d import ToyReference

        return ToyReference.build(config, dataset, num_samples)
    from hsivi.metrics.digits import DigitsReference

    return DigitsReference.build(config, dataset)


def restore(config: ToyData | DigitsData, dataset: Dataset, arrays: Arrays, metadata: dict[str, Any]) -> Reference:
    """Open a reference from what `Reference.arrays` and `Reference.metadata` returned."""
    if config.kind == "toy2d":
        from hsivi.metrics.toy2d import ToyReference

        return ToyReference.restore(dataset, arrays, metadata)
    from hsivi.metrics.digits import DigitsReference

    return DigitsReference.restore(dataset, arrays, metadata)
