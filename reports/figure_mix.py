"""iDDIM's m on the ring: js_cell against the share of the step that starts again from x_T.

m = 0 is DDIM, m = 1 the radical ensemble model.  Lines are means over seeds, bands one standard deviation over seeds;
a circle marks the best m of a budget, which the legend names.  The paper claims that the best m falls as the number
of evaluations grows (its Table 1, on images, drawn at the right; among other m it prints 0.6 as the best at 10, with
8.24).  It leaves open what the rest of the step starts from: the state itself, as its equation (11) reads (mixed
chain), or an unmixed DDIM state, as its Appendix B.2 has it (separate chain, the one that other reports show); at m =
0 and 1 both are one.
"""

from hsivi.experiment import Experiment
from reports._mix import draw

EXPERIMENT = "ring"
INPUTS = ("claims/claims.csv",)
SCOPE = "full"
OUTPUTS = ("figures/figure_mix.png", "figures/figure_mix.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, "js_cell", "js_cell (nats)", "figure_mix")
