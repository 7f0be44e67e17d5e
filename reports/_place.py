"""Finding a number by what it is called on the command line: by its key, or by a place in a table."""

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from hsivi import methods
from hsivi.config import SCALES, ConfigError, check_choice, experiment_files
from hsivi.methods import Cell as RunCell
from hsivi.reporting import reports
from reports._present import found, loaded
from reports._tables import Cell, Source, Table

FORMS = "experiment/dataset/method/nfe/metric, or table/ROW/COLUMN"


@dataclass(frozen=True)
class Place:
    """What was asked for.

    Attributes:
        asked: as it was given.
        where: in words.
        text: what the table shows there, None for a key.
        sources: the numbers behind it.
    """

    asked: str
    where: str
    text: str | None
    sources: tuple[Source, ...]


def place(asked: str, scale: str) -> Place:
    """Return what a key or a place in a table stands for.

    Raises:
        ConfigError: there is no such number; the message names what is near.
    """
    check_choice("scale", scale, SCALES)
    first, _, rest = asked.partition("/")
    tables, experiments = [report.name for report in reports() if report.table], tuple(experiment_files())
    if first in tables and first not in experiments:
        return _in_table(asked, first, rest, scale)
    if first not in experiments:
        near = difflib.get_close_matches(first, [*tables, *experiments], 3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"give {FORMS}"
        raise ConfigError(f"cell: got {first!r} first, expected an experiment or a table; {hint}")
    source = _source(asked, scale)
    return Place(asked, source.key, None, (source,))


def record_cell(source: Source, scale: str) -> RunCell:
    """Return the cell of a run that a number is of."""
    return RunCell(scale, source.experiment, source.dataset, source.method, source.nfe)


def _source(asked: str, scale: str) -> Source:
    parts = asked.split("/")
    if len(parts) != 5:
        raise ConfigError(f"cell: got {len(parts)} parts in {asked!r}, expected five, {FORMS}; give all of them")
    name, dataset, label, nfe, metric = parts
    experiment = loaded(name, scale)
    check_choice("data set", dataset, experiment.data.datasets)
    check_choice("method", label, methods.rows(experiment))
    budgets = [c.nfe for c in methods.cells(experiment) if (c.dataset, c.label) == (dataset, label)]
    if not nfe.isdecimal() or int(nfe) not in budgets:
        raise ConfigError(f"nfe: got {nfe!r}, expected one of {', '.join(map(str, budgets))}; choose one of those")
    return Source(name, dataset, label, int(nfe), metric)


def _in_table(asked: str, name: str, rest: str, scale: str) -> Place:
    (report,) = [report for report in reports() if report.name == name]
    given = found(scale).given(report)
    if given is None:
        raise ConfigError(
            f"{name}: got no results of {' or '.join(report.experiments or ())} at scale {scale}, expected those of a "
            f"run; run them first"
        )
    table: Table = importlib.import_module(f"reports.{name}").table(scale, given)
    row, column = _split(table, name, rest)
    names, cells = table.rows[row]
    where = f"{name}, row {row + 1} ({_words(names)}), column {column + 1} ({table.header[column]})"
    cell = cells[column - len(table.index)] if column >= len(table.index) else Cell(names[column])
    return Place(asked, where, cell.text, cell.sources)


def _split(table: Table, name: str, rest: str) -> tuple[int, int]:
    """Return row and column, from 0, of ROW/COLUMN; names may have slashes."""
    parts = rest.split("/")
    errors = []
    for cut in range(1, len(parts)):
        try:
            return _row(table, name, "/".join(parts[:cut])), _column(table, name, "/".join(parts[cut:]))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    raise ConfigError(
        f"cell: got {name}/{rest}, expected {FORMS}; give a row and a column, by number from 1 or by name"
    )


def _row(table: Table, name: str, asked: str) -> int:
    if asked.isdecimal():
        return _number(f"{name}: row", asked, len(table.rows))
    called = [names for names, _ in table.rows]
    whole = [k for k, names in enumerate(called) if asked in (_words(names), ", ".join(names), "/".join(names))]
    matches = whole or [k for k, names in enumerate(called) if asked in names]
    if not matches:
        known = {text: None for names in called for text in (*names, _words(names)) if text}
        raise ConfigError(f"{name}: row: got {asked!r}, expected a row's number or name; {_near(asked, list(known))}")
    if len(matches) > 1:
        there = "; ".join(f"{k + 1} ({_words(called[k])})" for k in matches)
        raise ConfigError(
            f"{name}: row: got {asked!r}, which {len(matches)} rows are called, expected one; choose {there}"
        )
    return matches[0]


def _column(table: Table, name: str, asked: str) -> int:
    if asked.isdecimal() and asked not in table.header:
        return _number(f"{name}: column", asked, len(table.header))
    matches = [k for k, text in enumerate(table.header) if text == asked]
    if not matches:
        raise ConfigError(
            f"{name}: column: got {asked!r}, expected a column's number or name; {_near(asked, table.header)}"
        )
    return matches[0]


def _number(what: str, asked: str, count: int) -> int:
    if not 1 <= int(asked) <= count:
        raise ConfigError(f"{what}: got {asked}, expected a number from 1 to {count}; choose one of those")
    return int(asked) - 1


def _near(asked: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(asked, known, 3) or [text for text in known if asked.lower() in text.lower()][:3]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(map(repr, known[:8]))}"


def _words(names: Sequence[str]) -> str:
    return " / ".join(text for text in names if text)
