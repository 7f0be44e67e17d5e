"""What was run, as far as the files say: which experiments in which scope, and which records there are."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ROOT, SCALES, SCOPES, ConfigError, check_choice, experiment_files, load_experiment
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
        chosen: names of those that somebody asks about; None for all.
    """

    scale: str
    collected: tuple[Experiment, ...]
    others: tuple[Experiment, ...]
    chosen: frozenset[str] | None = None

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments that somebody asks about."""
        return tuple(e for e in (*self.collected, *self.others) if self.chosen is None or e.name in self.chosen)

    def given(self, report: Report) -> Experiment | list[Experiment] | None:
        """Return what a report shows, or None where it shows nothing that was run and is asked about."""
        if report.experiments is None:
            return report.given(self.collected)
        if not report.shown({experiment.name for experiment in self.experiments}):
            return None
        first = self.collected if report.shown({e.name for e in self.collected}) else self.others
        return report.given(first)


def found(scale: str, scope: str | None = None, names: Sequence[str] | None = None) -> Run:
    """Return what was run, as metrics.csv and the records below results/<scale> say.

    Arguments:
        scale: of the run.
        scope: by default full where there are results that scope core does not have.
        names: which experiments are asked about, by default all.

    Raises:
        ConfigError: there are no results, or none of a name.
    """
    check_choice("scale", scale, SCALES)
    check_choice("scope", scope or "core", SCOPES)
    collected, on_disk = _collected(scale), recorded(scale)
    there = sorted({cell.experiment for cell in (*collected, *on_disk)} & set(experiment_files()))
    if not there:
        published = ROOT / "results" / "reference"
        hint = f", or look at the published ones with HSIVI_RESULTS={published}" if (published / scale).is_dir() else ""
        raise ConfigError(
            f"results/{scale}: got no records, expected those of a run; run make reproduce SCALE={scale}{hint}"
        )
    for name in names or ():
        check_choice("--experiments", name, tuple(there))
    together = [name for name in dict.fromkeys(cell.experiment for cell in collected) if name in there] or there
    in_scope = scope or _scope(scale, collected or on_disk, together)
    return Run(
        scale,
        tuple(loaded(name, scale, in_scope) for name in together),
        tuple(loaded(n, scale, scope or _scope(scale, on_disk, [n])) for n in there if n not in together),
        None if names is None else frozenset(names),
    )


def loaded(name: str, scale: str, scope: str = "full") -> Experiment:
    """Return an experiment; its file is read once; errors as `hsivi.config.load_experiment`."""
    return _read(name, scale).model_copy(update={"scope": scope})


@cache
def _read(name: str, scale: str) -> Experiment:
    return load_experiment(name, scale)


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
        core, full = (set(methods.cells(loaded(name, scale, scope))) for scope in ("core", "full"))
        if (full - core) & set(cells):
            return "full"
    return "core"
