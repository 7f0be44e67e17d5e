"""Verdicts: every published number and every statement of the papers, and whether this run bears it out.

REPRODUCED, BETTER and WORSE are results of tests at level 0.05 with margins fixed beforehand (claims/ledger.yaml);
INCONCLUSIVE: too few seeds or trainings, or too wide an interval; NOT_COMPARABLE: other settings, or nothing of ours
measures it; NOT_RUN: there are no records.  "interval" is the 90 percent confidence interval of ours less printed, or
less what it is compared with; "margin" is how far it may lie off and count as equal.  A statement of several parts
holds if all of them hold; its parts are not shown here, the page shows them.  docs/verdicts.md says how verdicts are
made.
"""

from collections.abc import Sequence

from hsivi.experiment import Experiment
from reports._tables import EMPTY, Cell, Table
from reports._verdicts import Comparison, Outcome, outcomes

EXPERIMENT = None
INPUTS = ("claims/claims.csv", "claims/ledger.yaml")
TIMING = True
PAPERS = {"hsivi": "HSIVI", "gdim": "iDDIM", "dvp_vae": "DVP-VAE"}
"""How the papers are called."""
DIGITS = 4
"""Significant digits of ours and of differences."""


def table(scale: str, experiments: Sequence[Experiment]) -> Table:
    """Return one row a claim."""
    return listed(outcomes(scale, experiments))


def listed(found: Sequence[Outcome]) -> Table:
    """Return the table of verdicts that are known already."""
    rows = {(o.id, o.statement, f"{PAPERS[o.paper]}, {o.place}"): row(o) for o in found}
    return Table.of(("claim", "statement", "place"), rows)


def row(outcome: Outcome) -> dict[str, Cell | str]:
    """Return what the table says about a claim."""
    single = outcome.comparisons[0] if len(outcome.comparisons) == 1 else None
    behind = tuple(dict.fromkeys(source for one in outcome.comparisons for source in one.sources))
    return {
        "printed": number(outcome.printed),
        "ours": Cell(number(outcome.ours), single.sources[:1] if single else ()),
        "compared with": Cell(number(single.other), single.sources[1:]) if single else EMPTY,
        "difference": Cell(number(outcome.difference, "+"), single.sources if single else ()),
        "interval": interval(single),
        "margin": number(single.margin) if single else EMPTY,
        "comparisons": str(len(outcome.comparisons)) if outcome.comparisons else EMPTY,
        "seeds": seeds(outcome.comparisons),
        "verdict": Cell(outcome.verdict, behind),
        "reason": outcome.reason,
    }


def number(value: float | None, sign: str = "") -> str:
    """Return a number with `DIGITS` significant digits, or a dash."""
    return EMPTY if value is None else f"{value:{sign}.{DIGITS}g}"


def interval(comparison: Comparison | None) -> Cell:
    """Return a confidence interval, if there is one."""
    if comparison is None or comparison.low is None or comparison.high is None:
        return Cell(EMPTY)
    return Cell(f"[{comparison.low:+.{DIGITS}g}, {comparison.high:+.{DIGITS}g}]", comparison.sources)


def seeds(comparisons: Sequence[Comparison]) -> str:
    """Return how many seeds were compared: the fewest of all comparisons that have numbers."""
    counts = [one.seeds for one in comparisons if one.seeds]
    return str(min(counts)) if counts else EMPTY
