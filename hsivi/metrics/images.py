"""Metrics of images against a published data set, computed by torch-fidelity on features of a network.

fid is the Frechet distance of Gaussians fitted to Inception's features (Heusel et al., 2017), and fd_..._classifier
that of another network's, which is no FID; kid the squared maximum mean discrepancy under the cubic polynomial kernel
(Binkowski et al., 2018); precision the share of samples inside the real images' 3-nearest-neighbour manifold and
recall the reverse (Kynkaanniemi et al., 2019); isc the Inception score (Salimans et al., 2016).  Names end in the
fingerprint of `hsivi.metrics.protocol`.  spread_given_prior is explained in `hsivi.metrics.diversity`.
"""

import hashlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsivi.checkpoint import Session
from hsivi.config import ConfigError
from hsivi.data import Arrays, in_units
from hsivi.data_config import ImageData
from hsivi.metrics.diversity import spread_from_one_prior
from hsivi.metrics.extractor import INCEPTION_FEATURES, ClassifierExtractor, Extractor, InceptionExtractor
from hsivi.metrics.feature_statistics import FEWEST, FeaturePass, Features, Value, as_bytes, compare, read_statistics
from hsivi.metrics.protocol import Protocol
from hsivi.metrics.statistics import standard_error
from hsivi.nn.image_classifier import ImageClassifier, train_classifier
from hsivi.record import Measurement

if TYPE_CHECKING:
    from hsivi.data.images import ImageSet

COMPARED = ("kid", "precision", "recall")
"""Metrics that see at most `ImageData.rows` samples."""
INDEPENDENT = 2_000
"""Samples that a fan's spread is divided by; more would only take memory."""
WEIGHTS = "classifier."


@dataclass(frozen=True)
class ImagesReference:
    """See `hsivi.metrics.Reference`: features of the training images, and the network they come from.

    Attributes:
        config: the settings.
        extractor: the network.
        real: mean and covariance of all training images' features or of a file, and features of the first images.
        protocol: all that changes a metric, for sets of the experiment's sample size.
        facts: the classifier's shape and its accuracy, if there is one.
        weights: the classifier's weights, if there is one.
    """

    config: ImageData
    extractor: Extractor
    real: Features
    protocol: Protocol
    facts: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]

    @classmethod
    def build(cls, config: ImageData, dataset: "ImageSet", num_samples: int, session: Session) -> "ImagesReference":
        """Train the classifier or open Inception, and pass the training images through it.

        Arguments:
            config: the settings.
            dataset: the images.
            num_samples: samples in a set.
            session: runs what takes longer, the training or Inception's pass, so that it can be resumed.

        Raises:
            ConfigError: weights, labels or a file of statistics are missing or cannot be used.
        """
        facts: dict[str, Any] = {}
        weights: Arrays = {}
        extractor: Extractor
        read = None
        if config.features.kind == "classifier":
            classifier, accuracy = train_classifier(
                dataset, config.seed, config.features.epochs, config.features.width, session
            )
            extractor = _classifier_extractor(config, classifier)
            facts = {
                "held_out_accuracy": accuracy,
                "image_shape": list(classifier.image_shape),
                "classes": classifier.classes,
            }
            weights = {name: value.cpu().numpy() for name, value in classifier.state_dict().items()}
            session = Session(session.label)  # the checkpoint is the training's; the pass takes less than an epoch
        else:
            extractor = InceptionExtractor(config.features.weights, config.seed)
            if config.features.statistics is not None:
                read = read_statistics(config.features.statistics, INCEPTION_FEATURES)
        first = dataset.train[: config.rows]
        # Features of all images are needed for their moments only, which a file may give.
        walk = FeaturePass(extractor, dataset.train if read is None else first, config.quantise, config.rows)
        session.train(walk, walk.iterations)
        found = walk.finish()
        real = found if read is None else Features(*read, found.rows)
        origin = None if config.features.kind == "classifier" else config.features.statistics_origin
        protocol = Protocol(
            extractor=extractor.name,
            weights=extractor.digest,
            statistics=_digest([dataset.train] if read is None else read),
            statistics_origin=origin or "computed from the training images",
            real_images=len(dataset.train) if read is None else None,
            compared=_digest([first]),
            rows=len(first),
            samples=num_samples,
            quantise=config.quantise,
            size=config.size,
            crop=config.crop,
        )
        return cls(config, extractor, real, protocol, facts, weights)

    @classmethod
    def restore(cls, config: ImageData, arrays: Arrays, metadata: dict[str, Any]) -> "ImagesReference":
        """Open a stored reference; the data set is not needed.

        Raises:
            ConfigError: Inception's weights are missing, or others than the reference was made with.
        """
        protocol, facts = Protocol.restore(metadata["protocol"]), metadata["facts"]
        weights = {name.removeprefix(WEIGHTS): v for name, v in arrays.items() if name.startswith(WEIGHTS)}
        extractor: Extractor
        if config.features.kind == "classifier":
            classifier = ImageClassifier(0, tuple(facts["image_shape"]), facts["classes"], config.features.width)
            classifier.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
            extractor = _classifier_extractor(config, classifier)
        else:
            extractor = InceptionExtractor(config.features.weights, config.seed)
        if extractor.digest != protocol.weights:
            raise ConfigError(
                f"{extractor.name}: got weights {extractor.digest}, expected {protocol.weights}, which the reference "
                f"was made with; run the stage reference again"
            )
        rows = torch.from_numpy(arrays["features"].astype(np.float64))
        real = Features(arrays["mean"].astype(np.float64), arrays["covariance"].astype(np.float64), rows)
        return cls(config, extractor, real, protocol, facts, weights)

    def arrays(self) -> Arrays:
        """Return the statistics, the features and the classifier's weights."""
        rows = self.real.rows.numpy()
        narrow = rows.astype(np.float32)  # Inception's lose nothing by it, and take half the space
        return {
            "mean": self.real.mean,
            "covariance": self.real.covariance,
            "features": narrow if np.array_equal(narrow, rows) else rows,
            **{WEIGHTS + name: array for name, array in self.weights.items()},
        }

    def metadata(self) -> dict[str, Any]:
        """Return the protocol behind the fingerprint, torch-fidelity's version and facts about the classifier."""
        return {
            "protocol": self.protocol.metadata(),
            "torch_fidelity": importlib.metadata.version("torch-fidelity"),
            "facts": dict(self.facts),
        }

    def measure(self, stored: Arrays, seed: int) -> list[Measurement]:
        """Average every metric over the sample sets.

        Arguments:
            stored: ``samples`` of shape (sets, n, C, H, W), uint8 or in [-1, 1]; where a sampler was asked for it
                also ``fan`` of shape (T + 1, priors, members, C, H, W), in [-1, 1], whose last entry is used.
            seed: seed of the run.

        Raises:
            ValueError: shapes do not fit, there are too few images, or pixels are not finite.
        """
        sample_sets = stored["samples"]
        self._check(sample_sets.shape)
        n = sample_sets.shape[1]
        protocol = self.protocol.of(n)
        values = [self._compare(samples, seed) for samples in sample_sets]
        measurements = [
            Measurement(
                seed=seed,
                metric=protocol.named(f"{self._bare(metric)}_{protocol.extractor}"),
                value=float(np.mean([v[metric][0] for v in values])),
                standard_error=standard_error([v[metric][0] for v in values])
                if len(values) > 1
                else values[0][metric][1],
                num_samples=min(n, protocol.rows) if metric in COMPARED else n,
            )
            for metric in values[0]
        ]
        return measurements + ([self._spread(stored["fan"][-1], sample_sets[0], seed)] if "fan" in stored else [])

    def _compare(self, samples: NDArray[Any], seed: int) -> dict[str, Value]:
        walk = FeaturePass(self.extractor, samples, self.config.quantise, self.protocol.rows, score=True)
        return compare(walk.finish(), self.real, seed)

    def _bare(self, metric: str) -> str:
        if metric != "frechet":
            return metric
        return "fid" if self.config.features.kind == "inception" else "fd"

    def _spread(self, fan: NDArray[Any], samples: NDArray[Any], seed: int) -> Measurement:
        """Return how far images of one x_T are apart, both sides as a file would store them."""
        members, independent = (
            in_units(as_bytes(images, self.config.quantise)).numpy() for images in (fan, samples[:INDEPENDENT])
        )
        value, error = spread_from_one_prior(members, independent)
        count = fan.shape[0] * fan.shape[1]
        return Measurement(seed=seed, metric="spread_given_prior", value=value, standard_error=error, num_samples=count)

    def _check(self, shape: tuple[int, ...]) -> None:
        size = self.config.size
        if len(shape) != 5 or shape[3:] != (size, size) or min(shape[1], self.protocol.rows) < FEWEST:
            raise ValueError(
                f"image metrics: got samples of shape {shape} and {self.protocol.rows} real images, expected "
                f"(sets, n, C, {size}, {size}) with n and the real images at least {FEWEST}; draw more or reshape them"
            )


def _classifier_extractor(config: ImageData, classifier: ImageClassifier) -> ClassifierExtractor:
    return ClassifierExtractor(f"{config.datasets[0]}_classifier", classifier)


def _digest(arrays: Iterable[NDArray[Any]], block: int = 10_000) -> str:
    """Return twelve hexadecimal digits that stand for arrays, which may be memory maps."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype} {array.shape} ".encode())
        for start in range(0, len(array), block):
            sha.update(np.ascontiguousarray(array[start : start + block]).tobytes())
    return sha.hexdigest()[:12]
