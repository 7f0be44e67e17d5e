"""Grids of samples: the arrangement of the paper's Figures 5, 11 and 12.

The n-th image of every panel of an experiment starts from the same x_T.  Images are uncurated: the first ones of the
first seed.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hsivi import layout, methods
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.reading import read_arrays
from reports import _style
from reports._blanks import Results, say
from reports._images import facts
from reports._records import outcome, title
from reports._samplers import main_rows

SIDE = 6
GAP = -0.5
"""Grey level between images."""
WIDE = 4
"""Panels side by side."""


def draw(scale: str, experiment: Experiment, budgets: Sequence[int], name: str) -> None:
    """Draw the main row of every sampler at some budgets, after images of the target itself."""
    rows = ["reference", *main_rows(experiment)]
    known = [c for c in methods.cells(experiment) if c.label in rows and c.nfe in (0, *budgets)]
    known.sort(key=lambda c: (c.nfe, rows.index(c.label)))
    panels(scale, experiment, known, name, [nfe for nfe in budgets if nfe not in {c.nfe for c in known}])


def panels(scale: str, experiment: Experiment, cells: Sequence[Cell], name: str, absent: Sequence[int] = ()) -> None:
    """Draw one panel a cell, one for every budget that has none, and say of which size the images are."""
    _style.start()
    count = len(cells) + len(absent)
    wide = min(WIDE, count)
    tall = -(-count // wide)
    figure, axes = plt.subplots(tall, wide, figsize=(2.5 * wide, 2.7 * tall), squeeze=False)
    for panel in axes.ravel()[count:]:
        panel.axis("off")
    for panel, cell in zip(axes.ravel(), cells, strict=False):
        panel.set_title(title(experiment, cell.label) + (f", T = {cell.nfe}" if cell.nfe else ""))
        _style.bare(panel, None)
        show(panel, cell)
    for panel, nfe in zip(axes.ravel()[len(cells) :], absent, strict=False):
        panel.set_title(f"T = {nfe}")
        say(panel, Results.read(scale, [experiment]).why(experiment.name, "hsivi_sm", nfe), 46)
    if said := facts(experiment):
        figure.text(0.5, 0.06, f"Images: {'; '.join(said)}", ha="center", va="top", fontsize=8)
    _style.save(figure, scale, name)


def show(panel: Any, cell: Cell) -> None:
    """Draw a cell's first images, or say that it declined or failed."""
    stored = read_arrays(layout.CellFiles(cell).samples)
    if "samples" not in stored:
        panel.text(0.5, 0.5, outcome(cell), ha="center", va="center", transform=panel.transAxes)
        panel.set_box_aspect(1)
        return
    picture(panel, tiled(stored["samples"][0, 0, : SIDE * SIDE], SIDE))


def picture(panel: Any, image: NDArray[Any]) -> None:
    """Draw values in [-1, 1] of shape (H, W), or (H, W, 3) for colours."""
    if image.ndim == 2:
        panel.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    else:
        panel.imshow((image + 1) / 2, interpolation="nearest")


def tiled(images: NDArray[Any], wide: int) -> NDArray[Any]:
    """Return images of shape (n, C, H, W) as one, row by row, ``wide`` in a row, with a frame around each."""
    shown = np.clip(floating(images), -1, 1)
    framed = np.pad(shown, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=GAP)
    n, channels, height, width = framed.shape
    missing = np.full((-n % wide, channels, height, width), GAP, framed.dtype)
    grid = np.concatenate([framed, missing]).reshape(-1, wide, channels, height, width)
    joined = grid.transpose(0, 3, 1, 4, 2).reshape(-1, wide * width, channels)
    return joined[..., 0] if channels == 1 else joined


def floating(images: NDArray[Any]) -> NDArray[np.float32]:
    """Return images in [-1, 1] whether they are stored as whole numbers in 0..255 or not."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return images.astype(np.float32)
