"""Figure 3: the posterior of the conditioned diffusion, by SIVI-SM and HSIVI-SM.

Bands: mean ± 1.96 standard deviations at each time, from all samples (100,000; fewer at smaller scales); thin lines:
empirical 2.5 and 97.5 % quantiles of 2,000 of them.  Dotted: the ground truth's band.  First seed, whichever it is.
"""

from hsivi.experiment import Experiment
from reports import _bands

EXPERIMENT = "conditioned_diffusion"
OUTPUTS = ("figures/figure3.png", "figures/figure3.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _bands.draw(scale, experiment, "figure3", "hsivi_sm", "SM")
