"""Published numbers: the lines of claims/claims.csv, and what the ledger may say about blocks of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field, model_validator

from hsivi.recipe import Frozen
from reports._margin import Margin, Text
from reports._records import claims

Budget = Annotated[int, Field(ge=0)]
Scale = Literal["smoke", "quick", "paper"]


@dataclass(frozen=True)
class Published:
    """A number that a paper prints: one line of claims/claims.csv.

    Attributes:
        source, table: where.
        dataset, method, metric: names as there.
        nfe: budget; None where there is none.
        value: the number.
        sd: standard deviation that is printed beside it, if any.
        better: ``lower``, ``higher``, or ``equal`` where any other number is worse.
    """

    source: str
    table: str
    dataset: str
    method: str
    nfe: int | None
    metric: str
    value: float
    sd: float | None
    better: str


def published() -> list[Published]:
    """Return the lines of claims/claims.csv."""

    def number(value: float) -> float | None:
        return None if pd.isna(value) else float(value)

    return [
        Published(
            source=line.source,
            table=line.table,
            dataset=line.dataset,
            method=line.method,
            nfe=None if pd.isna(line.nfe) else int(line.nfe),
            metric=line.metric,
            value=float(line.value),
            sd=number(line.sd),
            better=line.better,
        )
        for line in claims().itertuples()
    ]


class Selection(Frozen):
    """Which lines of claims/claims.csv an entry is about: those that agree with everything given.

    Attributes:
        source, table: of the paper.
        datasets, methods, metrics: names as in claims/claims.csv; all where not given.
        nfe: budgets; all where not given.
    """

    source: str
    table: str
    datasets: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    nfe: tuple[Budget, ...] | None = None

    def meets(self, line: Published) -> bool:
        """Return whether it is about a line."""
        return (line.source, line.table) == (self.source, self.table) and all(
            wanted is None or value in wanted
            for wanted, value in (
                (self.datasets, line.dataset),
                (self.methods, line.method),
                (self.metrics, line.metric),
                (self.nfe, line.nfe),
            )
        )


class Place(Frozen):
    """A data set of an experiment of ours."""

    experiment: str
    dataset: str


class Comparable(Frozen):
    """What published numbers are compared with.

    Attributes:
        kind: ``measured``, over seeds; or ``counted``, a number of parameters, which is compared as it is printed.
        scales: scales at which the comparison means something; elsewhere ours is shown without a verdict.
        places: data sets of ours by the name in claims/claims.csv.
        rows: rows of ours by the name of the method there.
        metrics: metrics of ours, without fingerprint, by the name there.
        margin: when two numbers are equal; none for what is counted, and where no verdict follows.
    """

    kind: Literal["measured", "counted"] = "measured"
    scales: tuple[Scale, ...]
    places: Mapping[str, Place]
    rows: Mapping[str, str]
    metrics: Mapping[str, str]
    margin: Margin | None = None


class Numbers(Frozen):
    """A block of published numbers, with ``compare``, ``never`` or both.

    Attributes:
        where: the lines of claims/claims.csv.
        what: what the numbers are, for people.
        decimals: with how many they are printed.
        experiment: which experiment of ours they are about, for filters, where they are not compared.
        compare: what they are compared with.
        never: why no verdict ever follows; with ``compare`` as well, ours is shown beside them all the same.
    """

    where: Selection
    what: Text
    decimals: Annotated[int, Field(ge=0, le=6)]
    experiment: str | None = None
    compare: Comparable | None = None
    never: Text | None = None

    @model_validator(mode="after")
    def _something(self) -> "Numbers":
        if self.compare is None and self.never is None:
            raise ValueError("got neither compare nor never, expected one of them or both")
        return self

    @model_validator(mode="after")
    def _margin_where_judged(self) -> "Numbers":
        if self.compare is not None:
            judged = self.compare.kind == "measured" and self.never is None
            if (self.compare.margin is not None) != judged:
                raise ValueError(
                    f"compare: got kind {self.compare.kind} {'without' if judged else 'with'} a margin, expected one "
                    f"where what is measured is judged, and none elsewhere"
                )
        return self
