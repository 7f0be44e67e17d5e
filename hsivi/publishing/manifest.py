"""The manifest of published results: the SHA-256 of every file of a scale, and of what each reduced file came from.

``results/reference/<scale>/manifest.json`` lists all files below its folder.  A reduced file says in its own metadata
which file it was cut from; a record names that one among its inputs.  So the chain is closed: record, full file,
reduced file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hsivi.arrays import load_metadata
from hsivi.provenance import file_digest
from hsivi.record import read_json, write_json

NAME = "manifest.json"
VERSION = 1


def write(folder: Path) -> Path:
    """Write the manifest of the published results of a scale and return its path."""
    content = {"schema_version": VERSION, "files": {str(p.relative_to(folder)): _entry(p) for p in _files(folder)}}
    write_json(folder / NAME, content)
    return folder / NAME


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the manifest of a scale says of every file; errors as `hsivi.record.read_json`."""
    listed: dict[str, dict[str, Any]] = read_json(folder / NAME)["files"]
    return listed


def problems(folder: Path) -> list[str]:
    """Return, in words, where the files of a scale differ from their manifest; an empty list where they agree.

    Raises:
        ConfigError: there is no manifest, or it is no JSON.
    """
    listed = read(folder)
    there = {str(path.relative_to(folder)): path for path in _files(folder)}
    found = [
        f"{name}: got no such file, expected it as the manifest lists it" for name in sorted(set(listed) - set(there))
    ]
    found += [f"{name}: got a file that the manifest does not list" for name in sorted(set(there) - set(listed))]
    for name in sorted(set(there) & set(listed)):
        entry = _entry(there[name])
        found += [
            f"{name}: got {key} {entry.get(key)}, expected {listed[name].get(key)}"
            for key in sorted({*entry, *listed[name]})
            if entry.get(key) != listed[name].get(key)
        ]
    return found


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != NAME)


def _entry(path: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
    if path.suffix == ".safetensors":
        entry["reduced_from"] = load_metadata(path)["reduced"]["sha256"]
    return entry
