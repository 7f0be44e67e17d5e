"""Tables, figures and the page from published results, without torch and without training.

The results may be older than the checkout: rows, budgets and data sets that they do not have are left out, with a line
that says so.  A figure whose arrays are not published is shown as it was published.
"""

import importlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import SCALES, ConfigError, check_choice, experiment_files, load_experiment
from hsivi.experiment import Experiment, Method
from hsivi.methods import Cell
from hsivi.reading import NotStoredError
from hsivi.record import read_record
from hsivi.rendering import in_parallel, render
from hsivi.reporting import Report, selected


def draw_published(scale: str, scope: str, names: Sequence[str], results: Path, reports: Path) -> Iterator[str]:
    """Render everything that shows published experiments, and yield lines for people.

    Arguments:
        scale: smoke, quick or paper.
        scope: core or full.
        names: of experiments; all that are published, if none is given.
        results: folder of the published results of all scales.
        reports: folder of the rendered output of all scales.

    Raises:
        ConfigError: nothing is published there, or not one of the experiments that are named.
    """
    check_choice("scale", scale, SCALES)
    known = published_experiments(scale, results)
    if not known:
        where = results.parent if results.name in SCALES else "another folder"
        raise ConfigError(
            f"{results}: got no results of scale {scale}, expected those that 'hsivi publish' wrote; name {where} "
            f"with --from, or another scale"
        )
    for name in names:
        check_choice(f"experiment in {results / scale}", name, known)
    with layout.folders(results, reports):
        experiments, lines = [], []
        for name in names or known:
            experiment, left_out = as_published(load_experiment(name, scale, scope))
            experiments.append(experiment)
            lines += left_out
        yield from lines
        yield from _all(scale, experiments)
    yield f"wrote {reports / scale / 'index.html'}"


def published_experiments(scale: str, results: Path) -> tuple[str, ...]:
    """Return the experiments with published records."""
    return tuple(name for name in experiment_files() if any((results / scale / name).glob("*/*/nfe*/record.json")))


def as_published(experiment: Experiment) -> tuple[Experiment, list[str]]:
    """Return an experiment without what has no record, and lines that say what was left out."""
    cells = methods.cells(experiment)
    there = {cell for cell in cells if layout.CellFiles(cell).record.exists()}
    datasets = tuple(name for name in experiment.data.datasets if name in {cell.dataset for cell in there})
    changes: dict[str, object] = {"data": experiment.data.model_copy(update={"datasets": datasets})}
    changes["methods"] = {**experiment.methods, **_rows(experiment, there, datasets)}
    if not all(layout.CellFiles(cell).timing.exists() for cell in methods.timed_cells(experiment)):
        changes["timing"] = None
    seeds = {m.seed for cell in there for m in read_record(layout.CellFiles(cell).record).measurements}
    changes["seeds"] = tuple(sorted(seeds)) or experiment.seeds
    found = experiment.model_copy(update=changes)
    shown = set(methods.cells(found))
    lost = [f"{cell.dataset}/{cell.label}/nfe{cell.nfe}" for cell in cells if cell not in shown]
    return found, [f"{experiment.name}: {len(lost)} cells not published, left out: {_words(lost)}"] if lost else []


def _rows(experiment: Experiment, there: set[Cell], datasets: tuple[str, ...]) -> dict[str, Method]:
    """Return the settings of rows that lack records: switched off, or with the budgets that they have."""
    changed = {}
    for label, method in methods.rows(experiment).items():
        wanted = [c for c in methods.cells(experiment) if c.label == label and c.dataset in datasets]
        own = {(cell.dataset, cell.nfe) for cell in wanted if cell in there}
        if len(own) == len(wanted):
            continue
        everywhere = {nfe for _, nfe in own if all((name, nfe) in own for name in datasets)}
        further = {name: tuple(sorted({n for d, n in own if d == name} - everywhere)) for name in datasets}
        fixed = methods.info(experiment, label).nfe is not None
        changed[label] = method.model_copy(
            update={
                "enabled": bool(own) and not fixed,
                "nfe": tuple(sorted(everywhere)),
                "full_nfe": (),
                "extra_nfe": {name: nfe for name, nfe in further.items() if nfe},
            }
        )
    return changed


def _words(cells: Sequence[str], most: int = 4) -> str:
    return ", ".join(cells[:most]) + (f" and {len(cells) - most} more" if len(cells) > most else "")


def _all(scale: str, experiments: Sequence[Experiment]) -> Iterator[str]:
    """Render tables and figures in parallel, then pages."""
    yield from filter(None, in_parallel(partial(draw, scale, experiments), selected(experiments)))


def draw(scale: str, experiments: Sequence[Experiment], name: str) -> str:
    """Render one report, or show it as published where its arrays are not there; return a line, often empty."""
    try:
        render(name, scale, experiments)
    except NotStoredError:
        (report,) = [report for report in selected(experiments) if report.name == name]
        found = _as_published(report, scale, [experiment.name for experiment in experiments])
        if found is None:
            raise
        importlib.import_module("reports._as_published").draw(scale, name, found)
        return f"{name}: the samples it shows are not published; it is shown as it was published, {found}"
    return ""


def _as_published(report: Report, scale: str, names: Sequence[str]) -> Path | None:
    """Return the published picture of a report, or None where there is none."""
    places = [layout.results_folder() / scale / name / report.files[0] for name in report.shown(names)]
    return next((path for path in places if path.suffix == ".png" and path.exists()), None)
