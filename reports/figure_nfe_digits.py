"""Quality against NFE on digits: Fréchet distance of the samplers on the features of a classifier.

Lines are means over seeds, bands are one standard deviation over seeds.  Stars: HSIVI-SM, which alone is trained for
its number of evaluations, with bars of one standard deviation.  Dotted: held-out images drawn with replacement, with
their standard deviation in grey.  Both axes are logarithmic, with a tick at every budget.  Protocol common: one score
model, every method on the time grid its paper recommends, clipped where its official code clips; the main row of each
file and DDIM on the grid that HSIVI-SM uses, all rows are in the table of samplers.  Scope core runs few rows and
budgets; `make reproduce SCOPE=full EXPERIMENTS=digits` runs all.
"""

from hsivi.experiment import Experiment
from reports._nfe import draw

EXPERIMENT = "digits"
OUTPUTS = ("figures/figure_nfe_digits.png", "figures/figure_nfe_digits.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, "fd_digits_classifier", "Fréchet distance\n(fd_digits_classifier)", "figure_nfe_digits")
