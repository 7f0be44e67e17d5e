"""What a job asks of a cluster: memory, minutes and GPUs.  No torch here: the rules ask.

A limit must never end a job that would have finished, and a job that asks for much waits long.  So a limit is an
overhead plus `MARGIN` times an estimate.  That is the work which an experiment states (`work`), times the slowest rate
among those published jobs that are most like it (`rates`), and what does not grow with the size.  Where nothing like it
was ever published, it is the guess of `cost`.  A second attempt may take twice as much.  Limits decide nothing about
results; ``--set-resources`` replaces them.
"""

import math
from typing import Literal, NamedTuple

from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.planning import cost, jobs, rates
from hsivi.planning.work import has_published_size

Stage = Literal["data", "pretrain", "reference", "fit", "sample", "measure", "time"]

MARGIN = 3.0
"""Limit over estimate: another processor, neighbours on the node, and the spread of the rates."""
OVERHEAD = 600.0
"""Seconds that every job may take besides: starting Python twice, a cold file system, downloads."""

FLAT = {
    **{"data": 60.0, "pretrain": 60.0, "reference": 300.0, "fit": 120.0, "sample": 120.0, "measure": 120.0},
    "time": 600.0,
}
"""Seconds of a job that do not grow with its size, above the longest that was measured."""
GPU_MINUTES = {"pretrain": 2880, "reference": 240, "fit": 1440, "sample": 720, "measure": 240, "time": 240}
"""Limits with networks of the published sizes.  Guesses: none of these has been run at full size yet."""

MEMORY_MB = {"vectors": 3000, "images": 6000, "published": 32000}
"""Of a job; measured peaks are 0.6 to 1.9 GB on vectors and digits, and Snakemake takes 0.3 GB beside."""
LONGEST_MINUTES = 2880
"""No job asks for more, since few queues allow it.  A training that needs longer goes on from its checkpoint when it is
tried again."""
REPORT_MB, REPORT_MINUTES = 4000, 30
"""Of the table of all measurements, and of a report."""


class Need(NamedTuple):
    """What a job asks for.

    Attributes:
        mem_mb: memory in MB.
        runtime: limit of its duration in minutes.
        gpu: number of GPUs, or None where none is used: executors take 0 for a number.
    """

    mem_mb: int
    runtime: int
    gpu: int | None = None


def of_report(attempt: int = 1) -> Need:
    """Return what a report asks for; `attempt` counts from one."""
    return Need(REPORT_MB * attempt, REPORT_MINUTES * attempt)


def of_job(stage: Stage, experiment: Experiment, cell: Cell | None = None, devices: int = 1, attempt: int = 1) -> Need:
    """Return what a job of a stage asks for.

    Arguments:
        stage: its stage.
        experiment: its experiment, at its scale.
        cell: its cell, for the stages fit, sample, measure and time.
        devices: processes that train one network or draw its samples, each on a GPU.
        attempt: how often it has been tried, counted from one; each further one doubles time and memory.
    """
    more = 2 ** (attempt - 1)
    if stage != "data" and has_published_size(experiment):
        shared = stage in ("pretrain", "fit", "sample")
        minutes = min(GPU_MINUTES[stage] * more, LONGEST_MINUTES)
        return Need(MEMORY_MB["published"] * more, minutes, devices if shared else 1)
    kind = "images" if experiment.data.kind in ("images", "digits") else "vectors"
    minutes = math.ceil((OVERHEAD + MARGIN * seconds(stage, experiment, cell)) / 60)
    return Need(MEMORY_MB[kind] * more, min(minutes * more, LONGEST_MINUTES))


def seconds(stage: Stage, experiment: Experiment, cell: Cell | None = None) -> float:
    """Return an estimate of a job's duration on one core that leans to the long side; arguments as `of_job`."""
    if cell is not None:
        job = jobs.of_cell(stage, experiment, cell)
    else:  # the data sets of an experiment are alike
        job = jobs.of_dataset(stage, experiment, experiment.data.datasets[0])
    return FLAT[stage] + cost.estimate(job, [rates.read]).seconds
