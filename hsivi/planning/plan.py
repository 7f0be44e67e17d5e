"""What a run will take, before it starts: jobs, hours, disk and downloads, and how far such estimates were off."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from hsivi.experiment import Experiment
from hsivi.planning import cost, downloads, work
from hsivi.planning.cost import Estimate, Source
from hsivi.planning.jobs import STAGES, Job, jobs, took

GPU_RATE = 1e13
"""Multiplications a second of one GPU where none was measured: a tenth of what a data-centre card can do at most."""
GPU_STAGES = ("pretrain", "fit", "sample", "time")
"""Stages that use the GPU of an experiment that needs one."""
START = 4.0
"""Seconds that a job takes to start: Python, torch, and what the stage imports, on one core."""
CHECKPOINT = 5
"""Size of a checkpoint against that of what is trained: parameters, two moments of Adam, the average, and a rest."""


class Line(NamedTuple):
    """A stage of an experiment.

    Attributes:
        experiment, stage: which.
        done: finished jobs.
        left: jobs to do.
        seconds: what those take together, of one core, or of a GPU; a job that takes all cores counts once.
        gpu: whether that is on a GPU.
        bases: what that rests on, by number of jobs.
    """

    experiment: str
    stage: str
    done: int
    left: int
    seconds: float
    gpu: bool
    bases: Counter[str]


class Accuracy(NamedTuple):
    """How far estimates for finished jobs of a stage of an experiment were off.

    Attributes:
        experiment, stage: which.
        finished: number of finished jobs.
        took: seconds that they took.
        before: what would have been said before any job of the run was finished.
        others: factor by which one of them is off on average, either way, when it is estimated from the other finished
            ones; None where nothing like it is finished.
        basis: what ``before`` rests on.
    """

    experiment: str
    stage: str
    finished: int
    took: float
    before: float
    others: float | None
    basis: str


class Plan(NamedTuple):
    """What a run will take.

    Attributes:
        experiments: of the run.
        lines: by experiment and stage, in the order of a run.
        alone: seconds of jobs that take all cores.
        chain: seconds of the longest chain of jobs that wait for one another.
        bytes: of the outputs to come, and of checkpoints while they are made.
        accuracy: of finished jobs.
    """

    experiments: Sequence[Experiment]
    lines: Sequence[Line]
    alone: float
    chain: float
    bytes: float
    accuracy: Sequence[Accuracy]

    @property
    def core_seconds(self) -> float:
        """Seconds of single cores, starting Python included."""
        return sum(line.seconds for line in self.lines if not line.gpu) + START * self.left

    @property
    def gpu_seconds(self) -> float:
        """Seconds of a GPU."""
        return sum(line.seconds for line in self.lines if line.gpu)

    @property
    def left(self) -> int:
        """Number of jobs to do."""
        return sum(line.left for line in self.lines)

    def wall_seconds(self, cores: int) -> float:
        """Return how long the run takes on a number of cores and one GPU, less what the scheduling loses."""
        shared = (self.core_seconds - self.alone) / cores + self.alone
        return max(shared, self.gpu_seconds, self.chain)


def make(experiments: Sequence[Experiment]) -> Plan:
    """Plan a run of experiments of one scale."""
    every = jobs(experiments)
    seconds = [took(job) for job in every]
    finished = cost.own(every, seconds)
    before = cost.before(experiments[0].scale, [experiment.name for experiment in experiments])
    gpus = {experiment.name for experiment in experiments if work.has_published_size(experiment)}
    sources: list[Source] = [lambda: finished, *before]
    left = {
        job: _on_gpu(job, sources) if uses_gpu(job, gpus) else cost.estimate(job, sources)
        for job, taken in zip(every, seconds, strict=True)
        if taken is None
    }
    done = [(job, taken) for job, taken in zip(every, seconds, strict=True) if taken is not None]
    return Plan(
        experiments,
        list(_lines(every, left, gpus)),
        sum(one.seconds for job, one in left.items() if job.wide and not uses_gpu(job, gpus)),
        _longest_chain(left),
        sum(job.bytes for job in left) + _checkpoints(left),
        list(_accuracy(done, sources)),
    )


def uses_gpu(job: Job, experiments: Iterable[str]) -> bool:
    """Return whether a job is one for the GPU, where these experiments need one."""
    return job.experiment in experiments and job.stage in GPU_STAGES


def _on_gpu(job: Job, sources: Sequence[Source]) -> Estimate:
    """Return the estimate from jobs like it at the same scale; another scale's network is no guide to a GPU."""
    for source in sources[:2]:
        rates = source()
        for key in cost.keys(job)[:2]:
            if (rate := rates.of(key)) is not None:
                return Estimate(rate * job.size, rates.name)
    return Estimate(job.size / GPU_RATE, "guess, never run at this size")


def _lines(every: Sequence[Job], left: dict[Job, Estimate], gpus: set[str]) -> Iterator[Line]:
    names = list(dict.fromkeys(job.experiment for job in every))
    for name in names:
        for stage in STAGES:
            here = [job for job in every if (job.experiment, job.stage) == (name, stage)]
            todo = [left[job] for job in here if job in left]
            if here:
                yield Line(
                    name,
                    stage,
                    len(here) - len(todo),
                    len(todo),
                    sum(one.seconds for one in todo),
                    uses_gpu(here[0], gpus),
                    Counter(one.basis for one in todo),
                )


def _longest_chain(left: dict[Job, Estimate]) -> float:
    """Return the seconds of the longest chain: what a data set shares, then training, sampling and measuring a cell."""
    shared: dict[tuple[str, str], float] = defaultdict(float)
    cells: dict[tuple[str, str, str], float] = defaultdict(float)
    for job, one in left.items():
        if job.stage in ("data", "pretrain", "reference"):
            shared[job.experiment, job.dataset] += one.seconds
        elif job.stage != "time":
            cells[job.experiment, job.dataset, str(job.output.parent)] += one.seconds
    chains = [shared[name, dataset] + seconds for (name, dataset, _), seconds in cells.items()]
    return max([*shared.values(), *chains], default=0.0)


def _checkpoints(left: dict[Job, Estimate]) -> float:
    """Return the bytes of the largest checkpoint; few are there at a time."""
    return CHECKPOINT * max((job.bytes for job in left if job.stage in ("pretrain", "fit")), default=0.0)


def _accuracy(done: Sequence[tuple[Job, float]], sources: Sequence[Source]) -> Iterator[Accuracy]:
    names = list(dict.fromkeys(job.experiment for job, _ in done))
    for name in names:
        for stage in STAGES:
            here = [(job, taken) for job, taken in done if (job.experiment, job.stage) == (name, stage)]
            if not here:
                continue
            before = [cost.estimate(job, sources[1:]) for job, _ in here]
            others = [cost.estimate(job, sources[:1], (job, taken)) for job, taken in here]
            pairs = [(one.seconds, taken) for one, (_, taken) in zip(others, here, strict=True) if one.basis != "guess"]
            yield Accuracy(
                name,
                stage,
                len(here),
                sum(taken for _, taken in here),
                sum(one.seconds for one in before),
                _typical_factor(pairs),
                Counter(one.basis for one in before).most_common(1)[0][0],
            )


def _typical_factor(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Return the geometric mean of the factors between two durations, the larger over the smaller."""
    logarithms = [abs(math.log(one / other)) for one, other in pairs if one > 0 and other > 0]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def gpu_reasons(experiments: Iterable[Experiment]) -> list[str]:
    """Return, of each experiment that needs a GPU, which and why."""
    found = []
    for experiment in experiments:
        if work.has_published_size(experiment):
            unit = work.network(experiment)
            found.append(
                f"{experiment.name} needs one: about {unit.parameters / 1e6:.0f} million parameters, and "
                f"{unit.multiplications:.0e} multiplications to evaluate them for one image"
            )
    return found


def files(experiments: Iterable[Experiment]) -> list[downloads.Needed]:
    """Return the files that the experiments need from elsewhere, each once."""
    found = [file for experiment in experiments for file in downloads.needed(experiment)]
    return list({file.name: file for file in found}.values())
