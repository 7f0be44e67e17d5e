"""Quality against NFE on the ring: js_cell of the samplers with an exact score.

Lines are means over seeds, bands (often narrower than the line) are one standard deviation over seeds.  Dotted: draws
of the target, with their standard deviation in grey.  The vertical axis is linear below the thin grey line, where
js_cell cannot be told from zero, and logarithmic above it; so is the horizontal one, with a tick at every budget.
Protocol common: every method on the time grid its paper recommends, the main row of each file; all rows are in the
table of samplers.  A row that does not apply here is declined.  Scope core runs few rows and budgets; `make reproduce
SCOPE=full EXPERIMENTS=ring` runs all.
"""

from hsivi.experiment import Experiment
from reports._nfe import draw

EXPERIMENT = "ring"
OUTPUTS = ("figures/figure_nfe_ring.png", "figures/figure_nfe_ring.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, "js_cell", "js_cell (nats)", "figure_nfe_ring")
