"""Blow-up: DPM-Solver-fast with five evaluations on the ring, next to its relatives.

Panels: samples of the first seed; outside of the circles, four standard deviations about the modes, a sample is off
all modes.  A panel that samples leave is drawn at a scale of its own, which the circles show.  Titles give the
largest |x| and the share off all modes.  Right: root mean square of |x| after each evaluation; the ring has variance
one on each axis, so the right value is sqrt(2) at every noise level (dotted).

Why.  At 5 evaluations DPM-Solver-fast is a step of order 3 and one of order 2, each 4.83 long in half log-SNR, across
which signal over noise grows 125-fold.  The factors of the first are large, 97 on the noise predicted at its start
and 29 on the change up to its last inner level, but that noise changes by 0.02 (root mean square) only, and no sample
leaves the right range.  The last step fails.  Its inner level, reached by one DDIM step, has noise of standard
deviation 0.11; the state there is off by 0.4, a multiple of that noise, so the noise predicted next is far too large:
it differs by 2.5 from the one before, and the step adds 1.24 times this difference.  Started from the exact state
instead, the last step alone ends as far out (median |x| 3.7, right: 1.4).  DPM-Solver-2, with steps two thirds as
long, overshoots likewise in its second step of order 2 (to 2.4 times the right size); its last step, of order 1,
brings most of that back.  Order alone is not what fails: with the same steps as DPM-Solver-fast in terms of the
denoised point, which is bounded by the data (DPM-Solver++), no sample comes out beyond |x| = 1.7.  DPM-Solver's own
tables begin at 10 evaluations, where steps are short enough.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hsivi import layout
from hsivi.data.mixture import Mixture
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.metrics.mixture import OFF_RADIUS
from hsivi.record import read_record
from reports import _style
from reports._records import cell, outcome, samples, title

EXPERIMENT = "ring"
OUTPUTS = ("figures/figure_blow_up.png", "figures/figure_blow_up.svg")
LABELS = ("dpm_solver_fast", "dpm_solver", "dpm_solver_multistep", "ddim")
BUDGETS = (5, 10)
EXTENT = 2.4
Array = NDArray[np.float64]


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    (ring,) = experiment.data.datasets
    columns = len(LABELS) + 1
    size = (2.3 * columns + 0.8, 2.6 * len(BUDGETS))
    figure, axes = plt.subplots(
        len(BUDGETS), columns, figsize=size, width_ratios=[1] * len(LABELS) + [1.35], layout="constrained"
    )
    for row, nfe in zip(axes, BUDGETS, strict=True):
        for panel, label in zip(row[:-1], LABELS, strict=True):
            here, name = cell(experiment, ring, label, nfe), title(experiment, label)
            stored = samples(here) if here is not None else {}
            if here is None or "samples" not in stored:
                panel.set_title(name, fontsize=8)
                _style.absent(panel, experiment, outcome(here) if here is not None else None)
                continue
            x = stored["samples"][0, 0].astype(np.float64)
            scatter(panel, x, label)
            panel.set_title(f"{name}\nlargest |x| {np.linalg.norm(x, axis=-1).max():.1f}, {off(here)}", fontsize=8)
            sizes(row[-1], stored["trajectory"].astype(np.float64), label, name)
        row[0].set_ylabel(f"NFE {nfe}")
        frame(row[-1], experiment)
    _style.save(figure, scale, "figure_blow_up")


def scatter(panel: Any, x: Array, label: str) -> None:
    """Draw samples and the modes, in the plane of the ring or, where samples leave it, a larger one."""
    ring = Mixture.unit_ring()
    wide = 2 * OFF_RADIUS * np.sqrt(ring.variances)
    modes = EllipseCollection(
        wide, wide, np.zeros_like(wide), units="xy", offsets=ring.means, offset_transform=panel.transData
    )
    modes.set(facecolor="none", edgecolor="0.3", linewidth=0.5, zorder=3)
    panel.scatter(*x.T, s=1.0, alpha=0.4, color=_style.colour(label), linewidths=0, rasterized=True)
    panel.add_collection(modes)
    _style.bare(panel, EXTENT if np.abs(x).max() < 1.5 * EXTENT else 1.05 * np.abs(x).max())


def off(here: Cell) -> str:
    """Return the share off all modes in the first seed's record, in words."""
    measured = read_record(layout.CellFiles(here).record).measurements
    share = next(m.value for m in measured if m.metric == "off_mode")
    return f"off all modes {100 * share:.1f} %"


def sizes(panel: Any, path: Array, label: str, name: str) -> None:
    """Draw the root mean square of |x| against the number of evaluations; path (steps + 1, n, 2)."""
    size = np.sqrt(np.square(path).sum(-1).mean(-1))
    panel.plot(
        size, color=_style.colour(label), marker=_style.marker(label), markersize=4, linewidth=1.1, label=name, zorder=3
    )


def frame(panel: Any, experiment: Experiment) -> None:
    """Set the axes of the panel of sizes."""
    if not panel.get_lines():
        _style.absent(panel, experiment)
        return
    panel.axhline(np.sqrt(2), color="black", linestyle=":", linewidth=0.9, zorder=1)
    panel.set(xlabel="evaluations", ylabel="root mean square of |x|", ylim=(0, None))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.tick_params(left=True, bottom=True, length=2)
    panel.legend(fontsize=6, frameon=False)
