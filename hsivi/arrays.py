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
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, partial, metadata={"json": json.dumps(metadata or {})})
    partial.replace(path)


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
