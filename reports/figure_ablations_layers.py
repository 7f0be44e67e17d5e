"""Quality against the number of layers on 2-D data: js_cell of HSIVI-SM, and of DDIM and DDPM with as many evaluations.

Points are means over seeds, bars one standard error.  HSIVI-SM is trained for each T with equally many updates.
Orange: HSIVI-LB trained jointly.  Dotted: draws of the target, where that is above zero.  Figure 7 shows samples where
few layers fail.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

from hsivi.experiment import Experiment
from hsivi.record import Record
from reports import _style
from reports._ablations import METRIC, found, values
from reports._records import title

EXPERIMENT = "toy2d_ablations"
OUTPUTS = ("figures/figure_ablations_layers.png", "figures/figure_ablations_layers.svg")
LINES = ("hsivi_sm", "hsivi_lb", "ddim", "ddpm")


def render(scale: str, experiment: Experiment) -> None:
    """Draw one panel a data set."""
    _style.start()
    made, datasets = found(experiment), experiment.data.datasets
    figure, axes = plt.subplots(
        1, len(datasets), figsize=(3.4 * len(datasets) + 1.6, 3.0), squeeze=False, layout="constrained"
    )
    for panel, dataset in zip(axes[0], datasets, strict=True):
        for label in LINES:
            _line(
                panel, label, title(experiment, label), {k[2]: r for k, r in made.items() if k[:2] == (dataset, label)}
            )
        floors = [m.floor for r in made.values() for m in r.measurements if (r.dataset, m.metric) == (dataset, METRIC)]
        _frame(panel, dataset, sorted({nfe for _, _, nfe in made}), [floor for floor in floors if floor is not None])
    axes[0, 0].set_ylabel("js_cell (nats)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    _style.save(figure, scale, "figure_ablations_layers")


def _line(panel: Any, label: str, name: str, made: Mapping[int, Record]) -> None:
    """Draw means and standard errors of a row over T."""
    of = {nfe: list(values(record).values()) for nfe, record in sorted(made.items()) if values(record)}
    if not of:
        return
    error = [np.std(v, ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0 for v in of.values()]
    look = {"color": _style.colour(label), "marker": _style.marker(label), "markersize": 6, "linewidth": 1.2}
    panel.errorbar(list(of), [np.mean(v) for v in of.values()], error, label=name, **look)


def _frame(panel: Any, dataset: str, budgets: list[int], floors: list[float]) -> None:
    """Set logarithmic axes with a tick at every T, and draw what draws of the target give where that is positive."""
    panel.set(xscale="log", yscale="log", title=dataset, xlabel="layers, or evaluations a sample (T)")
    panel.set_xticks(budgets, [str(nfe) for nfe in budgets])
    panel.xaxis.set_minor_locator(NullLocator())
    if floors and floors[0] > 0:
        panel.axhline(floors[0], color="black", linewidth=1.0, linestyle=":", label="draws of the target")
    panel.grid(visible=True, axis="y", color="0.93", linewidth=0.6)
