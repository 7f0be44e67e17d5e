"""Few random images in files of the formats in which image sets are published, for trials without a download.

An image is a wave whose direction and frequency belong to its class, with random phase, brightness and colours: smooth
enough to be compressed and reduced, and different enough for a classifier.
"""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hsivi.rng import generator

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
CLASSES = 10
TRAIN, HELD_OUT = 200, 60
FEW = 60
"""Images in each part of CelebA and ImageNet 64."""
CELEBA_TEST = 10
"""Photographs of CelebA's test part, which belong to neither part here."""


def write(dataset: str, folder: Path, seed: int) -> dict[str, Path]:
    """Write the files of a data set; their bytes depend on the arguments alone.

    Returns:
        Paths by the names in `sources.yaml`, as `hsivi.sources.obtain`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = (dataset, seed)
    if dataset in ("mnist", "fashion_mnist"):
        contents = _mnist(key, ".gz" if dataset == "fashion_mnist" else "")
    else:
        contents = {"cifar10": _cifar10, "celeba": _celeba, "imagenet64": _imagenet64}[dataset](key)
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / name
        paths[name].write_bytes(content)
    return paths


def waves(n: int, shape: tuple[int, int, int], *key: int | str) -> tuple[Pixels, Labels]:
    """Return n images of shape (C, H, W) and their classes 0..9, all classes equally often."""
    rng = generator("generated images", *key)
    labels = rng.permutation(np.arange(n) % CLASSES)
    channels, height, width = shape
    angle = np.pi * labels / CLASSES
    frequency = 1 + labels % 3
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
    phase, brightness = rng.uniform(size=n), rng.uniform(90, 160, (n, channels, 1, 1))
    contrast = rng.uniform(40, 90, (n, channels, 1, 1))
    images = np.empty((n, *shape), np.uint8)
    for k in range(n):  # one at a time: photographs are large
        wave = np.cos(2 * np.pi * (frequency[k] * (np.cos(angle[k]) * x + np.sin(angle[k]) * y) + phase[k]))
        images[k] = brightness[k] + contrast[k] * wave
    return images, labels.astype(np.int64)


def _mnist(key: tuple[str, int], suffix: str) -> dict[str, bytes]:
    contents = {}
    for name, n in (("train", TRAIN), ("t10k", HELD_OUT)):
        images, labels = waves(n, (1, 28, 28), *key, name)
        contents[f"{name}-images-idx3-ubyte"] = struct.pack(">4i", 2051, n, 28, 28) + images.tobytes()
        contents[f"{name}-labels-idx1-ubyte"] = struct.pack(">2i", 2049, n) + labels.astype(np.uint8).tobytes()
    return {name + suffix: gzip.compress(raw, mtime=0) if suffix else raw for name, raw in contents.items()}


def _cifar10(key: tuple[str, int]) -> dict[str, bytes]:
    members: dict[str, Any] = {"batches.meta": {"label_names": [f"class {k}" for k in range(CLASSES)]}}
    batches = {**{f"data_batch_{k}": TRAIN // 5 for k in range(1, 6)}, "test_batch": HELD_OUT}
    for name, n in batches.items():
        images, labels = waves(n, (3, 32, 32), *key, name)
        members[name] = {"data": images.reshape(n, -1), "labels": labels.tolist(), "batch_label": name}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, value in members.items():
            content = pickle.dumps(value, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return {"cifar-10-python.tar.gz": gzip.compress(raw.getvalue(), mtime=0)}


def _celeba(key: tuple[str, int]) -> dict[str, bytes]:
    images, _ = waves(2 * FEW + CELEBA_TEST, (3, 218, 178), *key)
    codes = [0] * FEW + [1] * FEW + [2] * CELEBA_TEST
    members, lines = {}, []
    for index, (image, code) in enumerate(zip(images, codes, strict=True), 1):
        photograph = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(photograph, "JPEG", quality=95)
        members[f"img_align_celeba/{index:06d}.jpg"] = photograph.getvalue()
        lines.append(f"{index:06d}.jpg {code}\n")
    return {"list_eval_partition.txt": "".join(lines).encode(), "img_align_celeba.zip": _zip(members)}


def _imagenet64(key: tuple[str, int]) -> dict[str, bytes]:
    members = {}
    images, labels = waves(2 * FEW, (3, 64, 64), *key)
    parts = {f"train_data_batch_{k + 1}": slice(FEW // 10 * k, FEW // 10 * (k + 1)) for k in range(10)}
    for name, part in {**parts, "val_data": slice(FEW, None)}.items():
        stored, rows = io.BytesIO(), images[part].reshape(-1, 3 * 64 * 64)
        np.savez(stored, data=rows, labels=labels[part] + 1, mean=rows.mean(0))  # labels count from one
        members[f"{name}.npz"] = stored.getvalue()
    first = {f"train_data_batch_{k}.npz" for k in range(1, 6)}
    return {
        "Imagenet64_train_part1_npz.zip": _zip({name: raw for name, raw in members.items() if name in first}),
        "Imagenet64_train_part2_npz.zip": _zip(
            {name: raw for name, raw in members.items() if name not in {*first, "val_data.npz"}}
        ),
        "Imagenet64_val_npz.zip": _zip({"val_data.npz": members["val_data.npz"]}),
    }


def _zip(members: Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without the time of day, which writestr would add
    return raw.getvalue()
