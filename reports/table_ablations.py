"""Ablations on 2-D data: what each choice of our recipe is worth, one at a time.

Cells are js_cell (nats, smaller is better) as mean ± standard error over seeds.  "difference" is from HSIVI-SM with
the recipe as it is, with a standard error that pairs seeds: from T = 5 for rows that change a setting or the number of
layers, from the same T for other methods, so that a positive difference says that the recipe is better.  The first row
is what draws of the target itself give.  "training" is the seconds it took to train all seeds together, on a machine
that did other work too.  Updates are those of the recipe but for rows "updates" and "equal time", whose number was set
by the processor time of an update (the experiment's file says how).
"""

import numpy as np
from numpy.typing import NDArray

from hsivi import significance
from hsivi.experiment import Experiment
from reports._ablations import BASE, Change, Effect, changes, effect, found
from reports._samplers import family
from reports._tables import Cell, Row, Rows, Table

EXPERIMENT = "toy2d_ablations"
TRAINING = "training (s)"


def table(scale: str, experiment: Experiment) -> Table:
    """Return one row a change, and three columns a data set."""
    made = found(experiment)
    rows: Rows = {("draws of the target", ""): {}}
    for change in changes(made):
        row: Row = {}
        for dataset in experiment.data.datasets:
            one = effect(made, dataset, change)
            if one is not None:
                row |= _cells(dataset, one)
                rows["draws of the target", ""][dataset, "js_cell"] = Cell(f"{one.floor:.4f}", one.sources[:1])
        rows[change.factor, change.setting] = row
    columns = [(dataset, name) for dataset in experiment.data.datasets for name in ("js_cell", "difference", TRAINING)]
    return Table.of(("what differs", "setting"), rows, columns)


def _cells(dataset: str, one: Effect) -> Row:
    cells: Row = {(dataset, "js_cell"): Cell(_mean(one.values, ""), one.sources[:1])}
    if one.difference is not None:
        cells[dataset, "difference"] = Cell(_mean(one.difference, "+"), one.sources)
    if one.seconds is not None:
        cells[dataset, TRAINING] = Cell(f"{one.seconds:.0f}", one.sources[:1])
    return cells


def _mean(values: NDArray[np.float64], sign: str) -> str:
    """Return mean ± standard error over seeds."""
    beside = f" ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.4f}{beside}"


def sentences(experiment: Experiment) -> list[str]:
    """Return, for each data set, which changes make the recipe clearly worse or better; tests that pair seeds.

    Other methods are no changes of the recipe and take no part.
    """
    made = found(experiment)
    own = [change for change in changes(made) if family(change.label) == BASE]
    said = []
    for dataset in experiment.data.datasets:
        tested = [(c, e.difference) for c in own if (e := effect(made, dataset, c)) and _testable(e)]
        differences = [d for _, d in tested if d is not None]
        two_sided = [min(1.0, 2 * float(min(significance.positive(d), significance.positive(-d)))) for d in differences]
        clear = [p <= significance.LEVEL for p in significance.holm(two_sided)]
        named = list(zip((c for c, _ in tested), differences, clear, strict=True))
        worse = [_words(c, d) for c, d, sure in named if sure and d.mean() > 0]
        better = [_words(c, d) for c, d, sure in named if sure and d.mean() < 0]
        said.append(
            f"{dataset}: of {len(named)} changes of the recipe for HSIVI-SM "
            f"{_listed(worse, 'clearly worse')}; {_listed(better, 'clearly better')}; {clear.count(False)} cannot be "
            f"told from it (paired t tests over seeds at {100 * significance.LEVEL:.0f} percent, Holm's correction)"
        )
    return said if any(found(experiment)) else []


def _testable(one: Effect) -> bool:
    return one.difference is not None and len(one.difference) >= significance.FEWEST


def _words(change: Change, difference: NDArray[np.float64]) -> str:
    return f"{change.factor} {change.setting} ({difference.mean():+.4f})"


def _listed(changes: list[str], outcome: str) -> str:
    verb = "is" if len(changes) == 1 else "are"
    return f"{len(changes)} {verb} {outcome}" + (f": {', '.join(changes)}" if changes else "")
