"""Rows of samplers and the tables of their numbers: what the reports on samplers share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from hsivi import methods
from hsivi.experiment import Experiment
from hsivi.record import Record
from hsivi.tidy import tidy
from reports._records import records, summary, title
from reports._tables import EMPTY, Cell, Row, Rows, Table, number

CONTROLS = ("prior", "reference")
COMMON = "common"
VARIANTS = ("ddpm-large", "ddim-hsivi_grid")
"""Shown beside the main row of their files: the papers' other DDPM, and DDIM where HSIVI-SM starts from."""
BEST = " *"


@dataclass(frozen=True)
class Block:
    """One block of a table.

    Attributes:
        heading: what it shows, for people.
        dataset: of which data set.
        metric: name of the metric.
        digits: decimals shown.
        best: which value is marked.
    """

    heading: str
    dataset: str
    metric: str
    digits: int = 4
    best: Literal["smallest", "nearest to the target's", "none"] = "smallest"


def family(label: str) -> str:
    """Return what the variants of a row have in common: its name up to the hyphen."""
    return label.partition("-")[0]


def rows(experiment: Experiment) -> list[str]:
    """Return the rows of an experiment in its scope: protocol common, then as published, then controls."""
    known = methods.rows(experiment)
    return sorted(known, key=lambda label: (label in CONTROLS, known[label].protocol != COMMON))


def rivals(experiment: Experiment) -> list[str]:
    """Return the rows of protocol common without controls."""
    known = methods.rows(experiment)
    return [label for label in rows(experiment) if known[label].protocol == COMMON and label not in CONTROLS]


def main_rows(experiment: Experiment) -> list[str]:
    """Return one row of protocol common for each file, its first where none is called as the file, and VARIANTS."""
    common = rivals(experiment)
    variants_first = sorted(common, key=lambda label: ("-" not in label, -common.index(label)))
    chosen = {family(label): label for label in variants_first}
    return [label for label in common if label in (*chosen.values(), *VARIANTS)]


def compared(experiment: Experiment, blocks: Sequence[Block]) -> Table:
    """Return a table: rows (block, sampler), columns protocol, time grid, every NFE, and notes if there are any."""
    made = records([experiment])
    found = {(r.dataset, r.label, r.nfe): r for r in made}
    numbers = summary(tidy(made)).set_index(["dataset", "method", "nfe", "metric"], drop=False)
    budgets = sorted({nfe for _, _, nfe in found})
    shown: Rows = {}
    for block in blocks:
        here = numbers[numbers.index.isin([block.dataset], "dataset") & numbers.index.isin([block.metric], "metric")]
        here = here.droplevel(["dataset", "metric"])
        best = {nfe: _best(here, experiment, nfe, block) for nfe in budgets}
        for label in rows(experiment):
            own = [found[block.dataset, label, nfe] for nfe in budgets if (block.dataset, label, nfe) in found]
            row: Row = {"protocol": methods.protocol(experiment, label).replace("_", " "), "time grid": _grids(own)}
            for nfe in budgets:
                record = found.get((block.dataset, label, nfe))
                row[f"NFE {nfe}"] = _cell(here, record, best[nfe], block.digits)
            row["note"] = "; ".join(dict.fromkeys(r.reason for r in own if r.reason)) or EMPTY
            shown[block.heading, title(experiment, label)] = row
    noted = any(row["note"] != EMPTY for row in shown.values())
    columns = ["protocol", "time grid", *(f"NFE {nfe}" for nfe in budgets), *(["note"] if noted else [])]
    return Table.of(("metric", "sampler"), shown, columns)


def _grids(own: Iterable[Record]) -> str:
    return ", ".join(dict.fromkeys(record.time_grid for record in own if record.time_grid)) or EMPTY


def _cell(here: pd.DataFrame, record: Record | None, best: set[str], digits: int) -> Cell:
    if record is None:
        return Cell(EMPTY)
    if record.status != "ok":
        return Cell(record.status)
    if (record.label, record.nfe) not in here.index:
        return Cell(EMPTY)
    shown = number(here.loc[(record.label, record.nfe)], digits)
    return Cell(shown.text + BEST, shown.sources) if record.label in best else shown


def _best(here: pd.DataFrame, experiment: Experiment, nfe: int, block: Block) -> set[str]:
    """Return the rows of protocol common with the best mean as printed; none where nobody competes."""
    common = [(label, nfe) for label in rivals(experiment) if (label, nfe) in here.index]
    if len(common) < 2 or block.best == "none":
        return set()
    means = here.loc[common, "mean"].droplevel("nfe").round(block.digits)
    loss = means if block.best == "smallest" else (means - here["floor"].iloc[0]).abs().round(block.digits)
    return set(loss[loss == loss.min()].index)
