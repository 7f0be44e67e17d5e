"""Figure 4: how HSIVI-SM moves samples towards the target, with the critic's estimate of the score.

Panels show x_9, x_7, x_5 and x_0 of ten layers as in the paper (the nearest layers where fewer are trained).  Arrows
are the critic's estimate of grad log q_t, drawn where samples are.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hsivi.experiment import Experiment
from reports import _style
from reports._records import budgets, cell, samples

EXPERIMENT = "toy2d"
OUTPUTS = ("figures/figure4.png", "figures/figure4.svg")
LABEL = "hsivi_sm"
SHARES = (0.9, 0.7, 0.5, 0.0)


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    datasets = experiment.data.datasets
    figure, axes = plt.subplots(len(datasets), len(SHARES), figsize=(1.9 * len(SHARES), 1.9 * len(datasets)))
    for row, dataset in zip(axes, datasets, strict=True):
        nfe = max(n for n in budgets(experiment, dataset, LABEL) if n <= 10)
        here = cell(experiment, dataset, LABEL, nfe)
        assert here is not None
        stored = samples(here)
        for panel, share in zip(row, SHARES, strict=True):
            t = int(share * nfe + 1e-9)
            x = stored["trajectory"][nfe - t]
            panel.scatter(*x.T, s=0.8, alpha=0.5, color=_style.colour(LABEL), linewidths=0, rasterized=True)
            arrows(panel, stored["field_points"], stored["field_estimate"][t], x)
            _style.bare(panel)
            panel.set_title(f"$x_{{{t}}}$ (T = {nfe})")
        row[0].set_ylabel(dataset)
    _style.save(figure, scale, "figure4")


def arrows(panel: Any, points: NDArray[Any], field: NDArray[Any], x: NDArray[Any]) -> None:
    """Draw a field's directions at the grid points that lie within a grid step of a sample; lengths are damped."""
    step = np.unique(points[:, 0])[1] - np.unique(points[:, 0])[0]
    near = (np.abs(points[:, None] - x[None]).max(-1) < step / 2).any(1)
    length = np.linalg.norm(field, axis=1, keepdims=True)
    shown = (field / np.maximum(length, 1e-12) * np.tanh(length / np.median(length)))[near]
    panel.quiver(*points[near].T, *shown.T, color="0.15", width=0.006, scale=16, zorder=3)
