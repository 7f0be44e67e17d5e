"""When training pays off, in closed form, and from records."""

import math
from pathlib import Path

import pytest

from hsivi.config import load_experiment
from hsivi.reporting import reports
from reports import break_even
from reports._costs import Cost
from reports._costs import break_even as solve
from tests import page_results
from tests.page_results import TRAINING


def test_both_take_as_long_at_the_break_even():
    ours, rival = Cost(training=30.0, sample=0.002), Cost(training=5.0, sample=0.012)
    assert solve(ours, rival) == pytest.approx(2500)  # 25 s dearer, 10 ms saved on each
    assert ours.total(2500) == pytest.approx(rival.total(2500))
    assert ours.total(2400) > rival.total(2400)


@pytest.mark.parametrize("sample", [0.002, 0.001])
def test_training_never_pays_against_a_rival_as_fast(sample):
    assert solve(Cost(30.0, 0.002), Cost(0.0, sample)) == math.inf


def test_what_is_cheaper_from_the_start_needs_no_samples():
    assert solve(Cost(1.0, 0.002), Cost(5.0, 0.012)) == 0


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        shown = page_results.experiments()
        page_results.write(shown)
        yield break_even.table("quick", shown)


def test_the_table_follows_from_the_records(table):
    """A seed of a made-up record draws 3 sets of 10,000 samples, DDPM at 1000 evaluations one, 2 ms an evaluation."""

    def each(label: str, nfe: int) -> float:
        return 0.002 * nfe / (10_000 if (label, nfe) == ("ddpm", 1000) else 30_000)

    outcomes = set()
    for row in rows(table):
        label = row["rival's"].sources[0].method if row["rival's"].sources else None
        nfe = row["ours"].sources[0].nfe
        assert float(row["training s"].text) == TRAINING
        assert float(row["ms a sample"].text) == pytest.approx(1000 * each("hsivi_sm", nfe), abs=1e-4)
        said = row["break-even"].text
        outcomes.add(said if label is None else "reached")
        if label is None:
            assert (said, row["rival's NFE"].text) == (break_even.NOT_REACHED, "–")
            continue
        theirs = int(row["rival's NFE"].text)
        assert float(row["rival's"].text) <= float(row["ours"].text)
        assert row["rival's"].sources[0].nfe == theirs
        saved = each(label, theirs) - each("hsivi_sm", nfe)
        assert said == (f"{TRAINING / saved:.0f}" if saved > 0 else break_even.NEVER)
    assert outcomes == {"reached", break_even.NOT_REACHED}


def rows(table):
    """Return the cells of each row by column."""
    return [dict(zip([name for _, name in table.columns], cells, strict=True)) for _, cells in table.rows]


def test_the_quickest_budget_of_equal_quality_counts(table):
    """Of a rival's budgets as good as ours the fewest evaluations are the quickest here."""
    for row in rows(table):
        if row["rival's"].sources:
            ours, theirs = row["ours"].sources[0], row["rival's"].sources[0]
            goal = page_results.value(ours.method, ours.nfe, "js_cell", 0)
            good = [n for n in (5, 10, 1000) if page_results.value(theirs.method, n, "js_cell", 0) <= goal]
            assert theirs.nfe == min(good)


def test_experiments_without_samplers_have_no_break_even(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert break_even.table("quick", [load_experiment("conditioned_diffusion", "quick")]).rows == ()
    assert {report.name: report for report in reports()}["break_even"].table
