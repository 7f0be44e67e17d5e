"""Digits: Fréchet distance, KID, precision and recall on the features of a classifier of these digits.

The names carry the extractor: none of these is an FID.  Cells are mean ± standard deviation over seeds.
"""

import pandas as pd

from hsivi.experiment import Experiment
from reports._records import measurements, summary, title
from reports._tables import number, write_table

EXPERIMENT = "digits"
OUTPUTS = ("tables/table_digits.csv", "tables/table_digits.md", "tables/table_digits.tex")
METRICS = {
    "fd_digits_classifier": "fd_digits_classifier ↓",
    "kid_digits_classifier": "kid_digits_classifier ↓",
    "precision_digits_classifier": "precision_digits_classifier ↑",
    "recall_digits_classifier": "recall_digits_classifier ↑",
}


def cells(experiment: Experiment) -> pd.DataFrame:
    """Return one row a method and budget, one column a metric."""
    numbers = summary(measurements([experiment]))
    rows: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for _, row in numbers.sort_values(["nfe", "method"]).iterrows():
        key = (title(experiment, row["method"]), str(row["nfe"]))
        rows.setdefault(key, {})["", METRICS[row["metric"]]] = number(row)
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["method", "NFE"])
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table


def render(scale: str, experiment: Experiment) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    write_table(cells(experiment), scale, "table_digits")
