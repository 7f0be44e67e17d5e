"""All metrics of samples of a 2-D Gaussian mixture whose density is known, each with its floor.

modes_found: number of modes with at least a quarter of their weight in samples within 3 sigma of the centre.  A mode
    that is there but too narrow is found; `within_mode_sd` says so.
mode_weight_tv: total variation distance between the weights and the shares of samples nearest to each centre.
mode_weight_min, mode_weight_max: the smallest and the largest of these shares.
within_mode_sd: root mean square, over modes found and axes, of the standard deviation of the samples nearest to a
    centre and within 4 sigma of it, about their own mean, in units of the mode's sigma.  One for the target, but for
    what lies beyond 4 sigma (0.13 per cent).  Missing where no mode is found.
off_mode: share of samples farther than 4 sigma from every centre; exp(-8) = 0.0003 for the target.
js_cell: calibrated Jensen-Shannon divergence on a grid, nats; zero in the mean for the target.
log_density_gap: mean log-density of the target's draws less that of the samples, nats: positive where samples lie in
    improbable places, negative where they crowd around the centres, blind to the modes' weights.

Shares are by nearest centre, which is right where modes are equally wide and hardly overlap, as in the ring.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsivi.data import Arrays
from hsivi.data.mixture import Mixture
from hsivi.data_config import MixtureData
from hsivi.metrics.cells import CellReference
from hsivi.metrics.statistics import Floors, averages, floors
from hsivi.record import Measurement
from hsivi.rng import generator

Array = NDArray[np.float64]
FOUND_RADIUS = 3.0
FOUND_SHARE = 0.25
OFF_RADIUS = 4.0


@dataclass(frozen=True)
class MixtureReference:
    """See `hsivi.metrics.Reference`.

    Attributes:
        dataset: the target.
        cells: reference of js_cell.
        log_density: mean log-density of the target's draws, nats.
        floor: mean and standard deviation of each metric on samples of the target itself.
    """

    dataset: Mixture
    cells: CellReference
    log_density: float
    floor: Floors

    @classmethod
    def build(cls, config: MixtureData, dataset: Mixture, num_samples: int) -> "MixtureReference":
        """Prepare the reference for sample sets of size ``num_samples``."""
        reference = dataset.draw(config.reference_draws, config.seed, "reference")
        cells = CellReference.build(reference, num_samples, generator(config.seed, "cell nulls"))
        blank = cls(dataset, cells, float(dataset.log_density(reference).mean()), {})
        draws = [dataset.draw(num_samples, config.seed, "floor", i) for i in range(config.floor_pairs)]
        floor = floors([blank._evaluate(draw) for draw in draws])
        return cls(dataset, cells, blank.log_density, floor)

    @classmethod
    def restore(cls, dataset: Mixture, arrays: Arrays, metadata: Mapping[str, Any]) -> "MixtureReference":
        """Open a stored reference."""
        cells = CellReference.restore(arrays, metadata["cells"])
        floor = {name: (mean, sd) for name, (mean, sd) in metadata["floor"].items()}
        return cls(dataset, cells, metadata["log_density"], floor)

    def arrays(self) -> Arrays:
        """Return grid and probabilities."""
        return self.cells.arrays()

    def metadata(self) -> dict[str, Any]:
        """Return null moments, the target's mean log-density and floors."""
        return {"cells": self.cells.nulls(), "log_density": self.log_density, "floor": dict(self.floor)}

    def measure(self, stored: Mapping[str, NDArray[Any]], seed: int) -> list[Measurement]:
        """Average every metric over the sample sets in ``stored["samples"]``, shape (sets, n, 2).

        Raises:
            ValueError: the sets have another size than the reference was made for, or are not finite.
        """
        samples = stored["samples"]
        values = [self._evaluate(x.astype(np.float64)) for x in samples]
        return averages(values, seed, samples.shape[1], self.floor)

    def _evaluate(self, sample: Array) -> dict[str, float]:
        js_cell = self.cells.evaluate(sample)["js_cell"]  # first, since it refuses what is not finite
        mixture, sigma = self.dataset, np.sqrt(self.dataset.variances)
        modes = len(mixture.weights)
        distance = np.linalg.norm(sample[:, None] - mixture.means, axis=-1)
        nearest = distance.argmin(1)
        share = np.bincount(nearest, minlength=modes) / len(sample)
        near = (distance < FOUND_RADIUS * sigma).mean(0)
        found = np.flatnonzero(near >= FOUND_SHARE * mixture.weights)
        inside = distance < OFF_RADIUS * sigma
        result = {
            "modes_found": float(len(found)),
            "mode_weight_tv": float(0.5 * np.abs(share - mixture.weights).sum()),
            "mode_weight_min": float(share.min()),
            "mode_weight_max": float(share.max()),
            "off_mode": float(1 - inside.any(1).mean()),
            "js_cell": js_cell,
            "log_density_gap": self.log_density - float(mixture.log_density(sample).mean()),
        }
        if len(found):
            variances = [sample[(nearest == k) & inside[:, k]].var(0, ddof=1) / mixture.variances[k] for k in found]
            result["within_mode_sd"] = float(np.sqrt(np.mean(variances)))
        return result
