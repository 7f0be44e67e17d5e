"""Quality against NFE on 2-D data: js_cell of the samplers, one panel a data set.

Lines are means over seeds, bands are one standard deviation over seeds.  Stars: HSIVI-SM, which alone is trained for
its number of evaluations, with bars of one standard deviation.  Dotted: draws of the target, with their standard
deviation in grey.  The vertical axis is linear below the thin grey line, where js_cell cannot be told from zero, and
logarithmic above it; so is the horizontal one, with a tick at every budget.  All samplers stop at the paper's lowest
noise level and share one score model a data set.  Scope core runs few rows and budgets; `make reproduce SCOPE=full
EXPERIMENTS=toy2d` runs all.
"""

from hsivi.experiment import Experiment
from reports._nfe import draw

EXPERIMENT = "toy2d"
OUTPUTS = ("figures/figure_nfe_toy2d.png", "figures/figure_nfe_toy2d.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, "js_cell", "js_cell (nats)", "figure_nfe_toy2d")
