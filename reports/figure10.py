"""Figure 10: samples of every method with few steps on the four 2-D data sets.

One row a data set; the first panel is the target.  4,000 samples a panel (fewer at smoke scale), from equal x_T.
"""

import matplotlib.pyplot as plt

from hsivi import methods
from hsivi.experiment import Experiment
from reports import _style
from reports._records import budgets, cell, core, outcome, samples, title

EXPERIMENT = "toy2d"
OUTPUTS = ("figures/figure10.png", "figures/figure10.svg")
CONTROLS = ("prior", "reference")
ORDER = ("ddpm", "ddim")
"""Shown first; other methods follow by name, ours last."""


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    experiment = core(experiment)
    datasets = experiment.data.datasets
    labels = sorted(set(methods.rows(experiment)) - set(CONTROLS), key=_rank)
    columns = [("reference", 0)] + [
        (label, nfe) for nfe in experiment.nfe for label in labels if nfe in budgets(experiment, datasets[0], label)
    ]
    figure, axes = plt.subplots(
        len(datasets), len(columns), figsize=(1.6 * len(columns), 1.6 * len(datasets)), squeeze=False
    )
    for row, dataset in zip(axes, datasets, strict=True):
        for panel, (label, nfe) in zip(row, columns, strict=True):
            here = cell(experiment, dataset, label, nfe)
            assert here is not None
            stored = samples(here)
            if "samples" in stored:
                x = stored["samples"][0, 0, : _style.DOTS]
                panel.scatter(*x.T, s=0.25, alpha=0.5, color=_style.colour(label), linewidths=0, rasterized=True)
            else:
                panel.text(0, 0, outcome(here), ha="center", va="center")
            _style.bare(panel)
            if dataset == datasets[0]:
                panel.set_title(title(experiment, label) + (f"\nT = {nfe}" if nfe else ""))
        row[0].set_ylabel(dataset)
    _style.save(figure, scale, "figure10")


def _rank(label: str) -> tuple[int, str]:
    if label in ORDER:
        return ORDER.index(label), label
    return len(ORDER) + label.startswith("hsivi_sm"), label
