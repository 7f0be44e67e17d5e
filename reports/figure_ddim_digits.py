"""DDIM's operations on digits: consistency in x_T, reconstruction, interpolation.

Top left: the first ten samples with different numbers of evaluations (NFE), every column from one x_T.  Top right:
ten images and, below, what becomes of them when they are encoded to x_T and decoded again.  Bottom left: samples from
eleven x_T on the arc between two draws, a row a pair, with the largest number of evaluations.  Bottom right: mean
squared difference per pixel (in [-1, 1]) between 64 images and their reconstructions, and between samples and those
of the largest number of evaluations from the same x_T; bars are one standard error over images, both axes are
logarithmic.  First seed, uncurated.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hsivi.experiment import Experiment
from reports import _style
from reports._ddim import Runs, curves, runs
from reports._image_grid import GAP

EXPERIMENT = "digits"
OUTPUTS = ("figures/figure_ddim_digits.png", "figures/figure_ddim_digits.svg")
COLUMNS = 10


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    (digits,) = experiment.data.datasets
    found = runs(experiment, digits)
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 6.4), layout="constrained")
    curves(axes[1, 1], experiment, found)
    for panel, (title, names, rows) in zip(axes.flat, images(found), strict=False):
        if rows:
            panel.set_title(title, fontsize=9)
            strips(panel, names, rows)
        else:
            _style.absent(panel, experiment)
    _style.save(figure, scale, "figure_ddim_digits")


def images(found: Runs) -> list[tuple[str, list[str], list[NDArray[Any]]]]:
    """Return the panels of images: a title, and rows of images with their names."""
    decoded = {nfe: stored for nfe, stored in found.items() if "reconstruction_decoded" in stored}
    between = [stored["interpolation"] for _, stored in sorted(found.items()) if "interpolation" in stored][-1:]
    names = [f"NFE {nfe}" for nfe in found]
    return [
        ("samples from the same $x_T$", names, [s["samples"][0, 0, :COLUMNS] for s in found.values()]),
        (
            "images, encoded and decoded",
            ["images", *(f"NFE {nfe}" for nfe in decoded)],
            [s["reconstruction_original"][:COLUMNS] for s in decoded.values()][:1]
            + [s["reconstruction_decoded"][:COLUMNS] for s in decoded.values()],
        ),
        (f"between two $x_T$, NFE {max(found, default='')}", [], [row for pairs in between for row in pairs]),
    ]


def strips(panel: Any, names: Sequence[str], rows: Sequence[NDArray[Any]]) -> None:
    """Draw rows of images (n, 1, height, width), with their names on the left."""
    framed = np.pad(np.clip(np.stack(rows)[:, :, 0], -1, 1), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=GAP)
    height = framed.shape[2]
    sheet = framed.transpose(0, 2, 1, 3).reshape(len(rows) * height, -1)
    panel.imshow(sheet, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    panel.set(xticks=[])
    panel.set_yticks([(k + 0.5) * height - 0.5 for k in range(len(names))], names, fontsize=8)
    if not names:
        panel.set(yticks=[])
