"""What reports read of arrays: the arrays themselves, and, where somebody asks, which part of them.  No torch here.

Reports open files of samples, data and references with `read_arrays`.  In a block of `watched` the parts that are
looked at are written down, so that `hsivi.publishing` can keep these and nothing else.  A number that a report computes
from large arrays, such as a quantile, goes through `Arrays.derived`: of it, the result is kept.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from hsivi.arrays import map_arrays
from hsivi.config import ConfigError

FREE = ("shape", "ndim", "dtype", "size")
"""What may be asked of an array without looking at its values."""


class NotStoredError(ConfigError):
    """A file of arrays that is not there."""


@dataclass
class Look:
    """What was looked at of one file.

    Attributes:
        boxes: by array, how many entries of each axis, counted from its start.
        derived: results of `Arrays.derived`, by name.
    """

    boxes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    derived: dict[str, NDArray[Any]] = field(default_factory=dict)

    def extend(self, name: str, box: tuple[int, ...]) -> None:
        """Add a part of an array."""
        before = self.boxes.get(name, (0,) * len(box))
        self.boxes[name] = tuple(map(max, before, box))


Looks = dict[Path, Look]
_watching: list[Looks] = []


@contextlib.contextmanager
def watched() -> Iterator[Looks]:
    """Write down what this process reads of arrays in a block, by file."""
    looks: Looks = {}
    _watching.append(looks)
    try:
        yield looks
    finally:
        _watching.remove(looks)


def read_arrays(path: Path) -> "Arrays":
    """Open a file of arrays.

    Raises:
        NotStoredError: the file is missing.
        ConfigError: it is damaged.
    """
    if not path.exists():
        raise NotStoredError(
            f"{path}: got no such file, expected an earlier stage to have made it; run snakemake {path}"
        )
    return Arrays(map_arrays(path), [looks.setdefault(path, Look()) for looks in _watching])


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of one file; values are read from disk when they are used."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], looks: list[Look]) -> None:
        self._arrays, self._looks = arrays, looks

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: Any = self._arrays[name]
        self._ask(name)
        return _Watched(array, name, self._looks) if self._looks else array  # type: ignore[return-value]

    def __contains__(self, name: object) -> bool:
        found = name in self._arrays
        if found:
            self._ask(str(name))
        return found

    def _ask(self, name: str) -> None:
        """Write down that a report asks whether there is an array, which takes no part of it."""
        for look in self._looks:
            look.extend(name, (0,) * self._arrays[name].ndim)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def derived(self, name: str, compute: Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]) -> NDArray[Any]:
        """Return an array of the file that has this name, or else what ``compute`` makes of the file's arrays.

        What ``compute`` reads is not written down; its result is, under ``name``.
        """
        found = self._arrays[name] if name in self._arrays else np.asarray(compute(self._arrays))
        for look in self._looks:
            look.derived[name] = np.asarray(found)
        return found


class _Watched(NDArrayOperatorsMixin):
    """Stands for an array and writes down which part of it is used: by indices what they select, else all."""

    def __init__(self, array: NDArray[Any], name: str, looks: list[Look]) -> None:
        self._array, self._name, self._looks = array, name, looks

    def __getitem__(self, key: Any) -> Any:
        self._extend(box(self._array.shape, key))
        return self._array[key]

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._whole())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._whole(), dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        plain = [part._whole() if isinstance(part, _Watched) else part for part in inputs]
        return getattr(ufunc, method)(*plain, **settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array if name in FREE else self._whole(), name)

    def _whole(self) -> NDArray[Any]:
        self._extend(self._array.shape)
        return self._array

    def _extend(self, part: tuple[int, ...]) -> None:
        for look in self._looks:
            look.extend(self._name, part)


def box(shape: tuple[int, ...], key: Any) -> tuple[int, ...]:
    """Return the smallest part of an array, from the start of each axis, in which an index finds the same values.

    Numbers and slices counted from the start are understood; an axis that is indexed in any other way is needed as a
    whole, and so are all axes where the index is not such a list.
    """
    keys = key if isinstance(key, tuple) else (key,)
    understood = all(isinstance(k, int | np.integer | slice) and not isinstance(k, bool) for k in keys)
    if len(keys) > len(shape) or not understood:
        return shape
    ends = [_end(size, k) for size, k in zip(shape, keys, strict=False)]
    return (*ends, *shape[len(keys) :])


def _end(size: int, key: int | np.integer[Any] | slice) -> int:
    if not isinstance(key, slice):
        return int(key) + 1 if key >= 0 else size
    forward = (key.step is None or key.step > 0) and (key.start is None or key.start >= 0)
    return min(size, key.stop) if forward and key.stop is not None and key.stop >= 0 else size
