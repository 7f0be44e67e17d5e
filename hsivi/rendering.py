"""Rendering reports: one script, or all of a page in parallel processes.  No torch here."""

import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from hsivi import reporting
from hsivi.config import check_choice
from hsivi.experiment import Experiment

Result = TypeVar("Result")


def render(name: str, scale: str, experiments: Sequence[Experiment]) -> None:
    """Render one table, figure or page.

    Arguments:
        name: of the script in reports/.
        scale: scale of the results.
        experiments: those that are run; a script takes what it shows.

    Raises:
        ConfigError: there is no such script, it shows none of the experiments, or a result that it reads is missing.
    """
    known = {report.name: report for report in reporting.reports()}
    check_choice("report", name, known)
    script, shown = importlib.import_module(f"reports.{name}"), known[name].given(experiments)
    if known[name].table:
        script.table(scale, shown).write(scale, name)
    else:
        script.render(scale, shown)


def in_parallel(work: Callable[[str], Result], names: Sequence[str], last: Sequence[str] = ()) -> Iterator[Result]:
    """Yield what ``work`` returns for each name, in their order, made by as many processes as there are cores.

    Processes start afresh: each takes the environment over and loads what draws figures once.  Where there is one core
    or little to do, all happens here.

    Arguments:
        work: what is done for a name.
        names: in any order, and several at a time.
        last: names whose work needs that of all others.
    """
    workers = min(_cores(), len(names) // 2)
    if workers < 2:
        yield from map(work, [*names, *last])
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, names)
        yield from pool.map(work, last)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
