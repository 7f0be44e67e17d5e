"""Posteriors of a path drawn as bands over time: what Figures 3 and 9 share."""

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hsivi import layout
from hsivi.data.conditioned_diffusion import STEP
from hsivi.experiment import Experiment
from hsivi.reading import Arrays, read_arrays
from reports import _style
from reports._records import budgets, cell, outcome, samples

ZOOM = (1.0, 1.5)
NORMAL_95 = 1.96
QUANTILES = (0.025, 0.975)
DOTS, PATH = "0.3", "#009E73"
Array = NDArray[Any]


@dataclass(frozen=True)
class Posterior:
    """A posterior over paths of d points, as far as a figure shows it.

    Attributes:
        mean: shape (d,).
        sd: marginal standard deviations, shape (d,).
        edges: empirical quantiles at `QUANTILES`, shape (2, d).
    """

    mean: Array
    sd: Array
    edges: Array

    @classmethod
    def of(cls, stored: Arrays, draws: str, place: tuple[int, ...]) -> "Posterior":
        """Read the moments and draws of a file.

        Arguments:
            stored: the file's arrays.
            draws: name of the array of draws, shape (*place, n, d).
            place: which of several sets.
        """
        variances = stored.derived("shown_variances", lambda a: np.diagonal(a["covariance"][place]))
        edges = stored.derived("shown_quantiles", lambda a: np.quantile(a[draws][place], QUANTILES, axis=0))
        return cls(stored["mean"][place], np.sqrt(variances), edges)


def draw(scale: str, experiment: Experiment, name: str, label: str, family: str) -> None:
    """Draw the ground truth, a method with one layer (SIVI) and with the largest number of layers; write the figure.

    Arguments:
        scale: scale of the results.
        experiment: the experiment.
        name: of the figure's files.
        label: row of the method.
        family: name of its objective, "SM" or "LB".
    """
    _style.start()
    (dataset,) = experiment.data.datasets
    files = layout.DatasetFiles(scale, experiment.name, dataset)
    data, reference = read_arrays(files.data), read_arrays(files.reference)
    truth = Posterior.of(reference, "states", ())
    known = budgets(experiment, dataset, label)
    panels: list[tuple[str, str, Posterior | str]] = [("ground truth", "reference", truth)]
    panels.append((f"SIVI-{family}\nT = 1", label.removeprefix("h"), posterior(experiment, dataset, label, 1)))
    if not known or max(known) > 1:
        deepest = max(known, default=5)
        found = posterior(experiment, dataset, label, deepest)
        panels.append((f"HSIVI-{family}\nT = {deepest}", label, found))
    figure, axes = plt.subplots(
        len(panels),
        2,
        figsize=(9.5, 1.75 * len(panels) + 0.6),
        width_ratios=(2.1, 1),
        sharex="col",
        sharey="col",
        layout="constrained",
        squeeze=False,
    )
    time = STEP * (1 + np.arange(len(data["path"])))
    for row, (title, coloured_as, shown) in zip(axes, panels, strict=True):
        for panel in row:
            observed(panel, time, data)
            if isinstance(shown, str):
                panel.text(0.5, 0.5, shown, ha="center", va="center", transform=panel.transAxes)
            else:
                bands(panel, time, shown, _style.colour(coloured_as))
            if shown is not truth:
                edges(panel, time, truth)
        row[0].set_ylabel(title)
        if isinstance(shown, Posterior) and shown is not truth:
            ratio = float(np.sqrt(np.mean(shown.sd**2) / np.mean(truth.sd**2)))
            row[0].set_title(f"band width {ratio:.2f} of the truth's (root mean square)", loc="right", fontsize=8)
    frame(figure, axes, time, truth, data)
    _style.save(figure, scale, name)


def posterior(experiment: Experiment, dataset: str, label: str, nfe: int) -> Posterior | str:
    """Return what the first set of the first seed says, or a word where there is none."""
    here = cell(experiment, dataset, label, nfe)
    if here is None:
        return "not run at this scale"
    stored = samples(here)
    return Posterior.of(stored, "samples", (0, 0)) if "mean" in stored else outcome(here)


def observed(panel: Any, time: Array, data: Arrays) -> None:
    """Draw path and observations, below everything else."""
    panel.scatter(time, data["observations"], s=5, color=DOTS, linewidths=0, alpha=0.55, zorder=1, label="observations")
    panel.plot(time, data["path"], color=PATH, linewidth=1.0, zorder=4, label="true path")


def bands(panel: Any, time: Array, shown: Posterior, colour: str) -> None:
    """Draw mean, mean ± 1.96 standard deviations, and the empirical 2.5 and 97.5 % quantiles."""
    low, high = shown.mean - NORMAL_95 * shown.sd, shown.mean + NORMAL_95 * shown.sd
    panel.fill_between(time, low, high, color=colour, alpha=0.3, linewidth=0, zorder=2, label="95 %: mean ± 1.96 sd")
    for k, quantile in enumerate(shown.edges):
        words = "2.5 and 97.5 % quantiles of samples" if k == 0 else None
        panel.plot(time, quantile, color=colour, linewidth=0.5, zorder=3, label=words)
    panel.plot(time, shown.mean, color=colour, linewidth=1.3, zorder=5, label="mean")


def edges(panel: Any, time: Array, truth: Posterior) -> None:
    """Draw the edges of the true posterior's band."""
    for k, sign in enumerate((-1, 1)):
        words = "95 % of the ground truth" if k == 0 else None
        place = truth.mean + sign * NORMAL_95 * truth.sd
        panel.plot(time, place, color="black", linewidth=0.7, linestyle=(0, (2, 1.5)), zorder=6, label=words)


def frame(figure: Any, axes: Any, time: Array, truth: Posterior, data: Arrays) -> None:
    """Set axes, and one legend for all panels."""
    low, high = min(ZOOM[0], 0.4 * time[-1]), min(ZOOM[1], time[-1])
    inside = (time >= low) & (time <= high)
    band = NORMAL_95 * truth.sd
    values = np.stack([truth.mean - band, truth.mean + band, data["observations"]])[:, inside]
    axes[0, 0].set(xlim=(0, time[-1]))
    axes[0, 1].set(xlim=(low, high), ylim=(values.min() - 0.05, values.max() + 0.05))
    for panel in axes[-1]:
        panel.set_xlabel("time s")
    axes[0, 1].set_title("enlarged", loc="left", fontsize=8)
    for panel in axes.flat:
        panel.tick_params(left=True, bottom=True, length=2)
    handles: dict[str, Any] = {}
    for panel in axes[::-1, 0]:
        found, words = panel.get_legend_handles_labels()
        handles |= {word: handle for word, handle in zip(words, found, strict=True) if word not in handles}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
