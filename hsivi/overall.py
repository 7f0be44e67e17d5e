"""How far a whole run is: a line after every job.  No torch here.

Snakemake counts jobs, but jobs differ a hundredfold in length.  The time left is estimated from what finished jobs took
(`hsivi.planning.cost`), and as many jobs run at once as there are cores.
"""

import os
from collections.abc import Iterable

from hsivi.experiment import Experiment
from hsivi.planning import cost
from hsivi.planning.cost import GUESS as GUESS
from hsivi.planning.jobs import Job as Job
from hsivi.planning.jobs import jobs as jobs
from hsivi.planning.jobs import took

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


def remaining_seconds(every: list[Job], cores: int, known: Iterable[cost.Source] = ()) -> tuple[int, float]:
    """Return how many jobs are finished, and an estimate of the seconds until all are.

    Arguments:
        every: the jobs of the run.
        cores: how many run at once; those that use all cores run one after another.
        known: what else is known of their cost, see `hsivi.planning.cost.before`.
    """
    seconds = [took(job) for job in every]
    rates = cost.own(every, seconds)
    sources = [lambda: rates, *known]
    left = 0.0
    for job, taken in zip(every, seconds, strict=True):
        if taken is None:
            left += cost.estimate(job, sources).seconds * (cores if job.wide else 1)
    return sum(taken is not None for taken in seconds), left / cores


def line(experiments: Iterable[Experiment], cores: int) -> str:
    """Return the line for people."""
    run = list(experiments)
    every = jobs(run)
    # What is read takes a tenth of a second, after every job; other scales are left to the plan.
    known = cost.before(run[0].scale, [one.name for one in run])[:1] if run else []
    finished, seconds = remaining_seconds(every, cores, known)
    if finished == len(every):
        return f"overall: {finished}/{len(every)} results there, reports are next"
    return f"overall: {finished}/{len(every)} results there, about {max(seconds / 60, 0.1):.1f} min left"
