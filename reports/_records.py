"""Reading results for reports: records, samples, and the numbers the paper prints."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hsivi import layout, methods
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.reading import Arrays, read_arrays
from hsivi.record import Record, read_record
from hsivi.tidy import tidy
from reports import _claims_file


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


FAMILIES = ("hsivi_sm", "hsivi_lb", "sivi_sm", "sivi_lb", "uivi", "gaussian_vi", "laplace", "base", "reference")
"""The order of methods of inference in tables; others follow."""


def labels(experiment: Experiment) -> list[str]:
    """Return the rows of an experiment in the order of tables, families together."""
    every = list(methods.rows(experiment))

    def rank(label: str) -> tuple[int, bool, int]:
        family, _, variant = label.partition("-")
        place = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
        return place, bool(variant), every.index(label)

    return sorted(every, key=rank)


def core(experiment: Experiment) -> Experiment:
    """Return an experiment with the rows and budgets of scope core, which the paper's own tables and figures show."""
    return experiment.model_copy(update={"scope": "core"})


def outcome(cell: Cell) -> str:
    """Return what a record says of its cell in one word: ok, declined or failed."""
    return read_record(layout.CellFiles(cell).record).status


def samples(cell: Cell) -> Arrays:
    """Return the stored arrays of a cell."""
    return read_arrays(layout.CellFiles(cell).samples)


def cell(experiment: Experiment, dataset: str, label: str, nfe: int) -> Cell | None:
    """Return a cell if the experiment has it."""
    wanted = Cell(experiment.scale, experiment.name, dataset, label, nfe)
    return wanted if wanted in methods.cells(experiment) else None


def budgets(experiment: Experiment, dataset: str, label: str) -> list[int]:
    """Return the budgets a method runs with on a data set."""
    return [c.nfe for c in methods.cells(experiment) if (c.dataset, c.label) == (dataset, label)]


def claims() -> pd.DataFrame:
    """Return the numbers the papers print; errors as `reports._claims_file.read`."""
    return _claims_file.read()


def title(experiment: Experiment, label: str) -> str:
    """Return how a row is called for people, also where the scale does not run it."""
    if label in methods.rows(experiment):
        return methods.title(experiment, label)
    row = experiment.methods.get(label)
    return row.title if row and row.title else label
