"""What all figures share: one colour a method everywhere, sizes, and saving as PNG and SVG."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from hsivi import layout

# From Okabe and Ito's and Tol's palettes, which colour-blind readers can tell apart.
COLOURS = {
    "reference": "#000000",
    "hsivi_sm": "#0072B2",
    "ddim": "#D55E00",
    "ddpm": "#009E73",
    "prior": "#999999",
    "base": "#999999",
    "hsivi_lb": "#E69F00",
    "sivi_sm": "#882255",
    "sivi_lb": "#CC79A7",
    "uivi": "#117733",
    "gaussian_vi": "#44AA99",
    "laplace": "#999933",
}
OTHERS = ("#56B4E9", "#F0E442", "#AA4499", "#332288")


def colour(label: str) -> str:
    """Return a method's colour; methods without one of their own share four by name."""
    base = label.partition("-")[0]
    return COLOURS.get(base, OTHERS[sum(map(ord, base)) % len(OTHERS)])


def start() -> None:
    """Set sizes and make output reproducible."""
    mpl.use("Agg")
    sns.set_theme(style="white", context="paper", font_scale=1.0)
    mpl.rcParams.update({"svg.hashsalt": "hsivi", "savefig.bbox": "tight", "figure.dpi": 130})


def save(figure: Figure, scale: str, name: str) -> None:
    """Write reports/<scale>/figures/<name>.png and .svg, marked where the scale is only a trial."""
    if scale == "smoke":
        figure.text(
            0.5, 0.5, "smoke scale", fontsize=36, color="0.85", ha="center", va="center", rotation=20, zorder=-1
        )
    for ending in ("png", "svg"):
        path = layout.reports(scale) / "figures" / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        metadata: dict[str, Any] = {"Date": None} if ending == "svg" else {"Software": None}
        figure.savefig(partial, format=ending, metadata=metadata)
        Path(partial).replace(path)


def bare(axes: Any, extent: float | None = 2.4) -> None:
    """Strip an axis of ticks, and frame the standardised plane."""
    axes.set(xticks=[], yticks=[])
    if extent is not None:
        axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
