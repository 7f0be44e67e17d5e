"""Tables: what each cell shows, the numbers of records behind it, and one place that writes all formats.

A script in reports/ that shows a table offers ``table(scale, experiment)`` and returns a `Table`.  The CSV, Markdown
and LaTeX files, the page and ``hsivi verify`` all show `Table.grid`, so that no two of them can say different things.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hsivi import layout
from hsivi.reporting import table_files
from hsivi.writing import write_text
from reports._harmless import csv_cell, markdown_cell

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "α": r"$\alpha$",
    "é": r"\'e",
    "“": "``",
    "”": "''",
    "’": "'",
    "…": r"\dots{}",
    "×": r"$\times$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
}
EMPTY = "–"


@dataclass(frozen=True, order=True)
class Source:
    """One number of the records: a metric of a measured cell, over all its seeds.

    Attributes:
        experiment, dataset, method, nfe: which cell; ``method`` is the row's label.
        metric: name of the metric.
    """

    experiment: str
    dataset: str
    method: str
    nfe: int
    metric: str

    @property
    def key(self) -> str:
        """How it is called on the command line and in the page's address."""
        return f"{self.experiment}/{self.dataset}/{self.method}/{self.nfe}/{self.metric}"


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        text: what it shows.
        sources: the numbers behind it; none for words, and for numbers that the papers print.
    """

    text: str
    sources: tuple[Source, ...] = ()


Row: TypeAlias = dict[tuple[str, str] | str, Cell | str]
"""Cells by column: by group and name, or by name alone where there is no group; words may stand for a cell."""
Rows: TypeAlias = dict[tuple[str, ...], Row]
"""Rows by what they are."""


@dataclass(frozen=True)
class Table:
    """A table of cells.

    Attributes:
        index: names of the columns that say what a row is.
        columns: group and name of each further column; the group may be empty.
        rows: what each row is, and its cells.
    """

    index: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]

    @classmethod
    def of(
        cls,
        index: Sequence[str],
        rows: Rows,
        columns: Iterable[tuple[str, str] | str] | None = None,
    ) -> "Table":
        """Build a table from rows by name, each with cells by column; a column without a group is its name alone.

        Arguments:
            index: names of the columns that say what a row is.
            rows: the rows in their order; a cell that a row lacks shows an en dash.
            columns: the columns in their order; by default in the order in which rows name them.
        """
        wanted = list(dict.fromkeys(c for row in rows.values() for c in row)) if columns is None else list(columns)
        cells = {
            name: tuple(
                value if isinstance(value, Cell) else Cell(value) for value in (row.get(c, EMPTY) for c in wanted)
            )
            for name, row in rows.items()
        }
        return cls(tuple(index), tuple(("", c) if isinstance(c, str) else c for c in wanted), tuple(cells.items()))

    @property
    def header(self) -> list[str]:
        """One name a column, groups and names joined: the first line of `grid`."""
        return [*self.index, *(" ".join(part for part in column if part) for column in self.columns)]

    @property
    def grid(self) -> list[list[str]]:
        """All texts: the header, then a line a row.  Every format shows exactly these."""
        return [self.header, *([*name, *(cell.text for cell in cells)] for name, cells in self.rows)]

    def write(self, scale: str, name: str) -> None:
        """Write reports/<scale>/tables/<name>.csv, .md and .tex."""
        for file in table_files(name):
            path = layout.reports(scale) / file
            write_text(path, self.text(path.suffix[1:]))

    def text(self, ending: str) -> str:
        """Return the table in a format, one of `hsivi.reporting.TABLE_FORMATS`."""
        return {"csv": csv_text, "md": markdown_text, "tex": latex_text}[ending](self)


def number(row: Mapping[str, Any], digits: int = 4, spread: str = "sd") -> Cell:
    """Return mean ± deviation over seeds of a row of `reports._records.summary`, with where it comes from.

    Arguments:
        row: the row, with the columns experiment, dataset, method, nfe, metric, mean, sd, se and seeds.
        digits: decimals shown.
        spread: ``sd``, the standard deviation over seeds, or ``se``, the standard error of the mean.
    """
    beside = f" ± {row[spread]:.{digits}f}" if row["seeds"] > 1 else ""
    return Cell(f"{row['mean']:.{digits}f}{beside}", (source(row),))


def source(row: Mapping[str, Any]) -> Source:
    """Return where a row of `reports._records.summary` comes from."""
    return Source(row["experiment"], row["dataset"], row["method"], int(row["nfe"]), row["metric"])


def csv_text(table: Table) -> str:
    """Return a table as CSV; a spreadsheet finds no formula in it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([csv_cell(cell) for cell in row] for row in table.grid)
    return text.getvalue()


def markdown_text(table: Table) -> str:
    """Return a table as Markdown."""
    lines = ["| " + " | ".join(map(markdown_cell, row)) + " |" for row in table.grid]
    lines.insert(1, "|" + " --- |" * len(table.header))
    return "\n".join(lines) + "\n"


def latex_text(table: Table) -> str:
    """Return a table as LaTeX, for the package booktabs; groups span their columns."""
    header, *rows = ([latex(text) for text in row] for row in table.grid)
    lines = [r"\begin{tabular}{" + "l" * len(header) + "}", r"\toprule"]
    if any(group for group, _ in table.columns):
        lines.append(" & ".join([*[""] * len(table.index), *_spans(table.columns)]) + r" \\")
        header = [*map(latex, table.index), *(latex(name) for _, name in table.columns)]
    lines += [" & ".join(header) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _spans(columns: Sequence[tuple[str, str]]) -> list[str]:
    spans = []
    for group, count in groups(columns):
        spans += [rf"\multicolumn{{{count}}}{{c}}{{{latex(group)}}}"] if group else [""] * count
    return spans


def groups(columns: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
    """Return the groups of neighbouring columns and how many columns each has."""
    found: list[tuple[str, int]] = []
    for group, _ in columns:
        if found and found[-1][0] == group:
            found[-1] = (group, found[-1][1] + 1)
        else:
            found.append((group, 1))
    return found


def latex(text: str) -> str:
    """Return text with the characters that LaTeX reads otherwise replaced."""
    return "".join(LATEX.get(character, character) for character in text)
