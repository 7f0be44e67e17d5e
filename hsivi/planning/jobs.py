"""The jobs of a run: what each writes, how large it is, and how long it took once it is finished.  No torch here."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hsivi import layout, methods
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.planning import work
from hsivi.record import read_json

STAGES = ("data", "pretrain", "reference", "fit", "sample", "measure", "time")
"""In the order of a run."""


class Job(NamedTuple):
    """One job of a run, reports aside.

    Attributes:
        stage: its stage.
        experiment: its experiment.
        size: its cost in units that jobs of one stage share, see `hsivi.planning.work`.
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

    @property
    def chains(self) -> bool:
        """Whether it simulates Markov chains of a posterior, in whose steps its size is counted whatever the stage."""
        sampled = (self.stage, self.method) == ("sample", "reference")
        return self.kind == "posterior" and (sampled or self.stage == "reference")


def jobs(experiments: Iterable[Experiment]) -> list[Job]:
    """Return the jobs of a run."""
    return [job for experiment in experiments for job in (*_shared(experiment), *_of_cells(experiment))]


def _shared(experiment: Experiment) -> Iterator[Job]:
    stages = ("data", *(["pretrain"] if experiment.pretrains else []), "reference")
    return (of_dataset(stage, experiment, dataset) for dataset in experiment.data.datasets for stage in stages)


def _of_cells(experiment: Experiment) -> Iterator[Job]:
    for cell in methods.cells(experiment):
        stages = (*(["fit"] if methods.info(experiment, cell.label).needs_fit else []), "sample", "measure")
        yield from (of_cell(stage, experiment, cell) for stage in stages)
    yield from (of_cell("time", experiment, cell) for cell in methods.timed_cells(experiment))


def of_dataset(stage: str, experiment: Experiment, dataset: str) -> Job:
    """Return the job of a stage that the cells of a data set share: data, pretrain or reference."""
    files = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
    place = (experiment.data.kind, dataset)
    if stage == "data":
        return Job(stage, experiment.name, 1.0, files.data, *place)
    if stage == "reference":
        return Job(stage, experiment.name, work.of_reference(experiment), files.reference, *place)
    weights = work.network(experiment).parameters * work.FLOAT
    return Job(stage, experiment.name, work.of_pretrain(experiment), files.score_model, *place, bytes=weights)


def of_cell(stage: str, experiment: Experiment, cell: Cell) -> Job:
    """Return the job of a stage of a cell: fit, sample, measure or time."""
    files, name = layout.CellFiles(cell), experiment.name
    place = (experiment.data.kind, cell.dataset, cell.label, methods.info(experiment, cell.label).name)
    if stage == "fit":
        learned = work.fit_bytes(experiment, cell)
        return Job(stage, name, work.of_fit(experiment, cell), files.fit, *place, bytes=learned)
    if stage == "time":
        return Job(stage, name, work.of_time(experiment, cell), files.timing, *place)
    count = work.draws(experiment, cell)
    if stage == "measure":
        return Job(stage, name, float(count), files.record, *place)
    drawn = Job(stage, name, 0.0, files.samples, *place, bytes=work.sample_bytes(experiment, count))
    return drawn._replace(size=work.of_draws(count) if drawn.chains else work.of_sample(experiment, cell.nfe, count))


def took(job: Job) -> float | None:
    """Return how many seconds a job took, or None while it is not finished.

    A note may appear a moment after its output.  A training that was interrupted took what all its parts did.
    """
    if job.stage not in ("measure", "time") and not job.output.exists():
        return None
    return noted(job, job.output)


def noted(job: Job, output: Path, processor: bool = False) -> float | None:
    """Return how many seconds the note of an output says that it took, or None where there is none.

    Arguments:
        job: the job.
        output: its output, here or among published results, which have the note and not the output.
        processor: whether what a GPU made does not count.
    """
    try:
        note = read_json(output if job.stage in ("measure", "time") else layout.note(output))
        if processor and str(note.get("device")).startswith("cuda"):
            return None
        if job.stage == "measure":
            return float(note["seconds"]["measure"])
        if job.stage == "time":
            return float(note["stage_seconds"])
        return max(float(note["seconds"]), float(note.get("training_seconds", 0.0)))
    except (ConfigError, KeyError, TypeError, ValueError, OSError):
        return None
