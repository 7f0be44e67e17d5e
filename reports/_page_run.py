"""What stands behind a run: methods, score models, hardware, versions and durations."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hsivi import layout, methods
from hsivi.experiment import Experiment
from hsivi.record import Record, read_json
from hsivi.stages.common import needed


def described(experiments: Sequence[Experiment]) -> list[methods.MethodInfo]:
    """Return the facts about the file behind every row, once each."""
    found = {methods.info(e, label).name: methods.info(e, label) for e in experiments for label in methods.rows(e)}
    return [found[name] for name in sorted(found)]


def training(scale: str, experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Return what was trained before any method, or imported: score models, and the accuracy of classifiers."""
    rows = []
    for experiment in experiments:
        for dataset in experiment.data.datasets if experiment.pretrains else ():
            files = layout.DatasetFiles(scale, experiment.name, dataset)
            pretrained, reference = read_json(layout.note(files.score_model)), read_json(layout.note(files.reference))
            metadata = reference["metadata"]
            rows.append(
                {
                    "dataset": dataset,
                    "parameters": pretrained["parameters"],
                    "iterations": pretrained.get("recipe", {}).get("iterations"),
                    "checkpoint": pretrained.get("checkpoint"),
                    "seconds": pretrained["seconds"],
                    "command": pretrained["command"],
                    "accuracy": metadata.get("facts", metadata).get("held_out_accuracy"),
                }
            )
    return rows


def summed(scale: str, made: Sequence[Record], experiments: Sequence[Experiment]) -> dict[str, Any]:
    """Return hardware, versions and how long the work took, summed over jobs whenever they ran."""
    notes = [read_json(path) for path in _notes(scale, experiments)]
    ends = [datetime.fromisoformat(note["started"]).timestamp() + note["seconds"] for note in notes]
    environments = {json.dumps(note["environment"], sort_keys=True): note["environment"] for note in notes}
    seconds = sum(note["seconds"] for note in notes) + sum(record.seconds["measure"] for record in made)
    return {
        "environments": list(environments.values()),
        "work_minutes": seconds / 60,
        "finished": datetime.fromtimestamp(max(ends)).astimezone().isoformat(timespec="minutes"),
        "commits": sorted({note["commit"] for note in notes}),
        "devices": sorted({record.device for record in made if record.device}),
    }


def _notes(scale: str, experiments: Sequence[Experiment]) -> list[Path]:
    found = []
    for experiment in experiments:
        for dataset in experiment.data.datasets:
            files = layout.DatasetFiles(scale, experiment.name, dataset)
            found += [layout.note(path) for path in (*needed(experiment, dataset), files.reference)]
        for cell in methods.cells(experiment):
            own = layout.CellFiles(cell)
            found.append(layout.note(own.samples))
            if methods.info(experiment, cell.label).needs_fit:
                found.append(layout.note(own.fit))
    return found
