"""What a job asks of a cluster: memory, minutes and GPUs.  No torch here: the rules ask.

A limit must never end a job that would have finished, and a job that asks for much waits long.  So a limit is an
overhead plus `MARGIN` times an estimate, and the estimate is the work that an experiment states (updates, layers,
replicas, function evaluations) times the slowest rate that has been measured.  A second attempt may take twice as much.
Limits decide nothing about results; ``--set-resources`` replaces them.
"""

import math
from typing import Literal, NamedTuple

from hsivi import methods
from hsivi.data_config import ImageData, PosteriorData
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.work import has_published_size

Stage = Literal["data", "pretrain", "reference", "fit", "sample", "measure", "time"]

MARGIN = 3.0
"""Limit over estimate: another processor, neighbours on the node, and the spread of the rates below."""
OVERHEAD = 600.0
"""Seconds that every job may take besides: starting Python twice, a cold file system, downloads."""

# Seconds on a core of a small virtual machine that was busy otherwise, of the slowest long jobs in
# results/reference/quick and, for the pre-training of toy2d, of a run at scale paper.  The key is the kind of data.
PRETRAIN = {"toy2d": 0.024, "digits": 0.38, "images": 0.18}
"""An iteration of pre-training."""
FIT = {"toy2d": 0.012, "mixture": 0.0024, "posterior": 0.035, "digits": 1.0, "images": 0.83}
"""An update of one layer and replica, with the critic updates that belong to it."""
HARDER = {"uivi": 10.0}
"""Baselines whose updates cost more: UIVI's contain Markov chains."""
SAMPLE = {"toy2d": 7.4e-6, "mixture": 4.2e-6, "posterior": 1.4e-4, "digits": 4.4e-3, "images": 1.3e-3}
"""A function evaluation of one sample."""
FLAT = {"data": 60.0, "reference": 300.0, "fit": 120.0, "sample": 120.0, "measure": 120.0, "time": 600.0}
"""What a job takes whatever its size, above the longest that was measured where no rate is known."""
CHAIN_STEP = 3e-6
"""A step of a Langevin chain in 300 dimensions (`make bench`: 1.1e8 coordinates a second and core)."""
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
        devices: processes that train one network, each on a GPU.
        attempt: how often it has been tried, counted from one; each further one doubles time and memory.
    """
    more = 2 ** (attempt - 1)
    if stage != "data" and has_published_size(experiment):
        trains = stage in ("pretrain", "fit")
        minutes = min(GPU_MINUTES[stage] * more, LONGEST_MINUTES)
        return Need(MEMORY_MB["published"] * more, minutes, devices if trains else 1)
    kind = "images" if experiment.data.kind in ("images", "digits") else "vectors"
    minutes = math.ceil((OVERHEAD + MARGIN * seconds(stage, experiment, cell)) / 60)
    return Need(MEMORY_MB[kind] * more, min(minutes * more, LONGEST_MINUTES))


def seconds(stage: Stage, experiment: Experiment, cell: Cell | None = None) -> float:
    """Return an estimate of a job's duration on one core that leans to the long side; arguments as `of_job`."""
    if stage == "pretrain":
        pretrain = experiment.diffusion.pretrain
        return PRETRAIN[experiment.data.kind] * pretrain.iterations if pretrain is not None else FLAT["data"]
    flat = FLAT[stage]
    if stage == "reference" and isinstance(experiment.data, PosteriorData):
        return flat + CHAIN_STEP * experiment.data.chains * _chain_steps(experiment.data)
    if cell is not None and stage == "fit":
        return flat + _fit_seconds(experiment, cell)
    if cell is not None and stage == "sample":
        return flat + _sample_seconds(experiment, cell)
    # A classifier of images is trained for their metrics; all else is flat.
    return flat * (2 if isinstance(experiment.data, ImageData) else 1)


def _chain_steps(data: PosteriorData) -> int:
    return data.burn_in + (data.snapshots - 1) * data.thinning


def _fit_seconds(experiment: Experiment, cell: Cell) -> float:
    """Return the seconds of updates; a method that states none of them is below the flat part."""
    updates = int(experiment.recipe_values(cell.label, cell.dataset, cell.nfe).get("iterations", 0))
    harder = HARDER.get(methods.info(experiment, cell.label).name, 1.0)
    layers = max(cell.nfe, 1)
    return FIT[experiment.data.kind] * harder * updates * layers * len(experiment.training_seeds)


def _sample_seconds(experiment: Experiment, cell: Cell) -> float:
    sets = len(experiment.seeds) * methods.sample_sets(experiment, cell.label, cell.nfe)
    samples = sets * experiment.num_samples
    if isinstance(experiment.data, PosteriorData) and methods.info(experiment, cell.label).name == "reference":
        return CHAIN_STEP * samples * _chain_steps(experiment.data)
    return SAMPLE[experiment.data.kind] * samples * max(cell.nfe, 1)
