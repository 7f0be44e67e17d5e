"""Samplers: HSIVI-SM against every other row of protocol common at the same number of function evaluations.

Rivals are sorted by their value, the best first.  A negative difference means that HSIVI-SM is better.  "in s.e." is
the difference divided by its standard error over seeds (unpaired); beyond two in either direction the row says who is
ahead.  For sets of images seeds are of sampling only, of one training.  Experiments in which HSIVI-SM has no numbers
have one row that says so.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from hsivi import methods
from hsivi.experiment import Experiment
from hsivi.metrics.protocol import split
from reports._images import frechet, kid
from reports._records import measurements, summary, title
from reports._samplers import family, rivals
from reports._tables import EMPTY, Cell, Table, source

EXPERIMENT = None
METRICS = ("js_cell", "jdist_ite", "js_ite", "swd_ref")
OURS = "hsivi_sm"
INDEX = ("data set", "T", "method", "metric", "rival")
COLUMNS = ("ours", "rival's", "difference", "in s.e.", "seeds", "outcome")


def table(scale: str, experiments: Sequence[Experiment]) -> Table:
    """Return one row for each data set, T, metric and rival."""
    rows = [row for experiment in experiments if experiment.task == "diffusion" for row in _rows(experiment)]
    return Table(INDEX, tuple(("", column) for column in COLUMNS), tuple(rows))


def _rows(experiment: Experiment) -> Iterator[tuple[tuple[str, ...], tuple[Cell, ...]]]:
    numbers = summary(measurements([experiment])).set_index(["dataset", "nfe", "method", "metric"], drop=False)
    common = [label for label in rivals(experiment) if family(label) != OURS]
    shown = METRICS if experiment.data.kind in ("toy2d", "mixture") else (frechet(experiment), kid(experiment))
    found = False
    for dataset, nfe, label, metric in numbers.index:
        if family(label) == OURS and split(metric)[0] in shown:
            found = True
            ours = numbers.loc[(dataset, nfe, label, metric)]
            theirs = numbers.xs((dataset, nfe, metric), level=["dataset", "nfe", "metric"])
            for rival, row in theirs[theirs.index.isin(common)].sort_values("mean").iterrows():
                names = (dataset, str(nfe), title(experiment, label), metric, title(experiment, str(rival)))
                yield names, _compared(ours, row)
    if not found:
        outcome = "declined" if OURS in methods.rows(experiment) else "not run"
        for dataset in experiment.data.datasets:
            names = (dataset, EMPTY, "HSIVI-SM", EMPTY, EMPTY)
            yield names, (*[Cell(EMPTY)] * (len(COLUMNS) - 1), Cell(outcome))


def _compared(ours: pd.Series, theirs: pd.Series) -> tuple[Cell, ...]:
    difference, error = ours["mean"] - theirs["mean"], float(np.hypot(ours["se"], theirs["se"]))
    ratio = difference / error if error > 0 else np.nan
    both = (source(ours), source(theirs))
    return (
        Cell(f"{ours['mean']:.4f}", both[:1]),
        Cell(f"{theirs['mean']:.4f}", both[1:]),
        Cell(f"{difference:+.4f}", both),
        Cell(f"{ratio:+.1f}" if np.isfinite(ratio) else EMPTY, both),
        Cell(str(int(ours["seeds"])), both[:1]),
        Cell(_outcome(ratio), both),
    )


def _outcome(ratio: float) -> str:
    if not np.isfinite(ratio):
        return "one seed"
    return "ahead" if ratio < -2 else "behind" if ratio > 2 else "unclear"
