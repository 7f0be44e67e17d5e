"""Reference results: what is small of a finished run, kept in the checkout.  No torch here.

``results/reference/<scale>/`` has the layout of ``results/<scale>/`` but holds records, timings and notes only, with
the tables and PNG figures of each experiment beside them.  Samples and networks are
made again by the commands in the records.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ROOT, ConfigError
from hsivi.experiment import Experiment
from hsivi.record import read_record
from hsivi.reporting import selected
from hsivi.stages.common import needed

REFERENCE = ROOT / "results" / "reference"


def publish(experiment: Experiment, folder: Path = REFERENCE) -> Path:
    """Copy what is small of an experiment's results to the reference results, in place of what was there.

    Returns:
        The folder of the experiment's reference results.

    Raises:
        ConfigError: a result is missing, or was made from a checkout with uncommitted changes.
    """
    files = list(_results(experiment))
    if missing := [path for path in files if not path.exists()]:
        raise ConfigError(f"{missing[0]}: got no such file, expected a finished run; run snakemake first")
    for cell in methods.cells(experiment):
        record = read_record(layout.CellFiles(cell).record)
        if not record.commit or record.commit.endswith("+changes"):
            raise ConfigError(
                f"{layout.CellFiles(cell).record}: got results of commit {record.commit or 'unknown'}, expected those "
                f"of a commit; commit, and run again"
            )
    target = folder / experiment.scale / experiment.name
    shutil.rmtree(target, ignore_errors=True)
    for path in files:
        _copy(path, folder / path.relative_to("results"))
    for report in selected([experiment]):
        if report.experiments is not None:
            for path in report.outputs(experiment.scale):
                if path.suffix in (".png", ".csv", ".md") and path.exists():
                    _copy(path, target / path.relative_to(layout.reports(experiment.scale)))
    return target


def _results(experiment: Experiment) -> Iterator[Path]:
    """Yield records, timings and notes."""
    for dataset in experiment.data.datasets:
        shared = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
        yield from (layout.note(path) for path in (*needed(experiment, dataset), shared.reference))
    for cell in methods.cells(experiment):
        own = layout.CellFiles(cell)
        yield from (own.record, layout.note(own.samples))
        if methods.info(experiment, cell.label).needs_fit:
            yield layout.note(own.fit)
    yield from (layout.CellFiles(cell).timing for cell in methods.timed_cells(experiment))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def published(folder: Path = REFERENCE) -> Sequence[Path]:
    """Return all published records."""
    return sorted(folder.glob("*/*/*/*/nfe*/record.json"))
