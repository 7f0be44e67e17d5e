"""Taking results over from other machines: copies that appear in one step and overwrite nothing.  No torch here.

Snakemake makes again what is older than something it was made from.  Time stamps of another machine mean nothing here,
so a product gets that of its newest input; records and timings get the present, so that tables follow.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from hsivi.config import ConfigError
from hsivi.merging.plan import Copy, Merge
from hsivi.merging.product import Product
from hsivi.writing import unfinished

CHUNK = 1 << 20


def take_over(merge: Merge) -> None:
    """Copy what a plan says.

    Raises:
        ConfigError: a file changed since it was planned, or appeared here meanwhile; what is done stays, and the same
            command goes on.
    """
    for copy in merge.copies:
        stamp = _stamp(copy, merge.into)
        for file in copy.files:
            _copy(copy.source / file, merge.into / file, merge.digest(copy.source / file))
        for file in copy.product.files:
            os.utime(merge.into / file, ns=(stamp, stamp))
        _copy_log(copy, merge.into)
    _forget(merge.into / file for copy in merge.copies for file in copy.product.files)


def _stamp(copy: Copy, into: Path) -> int:
    """Return the time in ns that a product gets: not older than its inputs, not newer than what was made of it."""
    product = copy.product
    newest = max((_time(into / file) for file in product.inputs), default=None)
    if product.stage in ("measure", "time"):
        return max(time.time_ns(), newest or 0)
    if newest is not None:
        return newest
    there = (into / product.output).parent.rglob("*")
    return min([_time(copy.source / product.output), *(_time(path) for path in there if path.is_file())])


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def _copy(source: Path, target: Path, digest: str) -> None:
    """Copy a file under another name, check it, and give it its name unless something has that name by now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    partial = unfinished(target)
    try:
        with os.fdopen(reading, "rb") as file, partial.open("xb") as copied:
            while chunk := file.read(CHUNK):
                found.update(chunk)
                copied.write(chunk)
        if found.hexdigest() != digest:
            raise ConfigError(f"{source}: got other content than a moment ago, expected no job to run there; try again")
        _name(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _name(partial: Path, target: Path) -> None:
    """Give a file its name; a link, unlike a rename, fails where a job has written that file meanwhile."""
    try:
        target.hardlink_to(partial)
    except FileExistsError as error:
        raise ConfigError(f"{target}: got a file that a job wrote meanwhile, expected none; try again") from error
    except OSError:  # a file system without such links
        if target.exists():
            raise
        partial.replace(target)


def _copy_log(copy: Copy, into: Path) -> None:
    """Copy the log of a job where it is a plain file and there is none here; nothing depends on it."""
    source, target = copy.source / copy.product.log, into / copy.product.log
    linked = any((folder / part).is_symlink() for folder in (copy.source, into) for part in _parts(copy.product))
    if not linked and source.is_file() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _parts(product: Product) -> list[Path]:
    return [product.log, *list(product.log.parents)[:-1]]


def _forget(files: Iterable[Path]) -> None:
    """Have Snakemake forget what it noted of earlier files of these names, such as of jobs that were killed."""
    noted = [Path(".snakemake", name) for name in ("metadata", "incomplete")]
    names = [str(file) for file in files]
    if names and Path("Snakefile").is_file() and any(folder.is_dir() and any(folder.iterdir()) for folder in noted):
        command = [sys.executable, "-m", "snakemake", "--quiet", "all", "--cleanup-metadata", *names]
        # It fails where it had noted nothing, which is how most are.
        subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
