"""Verdicts: for every claim of the papers, whether the records of a run bear it out.

REPRODUCED, BETTER and WORSE are results of tests, INCONCLUSIVE is one that decides nothing (too few seeds or
trainings, or too wide an interval), NOT_COMPARABLE has no test at this scale or at all, NOT_RUN has no records.  What
is tested, with which margin, stands in claims/ledger.yaml and is fixed before a run; the tests are those of
`hsivi.significance`.

A published number is REPRODUCED if two one-sided tests at level 0.05 put the mean over seeds within the margin; BETTER
or WORSE if the two-sided test at 0.05 puts it beyond.  A number outside the margin is called REPRODUCED with a
probability of at most 0.05, one inside is called BETTER or WORSE with at most 0.05.  These are rates for each number:
numbers are not corrected for multiplicity, since each is read by itself.  What is counted, as parameters, has no chance
in it and is compared as printed.

A statement is REPRODUCED only if all its parts hold, WORSE if one is contradicted.  Where a statement says that two
things are comparable it is BETTER if no part is worse than that and one is better.  Statements of one family (named in
the ledger, in general an experiment) are corrected together by Holm's procedure, separately for these directions.  This
bounds the probability of even one false verdict of a kind in a family by 0.05.

Why: take a statement that does not hold.  Some part of it is wrong, and the p-value of that part is at most p with
probability at most p; the largest p-value of all parts is no smaller, so it is a valid p-value of the statement,
however the parts depend on one another.  If on the contrary no part of a statement is contradicted, each part's p-value
for its contrary is valid, and the smallest times their number is too, by the union bound.  Holm's procedure turns valid
p-values into corrected ones with that bound and asks nothing about dependence.  Families are not corrected for one
another.
"""

from collections import Counter
from collections.abc import Sequence

from hsivi.experiment import Experiment
from reports import _judged_numbers, _judged_statements
from reports._ledger import load_ledger
from reports._outcome import Comparison as Comparison
from reports._outcome import Outcome as Outcome
from reports._outcome import Verdict as Verdict
from reports._published import published
from reports._run import Run


def outcomes(scale: str, experiments: Sequence[Experiment]) -> list[Outcome]:
    """Return a verdict for every published number and every statement of the ledger, in their order.

    Arguments:
        scale: scale of the run.
        experiments: what the run includes; records may be missing.

    Raises:
        ConfigError: the ledger cannot be used, or a record is broken.
    """
    ledger, run = load_ledger(scale), Run(scale, experiments)
    return [*_judged_numbers.judge(run, ledger, published()), *_judged_statements.judge(run, ledger.statements)]


def verdict_counts(found: Sequence[Outcome]) -> dict[Verdict, int]:
    """Return how many claims have each verdict, in the order of `Verdict`."""
    counts = Counter(outcome.verdict for outcome in found)
    return {verdict: counts[verdict] for verdict in Verdict}
