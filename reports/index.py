"""The page: every table and figure of a scale with the commands that make them, in one self-contained file."""

import base64
import csv
import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hsivi import layout, methods
from hsivi.config import ROOT
from hsivi.experiment import Experiment
from hsivi.record import Record, read_json, write_atomically
from hsivi.reporting import Report, selected
from hsivi.stages.common import needed
from reports._findings import findings
from reports._protocols import about
from reports._records import records

EXPERIMENT = None
INPUTS = ("reports/index.html.jinja",)
OUTPUTS = ("index.html",)
PAGE = True


def render(scale: str, experiments: Sequence[Experiment]) -> None:
    """Write the page."""
    shown = [report for report in selected(experiments) if not report.page]
    made = records(experiments)
    environment = Environment(
        loader=FileSystemLoader(ROOT / "reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("index.html.jinja").render(
        scale=scale,
        experiment_flag=" ".join(experiment.name for experiment in experiments),
        parts=[_part(e, shown, scale, experiments) | _facts(e, made) for e in [None, *experiments]],
        run=_run(scale, made, experiments),
        cells=[_cell(record) for record in made],
        training=_training(scale, experiments),
        findings=findings(experiments),
        methods=_methods(experiments),
    )
    write_atomically(layout.reports(scale) / "index.html", page)


def _part(
    experiment: Experiment | None, shown: Sequence[Report], scale: str, experiments: Sequence[Experiment]
) -> dict[str, Any]:
    """Return one part of the page: the tables and figures of an experiment, or those of all together."""
    run = [e.name for e in experiments]
    first = {report.name: next(iter(report.shown(run)), None) for report in shown}
    own = [report for report in shown if first[report.name] == (experiment.name if experiment else None)]
    return {
        "name": f"part-{experiment.name}" if experiment else "part-all",
        "title": experiment.title if experiment else "Samplers on all data sets",
        "source": experiment.source if experiment else "",
        "tables": [_table(r, scale, experiments) for r in own if r.files[0].endswith(".csv")],
        "figures": [_figure(r, scale, experiments) for r in own if r.files[0].endswith(".png")],
    }


def _facts(experiment: Experiment | None, made: Sequence[Record]) -> dict[str, Any]:
    return {"about": about(experiment, made) if experiment else []}


def _command(report: Report, scale: str, experiments: Sequence[Experiment]) -> str:
    run = [e.name for e in experiments]
    names = " ".join(run if report.experiments is None else report.shown(run))
    scope = experiments[0].scope
    return f"python -m hsivi report {report.name} --scale {scale} --scope {scope} --experiments {names}"


def _words(report: Report) -> dict[str, str]:
    title, _, rest = report.docstring.partition("\n")
    return {"name": report.name, "title": title, "text": " ".join(rest.split())}


def _figure(report: Report, scale: str, experiments: Sequence[Experiment]) -> dict[str, str]:
    png = (layout.reports(scale) / report.files[0]).read_bytes()
    data = "data:image/png;base64," + base64.b64encode(png).decode()
    return {**_words(report), "data": data, "svg": report.files[1], "command": _command(report, scale, experiments)}


def _table(report: Report, scale: str, experiments: Sequence[Experiment]) -> dict[str, Any]:
    with (layout.reports(scale) / report.files[0]).open(newline="") as file:
        header, *rows = list(csv.reader(file))
    return {
        **_words(report),
        "groups": _header_groups(header),
        "rows": [_grouped(row, previous) for row, previous in zip(rows, [None, *rows], strict=False)],
        "files": report.files,
        "command": _command(report, scale, experiments),
    }


def _header_groups(header: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the header in two levels: "T = 5 DDPM" and "T = 5 DDIM" share "T = 5", so do "CelebA NFE 5" and others."""
    groups: list[tuple[str, list[str]]] = []
    for name in header:
        match = re.fullmatch(r"(T = \d+) (.+)", name) or re.fullmatch(r"(.+) (NFE \d+)", name)
        group, column = match.groups() if match else ("", name)
        if groups and group and groups[-1][0] == group:
            groups[-1][1].append(column)
        else:
            groups.append((group, [column]))
    return groups


def _grouped(row: Sequence[str], previous: Sequence[str] | None) -> dict[str, Any]:
    """Return a table row; its first cell is blank where it repeats the one above."""
    repeats = previous is not None and row[0] == previous[0]
    return {"first": "" if repeats else row[0], "rest": row[1:], "starts": not repeats}


def _methods(experiments: Sequence[Experiment]) -> list[methods.MethodInfo]:
    found = {methods.info(e, label).name: methods.info(e, label) for e in experiments for label in methods.rows(e)}
    return [found[name] for name in sorted(found)]


def _cell(record: Record) -> dict[str, Any]:
    return {
        "dataset": record.dataset,
        "title": record.title,
        "nfe": record.nfe,
        "time_grid": record.time_grid or "–",
        "seconds": record.seconds,
        "status": record.status,
        "reason": record.reason or "",
        "command": record.command,
        "record": str(_record_path(record)),
    }


def _record_path(record: Record) -> Path:
    cell = methods.Cell(record.scale, record.experiment, record.dataset, record.label, record.nfe)
    return layout.CellFiles(cell).record


def _training(scale: str, experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
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


def _run(scale: str, made: Sequence[Record], experiments: Sequence[Experiment]) -> dict[str, Any]:
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
