"""Digits: samples of every method at equal noise (the arrangement of the paper's Figures 5 and 11).

The n-th image of every panel starts from the same x_T.  Images are uncurated: the first 36 of the first seed.
"""

from hsivi import methods
from hsivi.experiment import Experiment
from reports._image_grid import panels
from reports._records import core

EXPERIMENT = "digits"
OUTPUTS = ("figures/figure_digits.png", "figures/figure_digits.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    experiment = core(experiment)
    cells = [c for c in methods.cells(experiment) if c.label != "prior"]
    panels(scale, experiment, sorted(cells, key=lambda c: (c.nfe, c.label)), "figure_digits")
