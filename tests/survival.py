"""Runs that are killed, and what is left of them."""

import base64
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from hsivi import layout, run_lock
from tests.test_workflow import Checkout

RUN = ["snakemake", "--cores", "2", "--config", "scale=smoke", "experiments=digits"]
TIMINGS = {"seconds", "sha256"}


class Run:
    """A run of the graph in a process group of its own, as a terminal would start it; ``python_path`` as there."""

    def __init__(
        self, checkout: Checkout, log: Path, command: Sequence[str] = RUN, python_path: Path | None = None
    ) -> None:
        self.folder, self.log = checkout.folder, log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=checkout.folder,
                env=checkout.environment(python_path),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell starts what is in its background deaf to Ctrl-C; these tests may be there.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until the run has printed something that often."""
        while self.log.read_text().count(words) < times:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def jobs(self) -> list[int]:
        """Return the processes of its jobs, which the warm server started outside of the group."""
        return run_lock.holders(self.folder / layout.jobs_lock("smoke"))

    def stages(self) -> set[str]:
        """Return what its jobs are about, from the shells that wait for them."""
        listed = subprocess.run(["ps", "-eo", "pgid=,args="], capture_output=True, text=True, check=True).stdout
        return set(re.findall(rf"^ *{self.process.pid} .*python -m hsivi (\w+) ", listed, re.MULTILINE))

    def kill(self) -> None:
        """Take everything away at once, as a power cut does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        for job in self.jobs():
            os.kill(job, signal.SIGKILL)
        self.process.wait()


class Trap:
    """Holds the process that writes a file when half of that is written, so that it can be killed at this moment.

    Python reads its file ``sitecustomize.py`` whenever it starts with the trap's folder on its path.
    """

    def __init__(self, folder: Path, file: str) -> None:
        self.folder, self.caught = folder, folder / "caught"
        self.folder.mkdir()
        (folder / "sitecustomize.py").write_text(TRAP.format(file=f"/{file}", caught=str(self.caught)))

    def wait(self, run: Run) -> int:
        """Wait until somebody is in it, and return the process."""
        while not self.caught.exists() or not self.caught.read_text():
            assert run.process.poll() is None, run.log.read_text()[-3000:]
            time.sleep(0.02)
        return int(self.caught.read_text())


TRAP = """
import os, time
from pathlib import Path

replace = Path.replace


def held(self, target):
    if str(target).endswith({file!r}):
        os.truncate(self, self.stat().st_size // 2)
        Path({caught!r}).write_text(str(os.getpid()))
        time.sleep(60)
    return replace(self, target)


Path.replace = held
"""


def half_written(folder: Path) -> list[Path]:
    """Return files that nobody will finish: all but results, checkpoints, logs and locks."""
    files = [path for name in ("results", "reports") for path in (folder / name).rglob("*") if path.is_file()]
    places = [path.relative_to(folder) for path in files]
    kept = {".scratch", ".logs", layout.run_lock("smoke").name, layout.jobs_lock("smoke").name}
    return [
        path
        for path in places
        if not kept & set(path.parts) and (path.name.startswith(".") or path.suffix == ".partial")
    ]


def finished(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return what is there of results and reports, less what Snakemake takes for incomplete, with inode and time."""
    marks = (folder / ".snakemake" / "incomplete").glob("**/*")
    names = [mark.name for mark in marks if mark.is_file()]
    incomplete = {base64.b64decode(name, altchars=b"-_").decode(errors="replace") for name in names}
    files = [
        path for name in ("results/smoke", "reports/smoke") for path in (folder / name).rglob("*") if path.is_file()
    ]
    places = {path.relative_to(folder): path.stat() for path in files}
    return {
        path: (status.st_ino, status.st_mtime_ns)
        for path, status in places.items()
        if str(path) not in incomplete and path.suffix != ".partial" and not any(p.startswith(".") for p in path.parts)
    }


def measured(folder: Path) -> dict[str, dict[str, object]]:
    """Return all records by place, without durations."""
    return {
        str(path.relative_to(folder)): {k: v for k, v in json.loads(path.read_text()).items() if k not in TIMINGS}
        for path in sorted(folder.glob("results/smoke/*/*/*/nfe*/record.json"))
    }


def tables(folder: Path) -> dict[str, bytes]:
    """Return all tables but the one of durations."""
    paths = sorted(folder.glob("reports/smoke/tables/*.csv"))
    return {path.name: path.read_bytes() for path in paths if path.stem != "break_even"}
