"""What the numbers say, in sentences computed from records; nothing here is written by hand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind_from_stats

from hsivi.experiment import Experiment
from hsivi.tidy import tidy
from reports import table_ablations
from reports._images import frechet, full_name, is_images
from reports._records import records, summary, title
from reports._samplers import family, rivals
from reports.margins import OURS
from reports.table_mixture import MODES, WEIGHTS, complete

HEADLINE = {"toy2d": "js_cell", "mixture": "js_cell", "digits": "fd_digits_classifier"}
"""The metric by which samplers are compared."""
PRINTED = (5, 10, 15)
"""Budgets of the paper's tables and figures on images."""
LEVEL = 0.05
"""Level of the test behind the words below and above."""


def findings(experiments: Sequence[Experiment]) -> list[str]:
    """Return the sentences of all experiments shown."""
    sentences = []
    for experiment in experiments:
        if experiment.name == table_ablations.EXPERIMENT:
            sentences += table_ablations.sentences(experiment)
        elif is_images(experiment):
            sentences += on_images(experiment)
        elif experiment.task == "diffusion":
            sentences += ranks(experiment) + blow_up(experiment)
        elif experiment.data.kind == "mixture":
            sentences += modes(experiment)
        elif experiment.data.kind == "posterior":
            sentences += layers(experiment)
    return sentences


def ranks(experiment: Experiment) -> list[str]:
    """Return, wherever HSIVI-SM was run, whether it is ahead of all rivals of protocol common, or who is not behind."""
    metric = HEADLINE[experiment.data.kind]
    table = tidy(records([experiment]))
    numbers = summary(table[table.metric == metric]).set_index(["dataset", "nfe", "method"])
    common = [label for label in rivals(experiment) if family(label) != OURS]
    sentences = []
    for dataset, nfe, label in numbers.index:
        theirs = numbers.xs((dataset, nfe), level=["dataset", "nfe"])
        theirs = theirs[theirs.index.isin(common)].sort_values("mean")
        if family(label) != OURS or theirs.empty:
            continue
        ours = numbers.loc[(dataset, nfe, label)]
        outcomes: dict[str, list[str]] = {}
        for rival, row in theirs.iterrows():
            word = _compare(ours, row).partition(" (")[0].replace("ABOVE", "BEHIND")
            outcomes.setdefault(word, []).append(f"{title(experiment, str(rival))} ({row['mean']:.4f})")
        ahead = outcomes.pop("below", [])
        everyone = "both" if len(theirs) == 2 else f"all {len(theirs)}"
        count = f"{len(ahead)} of {len(theirs)}" if outcomes else everyone
        sentences.append(
            f"{dataset}, NFE {nfe}: {title(experiment, label)} ({metric} {ours['mean']:.4f}) is ahead of {count} "
            f"rivals of protocol common in scope {experiment.scope}"
            + (f", the nearest being {ahead[0]}" if ahead else "")
            + "".join(f"; it is {word} {', '.join(names)}" for word, names in outcomes.items())
        )
    return sentences


def on_images(experiment: Experiment) -> list[str]:
    """Return how HSIVI-SM compares with DDIM and DDPM, where all draw other samples but none is trained again.

    Raises:
        ConfigError: there are values of several protocols.
    """
    made = records([experiment])
    metric = full_name(made, frechet(experiment))
    table = tidy(made)
    numbers = summary(table[table.metric == metric]).set_index(["dataset", "nfe", "method"])
    trainings = {(r.dataset, r.nfe, r.label): r.trainings for r in made}
    sentences = []
    for dataset, nfe, label in numbers.index:
        rivals_here = [rival for rival in ("ddim", "ddpm") if (dataset, nfe, rival) in numbers.index]
        if label != OURS or nfe not in PRINTED or not rivals_here:
            continue
        ours = numbers.loc[(dataset, nfe, label)]
        outcomes = []
        for rival in rivals_here:
            theirs = numbers.loc[(dataset, nfe, rival)]
            outcomes.append(f"{_compare(ours, theirs)} {title(experiment, rival)} ({theirs['mean']:.4f})")
        count = trainings[dataset, nfe, label]
        said = {1: ", of one training", None: ""}.get(count, f", of {count} trainings")
        sentences.append(
            f"{dataset}, NFE {nfe}: {title(experiment, label)} ({metric} {ours['mean']:.4f}) is "
            f"{' and '.join(outcomes)}; {int(ours['seeds'])} seeds of sampling{said}"
        )
    return sentences


def blow_up(experiment: Experiment) -> list[str]:
    """Return what DPM-Solver-fast does with five evaluations on a mixture, next to DPM-Solver++(2M)."""
    table = tidy(records([experiment]))
    numbers = summary(table[table.nfe == 5]).set_index(["dataset", "method", "metric"])
    sentences = []
    for dataset in experiment.data.datasets if experiment.data.kind == "mixture" else ():
        both = [(dataset, label) for label in ("dpm_solver_fast", "dpm_solver_multistep")]
        if not all((*place, "js_cell") in numbers.index for place in both):
            continue
        words = [
            f"{title(experiment, label)} puts {100 * numbers.loc[(dataset, label, 'off_mode')]['mean']:.1f} per cent "
            f"of its samples off all modes (js_cell {numbers.loc[(dataset, label, 'js_cell')]['mean']:.4f})"
            for _, label in both
        ]
        outcome = _compare(*(numbers.loc[(*place, "js_cell")] for place in both))
        sentences.append(f"{dataset}, NFE 5: {', '.join(words)}; the first js_cell is {outcome} the second")
    return sentences


def modes(experiment: Experiment) -> list[str]:
    """Return in how many seeds each method with layers finds all modes of the mixture."""
    counts = [
        f"{title(experiment, record.label)} {complete(record)}"
        for record in records([experiment])
        if record.nfe and record.status == "ok"
    ]
    low, high = WEIGHTS
    return [f"{experiment.title}: seeds with all {MODES} modes at weights in [{low}, {high}]: {'; '.join(counts)}"]


def layers(experiment: Experiment) -> list[str]:
    """Return, for each method with several T, whether its covariance error falls, and what the controls give."""
    metric = "covariance_frobenius"
    table = tidy(records([experiment]))
    numbers = summary(table[table.metric == metric]).set_index(["method", "nfe"])
    sentences = []
    for label in numbers.index.unique("method"):
        budgets = sorted(nfe for name, nfe in numbers.index if name == label)
        if len(budgets) < 2:
            continue
        values = ", ".join(f"{numbers.loc[(label, nfe)]['mean']:.4f}" for nfe in budgets)
        counts = ", ".join(map(str, budgets))
        outcome = _compare(numbers.loc[(label, budgets[-1])], numbers.loc[(label, budgets[0])])
        sentences.append(
            f"{experiment.title}: {title(experiment, label)} has covariance error {values} at T = {counts}; "
            f"the last is {outcome} the first"
        )
    controls = [
        f"{title(experiment, label)} {numbers.loc[(label, nfe)]['mean']:.4f}" for label, nfe in numbers.index if not nfe
    ]
    return [*sentences, f"{experiment.title}: covariance errors without layers: {', '.join(controls)}"]


def _compare(last: pd.Series, first: pd.Series) -> str:
    """Return whether one mean over seeds is below another, by Welch's test at 5 percent (two-sided)."""
    if min(last["seeds"], first["seeds"]) < 2:
        return "of one seed, not to be compared with"
    error = float(np.hypot(first["se"], last["se"]))
    if error == 0:
        return "without spread, not to be compared with"
    test = ttest_ind_from_stats(
        last["mean"], last["sd"], last["seeds"], first["mean"], first["sd"], first["seeds"], equal_var=False
    )
    word = (
        ("below" if last["mean"] < first["mean"] else "ABOVE") if test.pvalue < LEVEL else "not clearly different from"
    )
    return f"{word} ({(last['mean'] - first['mean']) / error:+.1f} s.e.)"
