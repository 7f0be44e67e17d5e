"""Stage ``measure``: turn the samples of one cell into its record.  Needs torch only where the metric does."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsivi import layout, methods, provenance
from hsivi.arrays import load_arrays, load_metadata, map_arrays
from hsivi.experiment import Experiment
from hsivi.methods import Cell, MethodInfo
from hsivi.metrics import restore
from hsivi.record import Measurement, Record, read_json, write_record
from hsivi.stages import settings
from hsivi.stages.common import Stopwatch, files, needed, open_dataset, untouched
from hsivi.summary import ARRAYS


def run(experiment: Experiment, cell: Cell) -> None:
    """Write the record of a cell."""
    watch, own, info = Stopwatch(), layout.CellFiles(cell), methods.info(experiment, cell.label)
    made = read_json(layout.note(own.samples))
    reasons = load_metadata(own.samples)
    status: Literal["ok", "declined", "failed"] = (
        "failed" if "failed" in reasons else "declined" if "declined" in reasons else "ok"
    )
    stages = [*(["fit"] if info.needs_fit else []), "sample", "measure"]
    measurements = _measurements(experiment, cell) if status == "ok" else []
    record = Record(
        experiment=experiment.name,
        dataset=cell.dataset,
        label=cell.label,
        baseline=info.name,
        title=methods.title(experiment, cell.label),
        scale=experiment.scale,
        nfe=made.get("nfe", cell.nfe),
        trainings=len(experiment.training_seeds) if info.needs_fit else 0,
        time_grid=methods.time_grid_name(experiment, cell.label, cell.nfe),
        levels=tuple(made.get("levels", ())),
        protocol=methods.protocol(experiment, cell.label),
        status=status,
        reason=reasons.get(status),
        config=made.get("config", {}),
        measurements=tuple(measurements),
        seconds=_seconds(made, own, info) | {"measure": round(watch.seconds, 3)},
        device=made.get("device", ""),
        dtype=made.get("dtype", ""),
        environment=made["environment"],
        commit=made["commit"],
        digests=_digests(experiment, cell, info),
        command=" && ".join(cell.command(stage) for stage in stages),
    )
    write_record(own.record, record)


def _measurements(experiment: Experiment, cell: Cell) -> list[Measurement]:
    path = untouched(files(experiment, cell.dataset).reference)
    target = open_dataset(experiment, cell.dataset)
    reference = restore(experiment.data, target, load_arrays(path), load_metadata(path))
    path = untouched(layout.CellFiles(cell).samples)
    stored = map_arrays(path) if experiment.data.kind == "images" else load_arrays(path)
    bounds = {name: stored.pop(name) for name in list(stored) if name.startswith("elbo")}
    found = []
    for index, seed in enumerate(experiment.seeds):
        own = {name: array[index] for name, array in stored.items() if name in ARRAYS and index < len(array)}
        found += reference.measure(own, seed)
        found += [_mean(name, integrand[index], seed) for name, integrand in bounds.items()]
    return found


def _mean(name: str, integrand: NDArray[Any], seed: int) -> Measurement:
    """Return the average of a bound's integrand.

    A bound with K auxiliaries has no standard error: its terms share the auxiliaries, so they are not independent.
    """
    values = integrand.astype(np.float64)
    independent = name == "elbo"
    return Measurement(
        seed=seed,
        metric=name,
        value=float(values.mean()),
        standard_error=float(values.std(ddof=1) / np.sqrt(len(values))) if independent else None,
        num_samples=len(values),
    )


def _seconds(made: dict[str, Any], own: layout.CellFiles, info: MethodInfo) -> dict[str, float]:
    sampling = {"sample": made.get("sampling_seconds", 0.0)}
    if not info.needs_fit:
        return sampling
    return sampling | {"fit": read_json(layout.note(own.fit))["training_seconds"]}


def _digests(experiment: Experiment, cell: Cell, info: MethodInfo) -> dict[str, str]:
    own = layout.CellFiles(cell)
    inputs = [*needed(experiment, cell.dataset), files(experiment, cell.dataset).reference, own.samples]
    inputs += [own.fit] if info.needs_fit else []
    code = provenance.code_digest(provenance.stage_file("sample"), provenance.stage_file("measure"), info.path)
    return {
        "settings": settings.of_sample(experiment, cell),
        "code": code,
        **{layout.input_name(path): provenance.file_digest(path) for path in inputs},
    }
