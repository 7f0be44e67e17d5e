"""Figure 2: samples of single-layer and five-layer methods on the ring of Gaussians.

Light blue: draws of the target.  Large panels show 4,000 samples of one set of the first seed, whichever it is (fewer
at smoke scale); the small ones below show every seed, by number.  HSIVI with the geometric bridge.  UIVI is not
in the paper's figure.  Where the paper's recipe was run as printed, it stands below ours.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hsivi import methods
from hsivi.data.mixture import Mixture
from hsivi.experiment import Experiment
from reports import _style
from reports._records import budgets, cell, outcome, samples, title

EXPERIMENT = "mixture"
OUTPUTS = ("figures/figure2.png", "figures/figure2.svg")
LABELS = ("sivi_lb", "sivi_sm", "hsivi_lb", "hsivi_sm", "uivi")
AS_PRINTED = ("sivi_lb-paper", "sivi_sm-paper", "hsivi_lb-paper", "hsivi_sm-paper", None)
EXTENT = 14.0
TARGET = "#BFD9EC"
Array = NDArray[Any]


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    (dataset,), seeds = experiment.data.datasets, experiment.seeds
    target = Mixture.ring().draw(min(experiment.num_samples, _style.DOTS), "figure 2")
    dot, below = min(3.0, 3500 / len(target)), 1.25 / max(len(seeds), 3)
    rows = methods.rows(experiment)
    blocks = [LABELS, *([AS_PRINTED] if any(label in rows for label in AS_PRINTED) else [])]
    size, ratios = (2.1 * len(LABELS), len(blocks) * (2.3 + 2.1 * below)), (1, below) * len(blocks)
    figure, axes = plt.subplots(
        2 * len(blocks), len(LABELS), figsize=size, height_ratios=ratios, layout="constrained", squeeze=False
    )
    places = [place for block in range(len(blocks)) for place in axes[2 * block : 2 * block + 2].T]
    for (large, strip), label in zip(places, [label for block in blocks for label in block], strict=True):
        if not label:
            large.axis("off")
            strip.axis("off")
            continue
        known = budgets(experiment, dataset, label)
        here = cell(experiment, dataset, label, max(known)) if known else None
        stored = samples(here) if here is not None else {}
        large.set_title(title(experiment, label) + (f"\nT = {here.nfe}" if here is not None else ""))
        strip.axis("off")
        if "samples" in stored:
            scatter(large, target, label, stored["samples"][0, 0, : _style.DOTS], dot)
            every_seed(strip, target, label, stored["samples"][:, 0, : _style.DOTS], dot / 4, seeds)
        else:
            large.scatter(*target.T, s=dot, color=TARGET, linewidths=0, rasterized=True)
            large.text(0, 0, "not run\nat this scale" if here is None else outcome(here), ha="center", va="center")
        _style.bare(large, EXTENT)
    _style.save(figure, scale, "figure2")


def scatter(panel: Any, target: Array, label: str, x: Array, size: float) -> None:
    """Draw samples over the target's."""
    panel.scatter(*target.T, s=size, color=TARGET, linewidths=0, rasterized=True)
    panel.scatter(*x.T, s=size, alpha=0.6, color=_style.colour(label), linewidths=0, rasterized=True)


def every_seed(panel: Any, target: Array, label: str, x: Array, size: float, seeds: tuple[int, ...]) -> None:
    """Draw the samples of all seeds, shape (seeds, n, 2), side by side."""
    side = 2.3 * EXTENT
    for k, (seed, own) in enumerate(zip(seeds, x, strict=True)):
        shift = np.array([k * side, 0.0])
        scatter(panel, target + shift, label, own + shift, size)
        panel.text(k * side, -EXTENT, f"{seed}", fontsize=6, ha="center", va="top")
    panel.set(xlim=(-EXTENT, EXTENT + (len(seeds) - 1) * side), ylim=(-1.5 * EXTENT, EXTENT), aspect="equal")
