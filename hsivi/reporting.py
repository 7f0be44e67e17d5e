"""Reports as files: what the workflow needs to know about reports/<name>.py without running it.

Each script makes one table, figure or page.  It declares literal constants: ``EXPERIMENT``, the experiment it shows
(None for a script that shows all; a tuple for one that shows those of several that are run), ``OUTPUTS``, the files it
writes below reports/<scale>/, and, where they apply, ``INPUTS``, further files of the checkout that it reads,
``SCOPE = "full"`` for a script that shows nothing in scope core, ``TIMING = True`` for one that shows how long sampling
takes and reads nothing else, and ``PAGE = True`` for a page that shows what all other scripts made.  It offers a
function ``render(scale, experiment)``, or ``render(scale, experiments)`` where it shows all or several.
"""

import ast
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ROOT, ConfigError
from hsivi.experiment import Experiment


@dataclass(frozen=True)
class Report:
    """Facts about one script.

    Attributes:
        name: file name without its ending.
        path: the file.
        experiments: experiments it shows, or None for all.
        scope: the smallest scope in which it shows something.
        files: what it writes, below reports/<scale>/.
        page: whether it shows the output of all other scripts.
        timing: whether it reads the timings of its experiments instead of their records and samples.
        reads: further files of the checkout that it reads.
        docstring: what it shows, for people; the first line is a title.
    """

    name: str
    path: Path
    experiments: tuple[str, ...] | None
    scope: str
    files: tuple[str, ...]
    page: bool
    timing: bool
    reads: tuple[str, ...]
    docstring: str

    @property
    def title(self) -> str:
        """The first line of the docstring."""
        return self.docstring.partition("\n")[0]

    @property
    def rst(self) -> str:
        """The docstring as reStructuredText, in which none of its characters means anything."""
        title, _, text = re.sub(r"([\\*`|_])", r"\\\1", self.docstring).partition("\n")
        return f"**{title}**\n\n{text.strip()}"

    def shown(self, run: Container[str]) -> list[str]:
        """Return which experiments of a run it shows, where it does not show all, in the script's order."""
        return [name for name in self.experiments or () if name in run]

    def outputs(self, scale: str) -> list[Path]:
        """Return what the script writes."""
        return [layout.reports(scale) / file for file in self.files]

    def inputs(self, scale: str, experiments: Mapping[str, Experiment], others: Iterable["Report"]) -> list[Path]:
        """Return what the script reads: all results of its experiments but the networks, or everything."""
        further = [ROOT / file for file in self.reads]
        if self.page:
            made = [path for other in others if not other.page for path in other.outputs(scale)]
            return [layout.metrics_table(scale), *made, *further]
        if self.experiments is None:
            return [layout.metrics_table(scale), *further]
        shown = [experiments[name] for name in self.shown(experiments)]
        if self.timing:
            return [layout.CellFiles(cell).timing for e in shown for cell in methods.timed_cells(e)] + further
        shared = [layout.DatasetFiles(scale, e.name, dataset) for e in shown for dataset in e.data.datasets]
        own = [layout.CellFiles(cell) for e in shown for cell in methods.cells(e)]
        found = [path for files in shared for path in (files.data, files.reference)]
        return found + [path for files in own for path in (files.record, files.samples)] + further


def reports() -> list[Report]:
    """Return all scripts in reports/.

    Raises:
        ConfigError: a script lacks a declaration.
    """
    return [_describe(p) for p in sorted((ROOT / "reports").glob("*.py")) if not p.stem.startswith("_")]


def selected(experiments: Iterable[Experiment]) -> list[Report]:
    """Return the scripts that show at least one of the experiments given, in their scope."""
    shown = {experiment.name: experiment.scope for experiment in experiments}
    known = [report for report in reports() if report.experiments is None or report.shown(shown)]
    return [report for report in known if report.scope == "core" or "full" in shown.values()]


def _describe(path: Path) -> Report:
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("EXPERIMENT", "INPUTS", "OUTPUTS", "PAGE", "SCOPE", "TIMING")
    }
    if not {"EXPERIMENT", "OUTPUTS"} <= set(constants):
        raise ConfigError(f"reports/{path.name}: got no EXPERIMENT or OUTPUTS, expected both as literals; add them")
    named = constants["EXPERIMENT"]
    return Report(
        name=path.stem,
        path=path,
        experiments=(named,) if isinstance(named, str) else named,
        scope=constants.get("SCOPE", "core"),
        files=tuple(constants["OUTPUTS"]),
        page=constants.get("PAGE", False),
        timing=constants.get("TIMING", False),
        reads=tuple(constants.get("INPUTS", ())),
        docstring=ast.get_docstring(tree) or path.stem,
    )
