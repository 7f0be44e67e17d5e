"""Verdicts on claims, and what stands behind each."""

from dataclasses import dataclass
from enum import StrEnum

from reports._tables import Source


class Verdict(StrEnum):
    """What can be said about a claim of a paper."""

    REPRODUCED = "REPRODUCED"
    BETTER = "BETTER"
    WORSE = "WORSE"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_COMPARABLE = "NOT_COMPARABLE"
    NOT_RUN = "NOT_RUN"


@dataclass(frozen=True)
class Comparison:
    """One test: a published number against ours, or one part of a statement.

    Attributes:
        words: what is compared, for example "moons, T = 5: HSIVI-SM below DDIM (js_cell)".
        sources: ours, then the rival's if there is one; none where it is not in the records of measurements.
        ours: mean over the seeds that are compared.
        other: the rival's mean, the constant, or the printed number.
        difference: ours less other.
        low, high: confidence interval of the difference, of 90 percent.
        margin: half its width, on the upper side where it is not symmetric; None where there is none.
        p: of the test that the part holds, before any correction; None where there is no test.
        seeds: how many are compared; runs of the clock for timings, 0 for what is counted.
        outcome: of this comparison alone.
    """

    words: str
    sources: tuple[Source, ...]
    ours: float | None
    other: float | None
    difference: float | None
    low: float | None
    high: float | None
    margin: float | None
    p: float | None
    seeds: int
    outcome: Verdict


@dataclass(frozen=True)
class Outcome:
    """One claim and its verdict.

    Attributes:
        id: stable name, for example "hsivi-table4-hsivi_sm-t5" or "hsivi-ring-trapped".
        kind: ``number`` or ``statement``.
        paper: ``hsivi``, ``gdim`` or ``dvp_vae``.
        place: where it stands in the paper, for example "table4".
        statement: the claim in words.
        verdict: the verdict.
        reason: one sentence, for people.
        printed, ours, difference: None where they make no sense.
        comparisons: the tests behind it.
        experiment: where it is tested; None where it is not.
        datasets, methods, nfe, metrics: what it is about, for filters: names of ours where it is compared, otherwise
            those of claims/claims.csv.
    """

    id: str
    kind: str
    paper: str
    place: str
    statement: str
    verdict: Verdict
    reason: str
    printed: float | None
    ours: float | None
    difference: float | None
    comparisons: tuple[Comparison, ...]
    experiment: str | None
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    nfe: tuple[int, ...]
    metrics: tuple[str, ...]
