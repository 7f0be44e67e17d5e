"""Data sets: what is modelled, how more of it is drawn, and how it is stored."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hsivi.config import DigitsData, ToyData

Arrays = dict[str, NDArray[np.generic]]


class Dataset(Protocol):
    """One target distribution."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        ...

    def training_points(self) -> NDArray[np.float32]:
        """Return what the score model is trained on, shape (N, \\*event)."""
        ...

    def draw(self, n: int, *key: int | str) -> NDArray[np.float64]:
        """Return n samples of the target, shape (n, \\*event), that depend on ``key`` alone.

        Where the target is known through data only, these are held-out points drawn with replacement.
        """
        ...

    def arrays(self) -> Arrays:
        """Return what a file must hold to open the data set again."""
        ...


def prepare(config: ToyData | DigitsData, dataset: str) -> Dataset:
    """Make a data set from its sources."""
    if config.kind == "toy2d":
        from hsivi.data.toy2d import Toy2D

        return Toy2D.fit(dataset, config.seed, config.reference_draws)
    from hsivi.data.digits import load

    return load(config.seed, config.held_out_fraction)


def restore(config: ToyData | DigitsData, dataset: str, arrays: Arrays) -> Dataset:
    """Open a data set from what `Dataset.arrays` returned."""
    if config.kind == "toy2d":
        from hsivi.data.toy2d import Toy2D

        return Toy2D.restore(dataset, arrays)
    from hsivi.data.digits import Digits

    return Digits.restore(arrays)
