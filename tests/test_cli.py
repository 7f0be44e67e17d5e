"""The command line, called in-process with lists of arguments: bad input is one line and exit status 2."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hsivi.__main__ import main
from hsivi.arrays import save_arrays
from hsivi.listing import METRICS
from hsivi.stages import reference

PLACE = ["--scale", "smoke", "--experiment", "toy2d", "--dataset", "moons"]
CELL = [*PLACE, "--method", "ddim", "--nfe", "5"]


def change(arguments: list[str], option: str, value: str) -> list[str]:
    changed = list(arguments)
    changed[changed.index(option) + 1] = value
    return changed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sample", *change(CELL, "--experiment", "toy3d")], ["'toy3d'", "toy2d"]),
        (["sample", *change(CELL, "--scale", "big")], ["'big'", "smoke, quick, paper"]),
        (["sample", *change(CELL, "--dataset", "moon")], ["'moon'", "did you mean 'moons'"]),
        (["sample", *change(CELL, "--method", "dimm")], ["'dimm'", "did you mean 'ddim'"]),
        (["sample", *change(CELL, "--nfe", "-5")], ["'-5'", "at least 0"]),
        (["sample", *change(CELL, "--nfe", "five")], ["'five'", "whole number"]),
        (["sample", *change(CELL, "--nfe", "7")], ["NFE 7", "time_grids"]),
        (["sample", *CELL], ["no such file", "data.safetensors", "snakemake"]),
        (["measure", *CELL], ["no such file", "samples.json", "snakemake"]),
        (["fit", *CELL], ["ddim", "function fit", "sample"]),
        (["sample", *CELL, "--threads", "x"], ["'x'", "at least 1"]),
        (["report", "table1", "--scale", "smoke", "--experiments", "digits"], ["'toy2d'", "digits"]),
        (["report", "tabel1", "--scale", "smoke", "--experiments", "toy2d"], ["'tabel1'", "did you mean 'table1'"]),
        (["collect", "--scale", "smoke", "--experiments", "toy"], ["'toy'", "toy2d"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error
    for word in ["got", "expected", *words]:
        assert word in error, error
    assert not list(tmp_path.iterdir()), "nothing may be written"


def test_a_damaged_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "results" / "smoke" / "toy2d" / "moons" / "data.safetensors"
    data.parent.mkdir(parents=True)
    data.write_bytes(b"not a tensor file")
    assert main(["pretrain", *PLACE]) == 2
    error = capsys.readouterr().err
    assert "data.safetensors" in error and "damaged" in error and "delete it" in error


def test_a_loss_that_is_not_finite_is_one_line_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "smoke" / "toy2d" / "moons"
    infinite = np.full((1000, 2), np.inf, np.float32)
    save_arrays(folder / "data.safetensors", {"mean": np.zeros(2), "std": np.ones(2), "reference": infinite})
    assert main(["pretrain", *PLACE]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in ["got nan", "iteration 0", "expected a finite number", "lower the learning rate"]:
        assert word in error, error
    assert not (folder / "score_model.safetensors").exists()


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for word in ["smoke", "quick", "paper", "toy2d", "digits", "checkerboard", "hsivi_sm", "ddpm", "js_cell"]:
        assert word in text
    for metrics in METRICS.values():
        assert all(metric in text for metric in metrics)


def test_threads_of_a_reference_are_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run side by side, but numerical libraries keep to one thread: results must not depend on the cores."""
    seen: dict[str, object] = {}
    monkeypatch.setattr(
        reference, "run", lambda *given: seen.update(workers=given[2], threads=os.environ["OMP_NUM_THREADS"])
    )
    assert main(["reference", *PLACE, "--threads", "2"]) == 0
    assert seen == {"workers": 2, "threads": "1"}


SHORTAGES = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
]


@pytest.mark.parametrize("error", SHORTAGES)
def test_too_little_memory_is_one_line_with_a_remedy(error, monkeypatch, capsys) -> None:
    def fail(*_) -> None:
        raise error

    monkeypatch.setattr("hsivi.stages.data.run", fail)
    assert main(["data", *PLACE]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "got too little" in said and "microbatches" in said and "what is finished stays" in said
