"""Data sets: what is modelled, how more of it is drawn, and how it is stored."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hsivi.data_config import DataConfig

if TYPE_CHECKING:  # opening data to measure samples needs no torch
    from torch import Tensor

    from hsivi.gaussian import DiagonalGaussian
    from hsivi.schedule import Schedule
    from hsivi.score_model import ScoreModel
    from hsivi.target import Target

Arrays = dict[str, NDArray[np.generic]]


class Dataset(Protocol):
    """One target distribution."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        ...

    def draw(self, n: int, *key: int | str) -> NDArray[np.float64]:
        """Return n samples of the target, shape (n, \\*event), that depend on ``key`` alone.

        Where the target is known through data only, these are held-out points drawn with replacement.
        """
        ...

    def arrays(self) -> Arrays:
        """Return what a file must hold to open the data set again."""
        ...


class TrainingDataset(Dataset, Protocol):
    """A distribution known through data, which a score model is trained on."""

    def training_points(self) -> NDArray[np.generic]:
        """Return what the score model is trained on, shape (N, \\*event); see `in_units` for pixels."""
        ...


class ScoredDataset(Dataset, Protocol):
    """A distribution whose scores under noise are known."""

    def exact_score_model(self, schedule: "Schedule") -> "ScoreModel":
        """Return the exact score model under the noise of a schedule."""
        ...


class TargetDataset(Dataset, Protocol):
    """A distribution known through its density."""

    @property
    def target(self) -> "Target":
        """The density and its score."""
        ...

    @property
    def base(self) -> "DiagonalGaussian":
        """The bridge's base distribution, mean and std of shape (d,)."""
        ...

    @property
    def diffused(self) -> "ScoreModel | None":
        """Exact score model of the target under a diffusion with alpha_bar(s) = 1 - s^2, where there is one."""
        ...


def in_units(points: "Tensor") -> "Tensor":
    """Return points in units of the model: pixels 0..255 (uint8) as x / 127.5 - 1, anything else as it is."""
    return points.float() / 127.5 - 1 if not points.is_floating_point() else points


def prepare(config: DataConfig, dataset: str) -> Dataset:
    """Make a data set from its sources."""
    if config.kind == "toy2d":
        from hsivi.data.toy2d import Toy2D

        return Toy2D.fit(dataset, config.seed, config.reference_draws)
    if config.kind == "mixture":
        from hsivi.data.mixture import Mixture

        return Mixture.unit_ring() if dataset == "unit_ring" else Mixture.ring()
    if config.kind == "posterior":
        from hsivi.data.conditioned_diffusion import ConditionedDiffusionData

        return ConditionedDiffusionData.simulate(config.seed)
    if config.kind == "images":
        from hsivi.data.images import ImageSet

        return ImageSet.load(config, dataset)
    from hsivi.data.digits import load

    return load(config.seed, config.held_out_fraction)


def restore(config: DataConfig, dataset: str, arrays: Arrays) -> Dataset:
    """Open a data set from what `Dataset.arrays` returned."""
    if config.kind == "toy2d":
        from hsivi.data.toy2d import Toy2D

        return Toy2D.restore(dataset, arrays)
    if config.kind == "mixture":
        from hsivi.data.mixture import Mixture

        return Mixture.restore(arrays)
    if config.kind == "posterior":
        from hsivi.data.conditioned_diffusion import ConditionedDiffusionData

        return ConditionedDiffusionData.restore(arrays)
    if config.kind == "images":
        from hsivi.data.images import ImageSet

        return ImageSet.restore(arrays)
    from hsivi.data.digits import Digits

    return Digits.restore(arrays)
