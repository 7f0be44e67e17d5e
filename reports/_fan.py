"""Paths of several samples from one x_T: the arrangement of the paper's Figure 6."""

from collections.abc import Sequence

import matplotlib.pyplot as plt

from hsivi.experiment import Experiment
from reports import _style
from reports._blanks import Results, say
from reports._image_grid import picture, tiled
from reports._images import SPREAD, facts
from reports._records import budgets, cell, samples, title

OURS, DETERMINISTIC, NOISY = "hsivi_sm", "ddim", "ddpm"
LONGEST = 10
"""The most layers of which paths are shown; the paper has ten."""
TIMES = 6
"""The most columns."""


def draw(scale: str, experiment: Experiment, name: str) -> None:
    """Draw the samples from the first x_T, one a row, x_T on the left and x_0 on the right."""
    _style.start()
    results = Results.read(scale, [experiment])
    (dataset,) = experiment.data.datasets
    known = [nfe for nfe in budgets(experiment, dataset, OURS) if nfe <= LONGEST]
    nfe = max(known, default=LONGEST)
    here = cell(experiment, dataset, OURS, nfe)
    run = (experiment.name, OURS, nfe) in results.found
    stored = samples(here) if run and here is not None else {}
    if "fan" not in stored:
        figure, panel = plt.subplots(figsize=(4, 4))
        say(panel, results.why(experiment.name, OURS, nfe), 60)
        _style.save(figure, scale, name)
        return
    paths = stored["fan"][0, :, 0]
    columns = times(nfe)
    size = (1.3 * len(columns), 1.3 * paths.shape[1] + 1.4)
    figure, axes = plt.subplots(1, len(columns), figsize=size, layout="constrained")
    for panel, t in zip(axes, columns, strict=True):
        picture(panel, tiled(paths[nfe - t], 1))
        panel.set_title(f"$x_{{{t}}}$")
        _style.bare(panel, None)
    what = f"{title(experiment, OURS)}, T = {nfe}: {paths.shape[1]} samples from one $x_{{{nfe}}}$"
    said = [what, *facts(experiment), "spread given x_T: " + spreads(results, experiment, nfe)]
    figure.suptitle("\n".join(said), fontsize=9)
    _style.save(figure, scale, name)


def times(nfe: int) -> list[int]:
    """Return which of the times T, ..., 0 are shown: both ends, and the others as evenly as whole numbers allow."""
    count = min(TIMES, nfe + 1)
    return [nfe - round(k * nfe / (count - 1)) for k in range(count)]


def spreads(results: Results, experiment: Experiment, nfe: int) -> str:
    """Return the spread of samples that share x_T with its standard error, of HSIVI-SM and of two rivals."""
    return ",\n".join(
        f"{title(experiment, label)} {_spread(results, experiment.name, label, nfe)}"
        for label in (OURS, DETERMINISTIC, NOISY)
    )


def _spread(results: Results, name: str, label: str, nfe: int) -> str:
    record = results.found.get((name, label, nfe))
    measured: Sequence = [m for m in record.measurements if m.metric == SPREAD] if record else []
    if not measured:
        return results.why(name, label, nfe).code
    (first, *_) = measured
    error = f" ± {first.standard_error:.4f} (s.e.)" if first.standard_error else ""
    return f"{first.value:.4f}{error}" + (" (0 by construction)" if label == DETERMINISTIC else "")
