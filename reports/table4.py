"""Table 4: covariance of the posterior of the conditioned diffusion, by number of layers T.

Cells are mean ± standard error over seeds; the paper prints one number each.  T = 1 is SIVI.  "5 x updates" is SIVI
with as many updates as all five layers together.  Methods without layers stand in their own column.  "draws" is what
as many draws of the posterior itself give, the floor.  "change" is the largest T less T = 1, and the same in standard
errors (unpaired).  "declined": the method does not apply; "–": there is no such number.  Lower bounds on the evidence
are by K further draws of the mixing distribution, except for methods whose density is known.  Errors contain the noise
of the samples and of the truth, about the value of "draws" in quadrature; the paper's have 100,000 of both.
"""

import numpy as np
import pandas as pd

from hsivi.experiment import Experiment
from hsivi.record import Record
from hsivi.tidy import tidy
from reports._records import claims, labels, records, summary, title
from reports._tables import write_table

EXPERIMENT = "conditioned_diffusion"
INPUTS = ("claims/claims.csv",)
OUTPUTS = ("tables/table4.csv", "tables/table4.md", "tables/table4.tex")
MAIN = "covariance_frobenius"
BLOCKS = {
    MAIN: ("Frobenius distance of covariances", 4),
    "covariance_frobenius_hmc": ("the same against Hamiltonian Monte Carlo", 4),
    "variance_ratio": ("mean ratio of marginal variances (right: 1)", 3),
    "mean_rmse": ("error of the mean (root mean square, in standard deviations of the truth)", 4),
}
PRINTED = "printed in the paper"
ELBO = "elbo_k"
LAYERLESS, FLOOR, CHANGE = "no layers", "draws", "change"


def cells(experiment: Experiment) -> pd.DataFrame:
    """Return the table: rows (metric, method), columns T, cells as text."""
    found = {(r.label, r.nfe): r for r in records([experiment])}
    table = tidy(list(found.values()))
    bounds = sorted({m for m in table.metric.unique() if m.startswith(ELBO)}, key=lambda m: int(m[len(ELBO) :]))
    exact = table[table.metric == "elbo"]
    table = pd.concat([table, *(exact.assign(metric=bound) for bound in bounds)])
    numbers = summary(table).set_index(["metric", "method", "nfe"])
    counts = sorted({nfe for _, nfe in found if nfe})
    blocks = BLOCKS | {m: (f"lower bound on log p(y), K = {m[len(ELBO) :]} (nats)", 2) for m in bounds}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for metric, (heading, digits) in blocks.items():
        if metric != MAIN and metric not in table.metric.unique():
            continue
        floors = table[(table.metric == metric) & table.floor.notna()].floor
        floor = "–" if floors.empty else f"{floors.iloc[0]:.{digits}f}"
        for label in labels(experiment):
            row = {_column(nfe): _cell(found, numbers, metric, label, nfe, digits) for nfe in [*counts, 0]}
            row[FLOOR] = floor
            row[CHANGE] = _change(numbers, metric, label, counts, digits)
            rows[heading, title(experiment, label)] = row
        if metric == MAIN:
            rows |= {(PRINTED, name): row for name, row in _printed(experiment, counts).items()}
    columns = [*map(_column, counts), LAYERLESS, FLOOR, CHANGE]
    result = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    result.index = pd.MultiIndex.from_tuples(rows, names=["metric", "method"])
    result.columns = pd.MultiIndex.from_tuples([("", column) for column in columns])
    return result


def _column(nfe: int) -> str:
    return f"T = {nfe}" if nfe else LAYERLESS


def _cell(
    found: dict[tuple[str, int], Record], numbers: pd.DataFrame, metric: str, label: str, nfe: int, digits: int
) -> str:
    if (label, nfe) in found and found[label, nfe].status == "declined":
        return "declined"
    if (metric, label, nfe) not in numbers.index:
        return "–"
    row = numbers.loc[(metric, label, nfe)]
    return f"{row['mean']:.{digits}f}" + (f" ± {row['se']:.{digits}f}" if row["seeds"] > 1 else "")


def _change(numbers: pd.DataFrame, metric: str, label: str, counts: list[int], digits: int) -> str:
    """Return the value at the largest T less that at T = 1, and the same in standard errors."""
    have = [nfe for nfe in counts if (metric, label, nfe) in numbers.index]
    if 1 not in have or max(have) == 1:
        return "–"
    first, last = numbers.loc[(metric, label, 1)], numbers.loc[(metric, label, max(have))]
    difference, error = last["mean"] - first["mean"], float(np.hypot(first["se"], last["se"]))
    return f"{difference:+.{digits}f}" + (f" ({difference / error:+.1f} s.e.)" if error > 0 else "")


def _printed(experiment: Experiment, counts: list[int]) -> dict[str, dict[str, str]]:
    known = claims()
    known = known[(known.source == "hsivi") & (known.table == "table4")]
    rows: dict[str, dict[str, str]] = {}
    for label in known.method.unique():
        here = known[known.method == label].set_index("nfe").value
        row = {_column(nfe): f"{here[nfe]:.4f}" if nfe in here.index else "–" for nfe in counts}
        ends = [nfe for nfe in counts if nfe in here.index]
        change = f"{here[ends[-1]] - here[1]:+.4f}" if 1 in ends and len(ends) > 1 else "–"
        rows[title(experiment, label)] = row | {LAYERLESS: "–", FLOOR: "–", CHANGE: change}
    return rows


def render(scale: str, experiment: Experiment) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    write_table(cells(experiment), scale, "table4")
