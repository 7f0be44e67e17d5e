"""The stages in-process on a tiny experiment: what they write, bitwise repetition, how a method declines."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hsivi import layout
from hsivi.arrays import load_arrays
from hsivi.config import ConfigError, load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import read_json, read_record
from hsivi.sampler import load_baseline
from hsivi.schedule import QuadraticSchedule
from hsivi.stages import data, fit, measure, pretrain, reference, sample
from hsivi.time_grid import time_grid

CELL = Cell("smoke", "toy2d", "moons", "ddim", 5)
TRAINED = Cell("smoke", "toy2d", "moons", "hsivi_sm", 5)


@pytest.fixture(scope="module")
def tiny() -> Experiment:
    whole = load_experiment("toy2d", "smoke")
    model = whole.diffusion
    return whole.model_copy(
        update={
            "num_samples": 300,
            "data": whole.data.model_copy(update={"reference_draws": 100_000}),
            "score_model": model.model_copy(update={"pretrain": model.pretrain.model_copy(update={"iterations": 20})}),
        }
    )


@pytest.fixture(scope="module")
def folder(tiny: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("stages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        for stage in (data, pretrain, reference):
            stage.run(tiny, "moons")
    return where


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_a_cell_from_samples_to_record(tiny: Experiment) -> None:
    sample.run(tiny, CELL)
    measure.run(tiny, CELL)
    record = read_record(layout.CellFiles(CELL).record)
    assert (record.status, record.nfe, record.config["eta"]) == ("ok", 5, 0.0)
    assert (record.time_grid, record.protocol) == ("hsivi", "common")
    assert record.levels == tuple(time_grid(QuadraticSchedule(), "hsivi", 5).tolist())
    assert {m.seed for m in record.measurements} == set(tiny.seeds)
    assert all(m.num_samples == 300 and m.floor is not None for m in record.measurements)
    stored = load_arrays(layout.CellFiles(CELL).samples)
    assert stored["samples"].shape == (len(tiny.seeds), tiny.sample_sets, 300, 2)
    assert stored["trajectory"].shape == (6, 300 * tiny.sample_sets, 2)
    np.testing.assert_array_equal(stored["trajectory"][-1], stored["samples"][0].reshape(-1, 2))
    assert all(m.standard_error is not None for m in record.measurements), "from several sample sets"


@pytest.mark.parametrize("cell", [CELL, TRAINED], ids=["ddim", "hsivi_sm"])
def test_a_repeated_cell_is_equal_to_the_bit(tiny: Experiment, cell: Cell) -> None:
    contents = []
    for _ in range(2):
        if cell == TRAINED:
            fit.run(tiny, cell)
        sample.run(tiny, cell)
        contents.append(layout.CellFiles(cell).samples.read_bytes())
    assert contents[0] == contents[1]


def test_training_leaves_no_checkpoint_and_stores_both_networks(tiny: Experiment) -> None:
    fit.run(tiny, TRAINED)
    files = layout.CellFiles(TRAINED)
    assert not layout.scratch(files.fit).exists()
    names = set(load_arrays(files.fit))
    for seed in tiny.seeds:
        assert f"{seed}/log_variance" in names
        assert any(name.startswith(f"{seed}/critic.") for name in names)
    assert read_json(layout.note(files.fit))["training_seconds"] > 0


def test_a_method_that_declines_is_recorded_with_its_reason(tiny: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "needs images"
    monkeypatch.setattr(load_baseline("ddim"), "skip", lambda problem, config: reason, raising=False)
    sample.run(tiny, CELL)
    measure.run(tiny, CELL)
    record = read_record(layout.CellFiles(CELL).record)
    assert (record.status, record.reason, record.measurements) == ("declined", reason, ())


@pytest.mark.parametrize("name", ["data", "score_model", "reference", "samples"])
def test_a_flipped_bit_in_an_earlier_stages_output_is_named_with_its_remedy(
    tiny: Experiment, folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last byte belongs to a number, so that the file can be read as well as before."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    sample.run(tiny, CELL)
    shared = layout.DatasetFiles("smoke", "toy2d", "moons")
    path = layout.CellFiles(CELL).samples if name == "samples" else getattr(shared, name)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    load_arrays(path)
    stage = measure if name in ("reference", "samples") else sample
    command = read_json(layout.note(path))["command"]
    with pytest.raises(ConfigError, match=f"{path}: got a file that is not what its stage wrote.*: {command}$"):
        stage.run(tiny, CELL)
    path.write_bytes(content)
    stage.run(tiny, CELL)
