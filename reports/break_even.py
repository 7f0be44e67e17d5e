"""Break-even: how many samples must be drawn before the training of HSIVI-SM pays off.

A rival is a row of protocol common; of its budgets whose mean is at most HSIVI-SM's, the quickest is what it needs
for equal quality.  Then n = (training seconds of HSIVI-SM - those of the rival) / (the rival's seconds a sample -
HSIVI-SM's).  Seconds are those of this run: of one training, without the score model that all share.  Means are
compared as they are, without a test.  "never": the rival takes no longer for a sample.  "not reached": no budget that
was run is as good.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from hsivi.experiment import Experiment
from hsivi.tidy import tidy
from reports._costs import Cost, break_even, cost, headline
from reports._records import records, summary, title
from reports._samplers import family, rivals
from reports._tables import Cell, Row, Rows, Table, source
from reports.margins import OURS

EXPERIMENT = None
INDEX = ("data set", "T", "method", "rival")
COLUMNS = ("metric", "ours", "training s", "ms a sample", "rival's NFE", "rival's", "rival's ms a sample", "break-even")
NOT_REACHED, NEVER = "not reached", "never"


@dataclass(frozen=True)
class Rivalry:
    """One budget of HSIVI-SM against one rival.

    Attributes:
        ours: its row of `reports._records.summary`.
        rival: the rival's label.
        equal: the row of the rival's quickest budget of at least that quality, or None where no budget has it.
        cost: what ours costs.
        equal_cost: what the rival costs with that budget.
    """

    ours: pd.Series
    rival: str
    equal: pd.Series | None
    cost: Cost
    equal_cost: Cost | None

    @property
    def samples(self) -> float | None:
        """Number of samples from which on ours takes less time; infinite if never, None if the rival is not as good."""
        return None if self.equal_cost is None else break_even(self.cost, self.equal_cost)


def table(scale: str, experiments: Sequence[Experiment]) -> Table:
    """Return one row for each data set, budget of HSIVI-SM, and rival."""
    rows: Rows = {}
    for experiment in experiments:
        for found in rivalries(experiment):
            names = (title(experiment, found.ours["method"]), title(experiment, found.rival))
            rows[found.ours["dataset"], str(found.ours["nfe"]), *names] = _row(found)
    return Table.of(INDEX, rows, COLUMNS)


def rivalries(experiment: Experiment) -> Iterator[Rivalry]:
    """Yield every budget of HSIVI-SM with every rival measured on the same data set."""
    if experiment.task != "diffusion":
        return
    made = {(r.dataset, r.label, r.nfe): r for r in records([experiment]) if r.status == "ok"}
    metric = headline(experiment, list(made.values()))
    if metric is None or not made:
        return
    costs = {key: cost(experiment, record) for key, record in made.items()}
    numbers = summary(tidy(list(made.values())))
    numbers = numbers[numbers.metric == metric]
    for _, ours in numbers[numbers.method.map(family) == OURS].iterrows():
        for rival in (label for label in rivals(experiment) if family(label) != OURS):
            theirs = numbers[(numbers.dataset == ours["dataset"]) & (numbers.method == rival)]
            good = [row for _, row in theirs.iterrows() if row["mean"] <= ours["mean"]]
            own = costs[ours["dataset"], ours["method"], ours["nfe"]]
            their_costs = [costs[ours["dataset"], rival, row["nfe"]] for row in good]
            best = min(range(len(good)), key=lambda i: their_costs[i].sample, default=None)
            if len(theirs):
                equal = (None, None) if best is None else (good[best], their_costs[best])
                yield Rivalry(ours, rival, equal[0], own, equal[1])


def _row(found: Rivalry) -> Row:
    row: Row = {
        "metric": found.ours["metric"],
        "ours": _mean(found.ours),
        "training s": f"{found.cost.training:.1f}",
        "ms a sample": f"{1000 * found.cost.sample:.4f}",
    }
    if found.equal is None or found.equal_cost is None or found.samples is None:
        return row | {"break-even": NOT_REACHED}
    return row | {
        "rival's NFE": str(found.equal["nfe"]),
        "rival's": _mean(found.equal),
        "rival's ms a sample": f"{1000 * found.equal_cost.sample:.4f}",
        "break-even": NEVER if math.isinf(found.samples) else f"{found.samples:.0f}",
    }


def _mean(row: pd.Series) -> Cell:
    return Cell(f"{row['mean']:.4f}", (source(row),))
