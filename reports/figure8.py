"""Figure 8: how five layers with the diffusion bridge move samples to the ring of Gaussians.

Panels show x_4, ..., x_0 of the first seed, the same samples from left to right.  Grey: the density p_t that each
layer is to reach, alpha_t = 1 - t / T, at one and two standard deviations of a mode.
"""

import matplotlib.pyplot as plt
import numpy as np

from hsivi.data.mixture import Mixture
from hsivi.experiment import Experiment
from reports import _style
from reports._records import budgets, cell, outcome, samples, title
from reports.figure1 import EXTENT, density, diffused, grid

EXPERIMENT = "mixture"
OUTPUTS = ("figures/figure8.png", "figures/figure8.svg")
LABELS = ("hsivi_lb-diffusion", "hsivi_sm-diffusion")
STEPS = 5
LEVELS = np.exp(-0.5 * np.array([2.0, 1.0]) ** 2)
"""Contours, as shares of the peak: two and one standard deviations of a Gaussian."""


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    (dataset,), target = experiment.data.datasets, Mixture.ring()
    figure, axes = plt.subplots(len(LABELS), STEPS, figsize=(1.9 * STEPS, 4.1), layout="constrained")
    for row, label in zip(axes, LABELS, strict=True):
        known = budgets(experiment, dataset, label)
        here = cell(experiment, dataset, label, max(known)) if known else None
        trajectory = samples(here).get("trajectory") if here is not None else None
        steps = len(trajectory) - 1 if trajectory is not None else STEPS
        for panel, t in zip(row, reversed(range(STEPS)), strict=True):
            _style.bare(panel, EXTENT)
            if t >= steps:
                panel.axis("off")
                continue
            alpha = 1 - t / steps
            panel.set_title(f"$x_{t}$,  $\\alpha_{t} = {alpha:.1f}$")
            if trajectory is None:
                panel.text(0, 0, "not run\nat this scale" if here is None else outcome(here), ha="center", va="center")
                continue
            # Contours at fixed shares of each density's own peak: circles, one pair a mode, where modes are apart.
            values = density(lambda x, alpha=alpha: diffused(target, alpha, x))
            places = np.moveaxis(grid(len(values)), -1, 0)
            panel.contour(*places, values, values.max() * LEVELS, colors="0.7", linewidths=0.6)
            x = trajectory[steps - t]
            panel.scatter(*x.T, s=1.2, alpha=0.6, color=_style.colour(label), linewidths=0, rasterized=True)
        row[0].set_ylabel(title(experiment, label).partition(",")[0])
    _style.save(figure, scale, "figure8")
