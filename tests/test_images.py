"""Image sets: each published format against an independent reading of the same bytes, and what is made of it."""

import functools
import gzip
import io
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, interpolate

from hsivi.arrays import load_arrays, save_arrays
from hsivi.config import ConfigError
from hsivi.data import images as images_module
from hsivi.data.generated_files import write
from hsivi.data.image_files import read
from hsivi.data.images import ImageSet, average_blocks, prepare
from hsivi.data_config import KNOWN_DATASETS, ImageData
from hsivi.sources import published_sets

DATASETS = KNOWN_DATASETS["images"]


def config(dataset: str, size: int = 32, **changes) -> ImageData:
    values = {"kind": "images", "datasets": (dataset,), "seed": 3, "files": "generated", "size": size}
    values |= {"crop": "ddim_128"} if dataset == "celeba" else {}
    return ImageData.model_validate({**values, "features": {"kind": "classifier", "epochs": 1}, **changes})


@functools.cache
def loaded(dataset: str, size: int = 32) -> ImageSet:
    return ImageSet.load(config(dataset, size), dataset)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, dict[str, Path]]:
    return {dataset: write(dataset, tmp_path_factory.mktemp(dataset), 3) for dataset in DATASETS}


# ------------------------------------------------------------------------------------ an independent reading of bytes
def idx(raw: bytes) -> np.ndarray:
    zero, kind, dimensions = struct.unpack(">HBB", raw[:4])
    assert (zero, kind) == (0, 8)
    sizes = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
    return np.array(list(raw[4 + 4 * dimensions :]), np.uint8).reshape(sizes)


def read_mnist(files):
    raw = {name.removesuffix(".gz"): path.read_bytes() for name, path in files.items()}
    raw = {name: gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for name, data in raw.items()}
    for name in ("train", "t10k"):
        yield idx(raw[f"{name}-images-idx3-ubyte"])[:, None], idx(raw[f"{name}-labels-idx1-ubyte"])


def read_cifar10(files):
    with tarfile.open(files["cifar-10-python.tar.gz"]) as archive:

        def batch(name):
            content = archive.extractfile(f"cifar-10-batches-py/{name}").read()
            stored = pickle.loads(content, encoding="bytes")  # noqa: S301 - written by this test
            rows = stored[b"data" if b"data" in stored else "data"]
            planes = [rows[:, k * 1024 : (k + 1) * 1024].reshape(-1, 32, 32) for k in range(3)]  # red, green, blue
            return np.stack(planes, 1), stored[b"labels" if b"labels" in stored else "labels"]

        parts = [batch(f"data_batch_{k}") for k in range(1, 6)]
        yield np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        yield batch("test_batch")


def read_celeba(files):
    lines = [line.split(" ") for line in files["list_eval_partition.txt"].read_text().splitlines()]
    with zipfile.ZipFile(files["img_align_celeba.zip"]) as archive:
        for code in "01":
            names = [name for name, part in lines if part == code]
            pictures = [Image.open(io.BytesIO(archive.read(f"img_align_celeba/{name}"))) for name in names]
            yield np.stack([np.array(picture) for picture in pictures]).transpose(0, 3, 1, 2), []


def read_imagenet64(files):
    held = {}
    for path in files.values():
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with np.load(io.BytesIO(archive.read(name))) as stored:
                    held[name] = stored["data"].reshape(-1, 3, 64, 64), stored["labels"] - 1
    parts = [held[f"train_data_batch_{k}.npz"] for k in range(1, 11)]
    yield np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    yield held["val_data.npz"]


READERS = {
    **{"mnist": read_mnist, "fashion_mnist": read_mnist},
    **{"cifar10": read_cifar10, "celeba": read_celeba, "imagenet64": read_imagenet64},
}


@pytest.mark.parametrize("dataset", DATASETS)
def test_reading_agrees_with_an_independent_one(dataset, files):
    batches = list(read(dataset, files[dataset]))
    for part, (images, labels) in zip(("train", "held_out"), READERS[dataset](files[dataset]), strict=True):
        mine = [batch for batch in batches if batch.part == part]
        assert np.array_equal(np.concatenate([batch.images for batch in mine]), images)
        assert np.array_equal(np.concatenate([batch.labels for batch in mine]), labels)
        assert {batch.images.dtype for batch in mine} == {np.dtype(np.uint8)}
        assert {batch.labels.dtype for batch in mine} == {np.dtype(np.int64)}


@pytest.mark.parametrize("dataset", DATASETS)
def test_generated_files_have_the_official_names_and_depend_on_the_seed_alone(dataset, files, tmp_path, monkeypatch):
    assert set(files[dataset]) == {file.name for file in published_sets()[dataset].files}
    monkeypatch.setattr("time.time", lambda: 1e9)  # archives would record it
    again, other = write(dataset, tmp_path / "again", 3), write(dataset, tmp_path / "other", 4)
    assert all(again[name].read_bytes() == path.read_bytes() for name, path in files[dataset].items())
    assert any(other[name].read_bytes() != path.read_bytes() for name, path in files[dataset].items())


@pytest.mark.parametrize("dataset", DATASETS)
def test_generated_images_are_smooth_distinct_and_of_all_classes(dataset):
    data = loaded(dataset)
    counts = (60, 60) if dataset in ("celeba", "imagenet64") else (200, 60)
    assert (data.training_size, len(data.held_out)) == counts
    inner = data.train[:, :, 4:-4, 4:-4].astype(float)
    assert np.abs(np.diff(inner, axis=3)).mean() < 0.5 * inner.std()
    assert len({image.tobytes() for image in data.train}) == len(data.train)
    assert not {image.tobytes() for image in data.train} & {image.tobytes() for image in data.held_out}
    if dataset == "celeba":
        assert data.train_labels.shape == data.held_out_labels.shape == (0,)
    else:
        assert set(data.train_labels) == set(data.held_out_labels) == set(range(10))
        assert len(data.train_labels) == len(data.train) and len(data.held_out_labels) == len(data.held_out)


def test_class_can_be_told_from_the_pixels():
    """The nearest training image, by the power spectrum that a shift leaves alone, has the class most of the time."""
    data = loaded("cifar10")
    train, held_out = (
        np.abs(np.fft.rfft2(part.mean(1) - part.mean((1, 2, 3))[:, None, None])).reshape(len(part), -1)
        for part in (data.train, data.held_out)
    )
    train, held_out = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (train, held_out))
    assert (data.train_labels[(held_out @ train.T).argmax(1)] == data.held_out_labels).mean() > 0.6


# ------------------------------------------------------------------------------------------------------- preparation
@pytest.mark.parametrize(("dataset", "shape"), [("mnist", (1, 28, 28)), ("cifar10", (3, 32, 32))])
@pytest.mark.parametrize("size", [8, 16, 32])
def test_small_images_are_padded_and_averaged(dataset, shape, size, files):
    data = loaded(dataset, size)
    assert data.event_shape == (shape[0], size, size)
    for mine, (images, _) in zip((data.train, data.held_out), READERS[dataset](files[dataset]), strict=True):
        pad = (32 - shape[1]) // 2
        whole = torch.nn.functional.pad(torch.tensor(images, dtype=torch.float64), (pad,) * 4)
        assert torch.equal(torch.tensor(mine), avg_pool2d(whole, 32 // size).round().byte())
        assert torch.equal(torch.tensor(mine), interpolate(whole, size, mode="area").round().byte())


@pytest.mark.parametrize("size", [16, 64])
def test_imagenet_is_averaged(size, files):
    images, _ = next(read_imagenet64(files["imagenet64"]))
    expected = avg_pool2d(torch.tensor(images, dtype=torch.float64), 64 // size).round().byte().numpy()
    assert np.array_equal(loaded("imagenet64", size).train, expected)


def test_ddim_crop_of_celeba_is_averaged(files):
    images, _ = next(read_celeba(files["celeba"]))
    crop = torch.tensor(images, dtype=torch.float64)[:, :, 57:185, 25:153]
    assert np.array_equal(loaded("celeba", 64).train, avg_pool2d(crop, 2).round().byte().numpy())
    assert np.array_equal(loaded("celeba", 8).train, avg_pool2d(crop, 16).round().byte().numpy())


def test_ddpm_torch_crop_of_celeba_is_resized_as_torchvision_does(files):
    from torchvision.transforms.functional import crop, resize

    data = ImageSet.load(config("celeba", 64, crop="ddpm_torch_148"), "celeba")
    images, _ = next(read_celeba(files["celeba"]))
    for mine, image in zip(data.train[:10], images, strict=False):
        picture = Image.fromarray(image.transpose(1, 2, 0))
        expected = resize(crop(picture, top=40, left=15, height=148, width=148), [64, 64])
        assert np.array_equal(mine.transpose(1, 2, 0), np.asarray(expected))


def test_averages_round_halves_to_even_and_know_no_bounds(monkeypatch):
    images = np.array([[0, 1, 1, 2], [0, 1, 1, 2], [255, 255, 0, 0], [255, 255, 0, 1]], np.uint8)[None, None]
    assert average_blocks(images, 2).tolist() == [[[[0, 2], [255, 0]]]]
    many = np.random.default_rng(0).integers(0, 256, (50, 3, 16, 16), dtype=np.uint8)
    whole = average_blocks(many, 8)
    monkeypatch.setattr(images_module, "ROWS", 7)
    assert np.array_equal(average_blocks(many, 8), whole)
    for shape, size in (((1, 1, 28, 28), 16), ((1, 1, 32, 16), 16)):
        with pytest.raises(ValueError, match="expected a square"):
            average_blocks(np.zeros(shape, np.uint8), size)


def test_crop_takes_the_stated_rows_and_columns():
    marked = np.zeros((1, 3, 218, 178), np.uint8)
    marked[:, :, 57:185, 25:153] = 200
    assert (prepare(marked, 64, "ddim_128") == 200).all()
    marked[:] = 0
    marked[:, :, 40:188, 15:163] = 200
    assert (prepare(marked, 64, "ddpm_torch_148") == 200).all()
    assert (prepare(marked, 64, "ddim_128") == 200).all()


@pytest.mark.parametrize(
    ("dataset", "changes", "said"),
    [
        ("celeba", {"crop": "none"}, "data.crop of celeba: got 'none'"),
        ("mnist", {"crop": "ddim_128"}, "data.crop of mnist: got 'ddim_128'"),
        ("cifar10", {"size": 64}, "data.size of cifar10: got 64"),
        ("mnist", {"size": 64}, "data.size of mnist: got 64"),
    ],
)
def test_settings_that_do_not_fit_are_one_line_before_anything_is_read(dataset, changes, said, monkeypatch):
    monkeypatch.setenv("HSIVI_OFFLINE", "1")
    with pytest.raises(ConfigError) as error:
        ImageSet.load(config(dataset, **{"files": "official", **changes}), dataset)
    assert str(error.value).startswith(said)


# ------------------------------------------------------------------------------------------------------- the data set
@pytest.mark.parametrize("dataset", ["mnist", "celeba"])
def test_data_survive_storage(dataset, tmp_path):
    data = loaded(dataset)
    save_arrays(tmp_path / "data.safetensors", data.arrays())
    stored = ImageSet.restore(load_arrays(tmp_path / "data.safetensors"))
    for name, value in data.arrays().items():
        assert np.array_equal(stored.arrays()[name], value)
        assert stored.arrays()[name].dtype == value.dtype == (np.int64 if "labels" in name else np.uint8)
    assert stored.event_shape == data.event_shape == data.train.shape[1:]


def test_rows_are_scaled_and_draws_are_held_out_images_by_key():
    data = loaded("cifar10")
    rows = data.training_rows(np.array([5, 0, 5]))
    assert rows.dtype == np.float32
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(data.train[[5, 0, 5]]).float() / 127.5 - 1)
    extremes = ImageSet(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), np.zeros(2, int), data.held_out, np.zeros(60))
    assert extremes.training_rows(np.arange(2)).ravel().tolist() == [-1, 1]
    drawn = data.draw(500, 0, "floor")
    assert drawn.dtype == np.float64 and drawn.shape == (500, 3, 32, 32)
    assert np.array_equal(drawn, data.draw(500, 0, "floor"))
    assert not np.array_equal(drawn, data.draw(500, 1, "floor"))
    pixels = np.rint((drawn + 1) * 127.5).astype(np.uint8)
    assert {image.tobytes() for image in pixels} == {image.tobytes() for image in data.held_out}


def test_memory_maps_serve_and_stay_bytes(tmp_path):
    data = loaded("mnist")
    np.save(tmp_path / "train.npy", data.train)
    mapped = np.load(tmp_path / "train.npy", mmap_mode="r")
    opened = ImageSet.restore({**data.arrays(), "train": mapped})
    assert opened.training_size == 200
    assert np.array_equal(opened.training_rows(np.arange(10, 20)), data.training_rows(np.arange(10, 20)))
    assert isinstance(opened.train, np.memmap)


def test_official_files_come_from_obtain(files, monkeypatch):
    monkeypatch.setattr("hsivi.sources.obtain", lambda dataset: files[dataset])
    official = ImageSet.load(config("mnist", files="official", seed=99), "mnist")
    assert np.array_equal(official.train, loaded("mnist").train)
    assert not np.array_equal(ImageSet.load(config("mnist", seed=99), "mnist").train, official.train)


# ------------------------------------------------------------------------------------------------------ damaged files
def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = bytes(600)
    path.write_bytes(bytes(content))


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"xyz")


def replace_by(content: bytes):
    def change(path: Path) -> None:
        path.write_bytes(content)

    return change


def drop_an_image(path: Path) -> None:
    raw = path.read_bytes()
    (n,) = struct.unpack(">I", raw[4:8])
    path.write_bytes(raw[:4] + struct.pack(">I", n - 1) + raw[8 : -28 * 28])


def other_size(path: Path) -> None:
    path.write_bytes(struct.pack(">4i", 2051, 200, 20, 20) + bytes(200 * 400))


def rezip(path: Path, name: str, content: bytes | None) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members = {**members, name: content}
    with zipfile.ZipFile(path, "w") as archive:
        for member, value in members.items():
            if value is not None:
                archive.writestr(member, value)


def jpeg(width: int, height: int) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (width, height)).save(stored, "JPEG")
    return stored.getvalue()


def npz(**arrays) -> bytes:
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    return stored.getvalue()


def photograph(content: bytes | None):
    return functools.partial(rezip, name="img_align_celeba/000007.jpg", content=content)


def batch(content: bytes | None):
    return functools.partial(rezip, name="train_data_batch_2.npz", content=content)


IDX, LABELS, PHOTOS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "img_align_celeba.zip"
CIFAR, PARTITION, NPZ = "cifar-10-python.tar.gz", "list_eval_partition.txt", "Imagenet64_train_part1_npz.zip"
ROWS = np.zeros((6, 12288), np.uint8)
ONES = np.ones(6, np.int64)
DAMAGES = {
    "idx cut": ("mnist", IDX, cut, "damaged"),
    "idx longer": ("mnist", IDX, lengthen, "damaged"),
    "idx empty": ("mnist", IDX, replace_by(b""), "damaged"),
    "idx of something else": ("mnist", IDX, replace_by(b"<html>not found</html>"), "damaged"),
    "idx of labels": ("mnist", LABELS, cut, "damaged"),
    "idx of another size": ("mnist", IDX, other_size, r"shape \(1, 20, 20\).*expected shape \(1, 28, 28\)"),
    "idx with a label too many": ("mnist", IDX, drop_an_image, "199 images .* 200 labels"),
    "gz cut": ("fashion_mnist", f"{IDX}.gz", cut, "damaged"),
    "gz scrambled": ("fashion_mnist", f"{IDX}.gz", scramble, "damaged"),
    "gz of something else": ("fashion_mnist", f"{LABELS}.gz", replace_by(b"text"), "damaged"),
    "tar cut": ("cifar10", CIFAR, cut, "damaged"),
    "tar scrambled": ("cifar10", CIFAR, scramble, "damaged"),
    "tar of nothing": ("cifar10", CIFAR, replace_by(gzip.compress(bytes(10240))), "damaged"),
    "zip cut": ("celeba", PHOTOS, cut, "damaged"),
    "photograph missing": ("celeba", PHOTOS, photograph(None), "damaged"),
    "photograph of another size": ("celeba", PHOTOS, photograph(jpeg(178, 200)), "178x200 pixels, expected 178x218"),
    "photograph cut": ("celeba", PHOTOS, photograph(jpeg(178, 218)[:400]), "000007.jpg: got a damaged file"),
    "no photograph": ("celeba", PHOTOS, photograph(b"text"), "000007.jpg: got a damaged file"),
    "partition of something else": ("celeba", PARTITION, replace_by(b"<html>\nquota exceeded"), "damaged"),
    "partition with another code": ("celeba", PARTITION, replace_by(b"000001.jpg 7\n"), "damaged"),
    "partition without a part": ("celeba", PARTITION, replace_by(b"000001.jpg 0\n"), "0 held out"),
    "npz cut": ("imagenet64", NPZ, cut, "damaged"),
    "npz missing": ("imagenet64", NPZ, batch(None), "expected train_data_batch_1.npz"),
    "npz of something else": ("imagenet64", NPZ, batch(b"text"), "damaged"),
    "npz without labels": ("imagenet64", NPZ, batch(npz(data=ROWS)), "damaged"),
    "npz of 32x32": ("imagenet64", NPZ, batch(npz(data=ROWS[:, :3072], labels=ONES)), r"\(6, 3072\)"),
    "npz of floats": ("imagenet64", NPZ, batch(npz(data=ROWS * 0.5, labels=ONES)), "float64"),
    "npz with a label too many": ("imagenet64", NPZ, batch(npz(data=ROWS[1:], labels=ONES)), "5 images .* 6 labels"),
    "npz with pickled labels": (
        *("imagenet64", NPZ),
        *(batch(npz(data=ROWS, labels=np.array([{}] * 6, object))), "allow_pickle"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_file_is_one_line_that_names_it(name, files, tmp_path):
    dataset, file, damage, said = DAMAGES[name]
    here = {name: Path(shutil.copy(path, tmp_path)) for name, path in files[dataset].items()}
    damage(here[file])
    with pytest.raises(ConfigError, match=said) as error:
        list(read(dataset, here))
    message = str(error.value)
    assert "\n" not in message
    assert str(here[file]) in message
    assert "got " in message and ", expected " in message and "; replace " in message
