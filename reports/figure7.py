"""Figure 7: HSIVI-SM with few layers fails on the checkerboard.

Samples (orange) and the arrows of f = S - g at the last layer, the difference between the target's score and the
critic's estimate of the model's: where arrows are long, samples are still to be moved.  The paper does not state its T.
"""

import matplotlib.pyplot as plt

from hsivi.experiment import Experiment
from reports import _style
from reports._records import budgets, cell, samples
from reports.figure4 import arrows

EXPERIMENT = "toy2d"
OUTPUTS = ("figures/figure7.png", "figures/figure7.svg")
LABEL = "hsivi_sm"
DATASET = "checkerboard"


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    counts = budgets(experiment, DATASET, LABEL)
    figure, axes = plt.subplots(1, len(counts), figsize=(2.6 * len(counts), 2.6), squeeze=False)
    for panel, nfe in zip(axes[0], counts, strict=True):
        here = cell(experiment, DATASET, LABEL, nfe)
        assert here is not None
        stored = samples(here)
        x = stored["samples"][0, 0, : _style.DOTS]
        panel.scatter(*x.T, s=0.4, alpha=0.5, color="#E69F00", linewidths=0, rasterized=True)
        arrows(panel, stored["field_points"], stored["field_target"][0] - stored["field_estimate"][0], x)
        _style.bare(panel)
        panel.set_title(f"T = {nfe}")
    _style.save(figure, scale, "figure7")
