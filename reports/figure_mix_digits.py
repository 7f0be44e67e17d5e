"""iDDIM's m on digits: Fréchet distance against the share of the step that starts again from x_T.

m = 0 is DDIM, m = 1 the radical ensemble model.  Lines are means over seeds, bands one standard deviation over seeds;
a circle marks the best m of a budget, which the legend names.  The paper claims that the best m falls as the number
of evaluations grows (its Table 1, on CIFAR-10, drawn at the right; among other m it prints 0.6 as the best at 10,
with 8.24).  Both readings of the rest of the step are shown, see the ring.  The Fréchet distance is on the features
of a classifier of these digits; it is not an FID.
"""

from hsivi.experiment import Experiment
from reports._mix import draw

EXPERIMENT = "digits"
INPUTS = ("claims/claims.csv",)
SCOPE = "full"
OUTPUTS = ("figures/figure_mix_digits.png", "figures/figure_mix_digits.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, "fd_digits_classifier", "Fréchet distance\n(fd_digits_classifier)", "figure_mix_digits")
