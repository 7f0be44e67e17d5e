"""Quality against the number of function evaluations: what the figures of the ring, 2-D data and digits share."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from hsivi.experiment import Experiment
from hsivi.tidy import tidy
from reports import _style
from reports._records import records, title
from reports._samplers import family, main_rows

OURS = "hsivi_sm"
BAND = "0.88"
"""Grey of the band around what the target's own draws give."""


def draw(scale: str, experiment: Experiment, metric: str, axis: str, name: str) -> None:
    """Draw one panel a data set, two side by side, and one legend; ``axis`` says what the metric is."""
    _style.start()
    datasets, made, shown = experiment.data.datasets, records([experiment]), main_rows(experiment)
    wide = min(2, len(datasets))
    tall = -(-len(datasets) // wide)
    size = (3.6 * wide + 2.2, 2.9 * tall + 0.3) if wide > 1 else (7.4, 4.2)
    figure, axes = plt.subplots(tall, wide, figsize=size, squeeze=False, layout="constrained")
    table = tidy(made)
    table = table[table.metric == metric]
    for panel in axes.flat[len(datasets) :]:
        panel.axis("off")
    for panel, dataset in zip(axes.flat, datasets, strict=False):
        here = table[table.dataset == dataset]
        own = here[here.method.isin(shown)]
        if own.empty:
            _style.absent(panel, experiment)
            continue
        target(panel, here)
        lines(panel, own)
        frame(panel, own)
        panel.set(xlabel="", ylabel=axis, title=dataset if wide > 1 else "")
    figure.supxlabel("function evaluations a sample (NFE)", fontsize=9)
    ran = {record.label for record in made if record.status == "ok"}
    absent = {record.label: record.status for record in made if record.label not in ran}
    figure.legend(handles=legend(experiment, shown, absent), loc="outside right upper", frameon=False, fontsize=8)
    _style.save(figure, scale, name)


def target(panel: Any, here: pd.DataFrame) -> None:
    """Draw what the target's own draws give: mean and one standard deviation."""
    draws = here[here.method == "reference"].value
    mean, sd = (draws.mean(), draws.std()) if here.floor.isna().all() else here[["floor", "floor_std"]].iloc[0]
    if np.isfinite(mean):
        panel.axhline(mean, color="black", linewidth=1.0, linestyle=":", zorder=1)
    if np.isfinite(sd):
        panel.axhspan(mean - sd, mean + sd, color=BAND, linewidth=0, zorder=0)


def lines(panel: Any, own: pd.DataFrame) -> None:
    """Draw each row's mean and standard deviation over seeds; points for HSIVI-SM, which is trained for its budget."""
    trained, labels = own.method == OURS, own.method.unique()
    if not trained.all():
        sns.lineplot(
            own[~trained],
            x="nfe",
            y="value",
            hue="method",
            style="method",
            palette={label: _style.colour(label) for label in labels},
            markers={label: _style.marker(label) for label in labels},
            dashes={label: dashes(label) for label in labels},
            errorbar="sd",
            err_style="bars" if own.nfe.nunique() == 1 else "band",
            markersize=5,
            linewidth=1.2,
            legend=False,
            ax=panel,
        )
    ours = own[trained].groupby("nfe").value.agg(["mean", "std"])
    look = {"fmt": _style.marker(OURS), "color": _style.colour(OURS), "markersize": 12, "markeredgecolor": "white"}
    panel.errorbar(ours.index, ours["mean"], ours["std"], elinewidth=1.2, zorder=5, **look)


def dashes(label: str) -> tuple[float, ...] | str:
    """Return a solid line for a family's main row and a dashed one for another."""
    return "" if label == family(label) else (2.0, 1.2)


def frame(panel: Any, own: pd.DataFrame) -> None:
    """Set logarithmic axes with ticks at the budgets; linear near zero where the metric is calibrated to be zero."""
    budgets = sorted(own.nfe.unique())
    panel.set_xscale("log")
    panel.set_xticks(budgets, [str(nfe) for nfe in budgets])
    panel.xaxis.set_minor_locator(NullLocator())
    if own.floor.isna().all():
        panel.set_yscale("log")
    else:
        threshold = 10 ** np.ceil(np.log10(2 * own.floor_std.iloc[0]))
        panel.set_yscale("symlog", linthresh=threshold, linscale=0.6)
        panel.axhline(threshold, color="0.8", linewidth=0.5, zorder=0)
        panel.set_ylim(min(-threshold, 1.2 * own.value.min()), 1.6 * own.value.max())
    panel.tick_params(left=True, bottom=True, length=2)
    panel.tick_params(axis="x", labelsize=7.5)
    panel.grid(visible=True, axis="y", color="0.93", linewidth=0.6)


def legend(experiment: Experiment, shown: list[str], absent: dict[str, str]) -> list[Any]:
    """Return an entry for every row, which says so where it declined or failed, and for the target's draws."""
    handles: list[Any] = []
    for label in shown:
        ours, outcome = label == OURS, absent.get(label)
        style: Any = "none" if ours or outcome else "-" if label == family(label) else "--"
        handles.append(
            Line2D(
                [],
                [],
                color=_style.colour(label),
                marker="" if outcome else _style.marker(label),
                markersize=11 if ours else 5,
                linestyle=style,
                label=title(experiment, label) + (f" ({outcome})" if outcome else ""),
            )
        )
    draws = Line2D([], [], color="black", linewidth=1.0, linestyle=":", label="draws of the target")
    return [*handles, draws, Patch(color=BAND, label="their standard deviation")]
