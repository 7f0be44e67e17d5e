"""Made-up results of whole experiments, whose records, digests and tables agree: a run to tamper with."""

import importlib
import zlib
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hsivi import layout, methods
from hsivi.arrays import save_arrays
from hsivi.config import load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Measurement, Record, write_record
from hsivi.reporting import selected
from hsivi.stages import collect, measure
from hsivi.stages.common import needed
from hsivi.writing import write_text
from reports._tables import Table

SCALE = "smoke"
METRICS = {
    "ring": ("js_cell", "off_mode", "modes_found", "within_mode_sd"),
    "toy2d": ("js_cell", "jdist_ite", "kl_target_model_ite", "kl_model_target_ite", "js_ite", "swd_ref"),
}
DECLINED = {("ring", "hsivi_sm"), ("toy2d", "fastdpm")}
WHY = "it asks for a network of its own"


def write_results(*names: str, scope: str = "core") -> list[Experiment]:
    """Write results of experiments into the working directory: files, records, metrics.csv."""
    run = [load_experiment(name, SCALE, scope) for name in names]
    for experiment in run:
        for dataset in experiment.data.datasets:
            shared = layout.DatasetFiles(SCALE, experiment.name, dataset)
            for path in (*needed(experiment, dataset), shared.reference):
                save_arrays(path, {"x": np.arange(3.0)}, {"of": str(path)})
        for cell in methods.cells(experiment):
            write_cell(experiment, cell)
    collect.run(run)
    return run


def write_cell(experiment: Experiment, cell: Cell, shift: float = 0.0) -> None:
    """Write a cell as the stages do; ``shift`` is added to every value."""
    files, info = layout.CellFiles(cell), methods.info(experiment, cell.label)
    draws = np.random.default_rng(zlib.crc32(f"{cell.dataset} {cell.label} {cell.nfe}".encode()))
    for path in (files.samples, *([files.fit] if info.needs_fit else [])):
        save_arrays(path, {"samples": draws.standard_normal(4)})
    declined = (experiment.name, cell.label) in DECLINED
    values = {
        (seed, metric): float(draws.uniform(0.01, 0.2) + shift)
        for metric in METRICS[experiment.name]
        for seed in experiment.seeds
    }
    measured = [
        Measurement(seed=s, metric=m, value=v, standard_error=0.01, num_samples=100, floor=0.001, floor_std=0.0005)
        for (s, m), v in values.items()
    ]
    facts: dict[str, Any] = {
        "config": {"eta": 0.0}, "seconds": {"sample": 1.0, "measure": 0.5}, "device": "cpu", "dtype": "float32",
        "environment": {"processor": "a processor", "python": "3.11", "packages": {"torch": "2"}}, "commit": "c0ffee",
    }  # fmt: skip
    record = Record(
        experiment=cell.experiment, dataset=cell.dataset, label=cell.label, baseline=info.name,
        title=methods.title(experiment, cell.label), scale=cell.scale, nfe=cell.nfe, trainings=0,
        time_grid=methods.time_grid_name(experiment, cell.label, cell.nfe), levels=(0.1, 0.5),
        protocol=methods.protocol(experiment, cell.label), status="declined" if declined else "ok",
        reason=WHY if declined else None, measurements=() if declined else tuple(measured),
        digests=measure._digests(experiment, cell, info),
        command=f"{cell.command('sample')} && {cell.command('measure')}",
        **facts,
    )  # fmt: skip
    write_record(files.record, record)


def write_tables(run: list[Experiment]) -> dict[str, Table]:
    """Write every table of a run, and return them by name."""
    tables = {}
    for report in selected(run):
        if report.table:
            tables[report.name] = importlib.import_module(f"reports.{report.name}").table(SCALE, report.given(run))
            tables[report.name].write(SCALE, report.name)
    return tables


def write_page(tables: dict[str, Table]) -> Path:
    """Write a page that shows tables as the real one marks them."""
    path = layout.reports(SCALE) / "index.html"
    body = ""
    for name, table in tables.items():
        rows = [
            "".join(
                f'<td data-row="{i}" data-column="{j}"><a href="#">{escape(text)}</a></td>'
                for j, text in enumerate(row)
            )
            for i, row in enumerate(table.grid[1:])
        ]
        head = "".join(f"<th>{escape(text)}</th>" for text in table.header)
        body += f'<table data-table="{name}"><thead><tr>{head}</tr></thead>' + "".join(f"<tr>{r}</tr>" for r in rows)
        body += "</table>\n"
    write_text(path, f"<!doctype html><title>t</title><body>{body}<table><tr><td>other</td></tr></table></body>")
    return path
