"""Arrays on disk, read at once or when they are used, and images as whole numbers."""

import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from hsivi.arrays import load_arrays, load_metadata, map_arrays, save_arrays
from hsivi.config import ConfigError
from hsivi.pixels import quantise

RNG = np.random.default_rng(0)
STORED = {
    "pixels": RNG.integers(0, 256, (3, 1, 5, 5), dtype=np.uint8),  # 75 bytes, so that what follows is not aligned
    "labels": RNG.integers(-5, 2**40, 7),
    "fan": RNG.standard_normal((2, 3)).astype(np.float16),
    "x": RNG.standard_normal((4, 2)).astype(np.float32),
    "mean": RNG.standard_normal(5),
    "number": np.array(2.5),
    "none": np.empty((0, 4), np.float32),
    "no_columns": np.empty((3, 0), np.uint8),
    "turned": np.asfortranarray(RNG.standard_normal((3, 4))),
    "every_other": RNG.standard_normal((6, 4)).astype(np.float32)[::2, ::2],
}


@pytest.fixture
def path(tmp_path):
    save_arrays(tmp_path / "some" / "arrays.safetensors", STORED, {"why": "not", "n": 3})
    return tmp_path / "some" / "arrays.safetensors"


def test_arrays_come_back(path):
    mapped, loaded = map_arrays(path), load_arrays(path)
    assert set(mapped) == set(loaded) == set(STORED)
    for name, value in STORED.items():
        for found in (mapped[name], loaded[name]):
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(found, value)
            assert torch.equal(torch.from_numpy(found), torch.from_numpy(value.copy()))
    assert load_metadata(path) == {"why": "not", "n": 3}


def test_mapped_arrays_are_read_when_they_are_used(path):
    """Only an empty array has nothing to map; the others show the file as it is, not as it was when it was opened."""
    mapped = map_arrays(path)
    assert {name for name, array in mapped.items() if not isinstance(array, np.memmap)} == {"none", "no_columns"}
    content = path.read_bytes()
    at = content.index(STORED["x"].tobytes())
    with path.open("r+b") as file:
        file.seek(at)
        file.write(np.float32(17).tobytes())
    assert mapped["x"][0, 0] == 17


def test_writing_to_a_mapped_array_leaves_the_file(path):
    before = path.read_bytes()
    mapped = map_arrays(path)["x"]
    torch.from_numpy(mapped).add_(1)
    np.testing.assert_array_equal(mapped, STORED["x"] + 1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read", [load_arrays, map_arrays, load_metadata])
def test_files_that_cannot_be_read_are_one_line(path, read):
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    beyond = json.dumps({**header, "x": {**header["x"], "data_offsets": [0, len(whole)]}}).encode()
    damages = (
        whole[:-1],
        whole[: length // 2],
        b"",
        whole[:8] + b"x" + whole[9:],
        len(beyond).to_bytes(8, "little") + beyond,
    )
    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"arrays\.safetensors: got a damaged file .*; delete it and") as error:
            read(path)
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(ConfigError, match=r"arrays\.safetensors: got no such file, .*; run snakemake") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("read", [load_arrays, map_arrays])
def test_numbers_that_numpy_does_not_know_are_one_line(path, read, dtype):
    safetensors.torch.save_file({"x": torch.ones(3).to(dtype)}, path)
    with pytest.raises(
        ConfigError, match=r"arrays\.safetensors: got numbers of a kind .*F32.*; delete it and"
    ) as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["?", "i1", "<i2", "<i4", "<u2", "<u4", "<u8"])
def test_numbers_of_other_kinds_come_back(path, kind):
    value = np.arange(5).astype(kind)
    save_arrays(path, {"x": value})
    for found in (load_arrays(path)["x"], map_arrays(path)["x"]):
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_metadata_that_are_no_object_are_one_line(path, text):
    safetensors.numpy.save_file({"x": np.ones(3)}, path, metadata={"json": text})
    with pytest.raises(
        ConfigError, match=r"arrays\.safetensors: got metadata that are no JSON object, expected one; del"
    ):
        load_metadata(path)


def test_what_is_written_is_there_whole_or_not_at_all(path, monkeypatch):
    before = path.read_bytes()

    def full(arrays, name, metadata):
        name.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hsivi.arrays.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_arrays(path, STORED)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]


def test_nothing_unfinished_is_left_behind(path):
    assert [file.name for file in path.parent.iterdir()] == ["arrays.safetensors"]


@pytest.mark.parametrize(
    ("value", "nearest", "below"),
    [
        (-1.0, 0, 0), (1.0, 255, 255), (0.0, 128, 127),  # 127.5 is as near to 127; halves go to the even number
        (0.3, 166, 165), (-0.3, 89, 89),  # 165.75 and 89.25
        (-0.9961, 0, 0), (-0.9960, 1, 0), (-0.9922, 1, 0),  # 0.497, 0.51, 0.995
        (0.9980, 255, 254), (0.9999, 255, 254),  # 254.7 and 254.99
        (-1.7, 0, 0), (-1.001, 0, 0), (1.001, 255, 255), (5.0, 255, 255),
    ],
)  # fmt: skip
def test_grey_levels_by_hand(value, nearest, below):
    for dtype in (torch.float16, torch.float32, torch.float64):
        image = torch.full((2, 1, 3, 3), value, dtype=dtype)
        if dtype == torch.float16 and value not in (-1.0, 0.0, 1.0, 0.3, -0.3, 5.0):
            continue  # three digits do not tell the others apart
        for rounding, grey in (("round", nearest), ("truncate", below)):
            found = quantise(image, rounding)
            assert found.dtype == torch.uint8 and found.shape == image.shape
            assert set(found.flatten().tolist()) == {grey}, (dtype, rounding)
        assert torch.equal(quantise(image), quantise(image, "round"))


def test_every_grey_level_survives():
    levels = torch.arange(256, dtype=torch.float64)
    assert quantise((levels / 127.5 - 1).float()).tolist() == levels.tolist()
