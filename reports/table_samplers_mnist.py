"""Samplers on MNIST: Fréchet distance and KID of every row at every number of function evaluations.

Cells are mean ± standard deviation over seeds of sampling: there is one training, so the deviation says nothing about
another one.  Features are those of a classifier of this data set: neither number is an FID.  A metric's name ends in
the fingerprint of its protocol, which the list above explains.  spread_given_prior: mean squared distance of samples
that share x_T, over that of independent ones; 0 for a deterministic sampler, 1 where x_T does not matter; of one seed.
An asterisk marks the smallest of protocol common in its column.  NFE 0 is for controls: held-out images, and the prior.
"declined": the row does not apply here, the note says why; "–": not run.  Protocol common: one score model, the same
x_T, the time grid that each method's paper recommends, clipping where the official code clips; as published: all
settings of the official code.
"""

from hsivi.experiment import Experiment
from reports._images import blocks
from reports._records import records
from reports._samplers import compared
from reports._tables import Table

EXPERIMENT = "mnist"


def table(scale: str, experiment: Experiment) -> Table:
    """Return one block a metric."""
    return compared(experiment, blocks(experiment, records([experiment])))
