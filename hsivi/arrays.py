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
from hsivi.writing import whole_or_not_at_all


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any] | None = None) -> None:
    """Write arrays, and metadata that JSON can hold, atomically as one safetensors file."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # keeps single numbers
    with whole_or_not_at_all(path) as partial:
        save_file(contiguous, partial, metadata={"json": json.dumps(metadata or {})})


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file without reading them: what is used is read from disk when it is used.

    Raises:
        ConfigError: the file is missing or damaged, or holds numbers that NumPy does not know, such as bfloat16.
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


_DTYPES = {"BOOL": "?", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
_DTYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}


def _mapped(path: Path, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    if begin == end:
        return np.empty(entry["shape"], dtype)
    return np.memmap(path, dtype, "c", start + begin, tuple(entry["shape"]))  # copy on write: torch wants to own it


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read arrays; nothing in the file is executed.  Errors as `map_arrays`."""
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
    except (KeyError, TypeError, AttributeError) as error:  # what safetensors and `_DTYPES` say of other numbers
        raise ConfigError(
            f"{path}: got numbers of a kind that NumPy does not know ({error}), expected {', '.join(_DTYPES)}; delete "
            f"it and run again"
        ) from error


def load_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata that `save_arrays` was given.

    Raises:
        ConfigError: the file is missing or damaged, or the metadata are not those that `save_arrays` writes.
    """

    def read() -> dict[str, str]:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}

    try:
        metadata = json.loads(_read(path, read).get("json", "{}"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        metadata = None
    if not isinstance(metadata, dict):
        raise ConfigError(f"{path}: got metadata that are no JSON object, expected one; delete the file and run again")
    return metadata
