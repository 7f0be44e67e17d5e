"""Statements in words: what the ledger may say about them, and the comparisons that a test consists of."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from hsivi.recipe import Frozen
from reports._margin import Margin, Text
from reports._published import Budget, Scale

T = TypeVar("T")
Several = Annotated[
    tuple[T, ...],
    BeforeValidator(lambda v: v if isinstance(v, list | tuple) else [v]),
    Field(min_length=1),
]
"""One value, or a list of them."""
Id = Annotated[str, Field(pattern=r"^[a-z0-9_]+(-[a-z0-9_]+)+$")]


@dataclass(frozen=True)
class Part:
    """One comparison that a statement asks for.

    Attributes:
        dataset, method, nfe, metric: a cell of ours and what is compared.
        relation, value, distance_from, margin, better: as in `Test`.
        rival: row and budget that it is compared with; None where ``value`` is.
    """

    dataset: str
    method: str
    nfe: int
    metric: str
    relation: str
    rival: tuple[str, int] | None
    value: float | None
    distance_from: float | None
    margin: Margin | None
    better: str


class Rival(Frozen):
    """What a test compares with.

    Attributes:
        method: rows; by default the test's own.
        nfe: budgets; by default the test's own.
    """

    method: Several[str] | None = None
    nfe: Several[Budget] | None = None


class Test(Frozen):
    """How one mean over seeds relates to another or to a constant; every combination of what is listed is a part.

    Attributes:
        dataset, method, nfe: cells of ours.
        metric: what is compared, without fingerprint.
        relation: ``below``, ``above``, ``not_above`` (below the value and the margin together) or ``equivalent``.
        rival: the other cells, paired by seed, or
        value: the constant.
        distance_from: compare absolute distances from this number instead of the values themselves.
        margin: for not_above and equivalent.
        better: which side of an equivalence is the better one.
    """

    __test__ = False  # pytest takes the name for its own
    dataset: Several[str]
    method: Several[str]
    nfe: Several[Budget]
    metric: str
    relation: Literal["below", "above", "not_above", "equivalent"]
    rival: Rival | None = None
    value: float | None = None
    distance_from: float | None = None
    margin: Margin | None = None
    better: Literal["lower", "higher"] = "lower"

    @model_validator(mode="after")
    def _complete(self) -> "Test":
        if (self.rival is None) == (self.value is None):
            raise ValueError("got both or neither of rival and value, expected exactly one")
        if (self.margin is None) == (self.relation in ("not_above", "equivalent")):
            expected = "none" if self.margin else "one"
            raise ValueError(
                f"margin: got {'one' if self.margin else 'none'} with {self.relation}, expected {expected}"
            )
        return self

    def parts(self) -> Iterator[Part]:
        """Yield every comparison."""
        for dataset, method, nfe in product(self.dataset, self.method, self.nfe):
            for rival in self._rivals(method, nfe):
                yield Part(
                    dataset=dataset,
                    method=method,
                    nfe=nfe,
                    metric=self.metric,
                    relation=self.relation,
                    rival=rival,
                    value=self.value,
                    distance_from=self.distance_from,
                    margin=self.margin,
                    better=self.better,
                )

    def _rivals(self, method: str, nfe: int) -> list[tuple[str, int] | None]:
        if self.rival is None:
            return [None]
        return list(product(self.rival.method or (method,), self.rival.nfe or (nfe,)))


class TimingTest(Frozen):
    """How the time to draw a batch, or the number of parameters, relates to another row's.

    Attributes:
        quantity: ``seconds``, the mean over runs, equivalent within the margin; or ``parameters``, equal.
        method, rival: rows.
        margin: for seconds.
    """

    quantity: Literal["seconds", "parameters"]
    method: str
    rival: str
    margin: Margin | None = None

    @model_validator(mode="after")
    def _margin_of_seconds(self) -> "TimingTest":
        if (self.margin is None) == (self.quantity == "seconds"):
            raise ValueError(f"margin: got {'none' if self.margin is None else 'one'} for {self.quantity}, expected "
                             f"one for seconds and none for parameters")  # fmt: skip
        return self


class Statement(Frozen):
    """A statement in words; exactly one of ``tests``, ``timings`` and ``never``.

    Attributes:
        id: stable name.
        family: the statements whose multiplicity is corrected together.
        paper, place: where it stands.
        statement: the claim, quoting the paper.
        experiment: where it is tested.
        scales: at which scales.
        tests: what has to hold, all of it.
        timings: the same for timings.
        never: why no metric of ours speaks about it.
    """

    id: Id
    family: Text | None = None
    paper: Literal["hsivi", "gdim", "dvp_vae"]
    place: Text
    statement: Text
    experiment: str | None = None
    scales: tuple[Scale, ...] = ("quick", "paper")
    tests: tuple[Test, ...] = ()
    timings: tuple[TimingTest, ...] = ()
    never: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Statement":
        given = [name for name in ("tests", "timings", "never") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"{self.id}: got {given or 'none'} of tests, timings and never, expected exactly one")
        if self.never is None and (self.experiment is None or self.family is None):
            raise ValueError(f"{self.id}: got no experiment or no family, expected both for what is tested")
        return self

    def parts(self) -> list[Part]:
        """Return every comparison of its tests."""
        return [part for test in self.tests for part in test.parts()]
