"""What is kept of many images' features, and its comparison by torch-fidelity.

Images pass through the network batch by batch.  Mean and covariance are of all of them, while features are kept of
the first few only.
"""

import math
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsivi.config import ConfigError
from hsivi.metrics.extractor import Extractor
from hsivi.moments import Moments
from hsivi.pixels import Rounding, quantise

Array = NDArray[np.float64]
Value = tuple[float, float | None]
NEIGHBOURS = 3
"""k of precision and recall; the choice of Kynkaanniemi et al. (2019)."""
KID_SUBSETS, KID_SUBSET_SIZE = 30, 1_000
SCORE_SPLITS = 10
"""Parts that the Inception score is averaged over (Salimans et al., 2016)."""
FEWEST = 10
"""Images that any comparison needs."""


@dataclass(frozen=True)
class Features:
    """Features of a set of images.

    Attributes:
        mean: over all images, shape (d,).
        covariance: unbiased, over all images, shape (d, d).
        rows: of the first images, shape (rows, d), float64.
        logits: of all images, shape (n, classes), where the network has them.
    """

    mean: Array
    covariance: Array
    rows: Tensor
    logits: Tensor | None = None


def as_bytes(images: NDArray[Any], rounding: Rounding) -> Tensor:
    """Return images as a file would store them, uint8; those in [-1, 1] are quantised, any shape.

    Raises:
        ValueError: pixels are not finite.
    """
    if images.dtype != np.uint8 and not np.isfinite(images).all():
        raise ValueError("image metrics: got non-finite pixels, expected finite images; look at the sampler first")
    tensor = torch.from_numpy(np.array(images))  # a copy, since a memory map cannot be written to
    return tensor if tensor.dtype == torch.uint8 else quantise(tensor, rounding)


@dataclass
class FeaturePass:
    """Passes images through a network, one batch a step; see `hsivi.checkpoint.Resumable`.

    Attributes:
        extractor: the network.
        images: shape (n, C, H, W), uint8, or in [-1, 1] and quantised batch by batch; may be a memory map.
        rounding: how images are quantised.
        rows: number of images whose features are kept.
        score: whether logits are kept.
        iteration: batches done.
    """

    extractor: Extractor
    images: NDArray[Any]
    rounding: Rounding
    rows: int
    score: bool = False
    iteration: int = 0
    _moments: Moments | None = field(default=None, init=False)
    _rows: list[Tensor] = field(default_factory=list, init=False)
    _logits: list[Tensor] = field(default_factory=list, init=False)

    @property
    def iterations(self) -> int:
        """Batches of the whole pass."""
        return math.ceil(len(self.images) / self.extractor.batch)

    def step(self) -> None:
        """Pass the next batch."""
        start = self.iteration * self.extractor.batch
        batch = as_bytes(self.images[start : start + self.extractor.batch], self.rounding)
        features, logits = self.extractor.extract(batch)
        moments = Moments.of(features.numpy())
        self._moments = moments if self._moments is None else self._moments.merge(moments)
        if start < self.rows:
            self._rows.append(features[: self.rows - start])
        if self.score and logits is not None:
            self._logits.append(logits)
        self.iteration += 1

    def finish(self) -> Features:
        """Do what is left and return the features."""
        while self.iteration < self.iterations:
            self.step()
        assert self._moments is not None
        logits = torch.cat(self._logits) if self._logits else None
        return Features(self._moments.mean, self._moments.covariance, torch.cat(self._rows), logits)

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        moments = self._moments
        return {
            "iteration": self.iteration,
            "moments": moments and [moments.count, torch.from_numpy(moments.mean), torch.from_numpy(moments.scatter)],
            "rows": self._rows,
            "logits": self._logits,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.iteration, self._rows, self._logits = state["iteration"], state["rows"], state["logits"]
        if state["moments"]:
            count, mean, scatter = state["moments"]
            self._moments = Moments(count, mean.numpy(), scatter.numpy())


def compare(samples: Features, real: Features, seed: int, kid_subsets: int = KID_SUBSETS) -> dict[str, Value]:
    """Compare features by the functions of torch-fidelity.

    KID is the mean over random subsets of m of n images (m is at most half the smaller set).  A subset of a sample
    drawn without replacement scatters by sqrt((n - m) / m) of the standard error of the whole sample's value, which
    gives that error (Shao and Wu, 1989); that of averaging a finite number of subsets is added.  The factor is exact
    for a mean; where both distributions agree, KID is of second order in the sample and the error comes out too large.

    Arguments:
        samples: of the samples.
        real: of real images.
        seed: seed of KID's subsets and the Inception score's parts.
        kid_subsets: number of KID's subsets.

    Returns:
        Value and standard error, if there is an estimate, of ``frechet``, ``kid``, ``precision``, ``recall``, and of
        ``isc`` where there are logits.
    """
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc  # takes a second

    frechet = metric_fid.fid_statistics_to_metric(_statistics(samples), _statistics(real), verbose=False)
    n = min(len(samples.rows), len(real.rows))
    m = min(KID_SUBSET_SIZE, n // 2)
    kid = metric_kid.kid_features_to_metric(
        samples.rows, real.rows, kid_subsets=kid_subsets, kid_subset_size=m, rng_seed=seed, verbose=False
    )
    kid_error = kid[metric_kid.KEY_METRIC_KID_STD] * math.sqrt(m / (n - m) + 1 / kid_subsets)
    prc = metric_prc.prc_features_to_metric(
        samples.rows, real.rows, prc_neighborhood=NEIGHBOURS, prc_batch_size=1_000, save_cpu_ram=True, verbose=False
    )
    values: dict[str, Value] = {
        "frechet": (frechet[metric_fid.KEY_METRIC_FID], None),
        "kid": (kid[metric_kid.KEY_METRIC_KID_MEAN], kid_error),
        "precision": (prc[metric_prc.KEY_METRIC_PRECISION], None),
        "recall": (prc[metric_prc.KEY_METRIC_RECALL], None),
    }
    if samples.logits is not None:
        score = metric_isc.isc_features_to_metric(samples.logits, splits=SCORE_SPLITS, rng_seed=seed)
        error = score[metric_isc.KEY_METRIC_ISC_STD] / math.sqrt(SCORE_SPLITS - 1)
        values["isc"] = (score[metric_isc.KEY_METRIC_ISC_MEAN], error)
    return values


def _statistics(features: Features) -> dict[str, Array]:
    return {"mu": features.mean, "sigma": features.covariance}


def read_statistics(given: str, dimension: int) -> tuple[Array, Array]:
    """Read mean (d,) and covariance (d, d) from an npz file with ``mu`` and ``sigma``; nothing in it is executed.

    Arguments:
        given: the file's path; a relative one starts at HSIVI_DATA_DIR if that is set and has the file.
        dimension: d of the network.

    Raises:
        ConfigError: the file cannot be used.
    """
    base = os.environ.get("HSIVI_DATA_DIR")
    inside = Path(base).expanduser() / given if base else Path(given)
    path = inside if inside.exists() else Path(given)
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, covariance = (np.asarray(file[key], np.float64) for key in ("mu", "sigma"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{inside}: got no such file, expected statistics; correct data.features.statistics"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{path}: got a file that cannot be read ({' '.join(str(error).split())}), expected an npz archive of the "
            f"arrays mu and sigma; replace the file"
        ) from error
    expected = ((dimension,), (dimension, dimension))
    if (mean.shape, covariance.shape) != expected or not np.isfinite(mean).all() or not np.isfinite(covariance).all():
        raise ConfigError(
            f"{path}: got mu and sigma of shapes {mean.shape} and {covariance.shape}, expected finite arrays of shapes "
            f"{expected[0]} and {expected[1]}; take statistics of the same network's features"
        )
    return mean, covariance
