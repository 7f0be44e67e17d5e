"""``hsivi verify``: does every cell of every table follow from the records, and do the records still hold?"""

import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ConfigError
from hsivi.publishing import manifest
from hsivi.record import edited_allowed
from hsivi.reporting import TABLE_FORMATS, Report, reports, table_files
from reports import _evidence
from reports._evidence import Digests, Finding
from reports._present import Run, found, recorded
from reports._reading import Difference, Page, differences, grid, on_page
from reports._tables import Table

PAGE = "index.html"
EXCUSES = ("no data", "no device", "not run")
"""Codes of `reports._blanks` that say what this machine lacks."""
SHOWN = 8
"""Findings of one kind that are printed where there are many that fail nothing."""


@dataclass
class Verification:
    """What was compared, and what was found.

    Attributes:
        run: the results.
        published: whether the results are published ones, with tables beside the records.
        tables: names of the tables that are there and were computed again.
        cells: how many cells these have.
        records: how many records were read.
        page: whether the page was compared.
        skipped: inputs that were not read for their size.
        findings: what is not as it should be.
    """

    run: Run
    published: bool = False
    tables: list[str] = field(default_factory=list)
    cells: int = 0
    records: int = 0
    page: bool = False
    skipped: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything follows."""
        return not any(finding.fails for finding in self.findings)

    @property
    def summary(self) -> str:
        """One line."""
        count = {kind: sum(f.kind == kind for f in self.findings) for kind in ("edited", "stale", "orphan", "missing")}
        wrong = sum(f.kind in ("cell", "table") for f in self.findings)
        follow = "follow" if not wrong else f"were compared, {wrong} differences found,"
        said = [
            f"{self.cells:,} cells of {len(self.tables)} tables {follow} from {self.records} records",
            *(f"{number} {kind}" for kind, number in count.items() if number or kind in ("edited", "stale")),
            f"the page was {'' if self.page else 'not '}checked",
            *([f"{self.skipped} large inputs were not read"] if self.skipped else []),
        ]
        return "; ".join(said)

    @property
    def json(self) -> str:
        """Everything, for machines."""
        content = {
            "scale": self.run.scale,
            "scopes": {e.name: e.scope for e in self.run.experiments},
            "holds": self.holds,
            "tables": self.tables,
            **{name: getattr(self, name) for name in ("cells", "records", "page", "skipped")},
            "findings": [asdict(finding) | {"fails": finding.fails} for finding in self.findings],
        }
        return json.dumps(content, indent=2)


def verify(
    scale: str, scope: str | None = None, names: Sequence[str] | None = None, quick: bool = False
) -> Verification:
    """Compute every cell of every table that is there again, and check the records.

    Arguments:
        scale: of the run.
        scope: as `reports._present.found`.
        names: as `reports._present.found`.
        quick: do not read inputs above `reports._evidence.LARGE` bytes.

    Raises:
        ConfigError: there are no results, or a name is not known.
    """
    done = Verification(found(scale, scope, names), published=(_results(scale) / manifest.NAME).exists())
    _check_records(done, Digests(_evidence.LARGE if quick else None))
    if done.published:
        done.findings += _manifest(scale)
    else:
        done.findings += _evidence.metrics(done.run)
    _check_tables(done)
    return done


def _check_records(done: Verification, digests: Digests) -> None:
    shown = {experiment.name for experiment in done.run.experiments}
    cells, known = recorded(done.run.scale), _evidence.known_cells(done.run.scale)
    of_run = {cell for experiment in done.run.experiments for cell in methods.cells(experiment)}
    records, findings = _evidence.read([cell for cell in cells if cell in of_run])
    done.records = len(records)
    done.findings += [
        *findings,
        *_evidence.missing(done.run.experiments),
        *_evidence.changed_inputs(records, digests),
        *_evidence.orphans([cell for cell in cells if cell.experiment in shown], known),
        *_evidence.stale(records, known),
    ]
    done.skipped = len(digests.skipped)


def _results(scale: str) -> Path:
    return layout.results_folder() / scale


def _manifest(scale: str) -> Iterator[Finding]:
    """Yield where published files are not those that the manifest lists."""
    try:
        for problem in manifest.problems(_results(scale)):
            name, _, words = problem.partition(": ")
            yield Finding("manifest", str(_results(scale) / name), words)
    except ConfigError as error:
        yield Finding("manifest", str(_results(scale) / manifest.NAME), str(error))


def _check_tables(done: Verification) -> None:
    """Check files and page; of tables that this run does not have say so, unless others were asked about."""
    folder, known = layout.reports(done.run.scale), {r.name: r for r in reports() if r.table}
    beside = _results(done.run.scale).glob("*/tables/*") if done.published else ()
    there = {p.stem for p in (*(folder / "tables").glob("*"), *beside) if p.suffix[1:] in TABLE_FORMATS}
    path = folder / PAGE
    page = Page(path.read_text() if path.exists() else "")
    done.page = bool(page.tables)
    for name in sorted(there | set(page.tables)):
        if name not in known:
            words = "no script in reports/ makes such a table, so nothing says what it should show"
            done.findings.append(
                Finding(*(("table", f"tables/{name}") if name in there else ("unchecked", f"{PAGE}, {name}")), words)
            )
        elif (given := done.run.given(known[name])) is None:
            if done.run.chosen is None:
                done.findings.append(Finding("unchecked", name, "none of its experiments has records here"))
        else:
            _check_table(done, known[name], given, page)


def _check_table(done: Verification, report: Report, given: object, page: Page) -> None:
    try:
        with edited_allowed():
            table: Table = importlib.import_module(f"reports.{report.name}").table(done.run.scale, given)
    except ConfigError as error:
        done.findings.append(Finding("table", report.name, f"cannot be computed again: {error}"))
        return
    done.tables.append(report.name)
    done.cells += sum(len(cells) for _, cells in table.rows)
    done.findings += _in_files(table, _files_of(done, report))
    if report.name in page.tables:
        for difference in on_page(page.tables[report.name], table):
            done.findings.append(_finding(f"{PAGE}, {report.name}", table, difference, "page"))
    elif done.page:
        done.findings.append(
            Finding("page", f"{PAGE}, {report.name}", "the page does not show this table; render it again")
        )


def _files_of(done: Verification, report: Report) -> Iterator[tuple[str, Path, bool]]:
    """Yield name, path and whether it has to be there of every file of a table: rendered ones, and published ones."""
    rendered = layout.reports(done.run.scale)
    published = sorted(_results(done.run.scale).glob(f"*/tables/{report.name}.*")) if done.published else []
    for file in table_files(report.name):
        yield file, rendered / file, not published
    for path in published:
        yield str(path), path, True


def _in_files(table: Table, files: Iterable[tuple[str, Path, bool]]) -> Iterator[Finding]:
    """Yield where the files of a table differ from it."""
    for file, path, expected in files:
        if not path.exists():
            if expected:
                yield Finding("unchecked", file, "there is no such file")
            continue
        text, wanted = path.read_text(), table.text(path.suffix[1:])
        if text == wanted:
            continue
        has, right = (grid(content, path.suffix[1:]) for content in (text, wanted))
        above = len(right) - len(table.grid)
        apart = list(differences(has, right))
        for difference in apart:
            yield _finding(file, table, difference, "cell", above)
        if not apart:
            yield Finding("cell", file, "its cells follow, but what stands around them was changed; render it again")


def _finding(where: str, table: Table, found: Difference, kind: str, above: int = 0) -> Finding:
    """Put a difference into words; ``above`` lines with groups of columns stand above the header."""
    if found.row is None:
        return Finding(kind, where, f"has {found.has!r}, the records give nothing there")
    row = found.row - above
    names = (
        "groups of columns" if row < 0 else "header" if row == 0 else " / ".join(filter(None, table.rows[row - 1][0]))
    )
    place = f"{where}, row {row} ({names})"
    if found.column is not None:
        place += f", column {table.header[found.column]!r}" if found.column < len(table.header) else ""
    if found.has is None:
        return Finding(kind, place, f"is not there, the records give {found.wanted!r}")
    excuses = found.has is not None and found.wanted is not None and _excuse(found.has) and _excuse(found.wanted)
    return Finding("words" if excuses else kind, place, f"has {found.has!r}, the records give {found.wanted!r}")


def _excuse(text: str) -> bool:
    """Return whether a text says why there is no number, which may depend on this machine: it has a GPU, or data."""
    return text in EXCUSES or any(f"{excuse}: " in text for excuse in EXCUSES)


def lines(done: Verification) -> list[str]:
    """Return what is printed: what fails in full, of the rest a few of each kind, and the summary."""
    said = []
    for kind in dict.fromkeys(finding.kind for finding in done.findings):
        own = [finding for finding in done.findings if finding.kind == kind]
        shown = own if own[0].fails else own[:SHOWN]
        said += [f"{kind}: {finding.where}: {finding.words}" for finding in shown]
        if len(own) > len(shown):
            said.append(f"{kind}: and {len(own) - len(shown)} more (--json lists all)")
    return [*said, done.summary]
