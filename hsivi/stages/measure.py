"""Stage ``measure``: turn the samples of one cell into its record.  Needs torch only where the metric does."""

from hsivi import layout, methods, provenance
from hsivi.arrays import load_arrays, load_metadata
from hsivi.config import Experiment
from hsivi.methods import Cell
from hsivi.metrics import restore
from hsivi.record import Measurement, Record, read_json, write_json
from hsivi.stages import settings
from hsivi.stages.common import Stopwatch, files, open_dataset


def run(experiment: Experiment, cell: Cell) -> None:
    """Write the record of a cell."""
    watch = Stopwatch()
    shared, own = files(experiment, cell.dataset), layout.CellFiles(cell)
    info = methods.info(experiment, cell.label)
    made = read_json(layout.note(own.samples))
    declined = load_metadata(own.samples).get("declined")
    measurements: list[Measurement] = []
    if declined is None:
        target = open_dataset(experiment, cell.dataset)
        reference = restore(experiment.data, target, load_arrays(shared.reference), load_metadata(shared.reference))
        samples = load_arrays(own.samples)["samples"]
        for seed, sample_sets in zip(experiment.seeds, samples, strict=True):
            measurements += reference.measure(sample_sets, seed)
    inputs = [shared.data, shared.reference, shared.score_model, own.samples, *([own.fit] if info.needs_fit else [])]
    stages = ["fit", "sample", "measure"] if info.needs_fit else ["sample", "measure"]
    seconds = {"sample": made.get("sampling_seconds", 0.0)}
    if info.needs_fit:
        seconds["fit"] = read_json(layout.note(own.fit))["training_seconds"]
    code = provenance.code_digest(provenance.stage_file("sample"), provenance.stage_file("measure"), info.path)
    seconds["measure"] = round(watch.seconds, 3)
    record = Record(
        experiment=experiment.name,
        dataset=cell.dataset,
        label=cell.label,
        baseline=info.name,
        title=info.title,
        scale=experiment.scale,
        nfe=made.get("nfe", cell.nfe),
        time_grid=methods.time_grid_name(experiment, cell.label, cell.nfe) if cell.nfe else None,
        status="ok" if declined is None else "declined",
        reason=declined,
        config=made.get("config", {}),
        measurements=tuple(measurements),
        seconds=seconds,
        device=made.get("device", ""),
        dtype=made.get("dtype", ""),
        environment=made["environment"],
        commit=made["commit"],
        digests={
            "settings": settings.of_sample(experiment, cell),
            "code": code,
            **{str(path): provenance.file_digest(path) for path in inputs},
        },
        command=" && ".join(cell.command(stage) for stage in stages),
    )
    write_json(own.record, record.model_dump(mode="json"))
