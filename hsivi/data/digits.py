"""The 1,797 handwritten digits of 8x8 pixels that ship with scikit-learn: real images, and no download.

They are the test part of the UCI set "Optical recognition of handwritten digits" (Alpaydin and Kaynak, 1998).  A
pixel counts the ink in a 4x4 block of a 32x32 scan, so it is a whole number x in 0..16, and x / 8 - 1 is in [-1, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsivi.rng import generator

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
NUM_CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """The images, split so that every digit has its share in both parts; see `hsivi.data.Dataset`.

    Attributes:
        train: images in [-1, 1], shape (N, 1, 8, 8).
        train_labels: digits 0..9, shape (N,).
        held_out: images that nothing was trained on, shape (M, 1, 8, 8).
        held_out_labels: digits 0..9, shape (M,).
    """

    train: Images
    train_labels: Labels
    held_out: Images
    held_out_labels: Labels
    event_shape: tuple[int, ...] = (1, 8, 8)

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "Digits":
        """Open what `arrays` returned."""
        return cls(arrays["train"], arrays["train_labels"], arrays["held_out"], arrays["held_out_labels"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return both parts with their labels."""
        return {
            "train": self.train,
            "train_labels": self.train_labels,
            "held_out": self.held_out,
            "held_out_labels": self.held_out_labels,
        }

    def training_points(self) -> Images:
        """Return the training images."""
        return self.train

    def draw(self, n: int, *key: int | str) -> NDArray[np.float64]:
        """Return n held-out images drawn with replacement, shape (n, 1, 8, 8)."""
        rows = generator("digits", *key).integers(0, len(self.held_out), n)
        return self.held_out[rows].astype(np.float64)


def load(seed: int, held_out_fraction: float) -> Digits:
    """Split the digits; the split depends on the arguments alone.

    Raises:
        ValueError: the fraction is not between zero and one.
    """
    if not 0 < held_out_fraction < 1:
        raise ValueError(
            f"held-out fraction of the digits: got {held_out_fraction}, expected a number between 0 and 1; 0.2 holds "
            f"360 of the 1,797 images out"
        )
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw, labels = load_digits(return_X_y=True)
    images = (raw.reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32)
    train, held_out, train_labels, held_out_labels = train_test_split(
        images, labels.astype(np.int64), test_size=held_out_fraction, random_state=seed, stratify=labels
    )
    return Digits(train, train_labels, held_out, held_out_labels)
