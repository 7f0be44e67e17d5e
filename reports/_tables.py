"""One table of text cells, written in three formats."""

from typing import Any

import pandas as pd

from hsivi import layout
from hsivi.record import write_atomically

LATEX = {"_": r"\_", "±": r"$\pm$", "–": "--", "↓": r"$\downarrow$", "↑": r"$\uparrow$"}


def number(row: Any) -> str:
    """Return mean ± standard deviation over seeds of a row of `reports._records.summary`."""
    return f"{row['mean']:.4f} ± {row['sd']:.4f}" if row["seeds"] > 1 else f"{row['mean']:.4f}"


def write_table(table: pd.DataFrame, scale: str, name: str) -> None:
    """Write reports/<scale>/tables/<name>.csv, .md and .tex from one table whose cells are text.

    Columns have two levels, group and name; the flat formats join them.
    """
    folder = layout.reports(scale) / "tables"
    flat = table.copy()
    flat.columns = pd.Index([" ".join(part for part in column if part) for column in table.columns])
    flat = flat.reset_index()
    write_atomically(folder / f"{name}.csv", flat.to_csv(index=False))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [flat.columns, *flat.to_numpy()]]
    lines.insert(1, "|" + " --- |" * len(flat.columns))
    write_atomically(folder / f"{name}.md", "\n".join(lines) + "\n")
    escaped = table.map(latex).rename(index=latex, columns=latex)
    write_atomically(folder / f"{name}.tex", escaped.to_latex(multicolumn_format="c", multirow=False))


def latex(text: str) -> str:
    """Return text with the characters that LaTeX reads otherwise replaced."""
    for character, replacement in LATEX.items():
        text = text.replace(character, replacement)
    return text
