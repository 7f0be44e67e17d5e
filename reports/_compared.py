"""One comparison: values over seeds against another row's, against a constant, or against a printed number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsivi import significance
from hsivi.significance import LEVEL, Evidence, Place
from reports._margin import Margin
from reports._outcome import Comparison, Verdict
from reports._run import Missing, Run, Series
from reports._statements import Part
from reports._tables import Source

SIGNS = {"below": "below", "above": "above", "not_above": "not above", "equivalent": "comparable to"}


@dataclass(frozen=True)
class Test:
    """What one comparison says, before any correction.

    Attributes:
        holds: p-value for what is claimed.
        fails: p-value for its contrary.
        exceeds: p-value for something better than claimed; None where there is no such thing.
        allowed: p-value for nothing worse than claimed; as ``exceeds``.
    """

    __test__ = False  # pytest takes the name for its own
    holds: float
    fails: float
    exceeds: float | None = None
    allowed: float | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict on this comparison alone."""
        if self.holds <= LEVEL:
            return Verdict.REPRODUCED
        if self.fails <= LEVEL:
            return Verdict.WORSE
        if self.exceeds is not None and self.exceeds <= LEVEL:
            return Verdict.BETTER
        return Verdict.INCONCLUSIVE


@dataclass(frozen=True)
class Compared:
    """A comparison, its test, and why there is none.

    Attributes:
        comparison: for people.
        test: None where nothing was tested.
        missing: why there are no values; None where there are.
        doubt: why values are not enough for a verdict; None where they are.
    """

    comparison: Comparison
    test: Test | None = None
    missing: Missing | None = None
    doubt: str | None = None


def of_part(run: Run, experiment: str, part: Part) -> Compared:
    """Compare what a part of a statement asks for, paired by seed."""
    words, place = words_of(run, experiment, part), (experiment, part.dataset)
    ours = run.find(place, part.method, part.nfe, part.metric)
    other = run.find(place, *part.rival, part.metric) if part.rival else part.value
    missing = next((found for found in (ours, other) if isinstance(found, Missing)), None)
    if missing is not None:
        return Compared(_blank(words, missing.verdict), missing=missing)
    assert isinstance(ours, Series)
    if isinstance(other, Series) and other.source.metric != ours.source.metric:
        both = f"values of two protocols, {ours.source.metric} and {other.source.metric}, cannot be compared"
        return Compared(_blank(words, Verdict.NOT_COMPARABLE), missing=Missing(Verdict.NOT_COMPARABLE, both))
    mine, theirs = aligned(ours, other)
    if part.distance_from is not None:
        mine = np.abs(mine - part.distance_from)
        theirs = np.abs(theirs - part.distance_from) if isinstance(other, Series) else theirs
    doubt = doubts(run, experiment, [s for s in (ours, other) if isinstance(s, Series)], len(mine))
    doubt = doubt or _unfit(part.margin, theirs)
    test = None if doubt else examine(mine, theirs, part.relation, part.margin, part.better)
    sources = tuple(s.source for s in (ours, other) if isinstance(s, Series))
    return Compared(described(words, sources, mine, theirs, part.margin, test), test, doubt=doubt)


def aligned(ours: Series, other: Series | float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of the seeds that both have, in the order of the seeds, with shape (n,) each."""
    if not isinstance(other, Series):
        return np.array([ours.values[s] for s in sorted(ours.values)]), np.full(len(ours.values), float(other))
    seeds = sorted(set(ours.values) & set(other.values))
    return np.array([ours.values[s] for s in seeds]), np.array([other.values[s] for s in seeds])


def doubts(run: Run, experiment: str, series: Sequence[Series], seeds: int) -> str | None:
    """Return why replicates are not enough for a verdict, or None where they are."""
    for one in series:
        if 0 < one.trainings < significance.FEWEST:
            times = {1: "once", 2: "twice"}[one.trainings]
            name = run.title(experiment, one.source.method)
            return f"{name} was trained {times} and a verdict needs three trainings: other seeds of sampling are none"
    if seeds < significance.FEWEST:
        return f"{seeds} seed{'' if seeds == 1 else 's'} in common; a verdict needs three"
    return None


def _unfit(margin: Margin | None, theirs: NDArray[np.float64]) -> str | None:
    if margin is not None and margin.scales_with_the_value and np.mean(theirs) <= 0:
        return "the margin is a share of a value that is not positive"
    return None


def examine(
    mine: NDArray[np.float64], theirs: NDArray[np.float64], relation: str, margin: Margin | None, better: str
) -> Test:
    """Test a relation of two means.

    Arguments:
        mine: values by seed, with shape (n,).
        theirs: values of the same seeds, or n times a constant.
        relation: below, above, not_above or equivalent.
        margin: for the last two.
        better: which side of an equivalence is the better one.
    """
    low, high = margin.limits(theirs) if margin else (theirs, theirs)
    known = significance.evidence(mine - low, mine - high)
    if relation == "equivalent":
        return equivalence(known, better)
    claimed, contrary = {
        "below": (known.below, known.above),
        "above": (known.above, known.below),
        "not_above": (known.not_above, known.above),
    }[relation]
    return Test(float(claimed), float(contrary))


def equivalence(known: Evidence, better: str) -> Test:
    """Return what evidence says about an equivalence; ``better`` is lower, higher or equal, where nothing is."""
    below, above = min(1.0, 2 * float(known.below)), min(1.0, 2 * float(known.above))
    holds = float(known.inside)
    if better == "equal":
        return Test(holds, min(below, above))
    worse, exceeds = (above, below) if better == "lower" else (below, above)
    allowed = known.not_above if better == "lower" else known.not_below
    return Test(holds, worse, exceeds, float(allowed))


def verdict_of(place: int, better: str) -> Verdict:
    """Return what a mean's place about a printed number means."""
    if place == Place.INSIDE:
        return Verdict.REPRODUCED
    if place == Place.UNCLEAR:
        return Verdict.INCONCLUSIVE
    return Verdict.BETTER if better == {Place.BELOW: "lower", Place.ABOVE: "higher"}[Place(place)] else Verdict.WORSE


def described(
    words: str,
    sources: tuple[Source, ...],
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    margin: Margin | None,
    test: Test | None,
    outcome: Verdict | None = None,
) -> Comparison:
    """Return a comparison of values by seed; without a test it is inconclusive, if nothing else is said."""
    between = significance.interval(mine - theirs) or (None, None)
    ours, other = (float(values.mean()) if len(values) else None for values in (mine, theirs))
    return Comparison(
        words=words,
        sources=sources,
        ours=ours,
        other=other,
        difference=None if ours is None or other is None else ours - other,
        low=between[0],
        high=between[1],
        margin=None if margin is None or other is None else float(margin.limits(np.array(other))[1]) - other,
        p=test.holds if test else None,
        seeds=len(mine),
        outcome=outcome or (test.verdict if test else Verdict.INCONCLUSIVE),
    )


def _blank(words: str, outcome: Verdict) -> Comparison:
    return Comparison(words, (), None, None, None, None, None, None, None, 0, outcome)


def words_of(run: Run, experiment: str, part: Part) -> str:
    """Return what a part compares, for people."""
    metric = part.metric if part.distance_from is None else f"|{part.metric} - {part.distance_from:g}|"
    ours, sign = run.title(experiment, part.method), SIGNS[part.relation]
    if part.rival is None:
        return f"{part.dataset}, T = {part.nfe}: {ours} {sign} {part.value:g} ({metric})"
    method, nfe = part.rival
    theirs = run.title(experiment, method)
    if nfe == part.nfe:
        return f"{part.dataset}, T = {nfe}: {ours} {sign} {theirs} ({metric})"
    theirs = theirs if method != part.method else "itself"
    where = f" at T = {nfe}" if nfe else ""
    return f"{part.dataset}, T = {part.nfe}: {ours} {sign} {theirs}{where} ({metric})"
