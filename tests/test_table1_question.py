"""The Table 1 question, on values of which the answer is known."""

import math
from pathlib import Path

import numpy as np
import pytest

from hsivi import layout, methods
from hsivi.config import load_experiment
from hsivi.experiment import Experiment
from hsivi.record import Measurement, Record, write_record
from reports import table1_question
from reports._published import published

SEEDS = (11, 12, 13)
FACTOR = "root mean square error as a factor, T = 5 and 10"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(dataset: str, method: str, nfe: int) -> float | None:
    found = [
        line.value
        for line in published()
        if (line.source, line.table, line.dataset, line.method, line.nfe) == ("hsivi", "table1", dataset, method, nfe)
    ]
    return found[0] if found else None


def give(scale: str = "quick", **changes: float) -> Experiment:
    """Write records in which J is 1.2 times the printed number and both directions are half of that, more or less."""
    experiment = load_experiment("toy2d", scale, "core")
    for cell in methods.cells(experiment):
        value = printed(cell.dataset, cell.label, cell.nfe) or 0.05
        up = 1.5 if cell.nfe == 5 else 1 / 1.5
        metrics = {
            "jdist_ite": 1.2 * value, "kl_target_model_ite": up * value, "kl_model_target_ite": 0.6 * value,
            "js_ite": 0.1 * value, "js_cell": 0.05 * value,
        }  # fmt: skip
        if (cell.dataset, cell.nfe, cell.label) == ("moons", 10, "ddim"):
            metrics |= changes
        measured = [
            Measurement(seed=s, metric=m, value=v + 0.001 * (s - 12), standard_error=None, num_samples=10_000)
            for m, v in metrics.items()
            for s in SEEDS
        ]
        record = Record(
            experiment="toy2d", dataset=cell.dataset, label=cell.label, baseline="b", title="t", scale=scale,
            nfe=cell.nfe, time_grid=None, status="ok", config={}, measurements=tuple(measured), seconds={},
            device="", dtype="", environment={}, commit="", digests={}, command="",
        )  # fmt: skip
        write_record(layout.CellFiles(cell).record, record)
    return experiment


def rows(experiment: Experiment, scale: str = "quick") -> dict[tuple[str, ...], dict[str, str]]:
    header, *grid = table1_question.table(scale, experiment).grid
    return {tuple(row[:4]): dict(zip(header[4:], row[4:], strict=True)) for row in grid}


def test_every_cell_and_every_score():
    table = rows(give())
    cells = [key for key in table if key[0] == "divergence"]
    assert len(cells) == 20 and [k[3] for k in cells].count("1000") == 4
    row = table["divergence", "checkerboard", "DDPM", "5"]
    assert row["printed"] == "0.891" and row["J"] == f"{1.2 * 0.891:.4f} ± 0.0010" and row["J/2"].startswith("0.5346")
    scores = {key[1]: value for key, value in table.items() if key[0] == "agreement"}
    assert scores[FACTOR]["J"] == "x1.20 (1.20 to 1.20)"
    assert scores[FACTOR]["J/2"] == "x1.67 (1.67 to 1.67)"
    assert scores[FACTOR]["KL(target, model)"].startswith("x1.50 (1.50")  # up or down by half as much again
    assert scores["largest error as a factor, T = 5 and 10"]["js_ite"] == "x10.00"
    best = scores["root mean square error after the best single factor"]
    assert best["J"] == "x1.00 (ours x0.83)" and best["KL(target, model)"] == "x1.50 (ours x1.00)"
    every = [line.value for line in published() if line.table == "table1" and line.method in ("ddpm", "ddim")]
    assert scores["mean absolute error, all T"]["J"] == f"{0.2 * np.mean([v for v in every if v < 2]):.3f}"
    above = scores["printed numbers above what it can return"]
    assert above["js_ite"] == above["js_cell"] == "4" and above["J"] == "no bound"
    assert scores["Spearman's rank correlation, all T"]["J"] == "1.00"
    assert float(scores["Spearman's rank correlation, all T"]["KL(target, model)"]) < 1
    assert set(scores["cells at T = 5 and 10 without a logarithm"].values()) == {"0", "–"}


def test_sources_stand_behind_numbers():
    table = table1_question.table("quick", give())
    cells = dict(table.rows)["divergence", "moons", "DDIM", "5"]
    assert cells[0].sources == () and [c.sources[0].metric for c in cells[1:]][2:4] == ["jdist_ite", "jdist_ite"]
    assert len(dict(table.rows)["agreement", FACTOR, "", ""][3].sources) == 20


def test_the_answer_in_sentences():
    excluded, best = [s for s in table1_question.sentences("quick", give()) if "js_cell" not in s.split(",")[0]]
    assert excluded.startswith("Table 1: 4 of the 20 numbers printed for DDPM and DDIM exceed what js_ite can return")
    assert "J reproduces the 16 printed at T = 5 and 10 best, within a factor of 1.20" in best
    assert "95 percent interval 1.20 to 1.20" in best and "KL(target, model) x1.50" in best and "not told" not in best


def test_a_value_without_a_logarithm_is_counted_and_excludes():
    experiment = give(jdist_ite=-0.01)
    said = table1_question.sentences("quick", experiment)
    assert "Table 1: cells whose value is not positive and has no logarithm: J (1), J/2 (1)" in said
    assert "KL(target, model) reproduces" in said[-1]
    table = rows(experiment)
    assert table["agreement", "cells at T = 5 and 10 without a logarithm", "", ""]["J"] == "1"
    assert table["agreement", FACTOR, "", ""]["J"].startswith("x1.20"), "of the other 15"


def test_quantities_that_cannot_be_told_apart_are_named():
    said = table1_question.sentences("quick", give(kl_target_model_ite=0.001))[-1]
    assert "J reproduces" in said
    one = table1_question._told_apart(np.log([1.2, 1.3, 1.1, 1.25]), np.log([1.25, 1.2, 1.2, 1.25]))
    two = table1_question._told_apart(np.log([1.2, 1.3, 1.1, 1.25]), np.log([3.0, 3.1, 3.2, 2.9]))
    assert (one, two) == (False, True)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=12)
    error = table1_question.jackknife(lambda kept: float(x[kept].mean()), 12)
    assert error == pytest.approx(x.std(ddof=1) / math.sqrt(12))


def test_incomplete_runs():
    experiment = give("smoke")
    assert len([key for key in rows(experiment, "smoke") if key[0] == "divergence"]) == 4
    for cell in methods.cells(experiment):
        if cell.dataset == "moons":
            layout.CellFiles(cell).record.unlink()
    (said,) = table1_question.sentences("smoke", experiment)
    assert said == "Table 1: 2 of its cells for DDPM and DDIM have numbers of ours, too few to compare"
    assert rows(experiment, "smoke")["agreement", FACTOR, "", ""]["J"] == "–"
