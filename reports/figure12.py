"""Figure 12: samples of HSIVI-SM on CIFAR-10, CelebA and ImageNet 64x64, by number of layers T.

Images are uncurated: the first 36 of the first seed of sampling, of one training.  The n-th images of a row start from
the same x_T.  An empty panel says why it is empty.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt

from hsivi import layout
from hsivi.experiment import Experiment
from reports import _style
from reports._blanks import Results, say
from reports._fid import BUDGETS
from reports._image_grid import show
from reports._images import NAMES, facts

EXPERIMENT = ("cifar10", "celeba", "imagenet64")
OUTPUTS = ("figures/figure12.png", "figures/figure12.svg")
LABEL = "hsivi_sm"


def render(scale: str, experiments: Sequence[Experiment]) -> None:
    """Draw the figure."""
    _style.start()
    results = Results.read(scale, experiments)
    size = (3.0 * len(BUDGETS), 3.2 * len(EXPERIMENT))
    figure, axes = plt.subplots(len(EXPERIMENT), len(BUDGETS), figsize=size, layout="constrained")
    for row, name in zip(axes, EXPERIMENT, strict=True):
        for panel, nfe in zip(row, BUDGETS, strict=True):
            _style.bare(panel, None)
            panel.set_title(f"T = {nfe}")
            _draw(panel, results, name, nfe)
        experiment = results.experiments.get(name)
        row[0].set_ylabel("\n".join([NAMES[name], *(facts(experiment) if experiment else ())]))
    _style.save(figure, scale, "figure12")


def _draw(panel: Any, results: Results, name: str, nfe: int) -> None:
    record = results.found.get((name, LABEL, nfe))
    cell = results.cell(name, LABEL, nfe)
    if record is not None and record.status == "ok" and layout.CellFiles(cell).samples.exists():
        show(panel, cell)
        return
    say(panel, results.why(name, LABEL, nfe), 54)
