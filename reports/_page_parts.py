"""The parts of the page: each experiment with its tables and figures, and what stands behind them."""

import base64
import importlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.reporting import Report, selected
from reports._page_claims import Claim, compared, of_place
from reports._page_numbers import Numbers, titles
from reports._page_tables import ShownTable, embedded, shown
from reports._protocols import about
from reports._tables import Table

THREADS = 2
VERDICTS = "verdicts"
"""The script whose table the page shows as its first, not among others."""


@dataclass(frozen=True)
class Picture:
    """A figure without loss in fewer bytes: address with the data inside, and size in pixels."""

    data: str
    width: int
    height: int


@dataclass
class Parts:
    """Everything that scripts in reports/ make.

    Attributes:
        numbers: of the run.
        claims: of the run.
        files: the CSV and LaTeX text of every table shown so far, by name.
    """

    numbers: Numbers
    claims: Sequence[Claim]
    files: dict[str, dict[str, str]] = field(default_factory=dict)

    def every(self) -> list[dict[str, Any]]:
        """Return the parts: what shows all experiments together, then one for each; empty ones are left out."""
        experiments = self.numbers.experiments
        scripts = [r for r in selected(experiments) if not r.page and r.name != VERDICTS]
        pictures = self._pictures(scripts)
        found = [self._part(experiment, scripts, pictures) for experiment in [None, *experiments]]
        return [part for part in found if part["items"]]

    def _part(
        self, experiment: Experiment | None, scripts: Sequence[Report], pictures: dict[str, Picture]
    ) -> dict[str, Any]:
        return {
            "name": f"part-{experiment.name}" if experiment else "part-all",
            "title": experiment.title if experiment else "Samplers on all data sets",
            "source": experiment.source if experiment else "",
            "datasets": list(experiment.data.datasets) if experiment else [],
            "about": about(experiment, self.numbers.records) if experiment else [],
            "items": self.items(experiment, scripts, pictures),
        }

    def items(
        self, experiment: Experiment | None, scripts: Sequence[Report], pictures: dict[str, Picture]
    ) -> list[dict[str, Any]]:
        """Return what is shown of one experiment, or of all together, tables first.

        A script that shows several experiments stands under the first of its own that is run.
        """
        run = [e.name for e in self.numbers.experiments]
        first = {report.name: next(iter(report.shown(run)), None) for report in scripts}
        own = [report for report in scripts if first[report.name] == (experiment.name if experiment else None)]
        items = [self._item(report, pictures) for report in own]
        return sorted(items, key=lambda item: item["table"] is None)

    def _item(self, report: Report, pictures: dict[str, Picture]) -> dict[str, Any]:
        title, _, rest = report.docstring.partition("\n")
        table = build(report, self.numbers.scale, self.numbers.experiments)
        about_it = of_place(self.claims, report.name)
        return {
            "name": report.name,
            "title": title,
            "text": " ".join(rest.split()),
            "files": report.files,
            "command": self.command(report),
            "table": None if table is None else self.show(report.name, table),
            "picture": pictures.get(report.name),
            "claims": self._compared(f"{report.name}-claims", about_it) if about_it else None,
        }

    def _compared(self, name: str, claims: Sequence[Claim]) -> ShownTable:
        """Return ours beside the paper's; what a row is about is what its claim is about."""
        return replace(self.show(name, compared(claims)), row_facets=[claim.facets for claim in claims])

    def show(self, name: str, table: Table) -> ShownTable:
        """Return a table as the template shows it, and keep its files."""
        self.files[name] = embedded(table)
        datasets = [dataset for e in self.numbers.experiments for dataset in e.data.datasets]
        return shown(name, table, self.numbers.link, titles(self.numbers.experiments), datasets)

    def command(self, report: Report) -> str:
        """Return the command line that makes a report again."""
        experiments = self.numbers.experiments
        run = [e.name for e in experiments]
        names = " ".join(run if report.experiments is None else report.shown(run))
        flags = f"--scale {self.numbers.scale} --scope {experiments[0].scope} --experiments {names}"
        return f"python -m hsivi report {report.name} {flags}"

    def _pictures(self, scripts: Sequence[Report]) -> dict[str, Picture]:
        folder = layout.reports(self.numbers.scale)
        found = {r.name: folder / file for r in scripts for file in r.files if file.endswith(".png")}
        with ThreadPoolExecutor(THREADS) as pool:  # Pillow encodes outside Python's lock
            return dict(zip(found, pool.map(picture, found.values()), strict=True))


def picture(path: Path) -> Picture:
    """Return a PNG file as WebP without loss, in less than half the bytes."""
    text = io.BytesIO()
    with Image.open(path) as image:
        image.save(text, "WEBP", lossless=True, method=1, quality=20)
        width, height = image.size
    return Picture("data:image/webp;base64," + base64.b64encode(text.getvalue()).decode(), width, height)


def build(report: Report, scale: str, experiments: Sequence[Experiment]) -> Table | None:
    """Return the table that a script makes, or None where it makes none."""
    if not report.table:
        return None
    script = importlib.import_module(f"reports.{report.name}")
    return script.table(scale, report.given(experiments))
