"""A cell that failed is a result: why is written down where its numbers would be, and the others go on.

A training fails that diverges, and a sampler that gives numbers which are not finite.  Whatever else goes wrong, a full
disk or a mistake of ours, is no result: the job fails.  Jobs of a cell that are still to come pass a failure on.
"""

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from hsivi import layout, methods
from hsivi.arrays import load_metadata, map_arrays, save_arrays
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.nonfinite import NonFinite
from hsivi.record import read_record
from hsivi.stages.common import Stopwatch


def run(stage: str, experiment: Experiment, cell: Cell) -> None:
    """Run the stage ``fit`` or ``sample`` of a cell, or write down why it failed.

    Raises:
        ConfigError: as the stage itself.
    """
    from hsivi import parallel  # with torch, which nothing else here needs

    watch, own = Stopwatch(), layout.CellFiles(cell)
    output = own.fit if stage == "fit" else own.samples
    reason = _reason_before(stage, experiment, cell)
    if reason is None:
        try:
            importlib.import_module(f"hsivi.stages.{stage}").run(experiment, cell)
        except NonFinite as error:
            reason = " ".join(str(error).split())
        else:
            reason = _not_finite(own.samples) if stage == "sample" and parallel.is_first() else None
    if reason is None or not parallel.is_first():
        return
    save_arrays(output, {}, {"failed": reason})
    seconds = {"training_seconds": round(watch.seconds, 3)} if stage == "fit" else {}
    watch.note(output, cell.command(stage), failed=reason, **seconds)
    layout.scratch(output).unlink(missing_ok=True)  # who tries again starts anew


def failed(experiments: Iterable[Experiment]) -> Iterator[Cell]:
    """Yield the cells whose records say that they failed."""
    for experiment in experiments:
        for cell in methods.cells(experiment):
            path = layout.CellFiles(cell).record
            if path.exists() and read_record(path).status == "failed":
                yield cell


def forget(cell: Cell) -> list[Path]:
    """Remove what a failed cell left, so that the next run makes it again; return what was removed."""
    own = layout.CellFiles(cell)
    outputs = (own.fit, layout.note(own.fit), own.samples, layout.note(own.samples), own.record)
    removed = [path for path in outputs if path.exists()]
    for path in removed:
        path.unlink()
    return removed


def _reason_before(stage: str, experiment: Experiment, cell: Cell) -> str | None:
    """Return why the stage cannot begin: the cell's own training, or the one that it starts from, has failed."""
    if not methods.info(experiment, cell.label).needs_fit:
        return None
    if stage == "sample":
        return _stored(layout.CellFiles(cell).fit)
    for other in methods.starts_from(experiment, cell):
        if reason := _stored(layout.CellFiles(other).fit):
            return f"it starts from what T = {other.nfe} learned, which failed: {reason}"
    return None


def _stored(fit: Path) -> str | None:
    reason = load_metadata(fit).get("failed") if fit.exists() else None
    return None if reason is None else str(reason)


def _not_finite(samples: Path) -> str | None:
    for name, array in map_arrays(samples).items():
        if array.dtype.kind == "f":
            bad = int(np.count_nonzero(~np.isfinite(array)))
            if bad:
                return f"{name}: got {bad} of {array.size} numbers that are not finite, expected finite ones"
    return None
