"""Long trainings that can be interrupted.

A training's checkpoint lies in a scratch folder that Snakemake does not know of, because Snakemake deletes declared
outputs before it runs a job again.  Rerun is resume: the same command continues, bit for bit, where it was stopped.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch


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

    def update(self, done: int, total: int, begun_at: int = 0, detail: str = "") -> None:
        """Report that ``done`` of ``total`` units are finished, the first ``begun_at`` of them before this run."""
        now = time.monotonic()
        if now - self._printed < self.interval and done < total:
            return
        self._printed = now
        left = (now - self._started) / max(done - begun_at, 1) * (total - done)
        print(f"{self.label}: {done}/{total}{detail}, {left:.0f} s left", file=self.stream, flush=True)


@dataclass
class Session:
    """Runs trainings so that they can be resumed.

    Attributes:
        label: what runs, for progress lines.
        checkpoint: where to keep the state, or None to keep none.
        identity: digest of settings and code; a checkpoint of another identity is not continued.
        interval: seconds between two checkpoints.
    """

    label: str
    checkpoint: Path | None = None
    identity: str = ""
    interval: float = 30.0

    def train(self, trainer: Resumable, iterations: int, detail: Callable[[Any], str] = lambda info: "") -> None:
        """Step ``trainer`` until ``iterations`` are done, from the checkpoint if there is one."""
        self._restore(trainer)
        begun_at, saved = trainer.iteration, time.monotonic()
        progress = Progress(self.label)
        while trainer.iteration < iterations:
            info = trainer.step()
            progress.update(trainer.iteration, iterations, begun_at, detail(info))
            if self.checkpoint is not None and time.monotonic() - saved > self.interval:
                self._save(trainer)
                saved = time.monotonic()

    def close(self) -> None:
        """Remove the checkpoint, once the result is safe."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def _save(self, trainer: Resumable) -> None:
        assert self.checkpoint is not None
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save({"identity": self.identity, "state": trainer.state_dict()}, partial)
        partial.replace(self.checkpoint)

    def _restore(self, trainer: Resumable) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        stored = torch.load(self.checkpoint, weights_only=True)
        if stored["identity"] != self.identity:
            print(f"{self.label}: settings or code changed since the checkpoint; starting anew", file=sys.stderr)
            return
        trainer.load_state_dict(stored["state"])
        print(f"{self.label}: continuing at iteration {trainer.iteration}", file=sys.stderr)
