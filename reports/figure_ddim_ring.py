"""DDIM's operations on the ring: consistency in x_T, interpolation, reconstruction.

Left: where DDIM takes the same 60 x_T with few evaluations (light) and with more (dark), joined by lines; grey: draws
of the target.  Middle: samples from eleven x_T on the arc between two draws, rings at its ends, with the largest
number of evaluations.  Right: mean squared difference between 64 points of the data and what becomes of them, encoded
to x_T and decoded again, and between samples and those of the largest number of evaluations from the same x_T; bars
are one standard error over points, both axes are logarithmic.  First seed.  The paper's formula for the arc is for
x_T of about equal norm; in the plane, between nearly opposite x_T of unequal norm, it passes through large |x| and
samples leave the target.
"""

from hsivi.experiment import Experiment
from reports._ddim import plane

EXPERIMENT = "ring"
OUTPUTS = ("figures/figure_ddim_ring.png", "figures/figure_ddim_ring.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    plane(scale, experiment, "figure_ddim_ring")
