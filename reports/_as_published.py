"""A figure as it was published, where the arrays that it shows are not: the picture, and a line below that says so."""

from pathlib import Path

import matplotlib.pyplot as plt

from reports import _style

NOTE = "as published: the samples shown are not kept in the checkout"
STRIP = 0.2
"""Inches below the picture for the line."""


def draw(scale: str, name: str, picture: Path) -> None:
    """Write a figure that shows a picture, pixel by pixel, and the line."""
    _style.start()
    pixels = plt.imread(picture)
    dpi = plt.rcParams["figure.dpi"]
    height, width = pixels.shape[0] / dpi, pixels.shape[1] / dpi
    figure = plt.figure(figsize=(width, height + STRIP))
    panel = figure.add_axes((0, STRIP / (height + STRIP), 1, height / (height + STRIP)))
    panel.imshow(pixels, interpolation="none", aspect="auto")
    panel.axis("off")
    figure.text(0.5, 0.25 * STRIP / (height + STRIP), NOTE, ha="center", va="bottom", fontsize=7, color="0.3")
    _style.save(figure, scale, name)
