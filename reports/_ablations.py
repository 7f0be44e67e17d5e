"""What a row of the ablations changes, and by how much that moves js_cell: what their table and sentences share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsivi.experiment import Experiment
from hsivi.record import Record
from reports._records import records
from reports._tables import Source

METRIC = "js_cell"
BASE = "hsivi_sm"
AT = 5
"""Layers of the recipe that the others differ from."""
FACTORS = {
    "rollout": "rollout",
    "iterations": "updates",
    "antithetic": "antithetic noise",
    "critic_updates": "critic updates",
    "beta_power": "beta power",
    "ema": "parameter average",
    "schedule": "learning rates",
    "eta": "eta",
    "variance": "variance",
}
"""Names of settings for people."""
WORDS = {
    "independent": "one layer a chain",
    "shared": "all layers of a chain",
    "True": "on",
    "False": "off",
    "None": "off",
}


@dataclass(frozen=True)
class Change:
    """One row of the ablations: a method with its settings and T.

    Attributes:
        factor: what differs from the recipe.
        setting: what it is here.
        label: the row of the experiment.
        nfe: T.
        against: T of the row of `BASE` that it is compared with, None for that row itself.
    """

    factor: str
    setting: str
    label: str
    nfe: int
    against: int | None


@dataclass(frozen=True)
class Effect:
    """What a change does on one data set.

    Attributes:
        values: js_cell of each seed, shape (seeds,).
        floor: what draws of the target give.
        difference: from the row that it is compared with, seed by seed, shape (seeds,); None where there is none.
        seconds: of training all seeds together, None where nothing is trained.
        sources: the numbers behind: its own, and that of the row that it is compared with.
    """

    values: NDArray[np.float64]
    floor: float
    difference: NDArray[np.float64] | None
    seconds: float | None
    sources: tuple[Source, ...]


def found(experiment: Experiment) -> dict[tuple[str, str, int], Record]:
    """Return the records by data set, row and T."""
    return {(r.dataset, r.label, r.nfe): r for r in records([experiment])}


def changes(made: Mapping[tuple[str, str, int], Record]) -> list[Change]:
    """Return every row of the ablations once, the recipe itself first."""
    named = {(label, nfe): record for (_, label, nfe), record in made.items()}
    base = named.get((BASE, AT))
    every = [] if base is None else [Change("none: the recipe", f"T = {AT}", BASE, AT, None)]
    for (label, nfe), record in sorted(named.items(), key=_place):
        if (label, nfe) == (BASE, AT) or base is None:
            continue
        if label == BASE:
            every.append(Change("layers", f"T = {nfe}", label, nfe, AT))
        elif record.baseline == BASE:
            factor, setting = _difference(base.config, record.config)
            every.append(Change(factor, setting, label, nfe, nfe))
        else:
            every.append(Change(record.title, f"T = {nfe}", label, nfe, nfe))
    return every


def _place(row: tuple[tuple[str, int], Record]) -> tuple[bool, str]:
    """Return what rows are sorted by, in the order of the experiment otherwise: changed settings, layers, methods."""
    (label, _), record = row
    return record.baseline != BASE, "" if record.baseline == BASE and label != BASE else record.title


def _difference(base: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, str]:
    """Return which settings differ, and what they are."""
    changed = {key: own[key] for key in own if own[key] != base.get(key)}
    settings = [WORDS.get(str(value), str(value)) for value in changed.values()]
    order = sorted(zip((FACTORS.get(key, key) for key in changed), settings, strict=True), key=lambda pair: pair[0])
    return " and ".join(factor for factor, _ in order), ", ".join(setting for _, setting in order)


def effect(made: Mapping[tuple[str, str, int], Record], dataset: str, change: Change) -> Effect | None:
    """Return what a change does on a data set, None where it was not run there."""
    record = made.get((dataset, change.label, change.nfe))
    if record is None or not (own := values(record)):
        return None
    floors = [m.floor for m in record.measurements if m.metric == METRIC and m.floor is not None]
    sources = (Source(record.experiment, dataset, change.label, change.nfe, METRIC),)
    difference, other = None, made.get((dataset, BASE, change.against)) if change.against is not None else None
    if other is not None:
        theirs = values(other)
        difference = np.array([own[seed] - theirs[seed] for seed in own if seed in theirs])
        sources += (Source(record.experiment, dataset, BASE, other.nfe, METRIC),)
    return Effect(np.array(list(own.values())), floors[0], difference, record.seconds.get("fit"), sources)


def values(record: Record) -> dict[int, float]:
    """Return js_cell by seed."""
    return {m.seed: m.value for m in record.measurements if m.metric == METRIC}
