"""Published sets of images, reduced to the size that is modelled; see `ImageSet.load` for how."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsivi.config import ConfigError
from hsivi.data_config import ImageData
from hsivi.rng import generator

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
ROWS = 4096
"""Images that are averaged at a time, so that sums of bytes never exist for a whole set."""
CROPS = {"ddim_128": (57, 25, 128), "ddpm_torch_148": (40, 15, 148)}
"""Crops of CelebA's photographs of 218 rows and 178 columns: top, left, side."""
SIDES = {"mnist": 32, "fashion_mnist": 32, "cifar10": 32, "imagenet64": 64}
"""Height and width of a data set's images before they are reduced; MNIST's are padded to this."""


@dataclass(frozen=True)
class ImageSet:
    """Images as bytes, in two parts; see `hsivi.data.Dataset`.  Arrays may be memory maps.

    Attributes:
        train: images, shape (N, C, H, W).
        train_labels: classes counted from zero, shape (N,), or (0,) where the set has none.
        held_out: images that nothing was trained on, shape (M, C, H, W).
        held_out_labels: their classes, shape (M,) or (0,).
    """

    train: Pixels
    train_labels: Labels
    held_out: Pixels
    held_out_labels: Labels

    @classmethod
    def load(cls, config: ImageData, dataset: str) -> "ImageSet":
        """Read a data set from its files and reduce it to ``config.size``.

        * MNIST and Fashion-MNIST: 28x28 pixels, padded with two rows and columns of zeros on every side.
        * CIFAR-10 and ImageNet 64: as they are.
        * CelebA: the part of the photograph that ``config.crop`` names.  ``ddim_128`` is rows 57 to 184 and columns
          25 to 152, ``ddpm_torch_148`` rows 40 to 187 and columns 15 to 162.  Training photographs are those of the
          official training part, held-out ones those of the official validation part.

        Larger images are then reduced by averaging square blocks, rounded to whole numbers, halves to even.  The
        exception is ``ddpm_torch_148``, of which ``size`` is no divisor: PIL's bilinear filter, which widens as it
        reduces and so does not alias, as ddpm-torch does it.

        Raises:
            ConfigError: size or crop do not fit the data set; its files cannot be had, or are damaged.
        """
        _check(config, dataset)
        from hsivi.data.generated_files import write
        from hsivi.data.image_files import read
        from hsivi.sources import obtain

        images: dict[str, list[Pixels]] = {"train": [], "held_out": []}
        labels: dict[str, list[Labels]] = {"train": [], "held_out": []}
        with TemporaryDirectory() as folder:
            generated = config.files == "generated"
            files = write(dataset, Path(folder), config.seed) if generated else obtain(dataset)
            for batch in read(dataset, files):
                images[batch.part].append(prepare(batch.images, config.size, config.crop))
                labels[batch.part].append(batch.labels)
        return cls(
            _concatenate(images["train"]),
            np.concatenate(labels["train"]),
            _concatenate(images["held_out"]),
            np.concatenate(labels["held_out"]),
        )

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "ImageSet":
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

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Channels, height and width."""
        return tuple(self.train.shape[1:])

    def training_points(self) -> Pixels:
        """Return the training images, pixels 0..255."""
        return self.train

    @property
    def training_size(self) -> int:
        """Number of training images."""
        return len(self.train)

    def training_rows(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the training images of these rows, x / 127.5 - 1, shape (len(rows), C, H, W)."""
        images: NDArray[np.float32] = self.train[rows].astype(np.float32) / np.float32(127.5) - np.float32(1)
        return images

    def draw(self, n: int, *key: int | str) -> NDArray[np.float64]:
        """Return n held-out images drawn with replacement, x / 127.5 - 1, shape (n, C, H, W)."""
        rows = generator("images", *key).integers(0, len(self.held_out), n)
        return self.held_out[rows].astype(np.float64) / 127.5 - 1


def prepare(images: Pixels, size: int, crop: str = "none") -> Pixels:
    """Pad, crop and reduce images, (n, C, H, W) to (n, C, size, size), as `ImageSet.load` says."""
    if crop != "none":
        top, left, side = CROPS[crop]
        images = images[:, :, top : top + side, left : left + side]
        if side % size:
            return _resize(images, size)
    elif images.shape[-1] == 28:
        images = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    return average_blocks(images, size)


def average_blocks(images: Pixels, size: int) -> Pixels:
    """Reduce square images by averaging blocks, rounded, halves to even, (n, C, H, H) to (n, C, size, size).

    Raises:
        ValueError: the blocks would not be whole.
    """
    n, channels, height, width = images.shape
    if height != width or height % size:
        raise ValueError(f"images: got {height}x{width} pixels, expected a square that {size} divides")
    block = height // size
    if block == 1:
        return images
    reduced = np.empty((n, channels, size, size), np.uint8)
    for start in range(0, n, ROWS):
        some = images[start : start + ROWS].reshape(-1, channels, size, block, size, block)
        # Sums of whole numbers are exact, so that no rounding depends on the order of summation.
        reduced[start : start + ROWS] = np.rint(some.sum((3, 5), dtype=np.uint32) / block**2)
    return reduced


def _resize(images: Pixels, size: int) -> Pixels:
    from PIL import Image

    shape = (size, size)
    resized = [Image.fromarray(image.transpose(1, 2, 0)).resize(shape, Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in resized]).transpose(0, 3, 1, 2)


def _check(config: ImageData, dataset: str) -> None:
    if dataset == "celeba":
        if config.crop == "none":
            raise ConfigError(
                f"data.crop of {dataset}: got 'none', expected one of {', '.join(CROPS)}; choose the crop of the work "
                f"that is compared with"
            )
        return
    if config.crop != "none":
        raise ConfigError(f"data.crop of {dataset}: got {config.crop!r}, expected 'none'; only celeba is cropped")
    if config.size > SIDES[dataset]:
        raise ConfigError(
            f"data.size of {dataset}: got {config.size}, expected at most {SIDES[dataset]}; images are never enlarged"
        )


def _concatenate(parts: list[Pixels]) -> Pixels:
    """Join parts and give back each one's memory once it is copied: ImageNet 64 fills 16 GB and must not fill 32."""
    joined = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), np.uint8)
    stop = len(joined)
    while parts:
        part = parts.pop()
        joined[stop - len(part) : stop] = part
        stop -= len(part)
    return joined
