"""Arrays on disk: safetensors files, written atomically, read without executing anything.  No torch here."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from hsivi.config import ConfigError


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any] | None = None) -> None:
    """Write arrays, and metadata that JSON can hold, atomically as one safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # keeps single numbers
    save_file(contiguous, partial, metadata={"json": json.dumps(metadata or {})})
    partial.replace(path)


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file without reading them: what is used is read from disk when it is used.

    Raises:
        ConfigError: the file is missing or damaged.
    """

    def read() -> dict[str, NDArray[Any]]:
        # The file opens with the header's length in eight bytes and the header; safetensors checks it all.
        with safe_open(path, "numpy") as file:
            names = list(file.keys())
        with path.open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(length))
        return {name: _mapped(path, 8 + length, header[name]) for name in names}

    arrays: dict[str, NDArray[Any]] = _read(path, read)
    return arrays


_DTYPES = {"U8": "u1", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}


def _mapped(path: Path, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    if begin == end:
        return np.empty(entry["shape"], dtype)
    return np.memmap(path, dtype, "c", start + begin, tuple(entry["shape"]))  # copy on write: torch wants to own it


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read arrays; nothing in the file is executed.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    arrays: dict[str, NDArray[Any]] = _read(path, lambda: load_file(path))
    return arrays


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: got no such file, expected an earlier stage to have made it; run snakemake {path}"
        ) from error
    except SafetensorError as error:
        raise ConfigError(
            f"{path}: got a damaged file ({error}), expected safetensors; delete it and run again"
        ) from error


def load_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata that `save_arrays` was given; errors as `load_arrays`."""

    def read() -> dict[str, str]:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}

    metadata: dict[str, Any] = json.loads(_read(path, read).get("json", "{}"))
    return metadata
