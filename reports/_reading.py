"""Reading tables back from their files and from the page, to compare them cell by cell."""

import csv
import io
from collections.abc import Iterator
from difflib import SequenceMatcher
from html.parser import HTMLParser
from typing import NamedTuple

from reports._tables import Table

Grid = list[list[str]]


class Difference(NamedTuple):
    """A place where a file says something else than the records.

    Attributes:
        row: its number, from 0 at the header; None where the file has a row that the records do not give.
        column: its number, or None for a whole row.
        has: what the file has, None where it lacks the row.
        wanted: what the records give, None where they give no such row.
    """

    row: int | None
    column: int | None
    has: str | None
    wanted: str | None


def grid(text: str, ending: str) -> Grid:
    """Return the lines of cells of a table in one of the formats; in LaTeX a line with the groups may come first."""
    if ending == "csv":
        return list(csv.reader(io.StringIO(text)))
    lines = text.splitlines()
    if ending == "md":
        rows = [_cells(line, "| ", " |", " | ") for line in lines[:1] + lines[2:]]
        return [[cell.replace(r"\|", "|") for cell in row] for row in rows]
    return [_cells(line, "", r" \\", " & ") for line in lines if line.endswith(r" \\")]


def _cells(line: str, before: str, after: str, between: str) -> list[str]:
    return line.removeprefix(before).removesuffix(after).split(between)


def differences(has: Grid, wanted: Grid) -> Iterator[Difference]:
    """Yield where two grids differ: cells of rows that stand in one another's place, and rows of one alone."""
    pairs = SequenceMatcher(None, list(map(tuple, has)), list(map(tuple, wanted)), autojunk=False)
    for operation, a, b, c, d in pairs.get_opcodes():
        if operation == "equal":
            continue
        common = min(b - a, d - c)
        for row, (ours, theirs) in enumerate(zip(has[a : a + common], wanted[c : c + common], strict=True), c):
            yield from _in_row(row, ours, theirs)
        yield from (Difference(None, None, ", ".join(row), None) for row in has[a + common : b])
        yield from (Difference(c + common + k, None, None, ", ".join(r)) for k, r in enumerate(wanted[c + common : d]))


def _in_row(row: int, ours: list[str], theirs: list[str]) -> Iterator[Difference]:
    if len(ours) != len(theirs):
        yield Difference(row, None, ", ".join(ours), ", ".join(theirs))
        return
    for column, (text, wanted) in enumerate(zip(ours, theirs, strict=True)):
        if text != wanted:
            yield Difference(row, column, text, wanted)


class Page(HTMLParser):
    """The cells of the tables of a page that are marked ``data-table``, ``data-row`` and ``data-column``.

    Attributes:
        tables: for every table by name its cells: row and column from 0 at the first row of the body, and text.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[tuple[int, int, str]]] = {}
        self._table: str | None = None
        self._place: tuple[int, int, str] | None = None
        self._text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter a table or a cell."""
        given = dict(attrs)
        if tag == "table":
            self._table = given.get("data-table")
            if self._table is not None:
                self.tables.setdefault(self._table, [])
        row, column = given.get("data-row") or "", given.get("data-column") or ""
        if tag in ("th", "td") and self._table is not None and row.isdecimal() and column.isdecimal():
            self._place, self._text = (int(row), int(column), tag), []

    def handle_data(self, data: str) -> None:
        """Add to the text of a cell."""
        if self._place is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Leave a cell or a table."""
        if self._place is not None and self._table is not None and tag == self._place[2]:
            row, column, _ = self._place
            self.tables[self._table].append((row, column, "".join(self._text)))
            self._place = None
        if tag == "table":
            self._table = None


def on_page(cells: list[tuple[int, int, str]], table: Table) -> Iterator[Difference]:
    """Yield where the cells of a table on the page differ from the table; cells that it lacks come last."""
    rows = table.grid[1:]
    wanted = {(i, j): text for i, row in enumerate(rows) for j, text in enumerate(row)}
    for i, j, text in cells:
        if text.strip() != wanted.get((i, j), "").strip() or (i, j) not in wanted:
            known = (i, j) in wanted
            yield Difference(i + 1 if known else None, j if known else None, text, wanted.get((i, j)))
    shown = {(i, j) for i, j, _ in cells}
    yield from (Difference(i + 1, j, None, text) for (i, j), text in wanted.items() if (i, j) not in shown)
