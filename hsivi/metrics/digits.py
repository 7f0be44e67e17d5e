"""Image metrics of 8x8 digits, computed by torch-fidelity on the features of the digit classifier.

fd_digits_classifier is the Frechet distance of Gaussians fitted to the features (Heusel et al., 2017), kid_... the
squared maximum mean discrepancy under the cubic polynomial kernel (Binkowski et al., 2018), precision_... the share
of samples inside the reference's 3-nearest-neighbour manifold and recall_... the reverse (Kynkaanniemi et al., 2019).

Images are quantised as a file would store them, to round(255 (x + 1) / 2) in 0..255, and features, means and
covariances are float64, so that neither the batch size nor the order of summation shows.
"""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from hsivi.data import Arrays, Dataset
from hsivi.data.digits import Digits
from hsivi.data_config import DigitsData
from hsivi.metrics.statistics import standard_error
from hsivi.nn.digit_classifier import DigitClassifier, train_classifier
from hsivi.pixels import quantise
from hsivi.record import Measurement

Value = tuple[float, float | None]
EXTRACTOR = "digits-classifier"
LAYER = "penultimate"
NEIGHBOURS = 3
"""k of precision and recall; the paper's choice."""


class _Images(data.Dataset[Tensor]):
    """uint8 images, one by one, as torch-fidelity wants them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def extract_features(images: Tensor, classifier: DigitClassifier) -> Tensor:
    """Return float64 features of uint8 images (n, 1, 8, 8), shape (n, d); the classifier is left as it is."""
    return copy.deepcopy(classifier).double().features(images.double() / 127.5 - 1)


def _register() -> None:
    """Make the classifier known to torch-fidelity, once."""
    from torch_fidelity import FeatureExtractorBase, register_feature_extractor
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    if EXTRACTOR in FEATURE_EXTRACTORS_REGISTRY:
        return

    class Extractor(FeatureExtractorBase):  # type: ignore[misc]
        """Hands images to the classifier that `measure` was given."""

        def __init__(self, name: str, features_list: list[str], classifier: DigitClassifier, **_: Any) -> None:
            super().__init__(name, features_list)
            self._extract = partial(extract_features, classifier=classifier)  # not a submodule: it stays as it is

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return (LAYER,)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:  # noqa: ARG004
            return LAYER

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor]:
            return (self._extract(images),)

    register_feature_extractor(EXTRACTOR, Extractor)


def measure(
    samples: Tensor,
    reference: Tensor,
    classifier: DigitClassifier,
    seed: int,
    kid_subsets: int = 30,
    batch_size: int = 500,
) -> dict[str, Value]:
    """Compare samples with reference images.

    KID is averaged over random subsets of half the smaller set.  Its spread over subsets is a delete-half jackknife
    estimate of its standard error (Shao and Wu, 1989) where both sets are of one size, and too large where one is
    larger, since less than half of that one is in a subset.  The other metrics have no such estimate: their
    error is seen over seeds.

    Arguments:
        samples: shape (n, 1, 8, 8), nominally in [-1, 1].
        reference: real images, shape (m, 1, 8, 8), in [-1, 1].
        classifier: gives the features.
        seed: seed of KID's subsets.
        kid_subsets: number of KID's subsets.
        batch_size: images that are handed to the classifier at once; no result depends on it.

    Returns:
        For each metric's name the value and its standard error, or None where there is no estimate.

    Raises:
        ValueError: shapes differ, there are too few images, or values are not finite.
    """
    if samples.shape[1:] != reference.shape[1:] or samples.ndim != 4 or min(len(samples), len(reference)) < 10:
        raise ValueError(
            f"digit metrics: got samples of shape {tuple(samples.shape)} and a reference of shape "
            f"{tuple(reference.shape)}, expected (n, 1, 8, 8) and (m, 1, 8, 8) with n and m at least 10; draw more or "
            f"reshape them"
        )
    if not (samples.isfinite().all() and reference.isfinite().all()):
        raise ValueError("digit metrics: got non-finite pixels, expected finite images; look at the sampler first")
    import torch_fidelity

    _register()
    result = torch_fidelity.calculate_metrics(
        input1=_Images(quantise(samples)),
        input2=_Images(quantise(reference)),
        feature_extractor=EXTRACTOR,
        classifier=classifier,
        fid=True,
        kid=True,
        prc=True,
        kid_subsets=kid_subsets,
        kid_subset_size=min(len(samples), len(reference)) // 2,
        prc_neighborhood=NEIGHBOURS,
        rng_seed=seed,
        batch_size=batch_size,
        cuda=False,
        cache=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    return {
        "fd_digits_classifier": (float(result[torch_fidelity.KEY_METRIC_FID]), None),
        "kid_digits_classifier": (
            float(result[torch_fidelity.KEY_METRIC_KID_MEAN]),
            float(result[torch_fidelity.KEY_METRIC_KID_STD]),
        ),
        "precision_digits_classifier": (float(result[torch_fidelity.KEY_METRIC_PRECISION]), None),
        "recall_digits_classifier": (float(result[torch_fidelity.KEY_METRIC_RECALL]), None),
    }


CLASSIFIER_BATCH = 64
CLASSIFIER_LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class DigitsReference:
    """See `hsivi.metrics.Reference`: the training images, and the classifier whose features are compared.

    Attributes:
        dataset: the digits.
        classifier: gives the features.
        accuracy: share of held-out images the classifier recognises.
    """

    dataset: Digits
    classifier: DigitClassifier
    accuracy: float

    @classmethod
    def build(cls, config: DigitsData, dataset: Dataset) -> "DigitsReference":
        """Train the classifier."""
        digits = _as_digits(dataset)
        classifier, accuracy = train_classifier(
            digits, config.seed, config.classifier_epochs, CLASSIFIER_BATCH, CLASSIFIER_LEARNING_RATE
        )
        return cls(digits, classifier, accuracy)

    @classmethod
    def restore(cls, dataset: Dataset, arrays: Arrays, metadata: dict[str, Any]) -> "DigitsReference":
        """Open a stored reference."""
        classifier = DigitClassifier(0)
        classifier.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return cls(_as_digits(dataset), classifier.requires_grad_(False), metadata["held_out_accuracy"])

    def arrays(self) -> Arrays:
        """Return the classifier's weights."""
        return {name: value.numpy() for name, value in self.classifier.state_dict().items()}

    def metadata(self) -> dict[str, Any]:
        """Return the classifier's accuracy."""
        return {"held_out_accuracy": self.accuracy}

    def measure(self, stored: Arrays, seed: int) -> list[Measurement]:
        """Average every metric over the sample sets, each against all training images."""
        sample_sets = stored["samples"]
        reference = torch.from_numpy(self.dataset.train)
        values = [measure(torch.from_numpy(x), reference, self.classifier, seed) for x in sample_sets]
        return [
            Measurement(
                seed=seed,
                metric=name,
                value=float(np.mean([v[name][0] for v in values])),
                standard_error=standard_error([v[name][0] for v in values]) if len(values) > 1 else values[0][name][1],
                num_samples=sample_sets.shape[1],
            )
            for name in values[0]
        ]


def _as_digits(dataset: Dataset) -> Digits:
    assert isinstance(dataset, Digits)
    return dataset
