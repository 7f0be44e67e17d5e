"""Every measured number of a run for the page: the rows of its explorer, and the facts about each cell behind them."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hsivi import layout, methods
from hsivi.experiment import Experiment
from hsivi.methods import Cell as MeasuredCell
from hsivi.record import Record
from hsivi.tidy import tidy
from reports import _samplers
from reports._costs import Cost, cost
from reports._page_colours import look
from reports._records import records, summary
from reports._tables import EMPTY, Cell, Source, Table

CONTROLS = (*_samplers.CONTROLS, "base")
"""Rows that plots leave out: they bound the numbers, and are no methods."""
STAGES = ("fit", "sample", "measure")
INDEX = ("experiment", "data set", "method", "NFE", "metric")
COLUMNS = (
    *("mean", "sd", "se", "n", "floor"),
    *("training s", "ms a sample", "time grid", "protocol", "status"),
)


@dataclass(frozen=True)
class Numbers:
    """All numbers of a run.

    Attributes:
        scale: of the run.
        experiments: of the run.
    """

    scale: str
    experiments: tuple[Experiment, ...]

    @cached_property
    def records(self) -> list[Record]:
        """All records, in the order of the tables."""
        return records(self.experiments)

    def of(self, experiment: Experiment) -> list[Record]:
        """Return the records of one experiment."""
        return [record for record in self.records if record.experiment == experiment.name]

    @cached_property
    def _costs(self) -> list[Cost]:
        named = {experiment.name: experiment for experiment in self.experiments}
        return [cost(named[record.experiment], record) for record in self.records]

    @cached_property
    def _lines(self) -> list[tuple[int, pd.Series | None]]:
        """The number of a record, and a row of `summary` of it; without one where the record has no numbers."""
        place = {(r.experiment, r.dataset, r.label, r.nfe): i for i, r in enumerate(self.records)}
        means = summary(tidy(self.records))
        found: list[tuple[int, pd.Series | None]] = [
            (place[row["experiment"], row["dataset"], row["method"], row["nfe"]], row) for _, row in means.iterrows()
        ]
        empty = [(i, None) for i, record in enumerate(self.records) if not record.measurements]
        return sorted([*found, *empty], key=lambda line: line[0])

    @cached_property
    def table(self) -> Table:
        """One row a number."""
        rows = []
        for i, row in self._lines:
            record = self.records[i]
            metric = EMPTY if row is None else str(row["metric"])
            name = (record.experiment, record.dataset, record.title, str(record.nfe), metric)
            rows.append((name, tuple(Cell(text) for text in self._texts(i, row))))
        return Table(INDEX, tuple(("", column) for column in COLUMNS), tuple(rows))

    def _texts(self, i: int, row: pd.Series | None) -> list[str]:
        record, spent = self.records[i], self._costs[i]
        numbers = [EMPTY] * 5 if row is None else [_short(row[k]) for k in ("mean", "sd", "se", "seeds", "floor")]
        seconds = [_short(spent.training) if spent.training else EMPTY, _short(1000 * spent.sample)]
        status = record.status if record.reason is None else f"{record.status}: {' '.join(record.reason.split())}"
        return [*numbers, *seconds, record.time_grid or EMPTY, record.protocol.replace("_", " "), status]

    def embedded(self) -> dict[str, Any]:
        """Return what the page's scripts read; numbers of rows count from 0."""
        csv, tex = self.table.text("csv").splitlines(), self.table.text("tex").splitlines()
        first = tex.index(r"\midrule") + 1
        environments = {json.dumps(r.environment, sort_keys=True): r.environment for r in self.records}
        known = list(environments)
        return {
            "header": self.table.header,
            "rows": self.table.grid[1:],
            "points": [self._point(i, row) for i, row in self._lines],
            "csv": csv,
            "tex": {"head": tex[:first], "rows": tex[first:-2], "foot": tex[-2:]},
            "environments": list(environments.values()),
            "records": [
                self._facts(r, self._costs[i]) | {"environment": known.index(json.dumps(r.environment, sort_keys=True))}
                for i, r in enumerate(self.records)
            ],
        }

    @staticmethod
    def _point(i: int, row: pd.Series | None) -> list[Any]:
        """Return record, metric, mean, standard deviation, standard error, and floor of a row of the explorer."""
        if row is None:
            return [i, None, None, None, None, None]
        return [i, row["metric"], *(_number(row[k]) for k in ("mean", "sd", "se", "floor"))]

    def _facts(self, record: Record, spent: Cost) -> dict[str, Any]:
        wanted = (
            *("experiment", "dataset", "label", "baseline", "title", "nfe", "trainings", "time_grid", "levels"),
            *("protocol", "status", "reason", "config", "seconds", "device", "dtype", "commit", "digests", "command"),
        )
        values: dict[str, list[Any]] = {}
        for m in record.measurements:
            values.setdefault(m.metric, []).append([m.seed, m.value, m.standard_error, m.num_samples, m.floor_std])
        here = MeasuredCell(record.scale, record.experiment, record.dataset, record.label, record.nfe)
        return {
            **record.model_dump(mode="json", include=set(wanted)),
            "cost": [spent.training, spent.sample],
            "values": values,
            "file": relative(self.scale, layout.CellFiles(here).record),
            "logs": [[stage, relative(self.scale, path)] for stage, path in logs(here) if path.exists()],
        }

    def choices(self) -> dict[str, list[dict[str, Any]]]:
        """Return what can be filtered for: data sets, methods, budgets and metrics, each in the order of the tables."""
        named = {record.label: record.title for record in self.records}
        metrics = dict.fromkeys(str(row["metric"]) for _, row in self._lines if row is not None)
        return {
            "dataset": [{"value": d, "title": d} for d in dict.fromkeys(r.dataset for r in self.records)],
            "method": [_choice(label, title) for label, title in named.items()],
            "nfe": [{"value": str(n), "title": str(n)} for n in sorted({r.nfe for r in self.records})],
            "metric": [{"value": m, "title": m} for m in metrics],
        }

    def link(self, source: Source) -> str:
        """Return where a number's record lies, seen from the page."""
        here = MeasuredCell(self.scale, source.experiment, source.dataset, source.method, source.nfe)
        return relative(self.scale, layout.CellFiles(here).record)


def logs(cell: MeasuredCell) -> list[tuple[str, Path]]:
    """Return the log files of the stages of a cell; a method that learns nothing has none of its training."""
    folder = layout.metrics_table(cell.scale).parent / ".logs"
    place = Path(cell.experiment, cell.dataset, f"{cell.label}-nfe{cell.nfe}.log")
    return [(stage, folder / stage / place) for stage in STAGES]


def relative(scale: str, path: Path) -> str:
    """Return a path as seen from the page."""
    return Path(os.path.relpath(path, layout.reports(scale))).as_posix()


def titles(experiments: Sequence[Experiment]) -> dict[str, set[str]]:
    """Return the labels of the rows that have a title."""
    found: dict[str, set[str]] = {}
    for experiment in experiments:
        for label in methods.rows(experiment):
            found.setdefault(methods.title(experiment, label), set()).add(label)
    return found


def _choice(label: str, title: str) -> dict[str, Any]:
    return {"value": label, "title": title, "control": label in CONTROLS, **look(label)}


def _number(value: float) -> float | None:
    return float(value) if pd.notna(value) else None


def _short(value: float) -> str:
    return f"{value:.4g}" if pd.notna(value) else EMPTY
