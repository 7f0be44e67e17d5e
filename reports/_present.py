"""What was run, as far as the files say: which experiments in which scope, and which records there are."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ConfigError, check_choice, experiment_files, load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.reporting import Report


@dataclass(frozen=True)
class Run:
    """The results of a scale.

    Attributes:
        scale: of the run.
        collected: experiments of the run that wrote metrics.csv and the tables of several experiments, in its order.
        others: further experiments with records below results/<scale>.
    """

    scale: str
    collected: tuple[Experiment, ...]
    others: tuple[Experiment, ...]

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """All experiments."""
        return (*self.collected, *self.others)

    def given(self, report: Report) -> Experiment | list[Experiment] | None:
        """Return what a report shows, or None where nothing it shows was run."""
        if report.experiments is None:
            return report.given(self.collected)
        for experiments in (self.collected, self.others):
            if report.shown({e.name for e in experiments}):
                return report.given(experiments)
        return None


def found(scale: str, scope: str | None = None, names: Sequence[str] | None = None) -> Run:
    """Return what was run; by default what metrics.csv and the records below results/<scale> say.

    Arguments:
        scale: of the run.
        scope: by default full where there are results that scope core does not have.
        names: experiments, by default those with results.

    Raises:
        ConfigError: there are no results, or a name is not known.
    """
    load_experiment(next(iter(experiment_files())), scale)  # says which scales there are
    collected = _collected(scale)
    there = {cell.experiment: None for cell in (*collected, *recorded(scale)) if cell.experiment in experiment_files()}
    if names is None and not there:
        raise ConfigError(f"results/{scale}: got no records, expected those of a run; run make reproduce SCALE={scale}")
    listed = list(dict.fromkeys(cell.experiment for cell in collected))
    first = (
        list(dict.fromkeys(names)) if names is not None else [name for name in listed if name in there] or sorted(there)
    )
    others = [name for name in sorted(there) if name not in first] if names is None else []
    for name in first:
        check_choice("--experiments", name, experiment_files())
    together = scope or _scope(scale, collected or recorded(scale), first)
    return Run(
        scale,
        tuple(load_experiment(name, scale, together) for name in first),
        tuple(load_experiment(name, scale, scope or _scope(scale, recorded(scale), [name])) for name in others),
    )


def recorded(scale: str) -> list[Cell]:
    """Return the cells that have a record below results/<scale>, whether an experiment knows them or not."""
    paths = sorted(layout.metrics_table(scale).parent.glob("*/*/*/nfe*/record.json"))
    return [cell for path in paths if (cell := cell_of(path)) is not None]


def cell_of(path: Path) -> Cell | None:
    """Return the cell whose record a file is by its place, or None where no cell has that place."""
    scale, experiment, dataset, label, budget = path.parts[-6:-1]
    count = budget.removeprefix("nfe")
    return Cell(scale, experiment, dataset, label, int(count)) if count.isdecimal() else None


def _collected(scale: str) -> list[Cell]:
    """Return the cells in metrics.csv in its order; none where it is not there or not such a table."""
    try:
        with layout.metrics_table(scale).open(newline="") as file:
            rows = [(r["experiment"], r["dataset"], r["method"], int(r["nfe"])) for r in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError):
        return []
    return [Cell(scale, *row) for row in dict.fromkeys(rows)]


def _scope(scale: str, cells: Sequence[Cell], names: Sequence[str]) -> str:
    """Return full if some of the cells are of scope full only, else core."""
    for name in names:
        core, full = (set(methods.cells(load_experiment(name, scale, scope))) for scope in ("core", "full"))
        if (full - core) & set(cells):
            return "full"
    return "core"
