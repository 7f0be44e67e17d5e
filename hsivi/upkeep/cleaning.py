"""What can go: what no result needs and nothing would have to be computed again for.

Kept are finished outputs of every cell that an experiment names, and checkpoints of trainings that are not finished or
that metrics are made from again; samples too, since figures look at them and Snakemake would draw them again.  With
``all``, whole scales or experiments go.  Links are left alone, and not followed.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hsivi import layout, methods, run_lock
from hsivi.config import SCALES, check_choice, experiment_files, load_experiment
from hsivi.planning import downloads
from hsivi.planning.plan_text import size
from hsivi.writing import SUFFIX

REFERENCE = "reference"
"""A finished reference keeps its checkpoint on purpose: a new metric does not cost hours of chains."""


class Item(NamedTuple):
    """Something that can go.

    Attributes:
        path: a file, or a folder that goes with all that is in it.
        why: in few words.
    """

    path: Path
    why: str


def clean(scale: str | None, experiments: Sequence[str] | None, everything: bool, dry_run: bool) -> Iterator[str]:
    """Remove what can go, and yield a line for each thing.

    Arguments:
        scale: the only scale looked at, or None for all.
        experiments: the only experiments looked at, or None for all, and the cache too.
        everything: whether whole scales or experiments go, results included.
        dry_run: whether nothing is removed.

    Raises:
        ConfigError: no such scale or experiment, an experiment's file cannot be used, or a run is under way.
        OSError: something cannot be removed.
    """
    if scale is not None:
        check_choice("scale", scale, SCALES)
    scales = [name for name in SCALES if scale in (None, name)]
    _check_names(scales, experiments)
    with contextlib.ExitStack() as stack:
        for name in [] if dry_run else scales:
            if _is_folder(layout.results_folder() / name):
                stack.enter_context(run_lock.held(name))
        yield from _clean(scales, experiments, everything, dry_run)


def _clean(scales: list[str], experiments: Sequence[str] | None, everything: bool, dry_run: bool) -> Iterator[str]:
    # All is looked at before anything is removed: a mistake in an experiment's file must not cost results.
    items = list(found(scales, experiments, everything))
    total = 0
    for item in items:
        files, links = _inside(item.path)
        count = sum(path.lstat().st_size for path in files)
        if not dry_run:
            _remove(item.path, files)
        total += count
        yield f"{'would remove' if dry_run else 'removed'} {size(count):>9s} {item.path}: {item.why}"
        yield from (f"left {link}: it is a link" for link in links)
    done = "would be free" if dry_run else "freed"
    yield f"{size(total)} {done}" if items else "nothing can go"


def found(scales: Iterable[str], experiments: Sequence[str] | None, everything: bool) -> Iterator[Item]:
    """Yield what can go; arguments as `clean`."""
    for scale in scales:
        folder = layout.results_folder() / scale
        if everything and experiments is None:
            yield from _there([Item(folder, "all of a scale"), Item(layout.reports(scale), "all of a scale")])
        elif _is_folder(folder):
            yield from _logs(folder, experiments)
            for path in _folders(folder):
                if experiments is None or path.name in experiments:
                    yield from [Item(path, "all of an experiment")] if everything else _unnamed(scale, path)
            yield from _scratch(folder, experiments, everything)
    if experiments is None:
        yield from _cached()


def _check_names(scales: Iterable[str], experiments: Sequence[str] | None) -> None:
    """Raise `ConfigError` where a name is neither an experiment nor a folder of results."""
    known = set(experiment_files())
    for scale in scales:
        known |= {path.name for path in _folders(layout.results_folder() / scale)}
    for name in experiments or ():
        check_choice("experiment", name, tuple(sorted(known)))


def _logs(folder: Path, experiments: Sequence[str] | None) -> Iterator[Item]:
    logs = folder / layout.logs("").name
    if experiments is None:
        yield from _there([Item(logs, "logs")])
        return
    for stage in _folders(logs):
        yield from _there(Item(stage / name, "logs") for name in experiments)


def _scratch(folder: Path, experiments: Sequence[str] | None, everything: bool) -> Iterator[Item]:
    """Yield checkpoints that nothing will be continued from, and those that were half written."""
    scratch = folder / ".scratch"
    scale, named = folder.name, set(experiment_files())
    for top in _folders(scratch):
        if experiments is not None and top.name not in experiments:
            continue
        outputs = _checkpointed(scale, top.name) if top.name in named else {}
        for path in sorted(_inside(top)[0]):
            output = outputs.get(path)
            if everything:
                yield Item(path, "a checkpoint of an experiment that goes")
            elif path.suffix == SUFFIX:
                yield Item(path, "a checkpoint that was half written")
            elif output is None:
                yield Item(path, "a checkpoint of nothing that an experiment names")
            elif output.stem != REFERENCE and output.exists() and layout.note(output).exists():
                yield Item(path, "a checkpoint of a training that is finished")


def _checkpointed(scale: str, name: str) -> dict[Path, Path]:
    """Return the outputs that may have checkpoints, by checkpoint."""
    experiment = load_experiment(name, scale)
    outputs = [layout.CellFiles(cell).fit for cell in methods.cells(experiment)]
    for dataset in experiment.data.datasets:
        files = layout.DatasetFiles(scale, name, dataset)
        outputs += [files.score_model, files.reference]
    return {layout.scratch(output): output for output in outputs}


def _unnamed(scale: str, folder: Path) -> Iterator[Item]:
    """Yield what no experiment names any more, and what was half written, in the folder of an experiment."""
    name = folder.name
    if name not in experiment_files():
        if any(folder.glob("*/data.json")) or any(folder.glob("*/*/nfe*/samples.json")):  # else it is no folder of ours
            yield Item(folder, f"there is no experiment {name}")
        return
    experiment = load_experiment(name, scale)
    cells = {layout.CellFiles(cell).folder for cell in methods.cells(experiment)}
    for dataset in _folders(folder):
        if dataset.name not in experiment.data.datasets:
            yield Item(dataset, f"{name} has no data set {dataset.name} at scale {scale}")
            continue
        yield from _half_written(dataset)
        for row in _folders(dataset):
            budgets = [budget for budget in _folders(row) if re.fullmatch("nfe[0-9]+", budget.name)]
            if budgets and not any(budget in cells for budget in budgets):
                yield Item(row, f"{name} has no row {row.name} at scale {scale}, or no such budgets")
                continue
            for budget in budgets:
                if budget not in cells:
                    yield Item(budget, f"{name} has no budget {budget.name.removeprefix('nfe')} of {row.name}")
                else:
                    yield from _half_written(budget)


def _half_written(folder: Path) -> Iterator[Item]:
    """Yield what a killed job left of files that were to be put in place in one step."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") and path.is_file() and not path.is_symlink():
            yield Item(path, "a file that was half written")


def _cached() -> Iterator[Item]:
    """Yield downloads that no source lists any more, in our own cache folder only: another may hold other files."""
    if os.environ.get("HSIVI_CACHE_DIR"):
        return
    listed = downloads.listed()
    for folder in _folders(downloads.cache_folder()):
        names = {file["name"] for file in listed[folder.name]["files"]} if folder.name in listed else set()
        for path in sorted(_inside(folder)[0]):
            # Downloads continue where they stopped, so what is left of a listed file stays.
            name = path.name.removesuffix(SUFFIX).removesuffix(".unverified")
            if path.name != ".lock" and name not in names and name.removesuffix(".gz") not in names:
                yield Item(path, "a download that no source lists")


def _there(items: Iterable[Item]) -> Iterator[Item]:
    yield from (item for item in items if _is_folder(item.path))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without links and without those of our own that begin with a dot."""
    if not _is_folder(folder):
        return []
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(Path(entry.path) for entry in found if not entry.name.startswith("."))


def _inside(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the files and the links below a path; a file is all there is below itself."""
    if not path.is_dir() or path.is_symlink():
        return [path], []
    files, links = [], []
    for folder, names, others in os.walk(path):  # it lists links to folders, and does not enter them
        for name in (*names, *others):
            below = Path(folder) / name
            if below.is_symlink():
                links.append(below)
            elif name in others:
                files.append(below)
    return files, links


def _remove(path: Path, files: Iterable[Path]) -> None:
    """Remove files, and the folders at and below a path that are empty then."""
    for file in files:
        file.unlink()
    if path.is_dir():
        for folder, _, _ in os.walk(path, topdown=False):
            if next(Path(folder).iterdir(), None) is None:
                Path(folder).rmdir()
