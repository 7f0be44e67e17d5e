"""Merging results of other machines into this one's: what is to be done.  No torch here.

Only products of this checkout's experiments are looked for, so that no name in a foreign folder becomes a path.  One is
taken over if its digests hold, it was made with this checkout's code and settings, and whatever it was made from is
here to the byte.  What is here is never overwritten, and links are never followed.  `taking_over` does it.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsivi.arrays import load_arrays
from hsivi.config import SCALES, ConfigError, check_choice, experiment_files, load_experiment, one_line
from hsivi.merging import origin
from hsivi.merging.origin import UntoldError
from hsivi.merging.product import Product, products
from hsivi.merging.result_differences import words
from hsivi.provenance import file_digest
from hsivi.record import read_json, read_record
from hsivi.timing_record import read_timing


class Refused(ConfigError):
    """A product that cannot be taken over; the message says what was given, expected, and what to do."""


@dataclass(frozen=True)
class Copy:
    """Files of one product that are to be taken over: all, or those that a merge which was stopped left out."""

    product: Product
    source: Path
    files: tuple[Path, ...]


@dataclass
class Merge:
    """What is to be done.

    Attributes:
        into: the folder of results of a scale that everything goes to.
        known: all products that this checkout knows, each after what it is made from.
        copies: what is taken over, in that order for each source.
        identical: number of products that are there already.
        conflicts: products that are there with other content, in words.
        refused: products that cannot be used here, in words.
        unknown: files of results of no product that this checkout knows, as Python writes their paths.
    """

    into: Path
    known: list[Product]
    copies: list[Copy] = field(default_factory=list)
    identical: int = 0
    conflicts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    _places: dict[Path, Path] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)

    def place(self, file: Path) -> Path | None:
        """Return where the content lies that a file will have after the merge; None where it will not be there."""
        here = self.into / file
        return self._places.get(file) or (here if here.exists() else None)

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, read once."""
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        return self._digests[path]

    def take(self, product: Product, source: Path, files: Sequence[Path]) -> None:
        """Plan to take files over."""
        self.copies.append(Copy(product, source, tuple(files)))
        self._places |= {file: source / file for file in files}


def plan(sources: Sequence[Path], into: Path) -> Merge:
    """Compare folders of results with this machine's, and change nothing.

    Arguments:
        sources: folders of one scale, each as results/<scale>.
        into: this machine's folder of the scale.

    Raises:
        ConfigError: a folder is not there, is of another scale, or is a source and the target in one.
    """
    check_choice("--into: scale", into.name, SCALES)
    for source in sources:
        _check_source(source, into)
    merge = Merge(into, _known(into.name))
    for source in sources:
        for product in merge.known:
            if any(os.path.lexists(source / file) for file in product.files):
                _examine(merge, product, source)
        merge.unknown += _unknown(source, {file for one in merge.known for file in one.files})
    return merge


def _known(scale: str) -> list[Product]:
    return [one for name in experiment_files() for one in products(load_experiment(name, scale))]


def lines(merge: Merge, planned: bool) -> list[str]:
    """Return for people what was done, or what would be."""
    said = [
        f"{'would take over' if planned else 'took over'} {copy.product.key} of {copy.source}" for copy in merge.copies
    ]
    said += [f"conflict: {text}" for text in merge.conflicts]
    said += [f"refused: {text}" for text in merge.refused]
    said += [f"unknown: {path} belongs to no experiment and method of this checkout" for path in merge.unknown]
    if merge.conflicts:
        said.append(
            f"what conflicts is left as it is here; 'hsivi diff {merge.into} FROM' compares the numbers, and to take "
            f"theirs, delete that file here with all that was made from it, and merge again"
        )
    counts = f"{len(merge.copies)} taken over, {merge.identical} identical, {len(merge.conflicts)} conflicts"
    said.append(f"{merge.into}: {counts}, {len(merge.refused)} refused, {len(merge.unknown)} unknown")
    if merge.copies and not planned:
        said.append("snakemake makes the tables and the page again")
    return [one_line(text) for text in said]


def _check_source(source: Path, into: Path) -> None:
    if not source.is_dir():
        raise ConfigError(f"{source}: got no such folder, expected one like results/{into.name}; correct the path")
    if source.resolve() == into.resolve():
        raise ConfigError(f"{source}: got the folder that is merged into, expected another machine's; name that one")
    if source.name != into.name and source.name in SCALES:
        raise ConfigError(f"{source}: got results of scale {source.name!r}, expected {into.name!r}; use --into")


def _unknown(source: Path, known: set[Path]) -> Iterator[str]:
    """Yield arrays and records below a source that belong to no known product."""
    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            inside = Path(folder, name).relative_to(source)
            if (name.endswith(".safetensors") or name in ("record.json", "timing.json")) and inside not in known:
                yield ascii(str(source / inside))


def _examine(merge: Merge, product: Product, source: Path) -> None:
    """Put a product where it belongs in the plan."""
    try:
        for folder in (source, merge.into):
            _check_links(product, folder)
        content = _read(merge, product, source)
        found = _array_differences(merge, product, source)
        if (ours := merge.place(product.files[-1])) is not None:
            found = found or words(product.stage, read_json(ours), content)
        missing = [file for file in product.files if merge.place(file) is None]
        if found:
            found += _origin_differences(product, content)
            places = f"{ours or merge.into / product.output} and {source / product.files[-1]}"
            merge.conflicts.append(f"{product.key}: {places} differ in {'; '.join(dict.fromkeys(found))}")
        elif not missing:
            merge.identical += 1
        else:
            _check_origin(merge, product, source, content)
            _check_inputs(merge, product, source, content)
            merge.take(product, source, missing)
    except (ConfigError, OSError) as error:
        merge.refused.append(f"{product.key} of {source}: {error}")


def _check_links(product: Product, folder: Path) -> None:
    """Refuse links below a folder of results; the folder itself may be one."""
    for file in (*product.files, *product.inputs):
        for part in (file, *list(file.parents)[:-1]):
            if (folder / part).is_symlink():
                raise Refused(f"got a link, {folder / part}, expected a file or folder; put what it points to there")


def _read(merge: Merge, product: Product, source: Path) -> dict[str, Any]:
    """Return the record, timing or note of a product whose digest holds."""
    if absent := [file for file in product.files if not (source / file).is_file()]:
        raise Refused(f"got no file {absent[0]}, expected it beside the others; finish the job there")
    content = read_json(source / product.files[-1])
    if product.cell is not None and product.stage in ("measure", "time"):
        found = (read_record if product.stage == "measure" else read_timing)(source / product.output)
        named = (found.scale, found.experiment, found.dataset, found.label, found.nfe)
        cell = product.cell
        # A method that declined counted nothing.
        nfe = cell.nfe if found.status == "ok" else found.nfe
        if named != (cell.scale, cell.experiment, cell.dataset, cell.label, nfe):
            raise Refused(f"got the record of {' '.join(map(str, named))}, expected its folder's; put it in its place")
    elif content.get("sha256") != merge.digest(source / product.output):
        raise Refused("got another file than its note describes, expected that one; run the job there again")
    return content


def _array_differences(merge: Merge, product: Product, source: Path) -> list[str]:
    """Return in words how arrays differ from those that are here or that another source brings."""
    ours, theirs = merge.place(product.output), source / product.output
    if ours is None or product.output.suffix == ".json" or merge.digest(ours) == merge.digest(theirs):
        return []
    try:
        here, there = load_arrays(ours), load_arrays(theirs)
    except (AttributeError, KeyError, TypeError) as error:  # types that NumPy has not
        raise Refused(
            f"got arrays of a type that cannot be read ({error}), expected those of a stage; remove it"
        ) from error
    if {n: (a.shape, a.dtype) for n, a in here.items()} != {n: (a.shape, a.dtype) for n, a in there.items()}:
        return ["names, shapes or types of arrays"]
    apart = (abs(here[name].astype(float) - there[name]).max() for name in here if here[name].size)
    return [f"numbers, by at most {max(map(float, apart), default=0.0):.2g}"]


def _origin_differences(product: Product, content: dict[str, Any]) -> list[str]:
    try:
        return [f"{what}, which is not this checkout's there" for what in origin.differences(product, content)]
    except UntoldError:
        return []


def _check_inputs(merge: Merge, product: Product, source: Path, content: dict[str, Any]) -> None:
    """Refuse what was made from other files than those that will be here."""
    for file in product.inputs:
        ours, theirs = merge.place(file), source / file
        noted = _noted(content, product, file)
        made_from = noted or (merge.digest(theirs) if theirs.is_file() else None)
        if ours is None:
            raise Refused(f"got no usable {file}, from which it was made, expected it here or there; merge that too")
        if made_from is None:
            raise Refused(f"got no {file} beside it, expected that from which it was made; copy that there too")
        if made_from != merge.digest(ours):
            raise Refused(
                f"got one made from another {file} than is here, expected the same; keep the two sets apart, and "
                f"compare them by hsivi diff"
            )


def _noted(content: dict[str, Any], product: Product, file: Path) -> str | None:
    """Return the digest of an input as a record has it."""
    if product.stage != "measure":
        return None
    found: str | None = content["digests"].get(str(Path("results") / product.experiment.scale / file))
    return found


def _check_origin(merge: Merge, product: Product, source: Path, content: dict[str, Any]) -> None:
    """Refuse what other code or settings made; where no commit tells, a record that holds has to name the file."""
    try:
        found = origin.differences(product, content)
    except UntoldError as error:
        if _named_by_a_record(merge, product, source, content["sha256"]):
            return
        raise Refused(
            f"got nothing that says with which code it was made ({error}), expected a commit that this checkout has, "
            f"or a record of it; finish its cell there"
        ) from error
    if found:
        raise Refused(
            f"got {' and '.join(found)} other than this checkout's (commit {str(content.get('commit'))[:12]}), "
            f"expected the same; use one version on both machines"
        )


def _named_by_a_record(merge: Merge, product: Product, source: Path, sha256: str) -> bool:
    """Return whether a record that this checkout's code and settings made was made from a product."""
    for other in merge.known:
        if other.stage == "measure" and product.output in other.inputs and (source / other.output).is_file():
            content = read_record(source / other.output).model_dump(mode="json")
            if _noted(content, other, product.output) == sha256 and not origin.differences(other, content):
                return True
    return False
