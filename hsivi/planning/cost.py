"""What jobs cost, from what finished ones took.  No torch here.

A job takes its size times what a unit of size took before.  Asked first are the jobs that are most like it (its row,
then other rows of its method, then its method on other data of the kind, then its experiment, then all on data of the
kind), and for each of these first the finished jobs of this scale, then published results of this scale, then other
scales, one's own first.  Limits for clusters ask the slowest published jobs instead, see `hsivi.planning.rates`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hsivi import layout
from hsivi.config import ROOT, SCALES, experiment_files, load_experiment
from hsivi.planning import work
from hsivi.planning.jobs import Job, jobs, noted, took

GUESS = {"data": 3.0, "pretrain": 40.0, "reference": 8.0, "fit": 50.0, "sample": 6.0, "measure": 3.0, "time": 60.0}
"""Seconds of a job of each stage where nothing like it was ever finished, as measured on 2-D data at scale quick on
one core."""
NEAREST = {"smoke": ("quick", "paper"), "quick": ("paper", "smoke"), "paper": ("quick", "smoke")}
"""Other scales, in the order in which they are asked."""
PUBLISHED = ROOT / "results" / "reference"
Key = tuple[str, ...]
Taken = tuple[Job, float]


class Estimate(NamedTuple):
    """What a job is expected to take.

    Attributes:
        seconds: of one core; of all cores together where a job uses all.
        basis: what that rests on, in words.
    """

    seconds: float
    basis: str


def keys(job: Job) -> tuple[Key, ...]:
    """Return the groups that a job is in, the most alike first."""
    own = (job.stage, job.experiment)
    if job.chains:
        return (("row", *own, job.label), ("chains", job.kind))
    return (
        ("row", *own, job.label),
        ("method", *own, job.method),
        ("elsewhere", job.stage, job.kind, job.method),
        ("experiment", *own),
        ("kind", job.stage, job.kind),
    )


class Rates:
    """Seconds a unit of size, by group.

    Arguments:
        name: what the jobs are called, for people.
        finished: jobs and the seconds they took.
    """

    def __init__(self, name: str, finished: Iterable[Taken]) -> None:
        self.name = name
        self._sums: dict[Key, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for job, seconds in finished:
            for key in keys(job):
                self._sums[key][0] += seconds
                self._sums[key][1] += job.size

    def of(self, key: Key, without: Taken | None = None) -> float | None:
        """Return the rate of a group, or None where nothing of it is finished.

        Arguments:
            key: the group.
            without: a finished job that is left out.
        """
        seconds, size = self._sums.get(key, (0.0, 0.0))
        if without is not None:
            seconds, left = seconds - without[1], size - without[0].size
            size = left if left > 1e-9 * size else 0.0
        return seconds / size if size > 0 else None


Source = Callable[[], Rates]


def published() -> list[Taken]:
    """Return the jobs behind all published results that a processor did; a GPU's say nothing of one."""
    found = []
    for scale in SCALES:
        there = [name for name in experiment_files() if (PUBLISHED / scale / name).is_dir()]
        names = [name for name in there if not work.has_published_size(load_experiment(name, scale))]
        found += finished(scale, names, PUBLISHED)
    return found


def own(every: Sequence[Job], seconds: Sequence[float | None]) -> Rates:
    """Return the rates of the finished jobs of a run."""
    return Rates("finished jobs", [(job, s) for job, s in zip(every, seconds, strict=True) if s is not None])


def before(scale: str, experiments: Iterable[str]) -> list[Source]:
    """Return what is known before a run has finished anything, each read when it is first asked for."""
    names = tuple(sorted(set(experiments)))
    found: list[Source] = [_source(f"published results at scale {scale}", scale, names, PUBLISHED)]
    for other in NEAREST[scale]:
        found.append(_source(f"jobs at scale {other}", other, names, None))
        found.append(_source(f"published results at scale {other}", other, names, PUBLISHED))
    return found


def _source(name: str, scale: str, names: Sequence[str], folder: Path | None) -> Source:
    return cache(lambda: Rates(name, finished(scale, names, folder)))


def finished(scale: str, names: Sequence[str], folder: Path | None) -> list[Taken]:
    """Return the finished jobs of experiments, one's own or those of a folder of published results.

    Of published ones those of a GPU count only where the experiment needs one: they say nothing of a processor.
    """
    if not ((folder or layout.results_folder()) / scale).is_dir():
        return []
    found = []
    for name in names:
        experiment = load_experiment(name, scale)
        processor = not work.has_published_size(experiment)
        for job in jobs([experiment]):
            place = folder / layout.inside_results(job.output) if folder else job.output
            seconds = noted(job, place, processor) if folder else took(job)
            if seconds is not None:
                found.append((job, seconds))
    return found


def estimate(job: Job, sources: Iterable[Source], without: Taken | None = None) -> Estimate:
    """Return what a job will take.

    Arguments:
        job: the job.
        sources: where finished jobs are known from, the best first.
        without: a finished job that the first source must leave out.
    """
    asked = list(sources)
    for key in keys(job):
        for index, source in enumerate(asked):
            rates = source()
            rate = rates.of(key, without if index == 0 else None)
            if rate is not None:
                return Estimate(rate * job.size, rates.name if key[0] == "row" else f"{rates.name}, {_LIKE[key[0]]}")
    return Estimate(GUESS[job.stage], "guess")


_LIKE = {
    "method": "other rows",
    "elsewhere": "other data",
    "experiment": "other methods",
    "kind": "other methods, other data",
    "chains": "other chains",
}
assert set(NEAREST) == set(SCALES)
