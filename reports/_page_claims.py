"""The claims on the page: every verdict with its numbers, and those of one table or figure below it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reports._page_tables import Facets
from reports._tables import EMPTY, Cell, Source, Table
from reports._verdicts import Comparison, Outcome, Verdict

WORDS = {
    "REPRODUCED": ("✓", "reproduced", "ours agrees with the paper within the margin fixed before the run"),
    "BETTER": ("▲", "better", "ours is better than what the paper prints, beyond the margin"),
    "WORSE": ("▼", "worse", "ours contradicts the paper, or is worse beyond the margin"),
    "INCONCLUSIVE": ("?", "inconclusive", "too few seeds, or too wide an interval"),
    "NOT_COMPARABLE": ("≠", "not comparable", "another scale, another protocol, or an estimator that is not known"),
    "NOT_RUN": ("○", "not run", "nothing of ours to compare with in this run"),
}
"""Sign, words and meaning of each verdict."""
ORDER = ("verdict", "statement", "printed", "ours", "difference", "interval", "seeds", "reason")
"""The first columns of the table of verdicts on the page; others follow."""


@dataclass(frozen=True)
class Claim:
    """A claim as the template shows it.

    Attributes:
        row: its place among the outcomes, and in the table of verdicts.
        outcome: the claim and its verdict.
        texts: what its columns show, by name.
        comparisons: its tests in words, each with the sources of its numbers.
        keys: of the numbers of ours behind it.
        link: to the record of the first of them.
    """

    row: int
    outcome: Outcome
    texts: dict[str, str]
    comparisons: list[dict[str, Any]]
    keys: str
    link: str

    @property
    def facets(self) -> Facets:
        """What it is about."""
        outcome = self.outcome
        return {
            "verdict": [outcome.verdict.value],
            "dataset": list(outcome.datasets),
            "method": list(outcome.methods),
            "nfe": [str(nfe) for nfe in outcome.nfe],
            "metric": list(outcome.metrics),
        }


def claims(outcomes: Sequence[Outcome], link: Callable[[Source], str]) -> list[Claim]:
    """Return all claims, those with a decided verdict first."""
    order = [verdict.value for verdict in Verdict]
    made = [_claim(row, outcome, link) for row, outcome in enumerate(outcomes)]
    return sorted(made, key=lambda c: (order.index(c.outcome.verdict.value), c.outcome.kind != "statement"))


def _claim(row: int, outcome: Outcome, link: Callable[[Source], str]) -> Claim:
    sources = list(dict.fromkeys(s for c in outcome.comparisons for s in c.sources))
    texts = {
        "printed": number(outcome.printed),
        "ours": number(outcome.ours),
        "difference": _interval(outcome),
        "seeds": _seeds(outcome),
    }
    comparisons = [
        {
            "words": words(c),
            "verdict": c.outcome.value,
            "sign": WORDS[c.outcome.value],
            "numbers": _keys(c.sources),
            "link": link(c.sources[0]) if c.sources else "",
        }
        for c in outcome.comparisons
    ]
    return Claim(row, outcome, texts, comparisons, _keys(sources), link(sources[0]) if sources else "")


def _keys(sources: Sequence[Source]) -> str:
    return " ".join(source.key for source in sources)


def _interval(outcome: Outcome) -> str:
    """Return the difference, with its confidence interval where one test stands for the claim."""
    if len(outcome.comparisons) == 1:
        (only,) = outcome.comparisons
        if only.difference is not None and only.low is not None and only.high is not None:
            return f"{signed(only.difference)} [{signed(only.low)}, {signed(only.high)}]"
    return EMPTY if outcome.difference is None else signed(outcome.difference)


def _seeds(outcome: Outcome) -> str:
    counts = sorted({c.seeds for c in outcome.comparisons if c.seeds})
    return "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else EMPTY


def words(test: Comparison) -> str:
    """Return one test in words."""
    facts = [
        ("ours", number(test.ours)),
        ("other", number(test.other)),
        ("difference", EMPTY if test.difference is None else signed(test.difference)),
        ("interval", EMPTY if test.low is None or test.high is None else f"[{signed(test.low)}, {signed(test.high)}]"),
        ("margin", number(test.margin)),
        ("p", EMPTY if test.p is None else f"{test.p:.2g}"),
        ("seeds", str(test.seeds) if test.seeds else EMPTY),
    ]
    said = ", ".join(f"{name} {value}" for name, value in facts if value != EMPTY)
    return f"{test.words} ({said})" if said else test.words


def number(value: float | None) -> str:
    """Return a number with four digits, or an en dash."""
    return EMPTY if value is None else f"{value:.4g}"


def signed(value: float) -> str:
    """Return a number with its sign and three digits."""
    return f"{value:+.3g}"


def counts(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return how many claims have each verdict, and what the verdict means."""
    found = Counter(outcome.verdict.value for outcome in outcomes)
    return [
        {
            "verdict": v.value,
            "count": found[v.value],
            "sign": WORDS[v.value][0],
            "word": WORDS[v.value][1],
            "meaning": WORDS[v.value][2],
        }
        for v in Verdict
    ]


def of_place(made: Sequence[Claim], name: str) -> list[Claim]:
    """Return the claims of the HSIVI paper about a table or figure, by the name of its script: table4, figure7."""
    return [c for c in made if c.outcome.paper == "hsivi" and c.outcome.place.lower().replace(" ", "") == name]


def compared(made: Sequence[Claim]) -> Table:
    """Return ours, the paper's, their difference and the verdict of some claims."""
    rows = []
    for claim in made:
        ours = Cell(claim.texts["ours"], tuple(s for c in claim.outcome.comparisons[:1] for s in c.sources[:1]))
        others = (claim.texts["printed"], claim.texts["difference"], WORDS[claim.outcome.verdict.value][1])
        rows.append(((claim.outcome.statement,), (ours, *map(Cell, others))))
    columns = ("ours", "the paper's", "difference", "verdict")
    return Table(("claim",), tuple(("", column) for column in columns), tuple(rows))


def columns(table: Table, made: Sequence[Claim]) -> list[int]:
    """Return the order in which the page shows the columns of the table of verdicts: the verdict, the claim, the rest.

    Raises:
        ValueError: the table does not have a line for each claim.
    """
    if len(table.rows) != len(made):
        raise ValueError(f"table of verdicts: got {len(table.rows)} lines, expected one for each of {len(made)} claims")
    first = [table.header.index(name) for name in ORDER if name in table.header]
    return [*first, *(j for j in range(len(table.header)) if j not in first)]
