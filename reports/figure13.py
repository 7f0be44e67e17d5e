"""Figure 13: time to draw a batch of images at equal numbers of function evaluations.

Bars: median over the runs, whiskers up to the 95th percentile, from x_T to x_0 with noise drawn before.  Behind each
bar: the cost in forward passes of the network for the same batch, timed in turn with sampling on the same machine.  It
is at least the number of evaluations; what exceeds it is the sampler's own arithmetic.  Dotted: DDIM, to which the
paper says HSIVI-SM is almost equal.  The paper's seconds are those of another GPU (2080 Ti); compare ratios.

The networks have random weights: no duration depends on them, so nothing has to be trained or downloaded.
"""

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import matplotlib.pyplot as plt

from hsivi import layout, methods
from hsivi.experiment import Experiment
from hsivi.timing_record import TimingRecord, read_timing
from reports import _style

EXPERIMENT = ("cifar10", "celeba")
OUTPUTS = ("figures/figure13.png", "figures/figure13.svg")
TIMING = True
REFERENCE = "ddim"


def render(scale: str, experiments: Sequence[Experiment]) -> None:
    """Draw the figure."""
    _style.start()
    there = {experiment.name: experiment for experiment in experiments}
    timings = {name: read(experiment) for name, experiment in there.items()}
    rows = max([len(found) for found in timings.values()] + [4])
    figure, axes = plt.subplots(
        1, len(EXPERIMENT), figsize=(4.6 * len(EXPERIMENT), 0.26 * rows + 1.3), layout="constrained"
    )
    for panel, name in zip(axes, EXPERIMENT, strict=True):
        if timings.get(name):
            bars(panel, timings[name])
        else:
            empty(panel, name, scale, there.get(name))
    _style.save(figure, scale, "figure13")


def read(experiment: Experiment) -> list[TimingRecord]:
    """Return the timings of an experiment, in the order of the tables."""
    return [read_timing(layout.CellFiles(cell).timing) for cell in methods.timed_cells(experiment)]


def bars(panel: Any, timings: Sequence[TimingRecord]) -> None:
    """Draw a bar a method, in milliseconds, and say what was timed, where and how often."""
    first = timings[0]
    longest = max((1000 * timing.seconds["p95"] for timing in timings if timing.seconds), default=1.0)
    for place, timing in enumerate(timings):
        if timing.status == "declined":
            words = shorten(f"declined: {timing.reason}", 60, placeholder=" ...")
            panel.text(0.01 * longest, place, words, fontsize=6, va="center", color="0.3")
            continue
        median, p95 = 1000 * timing.seconds["median"], 1000 * timing.seconds["p95"]
        panel.barh(place, median, height=0.7, color=_style.colour(timing.label), linewidth=0)
        # With few runs an interpolated percentile is never below the median, but rounding may be.
        panel.errorbar(median, place, xerr=[[0], [max(p95 - median, 0)]], color="black", linewidth=0.9, capsize=2)
        words = panel.text(p95 + 0.02 * longest, place, words_of(timing), fontsize=6, va="center")
        words.set_bbox({"facecolor": "white", "linewidth": 0, "pad": 0.5})  # DDIM's line would cross them
        if timing.label == REFERENCE:
            panel.axvline(median, color="black", linestyle=":", linewidth=0.9)
    panel.set_yticks(range(len(timings)), [timing.title for timing in timings], fontsize=7)
    panel.set(xlim=(0, 1.45 * longest), ylim=(len(timings) - 0.4, -0.6))
    panel.set_xlabel(f"ms for {first.batch} images", fontsize=8)
    panel.tick_params(bottom=True, length=2, labelsize=7)
    panel.set_title(
        f"{first.dataset}, NFE {first.nfe}, random weights, {first.parameters / 1e6:.1f} M parameters\n"
        f"{', '.join(sorted({timing.device for timing in timings}))}; batch {first.batch}, {first.runs} runs",
        fontsize=8,
    )


def words_of(timing: TimingRecord) -> str:
    """Return a method's cost in forward passes, in words."""
    return f"{timing.forward_equivalents:.2f} forward passes"


def empty(panel: Any, name: str, scale: str, experiment: Experiment | None) -> None:
    """Say why there is nothing to show, and what would time it."""
    if experiment is None:
        wanted = "quick" if scale == "smoke" else scale
        words = f"not part of this run;\nadd it with\n\nmake reproduce SCALE={wanted}\nEXPERIMENTS={name}"
    elif experiment.timing is None:
        words = f"no timing at scale {scale};\nadd a section timing to\nworkflows/experiments/{name}.yaml"
    else:
        budgets = f"no row runs at {experiment.timing.nfe} evaluations\nin scope {experiment.scope} at scale {scale};"
        words = f"{budgets}\nchange timing.nfe in\nworkflows/experiments/{name}.yaml"
    panel.text(0.5, 0.5, words, fontsize=7, ha="center", va="center", transform=panel.transAxes)
    panel.set_title(name, fontsize=8)
    panel.set(xticks=[], yticks=[])
