"""Verdicts on published numbers."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from hsivi import layout, significance
from hsivi.config import ConfigError
from hsivi.methods import Cell
from hsivi.record import read_json
from reports._compared import described, doubts, equivalence, verdict_of
from reports._ledger import Ledger
from reports._outcome import Comparison, Outcome, Verdict
from reports._published import Comparable, Numbers, Published
from reports._run import Missing, Run

T = TypeVar("T")
MILLION = 1e6


def judge(run: Run, ledger: Ledger, lines: Sequence[Published]) -> list[Outcome]:
    """Return a verdict for every line of claims/claims.csv.

    Raises:
        ConfigError: a line belongs to no block of the ledger, or to several.
    """
    names = identifiers(lines)
    return [_judged(run, ledger, line, names[k]) for k, line in enumerate(lines)]


def identifiers(lines: Sequence[Published]) -> list[str]:
    """Return a name for every line: what distinguishes it from the others of its table, and its method."""
    found = []
    for line in lines:
        beside = [one for one in lines if (one.source, one.table) == (line.source, line.table)]
        parts = [line.source, line.table]
        parts += [line.dataset] if len({one.dataset for one in beside}) > 1 else []
        parts += [line.method]
        parts += [f"t{line.nfe}"] if line.nfe is not None else []
        parts += [line.metric] if len({one.metric for one in beside}) > 1 else []
        found.append("-".join(parts))
    return found


def statement(ledger: Ledger, block: Numbers, line: Published) -> str:
    """Return a published number in words."""
    table = line.table.replace("table", "Table ")
    value = f"{line.value:.{block.decimals}f}" + (f" ± {line.sd:.{block.decimals}f}" if line.sd is not None else "")
    what = {"inception_score": "Inception score", "fid": "FID"}.get(line.metric, block.what)
    called = ledger.titles
    where = f" on {called.get(line.dataset, line.dataset)}" if line.dataset != "conditioned_diffusion" else ""
    budget = f" at T = {line.nfe}" if line.nfe is not None else ""
    return f"{table}: {what} of {called.get(line.method, line.method)}{where}{budget} is {value}"


def _judged(run: Run, ledger: Ledger, line: Published, name: str) -> Outcome:
    block = ledger.block(line)
    words = statement(ledger, block, line)
    about = {"dataset": line.dataset, "method": line.method, "metric": line.metric, "experiment": block.experiment}
    if block.compare is None:
        return _outcome(name, line, words, Verdict.NOT_COMPARABLE, f"{block.never}", None, about)
    place = _only(block.compare.places, line.dataset, "places")
    about |= {"dataset": place.dataset, "experiment": place.experiment}
    if block.compare.kind == "counted":
        verdict, reason, comparison = _counted(run, block, line, place.experiment, words)
    else:
        label = _only(block.compare.rows, line.method, "rows")
        metric = _only(block.compare.metrics, line.metric, "metrics")
        about |= {"method": label, "metric": metric}
        cell = Cell(run.scale, place.experiment, place.dataset, label, line.nfe or 0)
        verdict, reason, comparison = _measured(run, block, line, cell, metric, words)
    return _outcome(name, line, words, verdict, reason, comparison, about)


def _only(known: Mapping[str, T], wanted: str, what: str) -> T:
    if wanted not in known:
        raise ConfigError(f"ledger.yaml: numbers: {what}: got nothing for {wanted!r}, expected a name of ours; add it")
    return known[wanted]


def _measured(
    run: Run, block: Numbers, line: Published, cell: Cell, metric: str, words: str
) -> tuple[Verdict, str, Comparison | None]:
    compare = block.compare
    assert compare is not None
    found = run.find((cell.experiment, cell.dataset), cell.label, cell.nfe, metric)
    scale = block.never or _other_scale(run, compare)
    if isinstance(found, Missing):
        # A number that no run has is not comparable, whatever the scale.
        known = found.verdict is Verdict.NOT_RUN and scale is not None
        return (Verdict.NOT_COMPARABLE, f"{scale}", None) if known else (found.verdict, found.reason, None)
    mine = np.array([found.values[seed] for seed in sorted(found.values)])
    theirs = np.full(len(mine), line.value)
    if scale is not None:
        shown = described(words, (found.source,), mine, theirs, compare.margin, None, Verdict.NOT_COMPARABLE)
        return Verdict.NOT_COMPARABLE, scale, shown
    assert compare.margin is not None
    doubt = doubts(run, cell.experiment, [found], len(mine))
    if doubt is not None:
        return Verdict.INCONCLUSIVE, doubt, described(words, (found.source,), mine, theirs, compare.margin, None)
    low, high = compare.margin.limits(theirs)
    known = significance.evidence(mine - low, mine - high)
    verdict = verdict_of(int(significance.place(known)), line.better)
    test = equivalence(known, line.better)
    shown = described(words, (found.source,), mine, theirs, compare.margin, test, verdict)
    return verdict, reason_of(verdict, shown), shown


def _other_scale(run: Run, compare: Comparable) -> str | None:
    """Return why a scale is not compared, or None where it is."""
    if run.trial:
        return "scale smoke is a trial; its numbers mean nothing"
    if run.scale not in compare.scales:
        return f"it is comparable at scale {' and '.join(compare.scales)} only, where settings are the paper's"
    return None


def reason_of(verdict: Verdict, shown: Comparison) -> str:
    """Return why a printed number has a verdict, in a sentence."""
    assert shown.low is not None and shown.high is not None and shown.margin is not None
    between = (
        f"the 90 percent interval of ours less printed, {shown.low:+.4g} to {shown.high:+.4g} ({shown.seeds} seeds)"
    )
    says = {
        Verdict.REPRODUCED: f"lies within the margin of {shown.margin:.4g}",
        Verdict.BETTER: f"lies beyond the margin of {shown.margin:.4g} on the better side",
        Verdict.WORSE: f"lies beyond the margin of {shown.margin:.4g} on the worse side",
        Verdict.INCONCLUSIVE: f"lies clearly neither within nor beyond the margin of {shown.margin:.4g}",
    }
    return f"{between}, {says[verdict]}"


def _counted(
    run: Run, block: Numbers, line: Published, experiment: str, words: str
) -> tuple[Verdict, str, Comparison | None]:
    """Compare a number of parameters with what is printed, to the printed precision."""
    assert block.compare is not None
    scale = _other_scale(run, block.compare)
    note = layout.note(layout.DatasetFiles(run.scale, experiment, experiment).score_model)
    if experiment not in run.experiments or not note.exists():
        if scale is not None:
            return Verdict.NOT_COMPARABLE, scale, None
        cell = Cell(run.scale, experiment, experiment, "ddim", run.experiment(experiment).nfe[0])
        there = run.record(cell) is not None
        why = "the note beside the score model is not there; run it again" if there else run.why(cell).reason
        return Verdict.NOT_RUN, why, None
    ours = int(read_json(note)["parameters"]) / MILLION
    equal = round(ours, block.decimals) == round(line.value, block.decimals)
    verdict = Verdict.NOT_COMPARABLE if scale else Verdict.REPRODUCED if equal else Verdict.WORSE
    shown = Comparison(words, (), ours, line.value, ours - line.value, None, None, None, None, 0, verdict)
    relation = "equal to" if equal else "not"
    counted = (
        f"counted, not measured: {ours:.{block.decimals}f} is {relation} the printed {line.value:.{block.decimals}f}"
    )
    return verdict, scale or counted, shown


def _outcome(
    name: str,
    line: Published,
    words: str,
    verdict: Verdict,
    reason: str,
    comparison: Comparison | None,
    about: Mapping[str, str | None],
) -> Outcome:
    return Outcome(
        id=name,
        kind="number",
        paper=line.source,
        place=line.table,
        statement=words,
        verdict=verdict,
        reason=reason,
        printed=line.value,
        ours=comparison.ours if comparison else None,
        difference=comparison.difference if comparison else None,
        comparisons=(comparison,) if comparison else (),
        experiment=about["experiment"],
        datasets=(str(about["dataset"]),),
        methods=(str(about["method"]),),
        nfe=() if line.nfe is None else (line.nfe,),
        metrics=(str(about["metric"]),),
    )
