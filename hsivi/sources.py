"""Files of published image sets: from HSIVI_DATA_DIR, from the cache, or from where `data/sources.yaml` says.

Whatever the place, a file is used only if it has the length and the SHA-256 hash that are written there.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Annotated

import yaml
from filelock import FileLock
from pydantic import Field

from hsivi.config import ROOT, ConfigError, check_choice, validate_config
from hsivi.fetching import AnySource, Local, Packages, Unusable, Url, copy, download, reason
from hsivi.recipe import Count, Frozen
from hsivi.writing import SUFFIX

SOURCES = ROOT / "hsivi" / "data" / "sources.yaml"


class SourceFile(Frozen):
    """One file.

    Attributes:
        name: its name in the folder of offline files and in the cache.
        bytes: its length.
        sha256: its hash.
        sources: where it can be had, in the order they are tried.
    """

    name: str
    bytes: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    sources: tuple[AnySource, ...] = ()

    @property
    def expected(self) -> str:
        """What the file must be, in words."""
        return f"{self.bytes} bytes with sha256 {self.sha256}"


class PublishedSet(Frozen):
    """One data set.

    Attributes:
        page: its official page.
        files: all that is needed of it.
    """

    page: str
    files: Annotated[tuple[SourceFile, ...], Field(min_length=1)]


def published_sets(path: Path = SOURCES) -> dict[str, PublishedSet]:
    """Read where published data sets come from.

    Raises:
        ConfigError: a key is unknown, missing or of the wrong kind.
    """
    content = yaml.safe_load(path.read_text())
    return {name: validate_config(PublishedSet, entry, f"{path.name}: {name}") for name, entry in content.items()}


def obtain(dataset: str) -> dict[str, Path]:
    """Return the files of a data set, each verified.

    The environment decides where they are looked for: HSIVI_DATA_DIR is a folder of offline files, which is never
    written to and has files as <data set>/<name>; HSIVI_CACHE_DIR is where downloads are kept, by default
    ~/.cache/hsivi-bench; with HSIVI_OFFLINE=1 nothing is downloaded.

    Returns:
        Paths by name.

    Raises:
        ConfigError: no such data set; a file in HSIVI_DATA_DIR is not the published one; a file cannot be had.
    """
    published = published_sets()
    check_choice("data set", dataset, published)
    entry = published[dataset]
    paths = {file.name: _given(dataset, file, entry) for file in entry.files}
    found = {name: path for name, path in paths.items() if path is not None}
    if len(found) < len(paths):
        missing = [file for file in entry.files if file.name not in found]
        found |= _obtain_cached(dataset, entry, missing)
    return {name: found[name] for name in paths}


def found_in(path: Path) -> str:
    """Return what a file is, in the words of `SourceFile.expected`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path.stat().st_size} bytes with sha256 {digest}"


def _data_dir() -> Path | None:
    given = os.environ.get("HSIVI_DATA_DIR")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"HSIVI_DATA_DIR: got {given}, which is no folder, expected one that holds <data set>/<file>; create it "
            f"or unset the variable"
        )
    return folder


def _given(dataset: str, file: SourceFile, entry: PublishedSet) -> Path | None:
    """Return the user's own copy, if there is one."""
    folder = _data_dir()
    if folder is None or not (path := folder / dataset / file.name).exists():
        return None
    try:
        found = found_in(path)
    except OSError as error:
        raise ConfigError(f"{path}: got {reason(error)}, expected a readable file; correct its permissions") from error
    if found != file.expected:
        raise ConfigError(
            f"{path}: got {found}, expected {file.expected}; replace it by the file of {entry.page}, or remove it to "
            f"have it fetched"
        )
    return path


def _obtain_cached(dataset: str, entry: PublishedSet, files: list[SourceFile]) -> dict[str, Path]:
    given = os.environ.get("HSIVI_CACHE_DIR")
    folder = (Path(given).expanduser() if given else Path.home() / ".cache" / "hsivi-bench") / dataset
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Jobs that run side by side must not write one file together.
        with FileLock(folder / ".lock"), tempfile.TemporaryDirectory() as scratch:
            packages = Packages(Path(scratch))
            return {file.name: _cached(dataset, file, entry, folder, packages) for file in files}
    except OSError as error:
        raise ConfigError(
            f"{folder}: got {reason(error)}, expected a folder that can be written to; set HSIVI_CACHE_DIR to one"
        ) from error


def _cached(dataset: str, file: SourceFile, entry: PublishedSet, folder: Path, packages: Packages) -> Path:
    path = folder / file.name
    if path.exists():
        if found_in(path) == file.expected:
            return path
        path.unlink()
    offline = os.environ.get("HSIVI_OFFLINE", "") not in ("", "0")
    failures = []
    for source in file.sources:
        if offline and not isinstance(source, Local):
            continue
        try:
            return _fetch(f"{dataset}/{file.name}", file, source, folder, packages)
        except (Unusable, OSError) as error:
            failures.append(f"{source}: {reason(error)}")
    if offline:
        failures.append("HSIVI_OFFLINE is set, so nothing was downloaded")
    elif not file.sources:
        failures.append("its page asks for a login or a confirmation, so it is not downloaded")
    base = _data_dir()
    place = "HSIVI_DATA_DIR" if base is None else str(base)
    others = ", ".join(other.name for other in entry.files if other is not file)
    raise ConfigError(
        f"{dataset}/{file.name}: got no usable copy ({'; '.join(failures)}), expected {file.expected}; download it "
        f"from {entry.page} and put it at {place}/{dataset}/{file.name}"
        + (f" (likewise {others})" if others else "")
        + (", where HSIVI_DATA_DIR is a folder you choose and set in the environment" if base is None else "")
    )


def _fetch(label: str, file: SourceFile, source: AnySource, folder: Path, packages: Packages) -> Path:
    """Bring a file into the cache from one source; what is left there under its name is verified."""
    if not isinstance(source, Url):
        return _accept(file, source.path if isinstance(source, Local) else packages.member(source), source, folder)
    partial = folder / f"{file.name}{'.gz' if source.unpack else ''}{SUFFIX}"
    while True:
        resumed = partial.exists()
        download(source.url, partial, label, None if source.unpack else file.bytes)
        try:
            return _accept(file, partial, source, folder)
        except Unusable:
            if not resumed:
                raise
            # What an earlier run left was no beginning of this file: once more, from the start.
        finally:
            partial.unlink(missing_ok=True)


def _accept(file: SourceFile, material: Path, source: AnySource, folder: Path) -> Path:
    candidate = material
    if source.unpack or not isinstance(source, Url):
        candidate = folder / f"{file.name}.unverified"
        copy(material, candidate, source.unpack)
    try:
        if (found := found_in(candidate)) != file.expected:
            raise Unusable(f"got {found}")
        return candidate.replace(folder / file.name)
    finally:
        candidate.unlink(missing_ok=True)


def given_file(folder: str, name: str, origin: str) -> Path:
    """Return the path of a file or folder that only its user can provide, below HSIVI_DATA_DIR or anywhere.

    Arguments:
        folder: folder below HSIVI_DATA_DIR where it belongs.
        name: its name there, or an absolute path.
        origin: where it can be had, for the message.

    Raises:
        ConfigError: it is not there.
    """
    base = _data_dir()
    path = Path(name) if Path(name).is_absolute() or base is None else base / folder / name
    if not path.exists() or (base is None and not path.is_absolute()):
        place = f"{'HSIVI_DATA_DIR' if base is None else base}/{folder}/{name}"
        raise ConfigError(
            f"{name}: got no such file, expected it as {place}; get it from {origin} and put it there"
            + (", where HSIVI_DATA_DIR is a folder you choose and set in the environment" if base is None else "")
        )
    return path
