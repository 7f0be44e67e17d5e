"""Do records still hold: their own digests, those of the files they were made from, the code and the settings."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hsivi import layout, methods, provenance
from hsivi.arrays import load_metadata
from hsivi.config import ConfigError, experiment_files
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Record, content_digest, edited_allowed, read_json, read_record
from hsivi.stages import settings
from hsivi.tidy import tidy
from reports._present import Run, loaded, recorded

LARGE = 2**26
"""Bytes above which a file is large: hashing it may take longer than all the rest."""
OWN = ("settings", "code")
"""Keys of a record's digests that are no files."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, or could not be checked.

    Attributes:
        kind: what it is about: cell, table, page, metrics, edited, unreadable, input, missing, misplaced; and, which
            fail nothing by themselves: stale, orphan, words, unchecked.
        where: file, record or place.
        words: what was found and what was expected.
    """

    kind: str
    where: str
    words: str

    @property
    def fails(self) -> bool:
        """Whether a number does not follow, or cannot be trusted to."""
        return self.kind not in ("stale", "orphan", "words", "unchecked")


@dataclass
class Digests:
    """SHA-256 of files, each computed once.

    Attributes:
        largest: files above this size in bytes are not read; None reads all.
        skipped: files that were not read for their size.
    """

    largest: int | None = None
    skipped: set[str] = field(default_factory=set)
    _known: dict[str, str | None] = field(default_factory=dict)

    def read(self, names: Iterable[str]) -> None:
        """Compute the digests of files, several at once."""
        new = sorted(set(names) - set(self._known))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._known |= dict(zip(new, pool.map(self._digest, new), strict=True))

    def of(self, name: str) -> str | None:
        """Return the digest of a file, or None where it is not there, was skipped, or is no result of this run."""
        if name not in self._known:
            self._known[name] = self._digest(name)
        return self._known[name]

    def _digest(self, name: str) -> str | None:
        parts = Path(name).parts
        path = layout.metrics_table("any").parent.parent.joinpath(*parts[1:])
        if parts[:1] != ("results",) or ".." in parts or not path.is_file():
            return None
        if self.largest is not None and path.stat().st_size > self.largest:
            self.skipped.add(name)
            return None
        return _cut_from(path) or provenance.file_digest(path)


def _cut_from(path: Path) -> str | None:
    """Return the digest of the file that a published one was cut from, or None where it is a whole one."""
    try:
        facts = load_metadata(path).get("reduced") if path.suffix == ".safetensors" else None
    except ValueError:
        return None
    return facts.get("sha256") if isinstance(facts, dict) else None


def inputs(record: Record) -> dict[str, str]:
    """Return the digests of the files that a record was made from, by path."""
    return {name: value for name, value in record.digests.items() if name not in OWN}


def read(cells: Sequence[Cell]) -> tuple[dict[Cell, Record], list[Finding]]:
    """Read records, edited ones included, and say what is wrong with them: unreadable, misplaced or edited."""
    records, findings = {}, []
    for cell in cells:
        path = layout.CellFiles(cell).record
        try:
            with edited_allowed():
                record = read_record(path)
            content = read_json(path)
        except ConfigError as error:
            findings.append(Finding("unreadable", str(path), str(error).removeprefix(f"{path}: ")))
            continue
        records[cell] = record
        if record.sha256 != content_digest(content):
            words = "its content differs from its own digest: somebody edited it; measure it again: "
            words += cell.command("measure")
            findings.append(Finding("edited", str(path), words))
        own = Cell(record.scale, record.experiment, record.dataset, record.label, cell.nfe)
        if own != cell:
            words = f"it says that it is of {own.experiment}/{own.dataset}/{own.label} at scale {own.scale}"
            findings.append(Finding("misplaced", str(path), words))
    return records, findings


def changed_inputs(records: dict[Cell, Record], digests: Digests) -> Iterator[Finding]:
    """Yield the files behind records that are there but not as they were when the record was written."""
    digests.read(name for record in records.values() for name in inputs(record))
    for cell, record in records.items():
        for name, wanted in inputs(record).items():
            found = digests.of(name)
            if found is not None and found != wanted:
                words = f"{name} was edited or made again since the record was written; run snakemake"
                yield Finding("input", str(layout.CellFiles(cell).record), words)


@cache
def code_now(path: Path) -> str:
    """Return the digest of the code that draws and measures the samples of a baseline's file."""
    return provenance.code_digest(provenance.stage_file("sample"), provenance.stage_file("measure"), path)


def outdated(record: Record, cell: Cell) -> list[str]:
    """Return which of code and settings of a record are not those of the checkout; errors as `methods.info`."""
    experiment = loaded(cell.experiment, cell.scale)
    now = {
        "code": code_now(methods.info(experiment, cell.label).path),
        "settings": settings.of_sample(experiment, cell),
    }
    return [what for what, digest in now.items() if record.digests.get(what) != digest]


def stale(records: dict[Cell, Record], known: set[Cell]) -> Iterator[Finding]:
    """Yield the records that were made with other code or settings than those of the checkout."""
    for cell in [cell for cell in records if cell in known]:
        if what := outdated(records[cell], cell):
            yield Finding("stale", str(layout.CellFiles(cell).record), f"made with other {' and '.join(what)}")


def known_cells(scale: str) -> set[Cell]:
    """Return the cells of all experiments that have records, in scope full."""
    names = {cell.experiment for cell in recorded(scale)} & set(experiment_files())
    return {cell for name in names for cell in methods.cells(loaded(name, scale))}


def missing(experiments: Iterable[Experiment]) -> Iterator[Finding]:
    """Yield the cells without a record."""
    for cell in (cell for experiment in experiments for cell in methods.cells(experiment)):
        path = layout.CellFiles(cell).record
        if not path.exists():
            yield Finding("missing", str(path), f"there is no such record; run {cell.command('measure')}")


def orphans(cells: Iterable[Cell], known: set[Cell]) -> Iterator[Finding]:
    """Yield records that belong to no cell of an experiment."""
    for cell in cells:
        if cell not in known:
            words = "no experiment has such a cell; delete the folder if its method is gone for good"
            yield Finding("orphan", str(layout.CellFiles(cell).record), words)


def metrics(run: Run) -> Iterator[Finding]:
    """Yield where metrics.csv differs from the records of the run, as far as somebody asks about them."""
    path = layout.metrics_table(run.scale)
    cells = [cell for experiment in run.collected for cell in methods.cells(experiment)]
    if not path.exists():
        yield Finding("unchecked", str(path), "there is no such file; run snakemake")
        return
    try:
        with edited_allowed():
            wanted = tidy([read_record(layout.CellFiles(cell).record) for cell in cells]).to_csv(index=False)
    except ConfigError as error:
        yield Finding("metrics", str(path), f"cannot be computed again: {error}")
        return
    text = path.read_text()
    if text == wanted:
        return
    apart = dict(_unequal(_by_key(text), _by_key(wanted)))
    if not apart:
        yield Finding("metrics", str(path), "differs from what the records give in the order of its rows or its form")
    for key, words in apart.items():
        if run.chosen is None or key[0] in run.chosen:
            yield Finding("metrics", f"{path}, {'/'.join(key[:5])}, seed {key[5]}", words)


Key = tuple[str, ...]


def _by_key(text: str) -> list[tuple[Key, dict[str, str]]]:
    names = ("experiment", "dataset", "method", "nfe", "metric", "seed")
    return [
        (tuple(row.get(name) or "" for name in names), {k: v for k, v in row.items() if k})
        for row in csv.DictReader(io.StringIO(text))
    ]


def _unequal(
    has: list[tuple[Key, dict[str, str]]], wanted: list[tuple[Key, dict[str, str]]]
) -> Iterator[tuple[Key, str]]:
    """Yield the rows that differ, and how."""
    ours, theirs = dict(has), dict(wanted)
    count = Counter(key for key, _ in has)
    for key in dict.fromkeys([*theirs, *ours]):
        a, b = ours.get(key), theirs.get(key)
        if a is None or b is None:
            yield key, "the row is not there, the records have it" if a is None else "the records have no such row"
        elif a != b:
            names = [name for name in {**b, **a} if a.get(name) != b.get(name)]
            yield key, "; ".join(f"{n} is {a.get(n)!r}, the records have {b.get(n)!r}" for n in names)
        elif count[key] > 1:
            yield key, f"the row is there {count[key]} times"
