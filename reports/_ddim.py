"""DDIM's operations on stored arrays: what the figures on 2-D data, the ring and digits share.

consistency: samples of several budgets from one x_T.  reconstruction: data encoded to x_T and decoded again.
interpolation: samples from the arc between two x_T.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.record import read_record
from reports import _style
from reports._records import budgets, cell, samples

LABEL = "ddim"
RECONSTRUCTION, CONSISTENCY = "data, encoded and decoded", "samples, to those of the largest NFE"
JOINED = 60
"""Samples whose places at all budgets are joined."""
TARGET = "0.85"
Runs = Mapping[int, Mapping[str, NDArray[Any]]]


def runs(experiment: Experiment, dataset: str) -> Runs:
    """Return DDIM's arrays by budget.  All begin at one level: budgets on another time grid are left out."""
    found, grids = {}, []
    for nfe in budgets(experiment, dataset, LABEL):
        here = cell(experiment, dataset, LABEL, nfe)
        assert here is not None
        grids.append(read_record(layout.CellFiles(here).record).time_grid)
        if grids[-1] == grids[0] and "samples" in (stored := samples(here)):
            found[nfe] = stored
    return found


def errors(found: Runs) -> pd.DataFrame:
    """Return mean squared differences per dimension, one row a point: nfe, what, value."""
    last = max(found, default=0)
    parts = []
    for nfe, stored in found.items():
        pairs = {CONSISTENCY: (stored["samples"][0, 0], found[last]["samples"][0, 0])} if nfe < last else {}
        if "reconstruction_decoded" in stored:
            pairs[RECONSTRUCTION] = (stored["reconstruction_decoded"], stored["reconstruction_original"])
        for what, (x, y) in pairs.items():
            value = np.square(x.astype(np.float64) - y).reshape(len(x), -1).mean(1)
            parts.append(pd.DataFrame({"nfe": nfe, "what": what, "value": value}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["nfe", "what", "value"])


def curves(panel: Any, experiment: Experiment, found: Runs) -> None:
    """Draw errors against NFE with bars of one standard error over points, both axes logarithmic."""
    table = errors(found)
    if table.empty:
        _style.absent(panel, experiment)
        return
    sns.lineplot(
        table,
        x="nfe",
        y="value",
        hue="what",
        style="what",
        palette={RECONSTRUCTION: _style.colour(LABEL), CONSISTENCY: "0.35"},
        markers={RECONSTRUCTION: "o", CONSISTENCY: "s"},
        dashes=False,
        errorbar="se",
        err_style="bars",
        ax=panel,
    )
    panel.set(xscale="log", xlabel="NFE", ylabel="mean squared difference\nper dimension")
    if len(found) > 1:
        panel.set_yscale("log")
    else:
        panel.set_ylim(0, 1.5 * panel.get_ylim()[1])
    panel.set_xticks(list(found), [str(nfe) for nfe in found])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.tick_params(left=True, bottom=True, length=2)
    panel.legend(title=None, fontsize=7, frameon=False)


def plane(scale: str, experiment: Experiment, name: str) -> None:
    """Draw a row for each 2-D data set: consistency, interpolation and errors."""
    _style.start()
    datasets = experiment.data.datasets
    size = (9.2, 2.75 * len(datasets) + 0.3)
    figure, axes = plt.subplots(len(datasets), 3, figsize=size, squeeze=False, layout="constrained")
    for row, dataset in zip(axes, datasets, strict=True):
        found = runs(experiment, dataset)
        curves(row[2], experiment, found)
        row[0].set_ylabel(dataset)
        if not found:
            for panel in row[:2]:
                _style.absent(panel, experiment)
            continue
        for panel in row[:2]:
            target(panel, experiment, dataset)
        joined(row[0], found)
        row[0].set_title(f"same $x_T$, NFE {', '.join(map(str, found))}", fontsize=8)
        paths(row[1], experiment, found[max(found)])
        row[1].set_title(f"between two $x_T$, NFE {max(found)}", fontsize=8)
        row[2].set_title("error against NFE", fontsize=8)
    _style.save(figure, scale, name)


def target(panel: Any, experiment: Experiment, dataset: str) -> None:
    """Draw points of the target, below everything else."""
    here = cell(experiment, dataset, "reference", 0)
    stored = samples(here) if here is not None else {}
    if "samples" in stored:
        panel.scatter(*stored["samples"][0, 0, : _style.DOTS].T, s=0.6, color=TARGET, linewidths=0, rasterized=True)
    _style.bare(panel)


def joined(panel: Any, found: Runs) -> None:
    """Draw places of the same samples, darker with more evaluations, joined by lines."""
    places = np.stack([stored["samples"][0, 0, :JOINED] for stored in found.values()])
    panel.plot(*places.transpose(2, 0, 1), color="0.5", linewidth=0.5, zorder=2)
    for colour, x in zip(sns.light_palette(_style.colour(LABEL), len(found) + 1)[1:], places, strict=True):
        panel.scatter(*x.T, s=7, color=colour, linewidths=0, zorder=3)


def paths(panel: Any, experiment: Experiment, stored: Mapping[str, NDArray[Any]]) -> None:
    """Draw interpolations, each in a colour, with rings at their ends."""
    if "interpolation" not in stored:
        _style.absent(panel, experiment)
        return
    between = stored["interpolation"]
    for colour, path in zip(sns.color_palette("colorblind", len(between)), between, strict=True):
        panel.plot(*path.T, color=colour, linewidth=0.9, marker="o", markersize=2.5, zorder=2)
        panel.scatter(*path[[0, -1]].T, s=28, facecolors="none", edgecolors=[colour], linewidths=1.2, zorder=3)
