"""Digits: samples of every method at equal noise (the arrangement of the paper's Figures 5 and 11).

The n-th image of every panel starts from the same x_T.  Images are uncurated: the first 36 of the first seed.
"""

import matplotlib.pyplot as plt
import numpy as np

from hsivi import methods
from hsivi.experiment import Experiment
from reports import _style
from reports._records import core, samples, title

EXPERIMENT = "digits"
OUTPUTS = ("figures/figure_digits.png", "figures/figure_digits.svg")
SIDE = 6
GAP = -0.5
"""Grey level between images."""


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    experiment = core(experiment)
    cells = [c for c in methods.cells(experiment) if c.label != "prior"]
    cells.sort(key=lambda c: (c.nfe, c.label))
    wide = min(4, len(cells))
    tall = -(-len(cells) // wide)
    figure, axes = plt.subplots(tall, wide, figsize=(2.5 * wide, 2.7 * tall), squeeze=False)
    for panel in axes.ravel()[len(cells) :]:
        panel.axis("off")
    for panel, cell in zip(axes.ravel(), cells, strict=False):
        stored = samples(cell)
        panel.set_title(title(experiment, cell.label) + (f", T = {cell.nfe}" if cell.nfe else ""))
        _style.bare(panel, None)
        if "samples" not in stored:
            panel.text(0.5, 0.5, "declined", ha="center", va="center", transform=panel.transAxes)
            continue
        images = np.clip(stored["samples"][0, 0, : SIDE * SIDE, 0], -1, 1)
        framed = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=GAP)
        height = framed.shape[1]
        grid = framed.reshape(SIDE, SIDE, height, -1).transpose(0, 2, 1, 3).reshape(SIDE * height, -1)
        panel.imshow(grid, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    _style.save(figure, scale, "figure_digits")
