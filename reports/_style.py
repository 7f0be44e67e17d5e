"""What all figures share: one colour a method everywhere, sizes, what to say where nothing was run, and saving."""

import io
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.writing import whole_or_not_at_all

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
    "fastdpm": "#56B4E9",
    "analytic_ddpm": "#661100",
    "analytic_ddim": "#C9A400",
    "dpm_solver_fast": "#AA3377",
    "dpm_solver": "#F2A0C0",
    "dpm_solver_multistep": "#332288",
    "iddim": "#4D4D4D",
}
OTHERS = ("#AA4499", "#EE8866", "#BBCC33", "#77AADD")
# As the second sign of a sampler, for eyes and printers without colours.
MARKERS = {
    "hsivi_sm": "*",
    "ddim": "o",
    "ddpm": "s",
    "fastdpm": "^",
    "analytic_ddpm": "D",
    "analytic_ddim": "d",
    "dpm_solver_fast": "v",
    "dpm_solver": "<",
    "dpm_solver_multistep": ">",
    "iddim": "P",
}

DOTS = 4000
"""Most samples in a panel of dots: more look the same, and what figures show is published."""


def colour(label: str) -> str:
    """Return a method's colour; methods without one of their own share four by name."""
    base = label.partition("-")[0]
    return COLOURS.get(base, OTHERS[sum(map(ord, base)) % len(OTHERS)])


def marker(label: str) -> str:
    """Return a sampler's marker; those without one of their own share one."""
    return MARKERS.get(label.partition("-")[0], "X")


def start() -> None:
    """Set sizes and make output reproducible."""
    mpl.use("Agg")
    sns.set_theme(style="white", context="paper", font_scale=1.0)
    mpl.rcParams.update({"svg.hashsalt": "hsivi", "figure.dpi": 130})


def save(figure: Figure, scale: str, name: str) -> None:
    """Write reports/<scale>/figures/<name>.png and .svg, marked where the scale is only a trial."""
    if scale == "smoke":
        figure.text(
            0.5, 0.5, "smoke scale", fontsize=36, color="0.85", ha="center", va="center", rotation=20, zorder=-1
        )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once; saving would do so twice for each format
    extent = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
    folder = layout.reports(scale) / "figures"
    with whole_or_not_at_all(folder / f"{name}.svg") as path:
        figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches=extent)
    with whole_or_not_at_all(folder / f"{name}.png") as path:
        _opaque(figure, extent).save(path, format="png", dpi=(figure.dpi, figure.dpi))
    plt.close(figure)


def _opaque(figure: Figure, extent: Bbox) -> Image.Image:
    """Draw a figure without the channel of opacity, which makes PNG files larger for nothing."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches=extent, pil_kwargs={"compress_level": 0})
    return Image.open(drawn).convert("RGB")


def bare(axes: Any, extent: float | None = 2.4) -> None:
    """Strip an axis of ticks, and frame the standardised plane."""
    axes.set(xticks=[], yticks=[])
    if extent is not None:
        axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")


def absent(panel: Any, experiment: Experiment, outcome: str | None = None) -> None:
    """Say in an empty panel that its rows declined or failed, or that they were not run and what runs them."""
    scale = "quick" if experiment.scale == "smoke" else experiment.scale
    words = (
        f"not run in scope {experiment.scope} at scale {experiment.scale};\nrun it with\n\n"
        f"make reproduce SCALE={scale}\nSCOPE=full EXPERIMENTS={experiment.name}"
    )
    place = {"ha": "center", "va": "center", "transform": panel.transAxes}
    panel.text(0.5, 0.5, outcome or words, fontsize=7, **place)
    panel.set(xticks=[], yticks=[])
