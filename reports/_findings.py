"""What the numbers say, in sentences computed from records; nothing here is written by hand."""

import csv
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind_from_stats

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.tidy import tidy
from reports._records import records, summary, title
from reports.table_mixture import MODES, WEIGHTS, complete

HEADLINE = ("js_cell", "jdist_ite", "fd_digits_classifier")
LEVEL = 0.05
"""Level of the test behind the words below and above."""


def findings(scale: str, experiments: Sequence[Experiment]) -> list[str]:
    """Return the sentences of all experiments shown."""
    sentences = margins(scale)
    for experiment in experiments:
        if experiment.data.kind == "mixture":
            sentences += modes(experiment)
        if experiment.data.kind == "posterior":
            sentences += layers(experiment)
    return sentences


def margins(scale: str) -> list[str]:
    """Return a sentence for each rival and headline metric, naming what is not ahead."""
    with (layout.reports(scale) / "tables" / "margins.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] in HEADLINE]
    sentences = []
    for method, rival, metric in sorted({(row["method"], row["rival"], row["metric"]) for row in rows}):
        these = [row for row in rows if (row["method"], row["rival"], row["metric"]) == (method, rival, metric)]
        others = [
            f"{row['outcome']} on {row['data set']} at T = {row['T']}" for row in these if row["outcome"] != "ahead"
        ]
        ahead = f"{method} is ahead of {rival} in {metric} in {len(these) - len(others)} of {len(these)} comparisons"
        sentences.append(ahead + (f" ({', '.join(others)})" if others else ""))
    return sentences


def modes(experiment: Experiment) -> list[str]:
    """Return in how many seeds each method with layers finds all modes of the mixture."""
    counts = [
        f"{title(experiment, record.label)} {complete(record)}"
        for record in records([experiment])
        if record.nfe and record.status == "ok"
    ]
    low, high = WEIGHTS
    return [f"{experiment.title}: seeds with all {MODES} modes at weights in [{low}, {high}]: {'; '.join(counts)}"]


def layers(experiment: Experiment) -> list[str]:
    """Return, for each method with several T, whether its covariance error falls, and what the controls give."""
    metric = "covariance_frobenius"
    table = tidy(records([experiment]))
    numbers = summary(table[table.metric == metric]).set_index(["method", "nfe"])
    sentences = []
    for label in numbers.index.unique("method"):
        budgets = sorted(nfe for name, nfe in numbers.index if name == label)
        if len(budgets) < 2:
            continue
        values = ", ".join(f"{numbers.loc[(label, nfe)]['mean']:.4f}" for nfe in budgets)
        counts = ", ".join(map(str, budgets))
        outcome = _compare(numbers.loc[(label, budgets[-1])], numbers.loc[(label, budgets[0])])
        sentences.append(
            f"{experiment.title}: {title(experiment, label)} has covariance error {values} at T = {counts}; "
            f"the last is {outcome} the first"
        )
    controls = [
        f"{title(experiment, label)} {numbers.loc[(label, nfe)]['mean']:.4f}" for label, nfe in numbers.index if not nfe
    ]
    return [*sentences, f"{experiment.title}: covariance errors without layers: {', '.join(controls)}"]


def _compare(last: pd.Series, first: pd.Series) -> str:
    """Return whether one mean over seeds is below another, by Welch's test at 5 percent (two-sided)."""
    if min(last["seeds"], first["seeds"]) < 2:
        return "of one seed, not to be compared with"
    error = float(np.hypot(first["se"], last["se"]))
    if error == 0:
        return "without spread, not to be compared with"
    test = ttest_ind_from_stats(
        last["mean"], last["sd"], last["seeds"], first["mean"], first["sd"], first["seeds"], equal_var=False
    )
    word = (
        ("below" if last["mean"] < first["mean"] else "ABOVE") if test.pvalue < LEVEL else "not clearly different from"
    )
    return f"{word} ({(last['mean'] - first['mean']) / error:+.1f} s.e.)"
