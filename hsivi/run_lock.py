"""Whether a Snakemake run holds this folder.  No torch here.

Snakemake keeps a file for each lock in ``.snakemake/locks``, and removes them when it ends by itself; after a kill they
stay.  They do not say which process made them, so processes are looked for where the system lists them.
"""

import os
from pathlib import Path

LOCKS = Path(".snakemake") / "locks"
PROCESSES = Path("/proc")


def locks() -> list[Path]:
    """Return the locks in the working directory."""
    return sorted(LOCKS.glob("*.lock"))


def runs() -> list[int] | None:
    """Return the processes of Snakemake in the working directory, or None where the system does not list any."""
    if not (PROCESSES / "self").exists():
        return None
    here, found = Path.cwd(), []
    for process in PROCESSES.glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            where = (process / "cwd").readlink()
        except OSError:  # it ended, or is another user's
            continue
        if int(process.name) != os.getpid() and where == here and _is_snakemake(words):
            found.append(int(process.name))
    return sorted(found)


def _is_snakemake(words: list[bytes]) -> bool:
    """Return whether a command line runs Snakemake itself: the script, or python -m snakemake."""
    names = [word.rsplit(b"/", 1)[-1] for word in words[:4]]
    return b"snakemake" in names
