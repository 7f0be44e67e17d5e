"""Quality against NFE on MNIST: Fréchet distance of the samplers on the features of a classifier.

Lines are means over seeds of sampling (there is one training), bands are one standard deviation over them.  Stars:
HSIVI-SM, which alone is trained for its number of evaluations, with bars of one standard deviation.  Dotted: held-out
images drawn with replacement, with their standard deviation in grey.  Both axes are logarithmic, with a tick at every
budget.  Protocol common: one score model, every method on the time grid its paper recommends, clipped where its
official code clips; the main row of each file and DDIM on the grid that HSIVI-SM uses, all rows are in the table of
samplers.  Scope core runs few budgets; `make reproduce SCOPE=full EXPERIMENTS=mnist` runs all.
"""

from hsivi.experiment import Experiment
from reports._images import facts, frechet, full_name
from reports._nfe import draw
from reports._records import records

EXPERIMENT = "mnist"
OUTPUTS = ("figures/figure_nfe_mnist.png", "figures/figure_nfe_mnist.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    metric = full_name(records([experiment]), frechet(experiment)) or frechet(experiment)
    axis = "\n".join(["Fréchet distance", f"({metric})", *facts(experiment)])
    draw(scale, experiment, metric, axis, "figure_nfe_mnist")
