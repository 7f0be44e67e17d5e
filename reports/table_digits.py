"""Digits: Fréchet distance, KID, precision and recall on the features of a classifier of these digits.

The names carry the extractor: none of these is an FID.  Cells are mean ± standard deviation over seeds.
"""

from hsivi.experiment import Experiment
from reports._records import measurements, summary, title
from reports._tables import Rows, Table, number

EXPERIMENT = "digits"
METRICS = {
    "fd_digits_classifier": "fd_digits_classifier ↓",
    "kid_digits_classifier": "kid_digits_classifier ↓",
    "precision_digits_classifier": "precision_digits_classifier ↑",
    "recall_digits_classifier": "recall_digits_classifier ↑",
}


def table(scale: str, experiment: Experiment) -> Table:
    """Return one row a method and budget, one column a metric."""
    rows: Rows = {}
    for _, row in summary(measurements([experiment])).sort_values(["nfe", "method"]).iterrows():
        key = (title(experiment, row["method"]), str(row["nfe"]))
        rows.setdefault(key, {})[METRICS[row["metric"]]] = number(row)
    return Table.of(("method", "NFE"), rows)
