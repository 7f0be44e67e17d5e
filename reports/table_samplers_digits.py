"""Samplers on digits: Fréchet distance and KID of every row at every number of function evaluations.

Cells are mean ± standard deviation over seeds, on the features of a classifier of these digits: neither is an FID.
An asterisk marks the smallest of protocol common in its column.  NFE 0 is for controls: held-out images, and the
prior.  "declined": the row does not apply here, the note says why; "–": not run.  Protocol common: one score model,
the same x_T, the time grid that each method's paper recommends, clipping where the official code clips; as published:
all settings of the official code.
"""

from hsivi.experiment import Experiment
from reports._samplers import Block, compared
from reports._tables import Table

EXPERIMENT = "digits"
METRICS = ("fd_digits_classifier", "kid_digits_classifier")


def table(scale: str, experiment: Experiment) -> Table:
    """Return one block a metric."""
    (digits,) = experiment.data.datasets
    return compared(experiment, [Block(metric, digits, metric) for metric in METRICS])
