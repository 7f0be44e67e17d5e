"""How far a whole run is: a line after every job.  No torch here.

Snakemake counts jobs, but jobs differ a hundredfold in length.  The time left is estimated from the notes of what is
finished: a job that is still to come takes as long as the finished ones of its stage and experiment did on average,
longer by its share of function evaluations, and as many run at once as there are cores.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hsivi import layout, methods
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.record import read_json

GUESS = {"data": 3.0, "pretrain": 40.0, "reference": 8.0, "fit": 50.0, "sample": 6.0, "measure": 3.0, "time": 60.0}
"""Seconds of a job of each stage before any is finished, as measured at scale quick on one core."""
EXCLUSIVE = {"time"}
"""Stages whose jobs run alone, on all cores."""


RUN, SCOPE, CORES, DEVICES = "HSIVI_RUN", "HSIVI_RUN_SCOPE", "HSIVI_RUN_CORES", "HSIVI_DEVICES"
"""Environment variables in which the Snakefile tells its jobs which run they belong to."""


def announce(experiments: Iterable[str], scope: str, cores: int, devices: str = "1") -> None:
    """Tell the jobs of this process which experiments are run in which scope, on how many cores and devices."""
    os.environ |= {RUN: " ".join(experiments), SCOPE: scope, CORES: str(cores), DEVICES: devices}


def announced() -> tuple[list[str], str, int] | None:
    """Return what `announce` was told, or None outside a run."""
    if not {RUN, SCOPE, CORES} <= set(os.environ):
        return None
    return os.environ[RUN].split(), os.environ[SCOPE], int(os.environ[CORES])


class Job(NamedTuple):
    """One job of a run.

    Attributes:
        stage: its stage.
        experiment: its experiment.
        size: its cost in units that jobs of one stage share.
        output: what it writes.
    """

    stage: str
    experiment: str
    size: float
    output: Path


def jobs(experiments: Iterable[Experiment]) -> list[Job]:
    """Return the jobs of a run, reports aside."""
    found = []
    for experiment in experiments:
        for dataset in experiment.data.datasets:
            files = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
            for stage, output in (
                ("data", files.data),
                ("pretrain", files.score_model),
                ("reference", files.reference),
            ):
                if stage == "pretrain" and not experiment.pretrains:
                    continue
                found.append(Job(stage, experiment.name, 1.0, output))
        for cell in methods.cells(experiment):
            own = layout.CellFiles(cell)
            if methods.info(experiment, cell.label).needs_fit:
                found.append(Job("fit", experiment.name, max(cell.nfe, 1), own.fit))
            found.append(Job("sample", experiment.name, 50.0 + cell.nfe, own.samples))
            found.append(Job("measure", experiment.name, 1.0, own.record))
        for cell in methods.timed_cells(experiment):
            found.append(Job("time", experiment.name, 1.0, layout.CellFiles(cell).timing))
    return found


def remaining_seconds(every: list[Job], cores: int) -> tuple[int, float]:
    """Return how many jobs are finished, and an estimate of the seconds until all are."""
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds = {job.output: _seconds(job) for job in every}
    for job in every:
        if (taken := seconds[job.output]) is not None:
            rates[job.stage, job.experiment].append(taken / job.size)
    left = 0.0
    for job in every:
        if seconds[job.output] is None:
            known = rates.get((job.stage, job.experiment))
            takes = sum(known) / len(known) * job.size if known else GUESS[job.stage]
            left += takes * (cores if job.stage in EXCLUSIVE else 1)
    return sum(taken is not None for taken in seconds.values()), left / cores


def _seconds(job: Job) -> float | None:
    """Return how long a job took, or None while it is not finished; its note may appear a moment after its output."""
    try:
        if job.stage == "measure":
            return float(read_json(job.output)["seconds"]["measure"])
        if job.stage == "time":
            return float(read_json(job.output)["stage_seconds"])
        return float(read_json(layout.note(job.output))["seconds"]) if job.output.exists() else None
    except (ConfigError, KeyError, OSError):
        return None


def line(experiments: Iterable[Experiment], cores: int) -> str:
    """Return the line for people."""
    every = jobs(experiments)
    finished, seconds = remaining_seconds(every, cores)
    if finished == len(every):
        return f"overall: {finished}/{len(every)} results there, reports are next"
    return f"overall: {finished}/{len(every)} results there, about {max(seconds / 60, 0.1):.1f} min left"
