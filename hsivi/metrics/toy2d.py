"""All metrics of the 2-D targets together, each with its floor.

js_cell: calibrated Jensen-Shannon divergence on a grid; the number to trust.  js_cell_z: the same in standard
    deviations of its null distribution.
off_support: share of samples where the target has (almost) no mass.
swd_ref: sliced Wasserstein-1 distance to the reference, less its null mean.
js_ite: k-nearest-neighbour Jensen-Shannon divergence; the metric the paper names.
kl_target_model_ite, kl_model_target_ite, jdist_ite: one-way Kullback-Leibler divergences and their sum.

All are taken in the standardised coordinates the models live in, in nats where that applies.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsivi.data import Arrays, TrainingDataset
from hsivi.data_config import ToyData
from hsivi.metrics.cells import CellReference
from hsivi.metrics.knn import jensen_shannon, kullback_leibler
from hsivi.metrics.sliced import SlicedReference
from hsivi.metrics.statistics import Floors, averages, floors
from hsivi.record import Measurement
from hsivi.rng import generator

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ToyReference:
    """See `hsivi.metrics.Reference`.

    Attributes:
        dataset: the target, for fresh samples.
        cells: reference of js_cell.
        sliced: reference of swd_ref.
        floor: mean and standard deviation of each metric on samples of the target itself.
    """

    dataset: TrainingDataset
    cells: CellReference
    sliced: SlicedReference
    floor: Floors

    @classmethod
    def build(cls, config: ToyData, dataset: TrainingDataset, num_samples: int) -> "ToyReference":
        """Prepare the reference for sample sets of size ``num_samples``."""
        reference = dataset.training_points().astype(np.float64)
        rng = generator(config.seed, "cell nulls")
        cells = CellReference.build(reference, num_samples, rng)
        draws = range(config.floor_pairs)
        sliced = SlicedReference.build(reference, [dataset.draw(num_samples, config.seed, "null", i) for i in draws])
        blank = cls(dataset, cells, sliced, {})
        values = [
            blank._evaluate(*(dataset.draw(num_samples, config.seed, "floor", side, i) for side in ("x", "y")))
            for i in draws
        ]
        floor = floors(values)
        return cls(dataset, cells, sliced, floor)

    @classmethod
    def restore(cls, dataset: TrainingDataset, arrays: Arrays, metadata: dict[str, Any]) -> "ToyReference":
        """Open a stored reference."""
        cells = CellReference.restore(arrays, metadata["cells"])
        sliced = SlicedReference(np.asarray(arrays["quantiles"], np.float64), metadata["sliced_null_mean"])
        return cls(dataset, cells, sliced, {name: (m, s) for name, (m, s) in metadata["floor"].items()})

    def arrays(self) -> Arrays:
        """Return grid, probabilities and quantiles."""
        return self.cells.arrays() | {"quantiles": self.sliced.quantiles}

    def metadata(self) -> dict[str, Any]:
        """Return null moments and floors."""
        return {
            "cells": self.cells.nulls(),
            "sliced_null_mean": self.sliced.null_mean,
            "floor": dict(self.floor),
        }

    def measure(self, stored: Arrays, seed: int) -> list[Measurement]:
        """Average every metric over the sample sets, each against a fresh sample of the target."""
        sample_sets = stored["samples"]
        values = [
            self._evaluate(self.dataset.draw(len(x), seed, "measure", k), x.astype(np.float64))
            for k, x in enumerate(sample_sets)
        ]
        return averages(values, seed, sample_sets.shape[1], self.floor)

    def _evaluate(self, target: Array, sample: Array) -> dict[str, float]:
        forward, backward = kullback_leibler(target, sample), kullback_leibler(sample, target)
        cell = self.cells.evaluate(sample)
        return {
            "js_cell": cell["js_cell"],
            "js_cell_z": cell["js_cell_z"],
            "js_cell_raw": cell["js_cell_raw"],
            "off_support": cell["off_support"],
            "swd_ref": self.sliced.evaluate(sample),
            "js_ite": jensen_shannon(target, sample),
            "kl_target_model_ite": forward,
            "kl_model_target_ite": backward,
            "jdist_ite": forward + backward,
        }
