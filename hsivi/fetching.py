"""Getting a file from where it is published: the web, a package, or the disk.  What comes is not verified here."""

import gzip
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from hsivi.checkpoint import Progress
from hsivi.recipe import Frozen

TIMEOUT = 30
"""Seconds without an answer after which a web server is given up."""
PACKAGE_TIMEOUT = 1800
"""Seconds after which the download of a package is given up."""
CHUNK = 1 << 20


class Unusable(Exception):
    """A source did not give the file; the message says why, in few words."""


class Source(Frozen):
    """One place that has a file.

    Attributes:
        unpack: ``gzip`` where the place has the file compressed.
    """

    unpack: Literal["gzip"] | None = None


class Url(Source):
    """A file on the web."""

    url: str

    def __str__(self) -> str:
        return self.url


class Local(Source):
    """A file that a package of the operating system installs."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


class Npm(Source):
    """A member of a package that ``npm pack`` downloads."""

    npm: str
    member: str

    def __str__(self) -> str:
        return f"npm {self.npm}"


class Debian(Source):
    """A member of a package that ``apt-get download`` downloads."""

    debian: str
    member: str

    def __str__(self) -> str:
        return f"Debian package {self.debian}"


AnySource = Url | Local | Npm | Debian


@dataclass
class Packages:
    """Downloads each package once, however many members are wanted; nothing is installed, nothing of it is run.

    Attributes:
        folder: where they are unpacked.
    """

    folder: Path
    _opened: dict[str, Path | Unusable] = field(default_factory=dict, init=False)

    def member(self, source: Npm | Debian) -> Path:
        """Return a member, unpacked.

        Raises:
            Unusable: the package cannot be had, or has no such member.
        """
        key = str(source)
        if key not in self._opened:
            try:
                self._opened[key] = self._open(source, self.folder / str(len(self._opened)))
            except (Unusable, OSError, tarfile.TarError, EOFError) as error:
                self._opened[key] = Unusable(reason(error))
        opened = self._opened[key]
        if isinstance(opened, Unusable):
            raise opened
        path = opened / source.member
        if not path.is_file():
            raise Unusable(f"has no {source.member}")
        return path

    @staticmethod
    def _open(source: Npm | Debian, folder: Path) -> Path:
        unpacked = folder / "unpacked"
        unpacked.mkdir(parents=True)
        if isinstance(source, Npm):
            _run(["npm", "pack", "--ignore-scripts", "--silent", source.npm], folder)
            unpack(_only(folder, "*.tgz"), unpacked)
        else:
            _run(["apt-get", "download", source.debian], folder)
            _run(["dpkg-deb", "-x", str(_only(folder, "*.deb")), str(unpacked)], folder)
        return unpacked


def unpack(path: Path, folder: Path) -> None:
    """Unpack the plain files of a tar archive into a folder.

    It is what tarfile's ``filter="data"`` does, which Python has since 3.11.4 only.

    Raises:
        tarfile.TarError: the archive is damaged, or a member would lie outside the folder.
    """
    base = folder.resolve()
    with tarfile.open(path) as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isfile() else None
            if source is None:
                continue
            target = (base / member.name).resolve()
            if not target.is_relative_to(base):
                raise tarfile.ExtractError(f"{member.name!r} would be unpacked outside the folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise Unusable(f"left {len(found)} files {pattern}")
    return found[0]


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PACKAGE_TIMEOUT)
    except FileNotFoundError as error:
        raise Unusable(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Unusable(f"{command[0]} took more than {PACKAGE_TIMEOUT} s") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise Unusable(f"{' '.join(command[:2])} failed: {said[-120:] or f'exit status {done.returncode}'}")


def reason(error: Exception) -> str:
    """Return in few words why something failed."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        return reason(error.reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def download(url: str, partial: Path, label: str, size: int | None) -> None:
    """Download a file, or the rest of it where ``partial`` holds its beginning.

    Args:
        url: where it is.
        partial: where its bytes go; kept when the connection breaks.
        label: what is downloaded, for progress lines.
        size: length of the file, where the server's own word is not to be waited for.

    Raises:
        Unusable: the server cannot be reached, or gave too little.
    """
    begun = partial.stat().st_size if partial.exists() else 0
    # Range counts the bytes as they are stored, so no compression in transit.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
            if response.status != 206:  # the server does not continue files
                begun = 0
            length = response.headers.get("Content-Length")
            total = begun + int(length) if length else size
            done, progress = begun, Progress(f"{label}: bytes")
            with partial.open("ab" if begun else "wb") as file:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    progress.update(done, max(total or 0, done), begun)
    except urllib.error.HTTPError as error:
        if error.code == 416 and begun:  # nothing is left to send: all of it is there, or too much, as the hash tells
            return
        raise Unusable(reason(error)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise Unusable(reason(error)) from error
    if total is not None and done < total:
        raise Unusable(f"connection closed after {done} of {total} bytes")


def copy(material: Path, target: Path, unpack: Literal["gzip"] | None) -> None:
    """Copy a file, uncompressed if asked.

    Raises:
        Unusable: it is not compressed, or cut off.
    """
    if unpack is None:
        shutil.copyfile(material, target)
        return
    try:
        with gzip.open(material) as compressed, target.open("wb") as file:
            shutil.copyfileobj(compressed, file, CHUNK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Unusable(f"not a complete gzip file ({reason(error)})") from error
