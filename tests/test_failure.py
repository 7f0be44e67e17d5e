"""Cells that fail are results: recorded, shown, run again by one command, and no trouble to the others."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsivi import failure, layout
from hsivi.arrays import load_arrays, load_metadata, save_arrays
from hsivi.config import load_experiment
from hsivi.methods import Cell
from hsivi.record import read_record
from hsivi.stages import sample
from tests.test_workflow import Checkout
from tests.warm import Warm

pytestmark = pytest.mark.slow
RUN = ["--cores", "2", "--config", "scale=smoke", "experiments=mixture"]
RATE = "      learning_rate: 3.0e-3\n"
BROKEN = Cell("smoke", "mixture", "ring", "hsivi_sm", 5)


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Checkout:
    """A run in which SIVI-SM and HSIVI-SM have a learning rate that no training survives."""
    checkout = Checkout(tmp_path_factory.mktemp("diverged"), warm)
    settings = checkout.folder / "workflows" / "experiments" / "mixture.yaml"
    text = settings.read_text()
    assert text.count(RATE) == 1
    settings.write_text(text.replace(RATE, "      learning_rate: 1.0e+30\n"))
    done = checkout.snakemake(*RUN)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return checkout


def statuses(checkout: Checkout) -> dict[str, str]:
    paths = checkout.folder.glob("results/smoke/mixture/ring/*/nfe*/record.json")
    return {path.parent.parent.name: json.loads(path.read_text())["status"] for path in paths}


def test_a_diverged_training_is_recorded_and_stops_no_other(diverged: Checkout) -> None:
    found = statuses(diverged)
    failed = {label for label, status in found.items() if status == "failed"}
    assert failed == {"hsivi_sm", "sivi_sm", "hsivi_sm-diffusion"}
    assert {"hsivi_lb", "uivi", "reference"} <= {label for label, status in found.items() if status == "ok"}
    record = read_record(diverged.folder / layout.CellFiles(BROKEN).record)
    assert record.reason is not None and "non-finite value at iteration" in record.reason
    assert record.measurements == () and record.command.startswith("python -m hsivi fit --scale smoke")


def test_it_is_shown(diverged: Checkout) -> None:
    table = pd.read_csv(diverged.folder / "reports/smoke/tables/table_mixture.csv", dtype=str, keep_default_na=False)
    shown = table[table.eq("failed").any(axis=1)]
    assert len(shown) == 3 and set(shown.method) == {"HSIVI-SM", "SIVI-SM", "HSIVI-SM, diffusion bridge"}
    page = (diverged.folder / "reports/smoke/index.html").read_text()
    assert "non-finite value at iteration" in page


def test_one_command_runs_it_again(diverged: Checkout) -> None:
    assert diverged.planned("mixture") == {}
    said = diverged.hsivi("retry", "--scale", "smoke").stdout
    assert said.count("forgot 5 files") == 3
    assert "make reproduce SCALE=smoke EXPERIMENTS='mixture' runs them again" in said
    planned = diverged.planned("mixture")
    assert {stage: planned[stage] for stage in ("fit", "sample", "measure")} == {"fit": 3, "sample": 3, "measure": 3}
    settings = diverged.folder / "workflows" / "experiments" / "mixture.yaml"
    settings.write_text(settings.read_text().replace("      learning_rate: 1.0e+30\n", RATE))
    done = diverged.snakemake(*RUN)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert set(statuses(diverged).values()) == {"ok", "declined"}
    assert diverged.hsivi("retry", "--scale", "smoke").stdout == "no cell of scale smoke has failed\n"


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "samples: got 1 of 6 numbers that are not finite"), (1.0, None)]
)
def test_samples_that_are_not_finite_are_a_failure(
    value: float, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cell = Cell("smoke", "toy2d", "moons", "ddim", 5)
    path, drawn = layout.CellFiles(cell).samples, np.ones((1, 1, 3, 2), np.float32)
    drawn[0, 0, 1, 1] = value
    monkeypatch.setattr(sample, "run", lambda *_: save_arrays(path, {"samples": drawn, "levels": np.arange(3)}))
    failure.run("sample", load_experiment("toy2d", "smoke"), cell)
    if reason is None:
        assert load_metadata(path) == {} and "samples" in load_arrays(path)
        return
    assert load_metadata(path)["failed"].startswith(reason) and load_arrays(path) == {}
    assert json.loads(layout.note(path).read_text())["failed"].startswith(reason)


def test_other_errors_are_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample, "run", broken)
    with pytest.raises(ValueError, match="a mistake of ours"):
        failure.run("sample", load_experiment("toy2d", "smoke"), Cell("smoke", "toy2d", "moons", "ddim", 5))
    assert not list(tmp_path.rglob("*.json"))
