"""Verdicts on statements in words.

Every statement of a family all of whose cells a run includes takes part in the family's correction, also where records
are missing or too few: it counts with a p-value of one.  So the ledger and the scope of the run fix the size of a
family beforehand, and a verdict does not depend on which other records happen to be there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hsivi import significance
from hsivi.significance import LEVEL
from reports._compared import Compared, Test, of_part
from reports._outcome import Comparison, Outcome, Verdict
from reports._run import Run
from reports._statements import Statement
from reports._timed import of_timing


@dataclass(frozen=True)
class Case:
    """A statement with its comparisons, before the correction.

    Attributes:
        statement: the statement.
        parts: its comparisons; none where it is not tested.
        holds: p-value for all parts being true.
        fails: p-value for the contrary of at least one.
        exceeds: p-value for no part being worse and at least one being better than claimed; None where that is nothing.
    """

    statement: Statement
    parts: tuple[Compared, ...]
    holds: float = 1.0
    fails: float = 1.0
    exceeds: float | None = None

    @property
    def planned(self) -> bool:
        """Whether the run includes everything that it needs."""
        return bool(self.parts) and all(part.missing is None or part.missing.planned for part in self.parts)


def judge(run: Run, statements: Sequence[Statement]) -> list[Outcome]:
    """Return a verdict for every statement."""
    cases = [case_of(run, statement) for statement in statements]
    families: dict[str, list[int]] = {}
    for k, case in enumerate(cases):
        if case.planned:
            families.setdefault(str(case.statement.family), []).append(k)
    corrected: dict[int, tuple[Case, int]] = {}
    for members in families.values():
        adjusted = correct([cases[k] for k in members])
        corrected |= {k: (case, len(members)) for k, case in zip(members, adjusted, strict=True)}
    return [_outcome(run, *corrected.get(k, (case, 0))) for k, case in enumerate(cases)]


def case_of(run: Run, statement: Statement) -> Case:
    """Compare what a statement asks for, where the scale tests it."""
    if statement.never is not None or run.trial or run.scale not in statement.scales:
        return Case(statement, ())
    assert statement.experiment is not None
    name = statement.experiment
    parts = [of_part(run, name, part) for part in statement.parts()]
    parts += [of_timing(run, name, test) for test in statement.timings]
    return Case(statement, tuple(parts), *combined([part.test for part in parts]))


def combined(tests: Sequence[Test | None]) -> tuple[float, float, float | None]:
    """Return the p-values of a statement from those of its parts; a part without a test has one.

    Returns:
        As `Case`: holds, fails, exceeds.
    """
    holds = significance.all_hold([test.holds if test else 1.0 for test in tests])
    fails = significance.any_holds([test.fails if test else 1.0 for test in tests])
    if not any(test is not None and test.exceeds is not None for test in tests):
        return holds, fails, None
    # No part is worse (intersection-union), and one is better (Bonferroni); both have to be shown.
    allowed = significance.all_hold([_or_one(test.allowed if test else None) for test in tests])
    better = significance.any_holds([_or_one(test.exceeds if test else None) for test in tests])
    return holds, fails, max(allowed, better)


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p


def correct(cases: Sequence[Case]) -> list[Case]:
    """Return the statements of a family with p-values after Holm's correction, for each direction separately."""
    holds = significance.holm([case.holds for case in cases])
    fails = significance.holm([case.fails for case in cases])
    exceeding = [k for k, case in enumerate(cases) if case.exceeds is not None]
    exceeds = dict(zip(exceeding, significance.holm([_or_one(cases[k].exceeds) for k in exceeding]), strict=True))
    return [replace(case, holds=holds[k], fails=fails[k], exceeds=exceeds.get(k)) for k, case in enumerate(cases)]


def decide(case: Case) -> Verdict:
    """Return the verdict on a statement with corrected p-values."""
    if case.fails <= LEVEL:
        return Verdict.WORSE
    missing = [part.missing.verdict for part in case.parts if part.missing]
    if missing:
        return Verdict.NOT_RUN if Verdict.NOT_RUN in missing else Verdict.NOT_COMPARABLE
    if case.holds <= LEVEL:
        return Verdict.REPRODUCED
    if case.exceeds is not None and case.exceeds <= LEVEL:
        return Verdict.BETTER
    return Verdict.INCONCLUSIVE


def reason_of(run: Run, case: Case, verdict: Verdict, family: int) -> str:
    """Return why a statement has its verdict, in a sentence."""
    if not case.parts:
        return _untested(run, case.statement)
    missing = [part for part in case.parts if part.missing]
    doubtful = [part for part in case.parts if part.doubt]
    count, scale = len(case.parts), "" if run.scale == "paper" else f"at scale {run.scale} "
    correction = f" after correction over {family} statements" if family > 1 else ""
    if verdict in (Verdict.NOT_RUN, Verdict.NOT_COMPARABLE):
        first = missing[0].missing
        assert first is not None
        return f"{len(missing)} of {count} comparisons lack numbers: {first.reason}" if count > 1 else first.reason
    if verdict is Verdict.WORSE:
        least = min((part for part in case.parts if part.test), key=lambda part: part.test.fails if part.test else 1.0)
        return f"{scale}the contrary holds: {_shown(least.comparison)} (p = {case.fails:.2g}{correction})"
    if verdict is Verdict.REPRODUCED:
        return f"{scale}{_all(count)} (p = {case.holds:.2g}{correction})"
    if verdict is Verdict.BETTER:
        return f"{scale}nothing is worse than claimed and something is better (p = {case.exceeds:.2g}{correction})"
    if doubtful:
        return f"{doubtful[0].doubt}"
    clear = sum(part.comparison.outcome is Verdict.REPRODUCED for part in case.parts)
    least = max((part for part in case.parts if part.test), key=lambda part: part.test.holds if part.test else 0.0)
    if count == 1:
        return f"{scale}not clear: {_shown(least.comparison)} (p = {case.holds:.2g}{correction})"
    return (
        f"{scale}{clear} of {count} comparisons are clear by themselves; least so {_shown(least.comparison)} "
        f"(p = {case.holds:.2g} for all{correction})"
    )


def _all(count: int) -> str:
    return {1: "it holds", 2: "both comparisons hold"}.get(count, f"all {count} comparisons hold")


def _shown(comparison: Comparison) -> str:
    return f"{comparison.words}, {comparison.ours:.4g} against {comparison.other:.4g}"


def _untested(run: Run, statement: Statement) -> str:
    if statement.never is not None:
        return statement.never
    if run.trial:
        return "scale smoke is a trial; its numbers mean nothing"
    return f"it is tested at scale {' and '.join(statement.scales)} only"


def _outcome(run: Run, case: Case, family: int) -> Outcome:
    statement, parts = case.statement, case.statement.parts()
    rivals = [part.rival for part in parts if part.rival]
    timed = [label for test in statement.timings for label in (test.method, test.rival)]
    verdict = decide(case) if case.parts else Verdict.NOT_COMPARABLE
    shown = tuple(part.comparison for part in case.parts)
    single = shown[0] if len(shown) == 1 else None
    return Outcome(
        id=statement.id,
        kind="statement",
        paper=statement.paper,
        place=statement.place,
        statement=statement.statement,
        verdict=verdict,
        reason=reason_of(run, case, verdict, family),
        printed=None,
        ours=single.ours if single else None,
        difference=single.difference if single else None,
        comparisons=shown,
        experiment=statement.experiment,
        datasets=tuple(dict.fromkeys(part.dataset for part in parts)),
        methods=tuple(dict.fromkeys([*(part.method for part in parts), *(label for label, _ in rivals), *timed])),
        nfe=tuple(sorted({*(part.nfe for part in parts), *(nfe for _, nfe in rivals)})),
        metrics=tuple(dict.fromkeys([*(part.metric for part in parts), *(t.quantity for t in statement.timings)])),
    )
