"""The slowest published rates, in a small table, so that limits can be set without reading all records.  No torch here.

Snakemake asks for limits in each of its processes, and in copies of the checkout that lack published results.  So
``rates.csv`` has, of each row of the comparison, the stage's slowest published job.  `hsivi.publishing.publish` writes
it, and a test holds it to the records.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from hsivi.planning import cost
from hsivi.planning.cost import Key, Rates, Taken
from hsivi.planning.jobs import Job
from hsivi.writing import write_text

TABLE = Path(__file__).with_name("rates.csv")
COLUMNS = ("stage", "experiment", "label", "kind", "method", "size", "seconds")
LARGE = 0.1
"""Against the largest job of a group: of smaller ones most of the time is the same for any size."""
STRANGE = 10.0
"""How much longer an update of one method may take than of another on the same data: UIVI's contain Markov chains."""


class Slowest(Rates):
    """Rates that are those of the slowest job of a group, among the large ones.

    Arguments:
        finished: jobs and the seconds they took.
    """

    def __init__(self, finished: Iterable[Taken]) -> None:
        super().__init__("slowest published results", ())
        groups: dict[Key, list[Taken]] = defaultdict(list)
        for job, seconds in finished:
            for key in cost.keys(job):
                groups[key].append((job, seconds))
        for key, group in groups.items():
            job, seconds = slowest(group)
            strange = key[:2] in (("experiment", "fit"), ("kind", "fit"))
            self._sums[key] = [seconds * (STRANGE if strange else 1.0), job.size]


def slowest(finished: Sequence[Taken]) -> Taken:
    """Return the job with the most seconds a unit of size, among the large ones."""
    least = LARGE * max(job.size for job, _ in finished)
    return max((taken for taken in finished if taken[0].size >= least), key=_rate)


def rows(finished: Iterable[Taken]) -> list[Taken]:
    """Return the slowest job of every stage of every row of the comparison, in alphabetical order."""
    groups: dict[Key, list[Taken]] = defaultdict(list)
    for job, seconds in finished:
        if job.size > 0:
            groups[cost.keys(job)[0]].append((job, seconds))
    return [slowest(groups[key]) for key in sorted(groups)]


def text(finished: Iterable[Taken]) -> str:
    """Return the table of jobs, of which it has the slowest."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(COLUMNS)
    for job, seconds in rows(finished):
        table.writerow((*(getattr(job, name) for name in COLUMNS[:5]), f"{job.size:.6g}", f"{seconds:.6g}"))
    return written.getvalue()


def write() -> None:
    """Write the table of what is published now."""
    write_text(TABLE, text(cost.published()))
    read.cache_clear()


@cache
def read() -> Slowest:
    """Return the rates of the table."""
    with TABLE.open(newline="") as file:
        return Slowest((_job(line), float(line["seconds"])) for line in csv.DictReader(file))


def _job(line: dict[str, str]) -> Job:
    """Return a job of which only group and size matter."""
    size, kind = float(line["size"]), line["kind"]
    return Job(line["stage"], line["experiment"], size, Path(), kind, label=line["label"], method=line["method"])


def _rate(taken: Taken) -> float:
    return taken[1] / taken[0].size
