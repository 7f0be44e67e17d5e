"""The Table 1 question: which quantity do the numbers printed for DDPM and DDIM look like?

The paper calls them Jensen-Shannon divergences of the ITE toolbox.  Rows of the first block are cells of its Table 1
with the printed number and six quantities of ours (mean ± standard deviation over seeds), J being the sum of both
Kullback-Leibler divergences.  No training of HSIVI is in them; score models, data and grids are ours, as the paper does
not state its own.  The second block says how well each quantity reproduces what is printed:

- root mean square error of the logarithm as a factor at T = 5 and 10 ("x1.50": off by half as much again, in either
  direction), with a 95 percent interval by the jackknife over cells;
- the largest such factor, and the first again after multiplying all values by the best single number, which is given;
- mean absolute error with the cells at T = 1000;
- how many printed numbers exceed what the quantity can return for that many samples;
- Spearman's rank correlation with what is printed.

A value that is not positive has no logarithm.  Such cells are counted in a row of their own, take no part in the
factors, and a quantity that has any is not called the best.  DEVIATIONS D-4 gives the background.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from hsivi.experiment import Experiment
from reports._published import Published, published
from reports._run import Missing, Run, Series
from reports._tables import EMPTY, Cell, Table

EXPERIMENT = "toy2d"
INPUTS = ("claims/claims.csv",)
METHODS = ("ddpm", "ddim")
FEW = (5, 10)
"""Budgets of which factors are taken: those where the quantities are well above their noise."""
FEWEST = 3
"""Cells below which nothing is said."""
NORMAL = 1.96


@dataclass(frozen=True)
class Quantity:
    """One candidate.

    Attributes:
        name: how it is called.
        metric: the metric of the records that it is made of.
        factor: by which that is multiplied.
        bound: the most it can return for n samples, or None where it has no bound.
    """

    name: str
    metric: str
    factor: float = 1.0
    bound: Callable[[int], float] | None = None


QUANTITIES = (
    Quantity("js_ite", "js_ite", bound=lambda n: math.log((2 * n - 1) / (n - 1))),
    Quantity("js_cell", "js_cell", bound=lambda n: math.log(2)),
    Quantity("J", "jdist_ite"),
    Quantity("J/2", "jdist_ite", 0.5),
    Quantity("KL(target, model)", "kl_target_model_ite"),
    Quantity("KL(model, target)", "kl_model_target_ite"),
)


@dataclass(frozen=True)
class Column:
    """The values of one quantity beside the printed ones, cell by cell.

    Attributes:
        quantity: which.
        printed: what is printed, with shape (cells,).
        ours: means over seeds, with shape (cells,).
        nfe: budgets, with shape (cells,).
        exceeding: printed numbers above the bound.
    """

    quantity: Quantity
    printed: NDArray[np.float64]
    ours: NDArray[np.float64]
    nfe: NDArray[np.int_]
    exceeding: int

    @property
    def logs(self) -> NDArray[np.float64]:
        """Logarithms of ours over printed, of the cells at few evaluations that have one."""
        chosen = np.isin(self.nfe, FEW) & (self.ours > 0)
        return np.log(self.ours[chosen] / self.printed[chosen])

    @property
    def without_logarithm(self) -> int:
        """Cells at few evaluations that have none."""
        return int((np.isin(self.nfe, FEW) & (self.ours <= 0)).sum())

    @property
    def usable(self) -> bool:
        """Whether it can be called the best."""
        return len(self.logs) >= FEWEST and not self.without_logarithm and not self.exceeding


def rms(logs: NDArray[np.float64]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(logs**2)))


def jackknife(statistic: Callable[[NDArray[np.int_]], float], count: int) -> float:
    """Return the standard error of a statistic of cells by leaving out one at a time.

    Arguments:
        statistic: from the indices of the cells that stay.
        count: number of cells.
    """
    every = np.arange(count)
    left = np.array([statistic(np.delete(every, k)) for k in every])
    return float(np.sqrt((count - 1) * np.var(left)))


def columns(scale: str, experiment: Experiment) -> tuple[list[Published], dict[str, list[Series]], list[Column]]:
    """Return the cells of Table 1 that have numbers of ours, these by metric, and the quantities."""
    run = Run(scale, [experiment])
    metrics = list(dict.fromkeys(quantity.metric for quantity in QUANTITIES))
    lines, found = [], {metric: [] for metric in metrics}
    for line in published():
        if (line.source, line.table) != ("hsivi", "table1") or line.method not in METHODS:
            continue
        here = {m: run.find((experiment.name, line.dataset), line.method, line.nfe or 0, m) for m in metrics}
        if not any(isinstance(one, Missing) for one in here.values()):
            lines.append(line)
            for metric, one in here.items():
                found[metric].append(one)
    return lines, found, [_column(quantity, lines, found[quantity.metric], experiment) for quantity in QUANTITIES]


def _column(quantity: Quantity, lines: Sequence[Published], found: Sequence[Series], experiment: Experiment) -> Column:
    printed = np.array([line.value for line in lines])
    ours = np.array([quantity.factor * np.mean(list(one.values.values())) for one in found])
    bound = quantity.bound(experiment.num_samples) if quantity.bound else math.inf
    return Column(quantity, printed, ours, np.array([line.nfe for line in lines], int), int((printed > bound).sum()))


def table(scale: str, experiment: Experiment) -> Table:
    """Return the cells with all quantities, then how well each reproduces what is printed."""
    lines, found, every = columns(scale, experiment)
    rows: dict[tuple[str, ...], dict[str, Cell | str]] = {}
    for k, line in enumerate(lines):
        shown = {q.name: _cell(q, found[q.metric][k]) for q in QUANTITIES}
        rows["divergence", line.dataset, line.method.upper(), f"{line.nfe}"] = {"printed": f"{line.value:.3f}", **shown}
    for name, values in scores(every).items():
        behind = {c.quantity.name: tuple(s.source for s in found[c.quantity.metric]) for c in every}
        rows["agreement", name, "", ""] = {q: Cell(text, behind[q]) for q, text in values.items()}
    return Table.of(("block", "what", "method", "T"), rows, ["printed", *(q.name for q in QUANTITIES)])


def _cell(quantity: Quantity, found: Series) -> Cell:
    values = quantity.factor * np.array(list(found.values.values()))
    beside = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
    return Cell(f"{values.mean():.4f}{beside}", (found.source,))


def scores(every: Sequence[Column]) -> dict[str, dict[str, str]]:
    """Return rows of text by name: how well each quantity reproduces what is printed."""
    few = " and ".join(map(str, FEW))
    kinds: dict[str, Callable[[Column], str]] = {
        f"root mean square error as a factor, T = {few}": _factor,
        f"largest error as a factor, T = {few}": lambda c: _times(float(np.abs(c.logs).max())),
        "root mean square error after the best single factor": _scaled,
        "mean absolute error, all T": lambda c: f"{np.abs(c.ours - c.printed).mean():.3f}",
        f"cells at T = {few} without a logarithm": lambda c: str(c.without_logarithm),
        "printed numbers above what it can return": lambda c: str(c.exceeding) if c.quantity.bound else "no bound",
        "Spearman's rank correlation, all T": lambda c: f"{_rank_correlation(c):.2f}",
    }
    return {name: {c.quantity.name: _said(c, kind) for c in every} for name, kind in kinds.items()}


def _said(column: Column, kind: Callable[[Column], str]) -> str:
    return kind(column) if len(column.logs) >= FEWEST else EMPTY


def _times(log: float) -> str:
    return f"x{math.exp(log):.2f}"


def _factor(column: Column) -> str:
    low, high = factor_interval(column)
    return f"{_times(rms(column.logs))} ({math.exp(low):.2f} to {math.exp(high):.2f})"


def factor_interval(column: Column) -> tuple[float, float]:
    """Return the 95 percent interval of the root mean square logarithm by the jackknife; it is never below zero."""
    logs = column.logs
    half = NORMAL * jackknife(lambda kept: rms(logs[kept]), len(logs))
    return max(0.0, rms(logs) - half), rms(logs) + half


def _scaled(column: Column) -> str:
    """Return the error that is left when ours are multiplied by the geometric mean of printed over ours."""
    shift = float(np.mean(column.logs))
    return f"{_times(rms(column.logs - shift))} (ours x{math.exp(-shift):.2f})"


def _rank_correlation(column: Column) -> float:
    return float(stats.spearmanr(column.printed, column.ours).statistic)


def sentences(scale: str, experiment: Experiment) -> list[str]:
    """Return which quantity reproduces the printed numbers best, with what error, and which are excluded."""
    lines, _, every = columns(scale, experiment)
    few = [line for line in lines if line.nfe in FEW]
    if len(few) < FEWEST:
        return [f"Table 1: {len(few)} of its cells for DDPM and DDIM have numbers of ours, too few to compare"]
    said = [
        f"Table 1: {c.exceeding} of the {len(lines)} numbers printed for DDPM and DDIM exceed what "
        f"{c.quantity.name} can return, so they are not that quantity"
        for c in every
        if c.exceeding
    ]
    unsure = [f"{c.quantity.name} ({c.without_logarithm})" for c in every if c.without_logarithm]
    if unsure:
        said.append(f"Table 1: cells whose value is not positive and has no logarithm: {', '.join(unsure)}")
    usable = {c.quantity.name: c for c in every if c.usable}
    return [*said, _best(usable, len(few))] if usable else said


def _best(usable: Mapping[str, Column], count: int) -> str:
    order = pd.Series({name: rms(c.logs) for name, c in usable.items()}).sort_values()
    name = str(order.index[0])
    best = usable[name]
    low, high = factor_interval(best)
    equal = [str(n) for n in order.index[1:] if not _told_apart(best.logs, usable[str(n)].logs)]
    rest = [f"{n} x{math.exp(value):.2f}" for n, value in order.iloc[1:].items()]
    return (
        f"Table 1: of the quantities that can return such numbers {name} reproduces the {count} printed at T = 5 and "
        f"10 best, within a factor of {math.exp(order.iloc[0]):.2f} (root mean square; 95 percent interval "
        f"{math.exp(low):.2f} to {math.exp(high):.2f})"
        + (f"; the others: {', '.join(rest)}" if rest else "")
        + (f"; not told apart from it: {', '.join(equal)}" if equal else "")
    )


def _told_apart(best: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether another error is clearly larger: its difference, cell by cell, by the jackknife."""
    error = jackknife(lambda kept: rms(other[kept]) - rms(best[kept]), len(best))
    return rms(other) - rms(best) > NORMAL * error
