"""Table 4: covariance of the posterior of the conditioned diffusion, by number of layers T.

Cells are mean ± standard error over seeds; the paper prints one number each.  T = 1 is SIVI.  "5 x updates" is SIVI
with as many updates as all five layers together.  Methods without layers stand in their own column.  "draws" is what
as many draws of the posterior itself give, the floor.  "change" is the largest T less T = 1, and the same in standard
errors (unpaired).  "declined": the method does not apply; "–": there is no such number.  Lower bounds on the evidence
are by K further draws of the mixing distribution, except for methods whose density is known.  Errors contain the noise
of the samples and of the truth, about the value of "draws" in quadrature; the paper's have 100,000 of both.
"""

from typing import Any

import numpy as np
import pandas as pd

from hsivi.experiment import Experiment
from hsivi.tidy import tidy
from reports._records import claims, labels, records, summary, title
from reports._tables import EMPTY, Cell, Row, Rows, Table, number, source

EXPERIMENT = "conditioned_diffusion"
INPUTS = ("claims/claims.csv",)
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


def table(scale: str, experiment: Experiment) -> Table:
    """Return the table: rows (metric, method), columns T."""
    found = {(r.label, r.nfe): r for r in records([experiment])}
    measured = tidy(list(found.values()))
    numbers = _numbers(measured)
    counts = sorted({nfe for _, nfe in found if nfe})
    without = {place: record.status for place, record in found.items() if record.status != "ok"}
    rows: Rows = {}
    for metric, (heading, digits) in (BLOCKS | _bounds(measured)).items():
        if metric != MAIN and metric not in measured.metric.unique():
            continue
        floors = measured[(measured.metric == metric) & measured.floor.notna()].head(1).to_dict("records")
        for label in labels(experiment):
            row: Row = {}
            for nfe in [*counts, 0]:
                if (label, nfe) in without:
                    row[_column(nfe)] = without[label, nfe]
                elif (metric, label, nfe) in numbers:
                    row[_column(nfe)] = number(numbers[metric, label, nfe], digits, "se")
            for first in floors:
                row[FLOOR] = Cell(f"{first['floor']:.{digits}f}", (source(first),))
            row[CHANGE] = _change(numbers, metric, label, counts, digits)
            rows[heading, title(experiment, label)] = row
        if metric == MAIN:
            rows |= {(PRINTED, name): row for name, row in _printed(experiment, counts).items()}
    return Table.of(("metric", "method"), rows, [*map(_column, counts), LAYERLESS, FLOOR, CHANGE])


def _bounds(measured: pd.DataFrame) -> dict[str, tuple[str, int]]:
    """Return the blocks of the lower bounds, by their numbers of draws."""
    names = sorted({m for m in measured.metric.unique() if m.startswith(ELBO)}, key=lambda m: int(m[len(ELBO) :]))
    return {name: (f"lower bound on log p(y), K = {name[len(ELBO) :]} (nats)", 2) for name in names}


def _numbers(measured: pd.DataFrame) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return the summaries by metric, method and T; where the density is known, the bound stands for every K."""
    numbers = {(r["metric"], r["method"], r["nfe"]): r for r in summary(measured).to_dict("records")}
    exact = {tuple(place): row for (metric, *place), row in numbers.items() if metric == "elbo"}
    return {(bound, *place): row for bound in _bounds(measured) for place, row in exact.items()} | numbers


def _column(nfe: int) -> str:
    return f"T = {nfe}" if nfe else LAYERLESS


def _change(
    numbers: dict[tuple[str, str, int], dict[str, Any]], metric: str, label: str, counts: list[int], digits: int
) -> Cell:
    """Return the value at the largest T less that at T = 1, and the same in standard errors."""
    have = [nfe for nfe in counts if (metric, label, nfe) in numbers]
    if 1 not in have or max(have) == 1:
        return Cell(EMPTY)
    first, last = numbers[metric, label, 1], numbers[metric, label, max(have)]
    difference, error = last["mean"] - first["mean"], float(np.hypot(first["se"], last["se"]))
    beside = f" ({difference / error:+.1f} s.e.)" if error > 0 else ""
    return Cell(f"{difference:+.{digits}f}{beside}", (source(last), source(first)))


def _printed(experiment: Experiment, counts: list[int]) -> dict[str, Row]:
    known = claims()
    known = known[(known.source == "hsivi") & (known.table == "table4")]
    rows: dict[str, Row] = {}
    for label in known.method.unique():
        here = known[known.method == label].set_index("nfe").value
        ends = [nfe for nfe in counts if nfe in here.index]
        row: Row = {_column(nfe): f"{here[nfe]:.4f}" for nfe in ends}
        if 1 in ends and len(ends) > 1:
            row[CHANGE] = f"{here[ends[-1]] - here[1]:+.4f}"
        rows[title(experiment, label)] = row
    return rows
