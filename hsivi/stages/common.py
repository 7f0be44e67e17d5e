"""What stages share: opening data sets and score models, and the note beside each output."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hsivi import layout, provenance, record
from hsivi.arrays import load_arrays, map_arrays
from hsivi.config import ConfigError
from hsivi.data import Dataset, restore
from hsivi.experiment import Experiment


@dataclass
class Stopwatch:
    """Measures a stage and writes down how its output was made."""

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    _begin: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.perf_counter() - self._begin

    def note(self, output: Path, command: str, **facts: Any) -> None:
        """Write the note beside ``output``: command, duration, machine, versions, commit, digest, and ``facts``."""
        content: Mapping[str, Any] = {
            "command": command,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "environment": provenance.environment(),
            "commit": provenance.git_commit(),
            "sha256": provenance.file_digest(output),
            **facts,
        }
        record.write_json(layout.note(output), content)


def dataset_command(stage: str, experiment: Experiment, dataset: str) -> str:
    """Return the command line of a stage that works on a whole data set."""
    return f"python -m hsivi {stage} --scale {experiment.scale} --experiment {experiment.name} --dataset {dataset}"


def files(experiment: Experiment, dataset: str) -> layout.DatasetFiles:
    """Return the shared files of a data set."""
    return layout.DatasetFiles(experiment.scale, experiment.name, dataset)


def needed(experiment: Experiment, dataset: str) -> list[Path]:
    """Return the files that every cell of a data set needs: the data, and the score model where it is a network."""
    shared = files(experiment, dataset)
    return [shared.data, shared.score_model] if experiment.pretrains else [shared.data]


def untouched(path: Path) -> Path:
    """Return the path of an earlier stage's output, which is still what that stage wrote.

    Where jobs get copies of their inputs alone (Kubernetes), the note that says so is missing, and nothing is checked.

    Raises:
        ConfigError: its SHA-256 is another than the note's: a bit has flipped, or somebody edited it.
    """
    note = layout.note(path)
    if note.exists():
        made = record.read_json(note)
        if provenance.file_digest(path) != made.get("sha256"):
            raise ConfigError(
                f"{path}: got a file that is not what its stage wrote (another SHA-256 than in {note.name}), expected "
                f"that; make it again: {made.get('command', 'delete it and run snakemake')}"
            )
    return path


def open_dataset(experiment: Experiment, dataset: str) -> Dataset:
    """Open a prepared data set; errors as `untouched`."""
    path = untouched(files(experiment, dataset).data)
    # Images are many; a stage that looks at some reads some.
    return restore(
        experiment.data, dataset, map_arrays(path) if experiment.data.kind == "images" else load_arrays(path)
    )
