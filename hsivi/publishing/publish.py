"""Reference results: what is small of a finished run, kept in the checkout.  No torch here.

``results/reference/<scale>/`` has the layout of ``results/<scale>/`` but holds records, timings and notes, of arrays
only what tables and figures look at, and the tables and PNG figures of each experiment.  Networks and all samples are
made again by the commands in the records.

What figures look at is found by drawing them (`hsivi.reading.watched`), so a new figure needs no declaration; and
they are drawn once more from the reduced files, where the result has to be the same to the byte.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ROOT, ConfigError
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.planning import rates
from hsivi.provenance import file_digest
from hsivi.publishing import manifest, reduction
from hsivi.reading import Looks, watched
from hsivi.record import read_record
from hsivi.rendering import in_parallel, render
from hsivi.reporting import Report, selected
from hsivi.stages.common import needed

REFERENCE = ROOT / "results" / "reference"
KEPT = (".png", ".csv", ".md")
"""Endings of rendered files that are published too, for readers who look at the checkout only."""


def publish(experiments: Sequence[Experiment], folder: Path = REFERENCE) -> list[Path]:
    """Publish experiments of one scale and scope, in place of what was published of them.

    Limits on clusters rest on published durations, so the table of `hsivi.planning.rates` is written again.

    Arguments:
        experiments: what is published; their results lie where `hsivi.layout` says.
        folder: of the reference results of all scales.

    Returns:
        The folders of the experiments' reference results.

    Raises:
        ConfigError: a result is missing, was made from a checkout with uncommitted changes, or is not the one that a
            record was made from.
        RuntimeError: a table or figure looks different when made from the reduced files.
    """
    scale = experiments[0].scale
    for experiment in experiments:
        _check(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".publishing-") as work:
        staged, full, reduced = (Path(work) / name for name in ("results", "full", "reduced"))
        looks = reduction.merged(_rendered(scale, experiments, layout.results_folder(), full))
        for experiment in experiments:
            for path in _small(experiment):
                _copy(path, staged / layout.inside_results(path))
        for path, look in looks.items():
            reduction.reduce(path, staged / layout.inside_results(path), look)
        _rendered(scale, experiments, staged, reduced)
        _compare(scale, experiments, full, reduced)
        for report in selected(experiments):
            for name in report.shown({experiment.name for experiment in experiments}):
                for file in report.files:
                    if file.endswith(KEPT):
                        _copy(full / scale / file, staged / scale / name / file)
        for experiment in experiments:
            place = folder / scale / experiment.name
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(staged / scale / experiment.name, place)
    manifest.write(folder / scale)
    if folder == REFERENCE:
        rates.write()
    return [folder / scale / experiment.name for experiment in experiments]


def _check(experiment: Experiment) -> None:
    """Raise `ConfigError` unless all results are there, of a commit, and those that the records were made from."""
    _check_presence((*_small(experiment), *_arrays(experiment)))
    made_from: dict[str, str] = {}
    for cell in methods.cells(experiment):
        made_from |= _digests(cell)
    for path in _arrays(experiment):
        _check_digest(path, made_from)


def check_cell(experiment: Experiment, cell: Cell) -> None:
    """Raise `ConfigError` unless a cell's results are there, of a commit, and those that its record was made from."""
    samples = layout.CellFiles(cell).samples
    _check_presence((*small_of_cell(experiment, cell), samples))
    _check_digest(samples, _digests(cell))


def _check_presence(paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: got no such file, expected a finished run; run snakemake first")


def _digests(cell: Cell) -> Mapping[str, str]:
    """Return the digests of what a cell's record was made from, by its name; the record has to be of a commit."""
    path = layout.CellFiles(cell).record
    record = read_record(path)
    if not record.commit or record.commit.endswith("+changes"):
        raise ConfigError(
            f"{path}: got results of commit {record.commit or 'unknown'}, expected those of a commit; commit, and run "
            f"again"
        )
    return record.digests


def _check_digest(path: Path, made_from: Mapping[str, str]) -> None:
    if made_from.get(layout.input_name(path)) != file_digest(path):
        raise ConfigError(f"{path}: got another file than the one that its records were made from; run snakemake first")


def _small(experiment: Experiment) -> Iterator[Path]:
    """Yield records, timings and notes."""
    for dataset in experiment.data.datasets:
        shared = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
        yield from (layout.note(path) for path in (*needed(experiment, dataset), shared.reference))
    for cell in methods.cells(experiment):
        yield from small_of_cell(experiment, cell)


def small_of_cell(experiment: Experiment, cell: Cell) -> Iterator[Path]:
    """Yield a cell's record, notes and, where it is timed, timing."""
    own = layout.CellFiles(cell)
    yield from (own.record, layout.note(own.samples))
    if methods.info(experiment, cell.label).needs_fit:
        yield layout.note(own.fit)
    if cell in methods.timed_cells(experiment):
        yield own.timing


def _arrays(experiment: Experiment) -> Iterator[Path]:
    """Yield the files of arrays that reports may read."""
    for dataset in experiment.data.datasets:
        shared = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
        yield from (shared.data, shared.reference)
    yield from (layout.CellFiles(cell).samples for cell in methods.cells(experiment))


def _rendered(scale: str, experiments: Sequence[Experiment], results: Path, reports: Path) -> list[Looks]:
    """Render all reports of the experiments from a folder to another; return what each looked at."""
    with layout.folders(results, reports):
        return list(in_parallel(partial(_watch, scale, experiments), selected(experiments)))


def _watch(scale: str, experiments: Sequence[Experiment], name: str) -> Looks:
    with watched() as looks:
        render(name, scale, experiments)
    return looks


def _compare(scale: str, experiments: Sequence[Experiment], full: Path, reduced: Path) -> None:
    for report in drawn(experiments):
        for file in report.files:
            if (full / scale / file).read_bytes() != (reduced / scale / file).read_bytes():
                raise RuntimeError(
                    f"{file}: got another picture from the reduced results than from all, expected the same; let "
                    f"reports/{report.name}.py read arrays through hsivi.reading only"
                )


def drawn(experiments: Sequence[Experiment]) -> list[Report]:
    """Return tables and figures; a page names the folder of its results, so it cannot be the same."""
    return [report for report in selected(experiments) if not report.page]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def published(folder: Path = REFERENCE) -> Sequence[Path]:
    """Return all published records."""
    return sorted(folder.glob("*/*/*/*/nfe*/record.json"))
