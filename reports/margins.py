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
from reports._tables import write_table

EXPERIMENT = None
OUTPUTS = ("tables/margins.csv", "tables/margins.md", "tables/margins.tex")
METRICS = ("js_cell", "jdist_ite", "js_ite", "swd_ref")
OURS = "hsivi_sm"
COLUMNS = [
    *("data set", "T", "method", "metric", "rival"),
    *("ours", "rival's", "difference", "in s.e.", "seeds", "outcome"),
]


def cells(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return one row for each data set, T, metric and rival."""
    rows = [row for experiment in experiments if experiment.task == "diffusion" for row in _rows(experiment)]
    table = pd.DataFrame(rows, columns=COLUMNS).set_index(COLUMNS[:5])
    table.columns = pd.MultiIndex.from_tuples([("", column) for column in table.columns])
    return table


def _rows(experiment: Experiment) -> Iterator[dict[str, str]]:
    numbers = summary(measurements([experiment])).set_index(["dataset", "nfe", "method", "metric"])
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
                yield dict(zip(COLUMNS, (*names, *_compared(ours, row)), strict=True))
    if not found:
        known = OURS in methods.rows(experiment)
        for dataset in experiment.data.datasets:
            yield dict.fromkeys(COLUMNS, "–") | {
                "data set": dataset,
                "method": "HSIVI-SM",
                "outcome": "declined" if known else "not run",
            }


def _compared(ours: pd.Series, theirs: pd.Series) -> tuple[str, ...]:
    difference, error = ours["mean"] - theirs["mean"], float(np.hypot(ours["se"], theirs["se"]))
    ratio = difference / error if error > 0 else np.nan
    return (
        f"{ours['mean']:.4f}",
        f"{theirs['mean']:.4f}",
        f"{difference:+.4f}",
        f"{ratio:+.1f}" if np.isfinite(ratio) else "–",
        str(int(ours["seeds"])),
        _outcome(ratio),
    )


def _outcome(ratio: float) -> str:
    if not np.isfinite(ratio):
        return "one seed"
    return "ahead" if ratio < -2 else "behind" if ratio > 2 else "unclear"


def render(scale: str, experiments: Sequence[Experiment]) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    write_table(cells(experiments), scale, "margins")
