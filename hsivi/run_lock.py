"""One run of a scale at a time, and what a killed one leaves behind.

Snakemake's lock is a file: it outlives a run that was killed, and only a person can tell that it is stale.  The
system's lock on an open file (flock) ends with the process that has it, however it ends.  A run holds one such lock on
its scale, and each of its jobs holds a share of another, so a new run knows whether anybody is still at work, and
removes Snakemake's lock where nobody is, and files that were half written.  Where the file system knows no locks,
Snakemake's alone has to do.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hsivi import layout
from hsivi.config import ConfigError
from hsivi.writing import UNFINISHED

PATIENCE = 10.0
"""Seconds in which others may finish: a dry run, or jobs whose run was killed a moment ago."""
SNAKEMAKE = Path(".snakemake", "locks")
"""Where Snakemake keeps its locks, lists of the files that a run reads and writes."""

_held: dict[Path, IO[str]] = {}


def look(scale: str) -> str | None:
    """Remove what a killed run locked, unless a run is alive; to be called before Snakemake looks for locks.

    Returns:
        None, or a line that says which run is alive.
    """
    path = layout.run_lock(scale)
    try:
        if not path.parent.is_dir() or _acquire(scale):
            _remove_stale(scale)
            return None
    except OSError:  # a folder that cannot be written to is another error's matter
        return None
    return f"process {_words(holders(path))} runs scale {scale} here; wait for it before you start another run of it"


@contextlib.contextmanager
def held(scale: str) -> Iterator[None]:
    """Keep runs away for the length of a block; raises as `take`, at once."""
    path = layout.run_lock(scale).resolve()
    try:
        _take(scale, patience=0)
        yield
    finally:
        if path in _held:
            _held.pop(path).close()


def take(scale: str) -> None:
    """Hold the run's lock until this process ends, and remove what was half written.

    Raises:
        ConfigError: another run, or a job of a run that was killed, is still at work after `PATIENCE` seconds.
    """
    _take(scale, PATIENCE)
    with contextlib.suppress(OSError):
        _remove_unfinished(scale)


def _take(scale: str, patience: float) -> None:
    path, patient_until = layout.run_lock(scale), time.monotonic() + patience
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _acquire(scale):
            if time.monotonic() > patient_until:
                raise ConfigError(
                    f"results of scale {scale}: got another run that writes them (process {_words(holders(path))}), "
                    f"expected none; wait for it"
                )
            time.sleep(0.1)
        _wait_for_jobs(layout.jobs_lock(scale), scale, patient_until)
    except OSError:
        return


@contextlib.contextmanager
def working(scale: str, by_hand: bool = True) -> Iterator[None]:
    """Let runs know, for the length of a block, that a job of this scale is at work; a run has made the folder.

    Arguments:
        scale: whose results are written.
        by_hand: whether later runs must know of the job where no run has started it.  Reports, perhaps drawn from a
            folder of published results, leave nothing there.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            file = stack.enter_context(layout.jobs_lock(scale).open("a" if by_hand else "r"))
            fcntl.flock(file, fcntl.LOCK_SH)  # a run that looks whether jobs are at work holds it for a moment
        yield


def holders(path: Path) -> list[int]:
    """Return the processes that lock a file, as far as the system tells."""
    try:
        inode, lines = path.stat().st_ino, Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    # 1: FLOCK  ADVISORY  READ 4711 fe:01:1234 0 EOF
    fields = (line.split() for line in lines if "->" not in line)
    return sorted(
        {int(field[4]) for field in fields if field[1] == "FLOCK" and int(field[5].rpartition(":")[2]) == inode}
    )


def _acquire(scale: str) -> bool:
    """Return whether this process has the run's lock, after trying to get it."""
    path = layout.run_lock(scale)
    if path.resolve() in _held:
        return True
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held[path.resolve()] = file
    return True


def _wait_for_jobs(path: Path, scale: str, patient_until: float) -> None:
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > patient_until:
                    pids = " ".join(map(str, holders(path))) or "their numbers"
                    raise ConfigError(
                        f"results of scale {scale}: got jobs still at work, of a run that was killed or started by "
                        f"hand, expected none; wait for them, or stop them with: kill {pids}"
                    ) from None
                time.sleep(0.1)
            else:
                return


def _remove_stale(scale: str) -> None:
    """Remove the locks of Snakemake that are about this scale; those of other scales' runs stay."""
    ours = tuple(f"{folder / scale}{os.sep}" for folder in (layout.results_folder(), layout.reports_folder()))
    for lock in SNAKEMAKE.glob("*.lock"):
        if any(line.startswith(ours) for line in lock.read_text().splitlines()):
            lock.unlink(missing_ok=True)


def _remove_unfinished(scale: str) -> None:
    """Remove what jobs were writing as they were killed."""
    for top in (layout.results_folder() / scale, layout.reports(scale)):
        for folder, _, files in os.walk(top):
            for name in files:
                if UNFINISHED.fullmatch(name):
                    Path(folder, name).unlink(missing_ok=True)


def _words(pids: list[int]) -> str:
    return " ".join(map(str, pids)) or "of unknown number"
