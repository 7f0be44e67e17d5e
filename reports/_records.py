"""Reading results for reports: records, samples, and the numbers the paper prints."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsivi import layout, methods
from hsivi.arrays import load_arrays
from hsivi.config import ROOT, Experiment
from hsivi.methods import Cell
from hsivi.record import Record, read_record
from hsivi.tidy import tidy


def records(experiments: Sequence[Experiment]) -> list[Record]:
    """Return all records of the experiments, in the order of the tables."""
    cells = [cell for experiment in experiments for cell in methods.cells(experiment)]
    return [read_record(layout.CellFiles(cell).record) for cell in cells]


def measurements(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return one row a measurement: the table that `collect` writes."""
    return tidy(records(experiments))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation over seeds, number of seeds and standard error of every cell and metric."""
    grouped = table.groupby(["experiment", "dataset", "method", "nfe", "metric"], sort=False)
    result = grouped.agg(
        mean=("value", "mean"), sd=("value", "std"), seeds=("value", "count"), floor=("floor", "first")
    ).reset_index()
    result["se"] = result.sd / np.sqrt(result.seeds)
    return result


def samples(cell: Cell) -> dict[str, NDArray[Any]]:
    """Return the stored arrays of a cell."""
    return load_arrays(layout.CellFiles(cell).samples)


def cell(experiment: Experiment, dataset: str, label: str, nfe: int) -> Cell | None:
    """Return a cell if the experiment has it."""
    wanted = Cell(experiment.scale, experiment.name, dataset, label, nfe)
    return wanted if wanted in methods.cells(experiment) else None


def budgets(experiment: Experiment, dataset: str, label: str) -> list[int]:
    """Return the budgets a method runs with on a data set."""
    return [c.nfe for c in methods.cells(experiment) if (c.dataset, c.label) == (dataset, label)]


def claims() -> pd.DataFrame:
    """Return the numbers the papers print."""
    return pd.read_csv(ROOT / "claims" / "claims.csv")


def title(experiment: Experiment, label: str) -> str:
    """Return how a row is called for people."""
    return name_of_row(methods.info(experiment, label).title, label)


def name_of_row(method_title: str, label: str) -> str:
    """Return a method's title with what tells its rows apart: "hsivi_sm-paper" is the one with the paper's recipe."""
    suffix = label.partition("-")[2]
    return method_title + (f" ({suffix} recipe)" if suffix else "")
