"""Burn-in of the Langevin chains: when they have forgotten where they started.

Chains start at the base distribution N(y, sigma^2 I).  Left: marginal variances over those of the final states, mean
over coordinates.  Right: root mean square error of the mean, in standard deviations of the truth.  Dotted: what as many
independent draws as there are chains give.  Only states after the vertical line are used.
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
    right.axhline(data.chains**-0.5, color="0.4", linestyle=":")
    # The relative error of a variance from n draws is sqrt(2 / n); the mean over coordinates is more accurate.
    left.axhline((2 / data.chains) ** 0.5, color="0.4", linestyle=":")
    for panel, label in ((left, "|variance ratio - 1|"), (right, "error of the mean")):
        panel.axvline(data.burn_in, color="#D55E00")
        panel.set(xscale="log", yscale="log", xlabel="iteration", ylabel=label)
    _style.save(figure, scale, "figure_burn_in")
