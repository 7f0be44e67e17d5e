"""Samplers on the ring: every row at every number of function evaluations, with an exact score.

Cells are mean ± standard deviation over seeds.  An asterisk marks the best value of protocol common in its column:
the smallest js_cell; the share off all modes and the width of modes nearest to those of draws of the target.  NFE 0
is for controls: draws of the target and of the prior.  "declined": the row does not apply here, the note says why;
"–": not run, or a number that does not exist, as the width of modes where none is found.  Protocol common: one score,
the same x_T and the time grid that each method's paper recommends, nothing clipped; as published: the settings of the
official code, clipping at the range of images included, which cuts off the parts of the ring outside of it.
"""

from typing import Final

from hsivi.experiment import Experiment
from reports._samplers import Block, compared
from reports._tables import Table

EXPERIMENT = "ring"
LIKE: Final = "nearest to the target's"


def table(scale: str, experiment: Experiment) -> Table:
    """Return one block a metric."""
    (ring,) = experiment.data.datasets
    return compared(
        experiment,
        [
            Block("js_cell (nats)", ring, "js_cell"),
            Block("share off all modes", ring, "off_mode", best=LIKE),
            Block("modes found, of 8", ring, "modes_found", 2, best="none"),
            Block("sd within modes (right: 1)", ring, "within_mode_sd", 3, best=LIKE),
        ],
    )
