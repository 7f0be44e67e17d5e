"""What reports look at of arrays is written down, and a file cut to it gives them the same values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsivi.arrays import load_arrays, load_metadata, save_arrays
from hsivi.config import ConfigError
from hsivi.provenance import file_digest
from hsivi.publishing.reduction import merged, reduce
from hsivi.reading import NotStoredError, box, read_arrays, watched

SHAPE = (3, 2, 7, 4)
VALUES = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_arrays(tmp_path / "full.safetensors", {"x": VALUES, "y": -VALUES, "z": VALUES[0]}, {"declined": None})
    return tmp_path / "full.safetensors"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (0, (1, 2, 7, 4)),
        ((0, 1), (1, 2, 7, 4)),
        ((2, 0, slice(None, 5)), (3, 1, 5, 4)),
        ((slice(None), 0), (3, 1, 7, 4)),
        ((0, 0, slice(2, 6, 2), 1), (1, 1, 6, 2)),
        ((0, 0, slice(None, 99)), (1, 1, 7, 4)),
        # From the end: the axis has to keep its length.
        (-1, (3, 2, 7, 4)),
        ((0, 0, slice(None, -1)), (1, 1, 7, 4)),
        ((0, 0, slice(None, None, -1)), (1, 1, 7, 4)),
        ((0, 0, slice(-3, 6)), (1, 1, 7, 4)),
        # What is not understood needs everything.
        (Ellipsis, SHAPE),
        (([0, 1],), SHAPE),
        (VALUES[..., 0] > 3, SHAPE),
        (None, SHAPE),
        (True, SHAPE),
    ],
)
def test_the_box_of_an_index(key: Any, expected: tuple[int, ...]) -> None:
    assert box(SHAPE, key) == expected


PLACE = st.none() | st.integers(-9, 9)
SLICES = st.builds(slice, PLACE, PLACE, st.none() | st.sampled_from([-2, -1, 1, 3]))


@given(st.tuples(*(SLICES | st.integers(-n, n - 1) for n in SHAPE)), st.integers(0, 4))
def test_an_index_finds_the_same_in_its_box(keys: tuple[Any, ...], used: int) -> None:
    cut = VALUES[tuple(map(slice, box(SHAPE, keys[:used])))]
    np.testing.assert_array_equal(cut[keys[:used]], VALUES[keys[:used]])


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + 1,
        lambda x: 2 - x,
        lambda x: np.sqrt(np.abs(x)),
        lambda x: np.stack([x, x]),
        lambda x: np.asarray(x, np.float64),
        lambda x: x.mean(),
        lambda x: x.T,
        lambda x: list(x),
        lambda x: x == 0,
    ],
)
def test_every_other_use_needs_the_whole_array(use: Any, path: Path) -> None:
    with watched() as looks:
        shown = use(read_arrays(path)["x"])
    np.testing.assert_array_equal(shown, use(VALUES))
    assert looks[path].boxes == {"x": SHAPE}


def test_shapes_and_presence_take_nothing(path: Path) -> None:
    with watched() as looks:
        stored = read_arrays(path)
        assert "x" in stored and "nothing" not in stored and stored.get("nothing") is None
        assert (stored["y"].shape, stored["y"].ndim, len(stored["y"]), len(stored)) == (SHAPE, 4, 3, 3)
    assert looks[path].boxes == {"x": (0, 0, 0, 0), "y": (0, 0, 0, 0)}


def test_nobody_watches_by_default(path: Path) -> None:
    assert isinstance(read_arrays(path)["x"], np.ndarray)


def test_a_missing_file_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(NotStoredError, match="got no such file"):
        read_arrays(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match="damaged") as raised:
        read_arrays(tmp_path / "bad.safetensors")
    assert not isinstance(raised.value, NotStoredError)


def median(arrays: Any) -> np.ndarray:
    return np.median(arrays["y"][0, 0], axis=0)


def test_a_reduced_file_holds_what_was_looked_at_and_nothing_else(path: Path, tmp_path: Path) -> None:
    readers = []
    for places in ((0, 1), (1, 0)):
        with watched() as looks:
            stored = read_arrays(path)
            assert stored["x"][(*places, slice(None, 5))].shape == (5, 4)
            assert stored.derived("median", median).shape == (4,)
        readers.append(looks)
    (look,) = merged(readers).values()
    assert look.boxes == {"x": (2, 2, 5, 4)}
    reduce(path, tmp_path / "cut.safetensors", look)
    cut = load_arrays(tmp_path / "cut.safetensors")
    assert set(cut) == {"x", "median"}
    np.testing.assert_array_equal(cut["x"], VALUES[:2, :2, :5])
    assert cut["x"].dtype == np.float32
    facts = load_metadata(tmp_path / "cut.safetensors")
    assert facts["declined"] is None
    assert facts["reduced"] == {
        "sha256": file_digest(path),
        "arrays": {"x": {"full": [3, 2, 7, 4], "kept": [2, 2, 5, 4]}},
        "left_out": ["y", "z"],
        "derived": ["median"],
    }
    # The same code reads the same number from the reduced file, although what it is computed from is gone.
    again = read_arrays(tmp_path / "cut.safetensors").derived("median", median)
    np.testing.assert_array_equal(again, median({"y": -VALUES}))


def test_a_file_that_is_reduced_twice_says_what_it_is_of_the_full_one(path: Path, tmp_path: Path) -> None:
    place = tmp_path / "cut.safetensors"
    for source, first in ((path, 2), (place, 1)):
        with watched() as looks:
            stored = read_arrays(source)
            assert len(stored["x"][:first]) == first
            stored.derived("median", median)
        reduce(source, place, looks[source])
    cut = load_arrays(place)
    np.testing.assert_array_equal(cut["x"], VALUES[:1])
    np.testing.assert_array_equal(cut["median"], median({"y": -VALUES}))
    assert load_metadata(place)["reduced"] == {
        "sha256": file_digest(path),
        "arrays": {"x": {"full": [3, 2, 7, 4], "kept": [1, 2, 7, 4]}},
        "left_out": ["y", "z"],
        "derived": ["median"],
    }
