"""Comparisons of timings: how long two rows take to draw a batch, and how many parameters their networks have."""

import numpy as np

from hsivi import layout, significance
from hsivi.methods import Cell
from hsivi.significance import Moments
from hsivi.timing_record import TimingRecord, read_timing
from reports._compared import Compared, Test, equivalence
from reports._margin import Margin
from reports._outcome import Comparison, Verdict
from reports._run import Missing, Run
from reports._statements import TimingTest


def of_timing(run: Run, experiment: str, test: TimingTest) -> Compared:
    """Compare how long two rows take to draw a batch, or how many parameters their networks have."""
    (dataset,) = run.experiment(experiment).data.datasets
    timing = run.experiment(experiment).timing
    nfe = timing.nfe if timing else 0
    titles = [run.title(experiment, label) for label in (test.method, test.rival)]
    words = f"{dataset}, T = {nfe}: {titles[0]} as {titles[1]} ({test.quantity})"
    found = [_timed(run, Cell(run.scale, experiment, dataset, label, nfe)) for label in (test.method, test.rival)]
    missing = next((one for one in found if isinstance(one, Missing)), None)
    if missing is not None:
        blank = Comparison(words, (), None, None, None, None, None, None, None, 0, missing.verdict)
        return Compared(blank, missing=missing)
    ours, other = (one for one in found if isinstance(one, TimingRecord))
    if test.margin is None:
        return _counted(words, ours.parameters, other.parameters)
    return _seconds(words, ours, other, test.margin)


def _timed(run: Run, cell: Cell) -> TimingRecord | Missing:
    path, planned = layout.CellFiles(cell).timing, cell in run.cells(cell.experiment)
    if not planned or not path.exists():
        command = f"make reproduce SCALE={run.scale} EXPERIMENTS={cell.experiment} measures it"
        return Missing(Verdict.NOT_RUN, f"the time to sample {cell.label} is not measured; {command}", planned)
    timing = read_timing(path)
    return timing if timing.status == "ok" else Missing(Verdict.NOT_RUN, f"declined: {timing.reason}", planned=True)


def _counted(words: str, ours: int, other: int) -> Compared:
    """Compare two numbers that are counted: there is no chance in them."""
    certain = 0.0 if ours == other else 1.0
    outcome = Verdict.REPRODUCED if ours == other else Verdict.WORSE
    shown = Comparison(words, (), ours, other, ours - other, None, None, None, None, 0, outcome)
    return Compared(shown, Test(certain, 1.0 - certain))


def _seconds(words: str, ours: TimingRecord, other: TimingRecord, margin: Margin) -> Compared:
    """Compare mean durations by Welch's tests: the runs of the clock are kept as moments only."""
    mine, theirs = (Moments(one.seconds["mean"], one.seconds["std"], one.runs) for one in (ours, other))
    low, high = (float(limit) / theirs.mean for limit in margin.limits(np.array(theirs.mean)))
    test, difference = None, mine.mean - theirs.mean
    if mine.sd > 0 or theirs.sd > 0:
        test = equivalence(significance.evidence_of_moments(mine, theirs.times(low), theirs.times(high)), "lower")
    between = significance.interval_of_moments(mine, theirs) if test else (None, None)
    shown = Comparison(
        words, (), mine.mean, theirs.mean, difference, *between, (high - 1) * theirs.mean,
        test.holds if test else None, mine.count, test.verdict if test else Verdict.INCONCLUSIVE,
    )  # fmt: skip
    return Compared(shown, test, doubt=None if test else "the durations have no spread")
