"""Long trainings that can be interrupted.

A training's checkpoint lies in a scratch folder that Snakemake does not know of, because Snakemake deletes declared
outputs before it runs a job again.  Rerun is resume: the same command continues, bit for bit, where it was stopped.
"""

import gc
import pickle
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch

from hsivi import parallel
from hsivi.writing import whole_or_not_at_all


class Resumable(Protocol):
    """A training loop's state.

    Attributes:
        iteration: iterations done.
    """

    iteration: int

    def step(self) -> Any:
        """Do one iteration and return what may be logged."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is carried from one iteration to the next."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        ...


@dataclass
class Progress:
    """Prints a line every few seconds: what runs, how far it is, how long it will take.

    Attributes:
        label: what runs.
        stream: where lines go.
        interval: seconds between lines.
    """

    label: str
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    interval: float = 10.0
    _started: float = field(default_factory=time.monotonic, init=False)
    _printed: float = field(default_factory=time.monotonic, init=False)

    def update(self, done: int, total: int, begun_at: int = 0, detail: Callable[[], str] = str) -> None:
        """Report that ``done`` of ``total`` units are finished, the first ``begun_at`` of them before this run.

        ``detail`` is asked only where a line is printed.
        """
        now = time.monotonic()
        if (now - self._printed < self.interval and done < total) or not parallel.is_first():
            return
        self._printed = now
        left = (now - self._started) / max(done - begun_at, 1) * (total - done)
        print(f"{self.label}: {done}/{total}{detail()}, {left:.0f} s left", file=self.stream, flush=True)


@dataclass
class Session:
    """Runs trainings so that they can be resumed.

    Attributes:
        label: what runs, for progress lines.
        checkpoint: where to keep the state, or None to keep none.
        identity: digest of settings, code and input files; a checkpoint of another identity is not continued.
        interval: seconds between two checkpoints.
        workers: threads that a step may use for work that does not depend on their number.
        seconds: time spent training so far, that before interruptions included.
    """

    label: str
    checkpoint: Path | None = None
    identity: str = ""
    interval: float = 30.0
    workers: int = 1
    seconds: float = field(default=0.0, init=False)

    def train(self, trainer: Resumable, iterations: int, detail: Callable[[Any], str] = lambda info: "") -> Any:
        """Step ``trainer`` until ``iterations`` are done, from the checkpoint if there is one.

        Returns:
            What the last step returned; None if the checkpoint had reached the end.
        """
        self._restore(trainer)
        parallel.meet()  # the first may be quick to finish, and remove what another has yet to read
        begun_at = trainer.iteration
        gc.freeze()  # what imports made stays: looking through it again and again takes some per cent of the time
        try:
            info = self._run(trainer, iterations, detail)
        finally:
            gc.unfreeze()
        if self.checkpoint is not None and trainer.iteration > begun_at:
            self._save(trainer)  # what follows the training may be interrupted as well
        return info

    def _run(self, trainer: Resumable, iterations: int, detail: Callable[[Any], str]) -> Any:
        before, start, saved = self.seconds, time.monotonic(), time.monotonic()
        begun_at, info = trainer.iteration, None
        progress = Progress(self.label)
        while trainer.iteration < iterations:
            info = trainer.step()
            self.seconds = before + time.monotonic() - start
            progress.update(trainer.iteration, iterations, begun_at, partial(detail, info))
            if self.checkpoint is not None and time.monotonic() - saved > self.interval:
                self._save(trainer)
                saved = time.monotonic()
        return info

    def close(self) -> None:
        """Remove the checkpoint, once the result is safe."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def _save(self, trainer: Resumable) -> None:
        assert self.checkpoint is not None
        if not parallel.is_first():
            return
        stored = {"identity": self.identity, "seconds": self.seconds, "state": trainer.state_dict()}
        with whole_or_not_at_all(self.checkpoint) as path:
            torch.save(stored, path)

    def _restore(self, trainer: Resumable) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        try:
            _check_sums(self.checkpoint)  # torch.load would pass over a flipped bit
            stored = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            known = stored["identity"] == self.identity
        except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile):
            self._say(f"{self.checkpoint} is damaged; starting anew")
            return
        if not known:
            self._say("settings, code or data changed since the checkpoint; starting anew")
            return
        trainer.load_state_dict(stored["state"])
        self.seconds = stored["seconds"]
        self._say(f"continuing at iteration {trainer.iteration}")

    def _say(self, notice: str) -> None:
        if parallel.is_first():
            print(f"{self.label}: {notice}", file=sys.stderr)


def _check_sums(path: Path) -> None:
    """Read a file of ``torch.save`` once against the CRC-32 of each of its parts.

    Raises:
        BadZipFile: one is not what was written.
    """
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(damaged)
