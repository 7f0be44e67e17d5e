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
from hsivi.reporting import Report

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


def in_parallel(work: Callable[[str], Result], reports: Sequence[Report]) -> Iterator[Result]:
    """Yield what ``work`` returns for the name of each report, in their order, but of pages last.

    As many processes work as there are cores; pages, which show what the others made, wait for these.  Processes start
    afresh: each takes the environment over and loads what draws figures once.  Where there is one core or little to do,
    all happens here.
    """
    pages, others = ([report.name for report in reports if report.page is page] for page in (True, False))
    workers = min(_cores(), len(others) // 2)
    if workers < 2:
        yield from map(work, [*others, *pages])
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, others)
        yield from pool.map(work, pages)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
