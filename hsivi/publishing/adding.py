"""Cells published beside those that are: a row that came later, without all other results being there."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.planning import rates
from hsivi.publishing.again import publish_again
from hsivi.publishing.publish import REFERENCE, check_cell, small_of_cell
from hsivi.record import read_record


def publish_more(experiments: Sequence[Experiment], folder: Path = REFERENCE) -> Iterator[str]:
    """Publish the finished cells that are not published yet, and yield lines for people.

    What is published stays, but for tables and figures, which are drawn again with the new cells.  These have to be
    made from the data and the reference that the published ones were made from.

    Arguments:
        experiments: of one scale and scope; results lie where `hsivi.layout` says.
        folder: of the reference results of all scales.

    Raises:
        ConfigError: there is nothing to add, or a cell lacks a file, was made from a checkout with uncommitted changes,
            is not what its record was made from, or has other data than those that are published.
    """
    scale = experiments[0].scale
    found = [cell for experiment in experiments for cell in methods.cells(experiment) if _is_new(cell, folder)]
    if not found:
        names = " ".join(experiment.name for experiment in experiments)
        raise ConfigError(
            f"{layout.results_folder() / scale}: got no record of {names} that is not published, expected at least "
            f"one; measure the new cells, or publish the whole experiment without --add"
        )
    for experiment in experiments:
        made_from = _published_digests(experiment, folder)
        for cell in (cell for cell in found if cell.experiment == experiment.name):
            check_cell(experiment, cell)
            _check_inputs(cell, made_from)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".publishing-") as work:
        staged = Path(work)
        shutil.copytree(folder / scale, staged / scale)
        for experiment in experiments:
            for cell in (cell for cell in found if cell.experiment == experiment.name):
                for path in (*small_of_cell(experiment, cell), layout.CellFiles(cell).samples):
                    place = staged / layout.inside_results(path)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, place)
                yield f"added {cell.experiment}/{cell.dataset}/{cell.label}/nfe{cell.nfe}"
        for line in publish_again(scale, staged):
            yield line.replace(str(staged), str(folder))
        shutil.rmtree(folder / scale)
        shutil.move(staged / scale, folder / scale)
    if folder == REFERENCE:
        rates.write()


def _is_new(cell: Cell, folder: Path) -> bool:
    record = layout.CellFiles(cell).record
    return record.exists() and not (folder / layout.inside_results(record)).exists()


def _published_digests(experiment: Experiment, folder: Path) -> dict[str, str]:
    """Return the digests of all that published records of an experiment were made from, by its name."""
    records = (folder / experiment.scale / experiment.name).glob("*/*/nfe*/record.json")
    return {name: digest for path in sorted(records) for name, digest in read_record(path).digests.items()}


def _check_inputs(cell: Cell, made_from: dict[str, str]) -> None:
    """Raise `ConfigError` unless a cell was made from the same data and reference as the published ones."""
    shared = layout.DatasetFiles(cell.scale, cell.experiment, cell.dataset)
    record = layout.CellFiles(cell).record
    digests = read_record(record).digests
    for path in (shared.data, shared.reference):
        name = layout.input_name(path)
        if name in digests and digests[name] != made_from.get(name):
            raise ConfigError(
                f"{record}: got results made from another {path.name} than what is published, expected the same; "
                f"publish the whole experiment without --add"
            )
