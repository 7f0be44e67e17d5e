"""The command line on several devices: HSIVI_DEVICES starts processes, which learn what one learns."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hsivi import layout
from hsivi.arrays import load_arrays
from hsivi.methods import Cell
from hsivi.record import read_json
from tests.test_workflow import Checkout

pytestmark = pytest.mark.slow
CELL = Cell("smoke", "digits", "digits", "hsivi_sm", 5)
PLACE = ["--scale", "smoke", "--experiment", "digits", "--dataset", "digits"]
EDITS = {
    "      iterations: {smoke: 2, quick: 72, paper: 2000}\n": "      iterations: 50\n      microbatches: 2\n",
    "seeds: {smoke: [0, 1],": "seeds: {smoke: [0],",
}


def test_two_devices_train_digits_to_the_weights_of_one(tmp_path: Path) -> None:
    """Fifty updates of the layers, a hundred of the critic, of one global batch cut in two.

    The sum of two gradients has one order, so the weights are the same to the bit; of more they need not be.
    """
    checkout = Checkout(tmp_path)
    settings = checkout.folder / "workflows" / "experiments" / "digits.yaml"
    text = settings.read_text()
    for old, new in EDITS.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    settings.write_text(text)

    def hsivi(*arguments: str, devices: int = 1) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "hsivi", *arguments],
            cwd=tmp_path,
            env={**checkout.environment(), "HSIVI_DEVICES": str(devices)},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    def fit(devices: int) -> dict[str, np.ndarray]:
        hsivi("fit", *PLACE, "--method", CELL.label, "--nfe", str(CELL.nfe), devices=devices)
        path = tmp_path / layout.CellFiles(CELL).fit
        assert read_json(layout.note(path))["processes"] == devices
        return load_arrays(path)

    for stage in ("data", "pretrain"):
        hsivi(stage, *PLACE)
    start = load_arrays(tmp_path / layout.DatasetFiles("smoke", "digits", "digits").score_model)
    alone, together = fit(1), fit(2)
    assert set(alone) == set(together) and len(alone) >= len(start)
    for name, value in alone.items():
        np.testing.assert_array_equal(together[name], value, err_msg=name)
        if own := name.partition("/network.")[2]:
            assert (value != start[own]).any(), f"{own} was not trained"
