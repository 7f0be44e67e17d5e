"""Reading the files in which image sets are published, a batch of images at a time, as they are stored."""

import gzip
import io
import pickle
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import CIFAR10
from torchvision.datasets.mnist import read_image_file, read_label_file

from hsivi.checkpoint import Progress
from hsivi.config import ConfigError
from hsivi.fetching import unpack

Files = Mapping[str, Path]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Part = Literal["train", "held_out"]
NO_LABELS: Labels = np.zeros(0, np.int64)
NATIVE_SHAPES = {
    "mnist": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "celeba": (3, 218, 178),
    "imagenet64": (3, 64, 64),
}
"""Channels, height and width of the images as they are published."""
BATCH = 256
"""Photographs that are decoded before they are handed on."""
DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AssertionError, RuntimeError),
    *(zlib.error, tarfile.TarError, zipfile.BadZipFile, pickle.UnpicklingError, Image.DecompressionBombError),
)
"""What the libraries raise when they are given a damaged file."""


class Batch(NamedTuple):
    """Some images of one part.

    Attributes:
        part: the part they belong to.
        images: shape (n, C, H, W).
        labels: classes counted from zero, shape (n,); (0,) where there are none.
    """

    part: Part
    images: Pixels
    labels: Labels


def read(dataset: str, files: Files) -> Iterator[Batch]:
    """Read a data set.

    Args:
        dataset: its name.
        files: its files by the names they have in `sources.yaml`, **verified**: those of CIFAR-10 are unpickled.

    Raises:
        ConfigError: a file is damaged, or holds something else.
    """
    readers: dict[str, Callable[[Files], Iterator[Batch]]] = {
        "mnist": _mnist,
        "fashion_mnist": _mnist,
        "cifar10": _cifar10,
        "celeba": _celeba,
        "imagenet64": _imagenet64,
    }
    for batch in readers[dataset](files):
        shape, n = NATIVE_SHAPES[dataset], len(batch.images)
        if batch.images.shape[1:] != shape or len(batch.labels) not in ({0} if dataset == "celeba" else {n}):
            raise ConfigError(
                f"{dataset}, {batch.part}: got {n} images of shape {batch.images.shape[1:]} and {len(batch.labels)} "
                f"labels, expected shape {shape} and a label an image; replace {', '.join(map(str, files.values()))}"
            )
        yield batch


@contextmanager
def _intact(path: Path, what: str) -> Iterator[None]:
    """Turn the errors that libraries raise for damaged files into one line that names the file."""
    try:
        yield
    except ConfigError:
        raise
    except DAMAGED as error:
        problem = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"{path}: got a damaged file ({type(error).__name__}: {problem}), expected {what}; replace the file"
        ) from error


def _mnist(files: Files) -> Iterator[Batch]:
    names: tuple[tuple[Part, str], ...] = (("train", "train"), ("held_out", "t10k"))
    for part, name in names:
        images, labels = (
            _read_idx(
                next(path for file, path in files.items() if file.removesuffix(".gz") == f"{name}-{rest}"), reader
            )
            for rest, reader in (("images-idx3-ubyte", read_image_file), ("labels-idx1-ubyte", read_label_file))
        )
        yield Batch(part, images[:, None], labels.astype(np.int64))  # one channel


def _read_idx(path: Path, reader: Callable[[str], Any]) -> NDArray[Any]:
    with tempfile.TemporaryDirectory() as folder, _intact(path, "an IDX file as long as its header says"):
        raw = path
        if path.suffix == ".gz":  # torchvision reads uncompressed files
            raw = Path(folder) / path.stem
            with gzip.open(path) as compressed, raw.open("wb") as file:
                shutil.copyfileobj(compressed, file)
        array: NDArray[Any] = reader(str(raw)).numpy()
        return array


class _VerifiedCIFAR10(CIFAR10):  # type: ignore[misc]
    """torchvision's loader without MD5 sums of the members: the archive's own hash has been verified.

    It unpickles, which may run any code, so it must see an archive only after its hash was found to be the official
    one (`hsivi.sources.obtain`), or one that `hsivi.data.generated_files` has just written.
    """

    train_list: ClassVar = [[name, None] for name, _ in CIFAR10.train_list]
    test_list: ClassVar = [[name, None] for name, _ in CIFAR10.test_list]
    meta: ClassVar = {**CIFAR10.meta, "md5": None}


def _cifar10(files: Files) -> Iterator[Batch]:
    path = files["cifar-10-python.tar.gz"]
    with tempfile.TemporaryDirectory() as folder, _intact(path, "CIFAR-10's batches in a tar.gz archive"):
        unpack(path, Path(folder))
        parts: tuple[Part, ...] = ("train", "held_out")
        for part in parts:
            loaded = _VerifiedCIFAR10(folder, train=part == "train")
            images = loaded.data.transpose(0, 3, 1, 2)  # torchvision has channels last
            yield Batch(part, images, np.array(loaded.targets, np.int64))


def _celeba(files: Files) -> Iterator[Batch]:
    """Read photographs straight from the archive, by the official partition.

    torchvision's CelebA wants four files of annotations, which are not used here, with their MD5 sums, and 202,599
    photographs unpacked.  It decodes them with PIL, as is done here.
    """
    listing, path = files["list_eval_partition.txt"], files["img_align_celeba.zip"]
    parts = _partition(listing)
    progress, done = Progress("celeba: photographs"), 0
    with _intact(path, "CelebA's photographs in a zip archive"), zipfile.ZipFile(path) as archive:
        for part, names in parts.items():
            for start in range(0, len(names), BATCH):
                some = names[start : start + BATCH]
                yield Batch(part, np.stack([_photograph(archive, name, path) for name in some]), NO_LABELS)
                done += len(some)
                progress.update(done, sum(map(len, parts.values())))


def _partition(listing: Path) -> dict[Part, list[str]]:
    parts: dict[Part, list[str]] = {"train": [], "held_out": []}
    codes: dict[str, Part | None] = {"0": "train", "1": "held_out", "2": None}
    with _intact(listing, 'lines like "000001.jpg 0"'):
        for line in listing.read_text().splitlines():
            name, code = line.split()
            if (part := codes[code]) is not None:
                parts[part].append(name)
        if not all(parts.values()):
            raise ValueError(f"{len(parts['train'])} photographs to train on, {len(parts['held_out'])} held out")
    return parts


def _photograph(archive: zipfile.ZipFile, name: str, path: Path) -> Pixels:
    _, height, width = NATIVE_SHAPES["celeba"]
    with _intact(path / name, "a JPEG photograph"):
        with Image.open(io.BytesIO(archive.read(f"img_align_celeba/{name}"))) as image:
            pixels = np.asarray(image.convert("RGB"))
        if pixels.shape != (height, width, 3):
            raise ConfigError(
                f"{path / name}: got {pixels.shape[1]}x{pixels.shape[0]} pixels, expected {width}x{height}; replace "
                f"the archive by that of the aligned and cropped photographs"
            )
        return pixels.transpose(2, 0, 1)


def _imagenet64(files: Files) -> Iterator[Batch]:
    seen: list[str] = []
    for path in files.values():
        with (
            tempfile.TemporaryDirectory() as folder,
            _intact(path, "ImageNet 64 in npz files"),
            zipfile.ZipFile(path) as archive,
        ):
            members = [name for name in archive.namelist() if name.endswith(".npz")]
            for member in sorted(members, key=lambda name: (len(name), name)):  # batch 10 last
                name = Path(member).name
                # Unpacked to disk, since an npz is itself an archive, and seeking in a compressed one is slow.
                with np.load(archive.extract(member, folder), allow_pickle=False) as stored:
                    data, labels = stored["data"], stored["labels"]
                (Path(folder) / member).unlink()
                if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 64 * 64:
                    raise ConfigError(
                        f"{path / member}: got {data.dtype} of shape {data.shape}, expected uint8 (n, 12288); replace "
                        f"the archive by that of 64x64 pixels"
                    )
                seen.append(name)
                part: Part = "held_out" if name == "val_data.npz" else "train"
                yield Batch(part, data.reshape(-1, 3, 64, 64), labels.astype(np.int64) - 1)  # the file counts from 1
    expected = sorted([*(f"train_data_batch_{k}.npz" for k in range(1, 11)), "val_data.npz"])
    if sorted(seen) != expected:
        raise ConfigError(
            f"imagenet64: got {', '.join(sorted(seen)) or 'no npz'}, expected {', '.join(expected)}; replace "
            f"{', '.join(map(str, files.values()))}"
        )
