"""Figure 9: the posterior of the conditioned diffusion, by SIVI-LB and HSIVI-LB.

Bands: mean ± 1.96 standard deviations at each time, from all samples (100,000; fewer at smaller scales); thin lines:
empirical 2.5 and 97.5 % quantiles of 2,000 of them.  Dotted: the ground truth's band.  First seed, whichever it is.
"""

from hsivi.experiment import Experiment
from reports import _bands

EXPERIMENT = "conditioned_diffusion"
OUTPUTS = ("figures/figure9.png", "figures/figure9.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _bands.draw(scale, experiment, "figure9", "hsivi_lb", "LB")
