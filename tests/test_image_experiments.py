"""Image experiments from files in their official formats to reports, at scale smoke, on generated images."""

import json
from pathlib import Path

import numpy as np
import pytest

from hsivi import layout, methods
from hsivi.__main__ import main
from hsivi.arrays import load_arrays, load_metadata
from hsivi.config import load_experiment
from hsivi.experiment import Experiment
from hsivi.metrics.protocol import split
from hsivi.record import read_record
from tests.test_workflow import Checkout
from tests.warm import Warm

pytestmark = [pytest.mark.slow]
PLACE = ["--scale", "smoke"]


def measured(experiment: Experiment, cell: methods.Cell) -> bool:
    """Whether a cell is measured: each by a classifier; two rows by Inception, ten seconds each and the same for all.

    The run of CIFAR-10 through the graph measures all of its rows by Inception.
    """
    return experiment.data.features.kind == "classifier" or cell.label in ("reference", "hsivi_sm")


def run_everything(name: str) -> None:
    """Run each stage's command of an experiment in this process, then its reports."""
    experiment = load_experiment(name, "smoke", "core")
    for dataset in experiment.data.datasets:
        for stage in ("data", "pretrain", "reference"):
            assert main([stage, *PLACE, "--experiment", name, "--dataset", dataset]) == 0
    cells = sorted(methods.cells(experiment), key=lambda cell: -cell.nfe)  # what training starts from comes first
    for cell in cells:
        place = [
            *PLACE,
            "--experiment",
            name,
            "--dataset",
            cell.dataset,
            "--method",
            cell.label,
            "--nfe",
            str(cell.nfe),
        ]
        learns = methods.info(experiment, cell.label).needs_fit
        for stage in (*(["fit"] if learns else []), "sample", *(["measure"] if measured(experiment, cell) else [])):
            assert main([stage, *place]) == 0
    for cell in methods.timed_cells(experiment):
        place = ["--experiment", name, "--dataset", cell.dataset, "--method", cell.label, "--nfe", str(cell.nfe)]
        assert main(["time", *PLACE, *place]) == 0


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "celeba", "imagenet64"])
def test_every_cell_is_sampled_and_measured(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_everything(name)
    experiment = load_experiment(name, "smoke", "core")
    seeds, size = len(experiment.seeds), experiment.data.size
    kind = experiment.data.features.kind
    fingerprints = set()
    for cell in methods.cells(experiment):
        stored = load_arrays(layout.CellFiles(cell).samples)
        assert stored["samples"].dtype == np.uint8
        assert stored["samples"].shape[:3] == (seeds, 1, experiment.num_samples)
        assert stored["samples"].shape[-2:] == (size, size)
        if not measured(experiment, cell):
            continue
        record = read_record(layout.CellFiles(cell).record)
        assert record.status == "ok", record.reason
        names = {split(m.metric) for m in record.measurements}
        distance = "fid_inception" if kind == "inception" else f"fd_{name}_classifier"
        assert distance in {metric for metric, _ in names}
        fingerprints |= {mark for _, mark in names if mark}
        assert all(np.isfinite(m.value) for m in record.measurements)
        assert record.trainings == (1 if methods.info(experiment, cell.label).needs_fit else 0)
    assert len(fingerprints) == 1, "cells of one experiment are comparable"
    (dataset,) = experiment.data.datasets
    reference = layout.DatasetFiles("smoke", name, dataset).reference
    assert load_metadata(reference)["protocol"]


def test_a_run_through_the_graph(tmp_path: Path, warm: Warm) -> None:
    """CIFAR-10: T = 5 starts from what T = 10 learned, the page shows Tables 2, 3 and 5.

    On one core: timings take all, and threads that wait for a busy one would make each last a minute.
    """
    checkout = Checkout(tmp_path, warm)
    done = checkout.snakemake("--cores", "1", "--config", "scale=smoke", "experiments=cifar10")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    page = (tmp_path / "reports" / "smoke" / "index.html").read_text()
    for report in ("table2", "table3", "table5", "figure12", "figure13"):
        assert f'id="{report}"' in page
    five = tmp_path / "results" / "smoke" / "cifar10" / "cifar10" / "hsivi_sm" / "nfe5"
    timing = json.loads((five / "timing.json").read_text())
    assert timing["forward_equivalents"] > 2, "five passes of a network, by the clock of a machine that may be busy"
    assert timing["weights"] == "random"
