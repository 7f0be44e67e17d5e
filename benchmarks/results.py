"""Measurements as tables."""

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch

PLACE = Path(__file__).with_name("results.md")


@dataclass
class Results:
    """Rows of each table by its title, in the order in which they were measured.

    Attributes:
        tables: a list of rows a title; a row maps columns to what is printed.
    """

    KEY: ClassVar[pytest.StashKey["Results"]] = pytest.StashKey()
    TITLES: ClassVar[tuple[str, ...]] = (
        "Training, against the plain implementation",
        "Throughput",
        "Growth of cost",
    )
    tables: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {title: [] for title in Results.TITLES})

    @property
    def is_complete(self) -> bool:
        """Whether there is something in every table."""
        return all(self.tables.values())

    def add(self, title: str, **columns: str) -> None:
        """Append a row to the table ``title``."""
        self.tables[title].append({name.replace("_", " "): value for name, value in columns.items()})

    def text(self) -> str:
        """Return the tables in Markdown, and on what they were measured."""
        parts = [
            f"## {title}\n\n{pd.DataFrame(rows).fillna('').to_markdown(index=False)}\n"
            for title, rows in self.tables.items()
            if rows
        ]
        return "\n".join(
            [*parts, f"Measured on {processor()}, one thread, torch {torch.__version__}, in seconds of CPU time.\n"]
        )

    def write(self) -> None:
        """Keep the tables in ``results.md``."""
        PLACE.write_text(f"<!-- Written by make bench. -->\n\n{self.text()}", encoding="utf-8")


def processor() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
