"""Figure 10: samples of DDPM, DDIM and HSIVI-SM with few steps on the four 2-D data sets.

One row a data set; the first panel is the target.  10,000 samples a panel (fewer at smoke scale), from equal x_T.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt

from hsivi.config import Experiment
from reports import _style
from reports._records import budgets, cell, samples, title

EXPERIMENT = "toy2d"
OUTPUTS = ("figures/figure10.png", "figures/figure10.svg")
LABELS = ("ddpm", "ddim", "hsivi_sm")


def render(scale: str, experiments: Sequence[Experiment]) -> None:
    """Draw the figure."""
    (experiment,) = (e for e in experiments if e.name == EXPERIMENT)
    _style.start()
    datasets = experiment.data.datasets
    columns = [("reference", 0)] + [
        (label, nfe) for nfe in experiment.nfe for label in LABELS if nfe in budgets(experiment, datasets[0], label)
    ]
    figure, axes = plt.subplots(
        len(datasets), len(columns), figsize=(1.6 * len(columns), 1.6 * len(datasets)), squeeze=False
    )
    for row, dataset in zip(axes, datasets, strict=True):
        for panel, (label, nfe) in zip(row, columns, strict=True):
            here = cell(experiment, dataset, label, nfe)
            assert here is not None
            x = samples(here)["samples"][0, 0]
            panel.scatter(*x.T, s=0.25, alpha=0.5, color=_style.colour(label), linewidths=0, rasterized=True)
            _style.bare(panel)
            if dataset == datasets[0]:
                panel.set_title(title(experiment, label) + (f"\nT = {nfe}" if nfe else ""))
        row[0].set_ylabel(dataset)
    _style.save(figure, scale, "figure10")
