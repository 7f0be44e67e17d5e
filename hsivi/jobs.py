"""The jobs of a run: what each writes, how large it is, and how long it took once it is finished.  No torch here."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hsivi import layout, methods, work
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.record import read_json

STAGES = ("data", "pretrain", "reference", "fit", "sample", "measure", "time")
"""In the order of a run."""


class Job(NamedTuple):
    """One job of a run, reports aside.

    Attributes:
        stage: its stage.
        experiment: its experiment.
        size: its cost in units that jobs of one stage share, see `hsivi.work`.
        output: what it writes.
        kind: kind of the experiment's data.
        dataset: its data set.
        label: row of the comparison, where it is about a cell.
        method: baseline behind the row.
        bytes: size of the output, roughly.
    """

    stage: str
    experiment: str
    size: float
    output: Path
    kind: str = ""
    dataset: str = ""
    label: str = ""
    method: str = ""
    bytes: float = 0.0

    @property
    def wide(self) -> bool:
        """Whether it uses all cores: timings run alone, and the chains of a posterior share the cores out."""
        return self.stage == "time" or (self.stage, self.kind) == ("reference", "posterior")


def jobs(experiments: Iterable[Experiment]) -> list[Job]:
    """Return the jobs of a run."""
    return [job for experiment in experiments for job in (*_shared(experiment), *_of_cells(experiment))]


def _shared(experiment: Experiment) -> Iterator[Job]:
    for dataset in experiment.data.datasets:
        files = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
        place = (experiment.data.kind, dataset)
        yield Job("data", experiment.name, 1.0, files.data, *place)
        if experiment.pretrains:
            weights = work.network(experiment).parameters * work.FLOAT
            yield Job(
                "pretrain", experiment.name, work.of_pretrain(experiment), files.score_model, *place, bytes=weights
            )
        yield Job("reference", experiment.name, work.of_reference(experiment), files.reference, *place)


def _of_cells(experiment: Experiment) -> Iterator[Job]:
    for cell in methods.cells(experiment):
        files, info = layout.CellFiles(cell), methods.info(experiment, cell.label)
        place = (experiment.data.kind, cell.dataset, cell.label, info.name)
        if info.needs_fit:
            size, learned = work.of_fit(experiment, cell), work.fit_bytes(experiment, cell)
            yield Job("fit", experiment.name, size, files.fit, *place, bytes=learned)
        count = work.draws(experiment, cell)
        size, drawn = work.of_sample(experiment, cell.nfe, count), work.sample_bytes(experiment, count)
        yield Job("sample", experiment.name, size, files.samples, *place, bytes=drawn)
        yield Job("measure", experiment.name, float(count), files.record, *place)
    for cell in methods.timed_cells(experiment):
        place = (experiment.data.kind, cell.dataset, cell.label, methods.info(experiment, cell.label).name)
        yield Job("time", experiment.name, work.of_time(experiment, cell), layout.CellFiles(cell).timing, *place)


def took(job: Job) -> float | None:
    """Return how many seconds a job took, or None while it is not finished.

    A note may appear a moment after its output.  A training that was interrupted took what all its parts did.
    """
    if job.stage not in ("measure", "time") and not job.output.exists():
        return None
    return noted(job, job.output)


def noted(job: Job, output: Path) -> float | None:
    """Return how many seconds the note of an output says that it took, or None where there is none.

    Arguments:
        job: the job.
        output: its output, here or among published results, which have the note and not the output.
    """
    try:
        if job.stage == "measure":
            return float(read_json(output)["seconds"]["measure"])
        if job.stage == "time":
            return float(read_json(output)["stage_seconds"])
        note = read_json(layout.note(output))
        return max(float(note["seconds"]), float(note.get("training_seconds", 0.0)))
    except (ConfigError, KeyError, TypeError, ValueError, OSError):
        return None
