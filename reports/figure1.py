"""Figure 1: the bridges that lead to the ring of Gaussians.

Heat maps are densities p_t, each on its own colour scale and normalised on the grid; arrows are scores grad log p_t,
their lengths damped.  Top: geometric bridge, p_t proportional to N(0, I)^(1 - lambda_t) p^(lambda_t) with
lambda_t = 1 - t / 5.  Bottom: diffusion bridge, the law of sqrt(alpha_t) x_0 + sqrt(1 - alpha_t) noise with
alpha_t = 1 - t / 5.  Both lead from the left to the target p_0 = p on the right.  The paper's Figure 1 sketches the
diffusion bridge of a mixture that it does not specify.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hsivi.data.mixture import Mixture
from hsivi.experiment import Experiment
from reports import _style

EXPERIMENT = "mixture"
OUTPUTS = ("figures/figure1.png", "figures/figure1.svg")
STEPS = 5
EXTENT = 14.0
LogDensity = Callable[[NDArray[Any]], NDArray[Any]]


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    _style.start()
    target = Mixture.ring()
    bridges = {
        "geometric bridge": ("lambda", partial(geometric, target)),
        "diffusion bridge": ("alpha", partial(diffused, target)),
    }
    figure, axes = plt.subplots(2, STEPS, figsize=(1.9 * STEPS, 4.1), layout="constrained")
    for row, (name, (symbol, level)) in zip(axes, bridges.items(), strict=True):
        for panel, t in zip(row, reversed(range(STEPS)), strict=True):
            share = 1 - t / STEPS
            log_density = partial(level, share)
            heat_map(panel, density(log_density))
            arrows(panel, log_density)
            _style.bare(panel, EXTENT)
            panel.set_title(f"$p_{t}$,  $\\{symbol}_{t} = {share:.1f}$")
        row[0].set_ylabel(name)
    _style.save(figure, scale, "figure1")


def geometric(target: Mixture, share: float, x: NDArray[Any]) -> NDArray[Any]:
    """Return (1 - share) log N(x; 0, I) + share log p(x), a log-density up to a constant."""
    base = -0.5 * np.square(x).sum(-1) - np.log(2 * np.pi)
    return (1 - share) * base + share * target.log_density(x)


def diffused(target: Mixture, alpha: float, x: NDArray[Any]) -> NDArray[Any]:
    """Return the log-density of sqrt(alpha) x_0 + sqrt(1 - alpha) noise: again a mixture, with unchanged weights."""
    noised = Mixture(alpha**0.5 * target.means, alpha * target.variances + 1 - alpha, target.weights)
    return noised.log_density(x)


def grid(points: int, extent: float = EXTENT) -> NDArray[Any]:
    """Return the centres of points x points equal cells of the square, shape (points, points, 2), rows along y."""
    centres = extent * ((2 * np.arange(points) + 1) / points - 1)
    return np.stack(np.meshgrid(centres, centres), -1)


def density(log_density: LogDensity, points: int = 200) -> NDArray[Any]:
    """Return the density on a grid that covers all its mass, normalised there; shape (points, points)."""
    values = log_density(grid(points))
    shifted = np.exp(values - values.max())
    return np.asarray(shifted / (shifted.sum() * (2 * EXTENT / points) ** 2))


def score(log_density: LogDensity, x: NDArray[Any], step: float = 1e-4) -> NDArray[Any]:
    """Return the gradient of a log-density by central differences, whose error is far below a line's width."""
    moves = step * np.eye(2)
    return np.stack([(log_density(x + move) - log_density(x - move)) / (2 * step) for move in moves], -1)


def heat_map(panel: Any, values: NDArray[Any]) -> None:
    """Draw a density over the square."""
    frame = (-EXTENT, EXTENT, -EXTENT, EXTENT)
    panel.imshow(values, origin="lower", extent=frame, cmap="Blues", vmin=0, interpolation="bilinear")


def arrows(panel: Any, log_density: LogDensity, points: int = 14) -> None:
    """Draw the directions of the scores; lengths are damped, since far from all modes scores are large."""
    places = grid(points).reshape(-1, 2)
    field = score(log_density, places)
    length = np.linalg.norm(field, axis=1, keepdims=True)
    shown = field / np.maximum(length, 1e-12) * np.tanh(length / np.median(length))
    panel.quiver(*places.T, *shown.T, color="0.25", width=0.005, scale=16, headwidth=3.5, headlength=4, pivot="mid")
