"""Made-up results of real experiments for the tests of the page, some with hostile names."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from hsivi import layout, methods
from hsivi.config import load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Measurement, Record, write_json, write_record
from hsivi.reporting import selected
from hsivi.stages.common import needed
from reports import _page_numbers

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\"&amp;"
"""A name that runs if it is ever taken for HTML."""
METRICS = {
    "toy2d": ("js_cell", "jdist_ite", "kl_target_model_ite", "kl_model_target_ite", "js_ite", "swd_ref"),
    "conditioned_diffusion": ("covariance_frobenius", "variance_ratio", "mean_rmse"),
}
N = 1000
TRAINING, SAMPLING = 30.0, 0.002
"""Seconds of one training, and of one function evaluation of all samples of a seed."""


def experiments(scope: str = "core") -> list[Experiment]:
    """Return the experiments shown, in which DDPM has a hostile title."""
    toys, posterior = (load_experiment(name, "quick", scope) for name in METRICS)
    ddpm = toys.methods["ddpm"].model_copy(update={"title": f"DDPM {HOSTILE}"})
    return [toys.model_copy(update={"methods": {**toys.methods, "ddpm": ddpm}}), posterior]


def value(label: str, nfe: int, metric: str, seed: int) -> float:
    """Return a made-up number that falls with the number of evaluations, and is smaller for HSIVI."""
    start = 0.3 if label.startswith("hsivi") else 0.5
    return start / (nfe + 1) + zlib.crc32(f"{label} {metric}".encode()) % 1000 / 1e5 + 0.0001 * (seed % 5)


def write(shown: Sequence[Experiment], more: int = 0) -> None:
    """Write all results that the page reads, in the working directory; ``more`` metrics besides the real ones."""
    for experiment in shown:
        for dataset in experiment.data.datasets:
            _write_dataset(experiment, dataset)
        for cell in methods.cells(experiment):
            _write_cell(experiment, cell, [*METRICS[experiment.name], *(f"further_{i}" for i in range(more))])
    image = Image.new("RGB", (640, 320), "white")
    for report in selected(shown):
        for path in report.outputs("quick"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".png":
                image.save(path)
    Path("results/quick/metrics.csv").write_text("seed\n")


def _note(path: Path, **facts: Any) -> None:
    environment = {"python": "3", "platform": HOSTILE, "processor": "made up", "cores": 2, "packages": {"torch": "2"}}
    common = {"command": f"make {HOSTILE}", "started": "2026-01-02T03:04:05+00:00", "seconds": 1.0, "commit": "c0ffee"}
    write_json(layout.note(path), {**common, "environment": environment, **facts})


def _write_dataset(experiment: Experiment, dataset: str) -> None:
    files = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
    distances = {"langevin_hmc": 1.0, "langevin_laplace": 1.0, "hmc_laplace": 1.0}
    truth = {"norm": {"langevin": 1.0, "hmc": 1.0, "laplace": 1.0}, "distance": distances}
    truth |= {"floor": {"covariance_frobenius": [0.1, 0.01]}}
    single = ("expected_distance_langevin_hmc", "step_bias", "langevin_states", "langevin_effective_states")
    single += ("hmc_draws", "hmc_acceptance", "relaxation_iterations", "num_samples", "expected_floor")
    _note(files.reference, metadata={**truth, **dict.fromkeys(single, 1)})
    for path in needed(experiment, dataset):
        _note(path, parameters=3, recipe={"iterations": 7})


def _write_cell(experiment: Experiment, cell: Cell, metrics: Sequence[str]) -> None:
    row, info = methods.rows(experiment)[cell.label], methods.info(experiment, cell.label)
    files, trains = layout.CellFiles(cell), info.needs_fit
    seeds = len(experiment.seeds)
    record = Record(
        experiment=cell.experiment, dataset=cell.dataset, label=cell.label, baseline=row.baseline or cell.label,
        title=methods.title(experiment, cell.label), scale=cell.scale, nfe=cell.nfe,
        trainings=seeds if trains else 0, time_grid=methods.time_grid_name(experiment, cell.label, cell.nfe),
        protocol=row.protocol, status="ok", config={"note": HOSTILE, **row.config},
        measurements=tuple(
            Measurement(
                seed=seed, metric=metric, value=value(cell.label, cell.nfe, metric, seed), standard_error=0.001,
                num_samples=N, floor=0.0001, floor_std=0.0002,
            )
            for metric in metrics
            for seed in experiment.seeds
        ),
        seconds={"sample": SAMPLING * cell.nfe * seeds, "measure": 1.0} | ({"fit": TRAINING * seeds} if trains else {}),
        device="cpu", dtype="float32", environment={"processor": "made up", "cores": 2}, commit="c0ffee",
        digests={"settings": "0", "code": HOSTILE}, command=cell.command("sample"),
    )  # fmt: skip
    write_record(files.record, record)
    for path in [files.samples] + ([files.fit] if trains else []):
        _note(path)
    for stage, path in _page_numbers.logs(cell):
        if stage != "fit" or trains:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("done\n")
