"""Metrics: what is known about a target is prepared once, then samples are turned into numbers.

A metric's name carries what changes its value.  Every metric that can has a floor, the value that samples of the
target itself take, measured when the reference is prepared.
"""

from typing import TYPE_CHECKING, Any, Protocol, cast

from hsivi.data import Arrays, Dataset, TrainingDataset
from hsivi.data_config import DataConfig
from hsivi.record import Measurement

if TYPE_CHECKING:  # measuring needs no torch
    from hsivi.checkpoint import Session
    from hsivi.data.conditioned_diffusion import ConditionedDiffusionData
    from hsivi.data.images import ImageSet
    from hsivi.data.mixture import Mixture


class Reference(Protocol):
    """What the metrics of one data set know about the target."""

    def arrays(self) -> Arrays:
        """Return what a file must hold to open the reference again."""
        ...

    def metadata(self) -> dict[str, Any]:
        """Return the rest of what a file must hold, and facts for people, as values JSON can hold."""
        ...

    def measure(self, stored: Arrays, seed: int) -> list[Measurement]:
        """Return all metrics of one run.

        Arguments:
            stored: what `hsivi.summary.summarise` returned, of one run: ``samples`` of shape (sets, n, \\*event), and
                for some targets moments.
            seed: seed of the run; target samples that a metric needs beside the reference depend on it.
        """
        ...


def prepare(config: DataConfig, dataset: Dataset, num_samples: int, session: "Session") -> Reference:
    """Prepare the reference of a data set for samples of size ``num_samples``; ``session`` runs what takes long."""
    if config.kind == "toy2d":
        from hsivi.metrics.toy2d import ToyReference

        return ToyReference.build(config, cast(TrainingDataset, dataset), num_samples)
    if config.kind == "mixture":
        from hsivi.metrics.mixture import MixtureReference

        return MixtureReference.build(config, cast("Mixture", dataset), num_samples)
    if config.kind == "posterior":
        from hsivi.metrics.posterior import PosteriorReference

        return PosteriorReference.build(config, cast("ConditionedDiffusionData", dataset), num_samples, session)
    if config.kind == "images":
        from hsivi.metrics.images import ImagesReference

        return ImagesReference.build(config, cast("ImageSet", dataset), num_samples, session)
    from hsivi.metrics.digits import DigitsReference

    return DigitsReference.build(config, dataset)


def restore(config: DataConfig, dataset: Dataset, arrays: Arrays, metadata: dict[str, Any]) -> Reference:
    """Open a reference from what `Reference.arrays` and `Reference.metadata` returned."""
    if config.kind == "toy2d":
        from hsivi.metrics.toy2d import ToyReference

        return ToyReference.restore(cast(TrainingDataset, dataset), arrays, metadata)
    if config.kind == "mixture":
        from hsivi.metrics.mixture import MixtureReference

        return MixtureReference.restore(cast("Mixture", dataset), arrays, metadata)
    if config.kind == "posterior":
        from hsivi.metrics.posterior import PosteriorReference

        return PosteriorReference.restore(arrays, metadata)
    if config.kind == "images":
        from hsivi.metrics.images import ImagesReference

        return ImagesReference.restore(config, arrays, metadata)
    from hsivi.metrics.digits import DigitsReference

    return DigitsReference.restore(dataset, arrays, metadata)
