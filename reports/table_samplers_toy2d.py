"""Samplers on 2-D data: js_cell of every row at every number of function evaluations.

Cells are mean ± standard deviation over seeds of the calibrated Jensen-Shannon divergence (nats).  An asterisk marks
the smallest of protocol common in its column.  NFE 0 is for controls: held-out draws of the target, and of the prior.
"declined": the row does not apply here, the note says why; "–": not run.  All rows share one score model a data set,
x_T, and the lowest noise level of the paper, where they stop.  HSIVI-SM alone is trained for its budget.
"""

from hsivi.experiment import Experiment
from reports._samplers import Block, compared
from reports._tables import Table

EXPERIMENT = "toy2d"


def table(scale: str, experiment: Experiment) -> Table:
    """Return one block a data set."""
    blocks = [Block(f"{dataset}: js_cell (nats)", dataset, "js_cell") for dataset in experiment.data.datasets]
    return compared(experiment, blocks)
