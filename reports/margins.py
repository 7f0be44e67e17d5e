"""Samplers: HSIVI-SM against every other method at the same number of function evaluations.

A negative difference means that HSIVI-SM is better.  "in s.e." is the difference divided by its standard error over
seeds (unpaired, Welch); beyond two in either direction the row says who is ahead.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hsivi.experiment import Experiment
from reports._records import measurements, summary, title
from reports._tables import write_table

EXPERIMENT = None
OUTPUTS = ("tables/margins.csv", "tables/margins.md", "tables/margins.tex")
METRICS = ("js_cell", "jdist_ite", "js_ite", "swd_ref", "fd_digits_classifier", "kid_digits_classifier")
OURS = "hsivi_sm"
CONTROLS = ("prior", "reference")
COLUMNS = [
    *("data set", "T", "method", "rival", "metric"),
    *("ours", "rival's", "difference", "in s.e.", "seeds", "outcome"),
]


def cells(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return one row for each data set, T, rival and metric."""
    by_name = {experiment.name: experiment for experiment in experiments if experiment.task == "diffusion"}
    table = measurements(list(by_name.values()))
    numbers = summary(table).set_index(["experiment", "dataset", "method", "nfe", "metric"])
    rows = []
    for experiment, dataset, label, nfe, metric in numbers.index:
        if not label.startswith(OURS) or metric not in METRICS:
            continue
        ours = numbers.loc[(experiment, dataset, label, nfe, metric)]
        for rival in numbers.index.unique("method"):
            if rival.startswith(OURS) or rival in CONTROLS:
                continue
            if (experiment, dataset, rival, nfe, metric) not in numbers.index:
                continue
            theirs = numbers.loc[(experiment, dataset, rival, nfe, metric)]
            difference, error = ours["mean"] - theirs["mean"], float(np.hypot(ours["se"], theirs["se"]))
            ratio = difference / error if error > 0 else np.nan
            rows.append(
                {
                    "data set": dataset,
                    "T": str(nfe),
                    "method": title(by_name[experiment], label),
                    "rival": title(by_name[experiment], rival),
                    "metric": metric,
                    "ours": f"{ours['mean']:.4f}",
                    "rival's": f"{theirs['mean']:.4f}",
                    "difference": f"{difference:+.4f}",
                    "in s.e.": f"{ratio:+.1f}" if np.isfinite(ratio) else "–",
                    "seeds": str(int(ours["seeds"])),
                    "outcome": _outcome(ratio),
                }
            )
    table = pd.DataFrame(rows, columns=COLUMNS).set_index(["data set", "T", "method", "rival", "metric"])
    table.columns = pd.MultiIndex.from_tuples([("", column) for column in table.columns])
    return table


def _outcome(ratio: float) -> str:
    if not np.isfinite(ratio):
        return "one seed"
    return "ahead" if ratio < -2 else "behind" if ratio > 2 else "unclear"


def render(scale: str, experiments: Sequence[Experiment]) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    write_table(cells(experiments), scale, "margins")
