"""Burn-in of the Langevin chains: when they have forgotten where they started.

Chains start at the base distribution N(y, sigma^2 I) and are compared with Hamiltonian Monte Carlo draws, which they
know nothing of.  Left: marginal variances over those of the draws, mean over coordinates.  Right: root mean square
error of the mean, in standard deviations.  Dotted: what remains where chains and draws differ by their noise only; the
left curve may stay above by the bias of the step size, about h / 4 times the curvature.  States after the vertical line
are used.
"""

import matplotlib.pyplot as plt
import numpy as np

from hsivi import layout
from hsivi.data_config import PosteriorData
from hsivi.experiment import Experiment
from hsivi.record import read_json
from reports import _style

EXPERIMENT = "conditioned_diffusion"
OUTPUTS = ("figures/figure_burn_in.png", "figures/figure_burn_in.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    data = experiment.data
    assert isinstance(data, PosteriorData)
    (dataset,) = data.datasets
    facts = read_json(layout.note(layout.DatasetFiles(scale, experiment.name, dataset).reference))["metadata"]
    curve = facts["burn_in"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    left.plot(curve["iterations"], np.abs(np.subtract(curve["variance_ratio"], 1)), color="#0072B2")
    right.plot(curve["iterations"], curve["mean_rmse"], color="#0072B2")
    for panel, label, key in (
        (left, "|variance ratio - 1|", "variance_ratio"),
        (right, "error of the mean", "mean_rmse"),
    ):
        panel.axhline(curve["noise"][key], color="0.4", linestyle=":")
        panel.axvline(data.burn_in, color="#D55E00")
        panel.set(xscale="log", yscale="log", xlabel="iteration", ylabel=label)
    _style.save(figure, scale, "figure_burn_in")
