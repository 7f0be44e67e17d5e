"""Tables on the page: the texts of `Table.grid`, the links behind numbers, and what of them a filter keeps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports._tables import Source, Table, groups

FACETS = ("dataset", "method", "nfe", "metric")
"""What can be filtered for; the names of attributes of `Source`."""
LONG, LONG_NAME = 60, 24
"""Characters from which on a text, and the name of a row, is broken into lines."""
Facets = dict[str, list[str]]


@dataclass(frozen=True)
class ShownCell:
    """One place of the body: its text, its class, and the keys and the record behind it."""

    row: int
    column: int
    text: str
    style: str
    keys: str
    link: str


@dataclass(frozen=True)
class ShownTable:
    """A table as the template shows it.

    Attributes:
        name: of the script.
        index: names of the first columns.
        columns: names of the further ones.
        spans: groups of these, each with its number of columns; empty if there are no groups.
        rows: the cells of each row; as many headers as there are names in ``index`` come first.
        row_facets, column_facets: what each row and each of all columns is about; what is not named is about all.
    """

    name: str
    index: tuple[str, ...]
    columns: list[str]
    spans: list[tuple[str, int]]
    rows: list[list[ShownCell]]
    row_facets: list[Facets]
    column_facets: list[Facets]

    @property
    def names(self) -> list[str]:
        """Names of all columns, without groups."""
        return [*self.index, *self.columns]


def shown(
    name: str, table: Table, link: Callable[[Source], str], titles: Mapping[str, Iterable[str]], datasets: Sequence[str]
) -> ShownTable:
    """Return a table as the template shows it.

    Arguments:
        name: of the script that makes it.
        table: the table.
        link: gives the address of the record of a number.
        titles: the labels of methods by their titles.
        datasets: names of data sets.
    """
    spans = groups(table.columns)
    by_column = _columns(table)
    rows = [[_cell(table, i, j, link) for j in range(len(table.header))] for i in range(len(table.rows))]
    return ShownTable(
        name,
        table.index,
        [column for _, column in table.columns],
        spans if any(group for group, _ in spans) else [],
        rows,
        [_row(names, [s for cell in cells for s in cell.sources], titles, datasets) for names, cells in table.rows],
        [{} for _ in table.index] + by_column,
    )


def _cell(table: Table, i: int, j: int, link: Callable[[Source], str]) -> ShownCell:
    names, cells = table.rows[i]
    text = names[j] if j < len(names) else cells[j - len(names)].text
    sources = cells[j - len(names)].sources if j >= len(names) else ()
    repeats = j < len(names) and i > 0 and table.rows[i - 1][0][: j + 1] == names[: j + 1]
    styles = [
        "again" if repeats else "",
        text if text in ("ahead", "behind") else "",
        "long" if len(text) > LONG else "name" if j < len(names) and len(text) > LONG_NAME else "",
    ]
    style = " ".join(filter(None, styles))
    return ShownCell(i, j, text, style, " ".join(s.key for s in sources), link(sources[0]) if sources else "")


def _values(sources: Iterable[Source], facet: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(source, facet)) for source in sources))


def _row(
    names: Sequence[str], sources: Sequence[Source], titles: Mapping[str, Iterable[str]], datasets: Sequence[str]
) -> Facets:
    """Return what a row is about: what its numbers say, or else its names, for numbers that the papers print."""
    if sources:
        return {facet: _values(sources, facet) for facet in FACETS}
    methods = [label for name in names for label in titles.get(name, ())]
    own = [dataset for dataset in datasets if dataset in names]
    return {facet: values for facet, values in (("dataset", own), ("method", methods)) if values}


def _columns(table: Table) -> list[Facets]:
    """Return what each column is about: a facet that has one value in each of several columns, and not the same in all.

    Columns of cells with several numbers (a difference, say), and columns of numbers that earlier ones show (the floor
    that a record gives, say), are about nothing in particular.
    """
    found: list[Facets] = [{} for _ in table.columns]
    own = [_own_sources(table, j) for j in range(len(table.columns))]
    for facet in FACETS:
        single = [_values(sources, facet) if len(_values(sources, facet)) == 1 else [] for sources in own]
        if len({values[0] for values in single if values}) > 1:
            for place, values in zip(found, single, strict=True):
                if values:
                    place[facet] = values
    return found


def _own_sources(table: Table, j: int) -> list[Source]:
    """Return the numbers of a column; none if its cells have several, or if earlier columns show all of them."""
    cells = [cells[j].sources for _, cells in table.rows if cells[j].sources]
    earlier = {source for _, cells in table.rows for cell in cells[:j] for source in cell.sources}
    sources = [source for of_cell in cells for source in of_cell]
    return [] if any(len(of_cell) > 1 for of_cell in cells) or earlier.issuperset(sources) else sources


def embedded(table: Table) -> dict[str, str]:
    """Return the files that the page offers of a table."""
    return {ending: table.text(ending) for ending in ("csv", "tex")}
