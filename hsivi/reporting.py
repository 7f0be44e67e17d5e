"""Reports as files: what the workflow needs to know about reports/<name>.py without running it.

Each script makes one table, figure or page.  It declares literal constants: ``EXPERIMENT``, the experiment it shows
(None for a script that shows all; a tuple for one that shows those of several that are run), and, where they apply,
``INPUTS``, further files of the checkout that it reads, ``SCOPE = "full"`` for a script that shows nothing in scope
core, ``TIMING = True`` for one that shows how long sampling takes and reads nothing else (where it shows all
experiments: reads that too), and ``PAGE = True`` for a page that shows what all other scripts made.

A script that shows a table offers a function ``table(scale, experiment)`` that returns it; ``hsivi report`` writes it
in all formats.  Any other declares ``OUTPUTS``, the files it writes below reports/<scale>/, and offers ``render(scale,
experiment)``, which writes them.  Where a script shows all experiments or several, it is given a list of them.
"""

import ast
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hsivi import layout, methods
from hsivi.config import ROOT, ConfigError
from hsivi.experiment import Experiment

TABLE_FORMATS = ("csv", "md", "tex")


@dataclass(frozen=True)
class Report:
    """Facts about one script.

    Attributes:
        name: file name without its ending.
        path: the file.
        experiments: experiments it shows, or None for all.
        several: whether it is given a list of experiments, not one.
        scope: the smallest scope in which it shows something.
        table: whether it offers a table, of cells that know their records.
        files: what is written, below reports/<scale>/.
        page: whether it shows the output of all other scripts.
        timing: whether it reads the timings of its experiments, instead of their records and samples where it does not
            show all experiments.
        reads: further files of the checkout that it reads.
        docstring: what it shows, for people; the first line is a title.
    """

    name: str
    path: Path
    experiments: tuple[str, ...] | None
    several: bool
    scope: str
    table: bool
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

    def given(self, run: Sequence[Experiment]) -> Experiment | list[Experiment]:
        """Return what its function is called with: one experiment, or a list of those of a run that it shows.

        Raises:
            ConfigError: it shows none of them.
        """
        if self.experiments is None:
            return list(run)
        named = {experiment.name: experiment for experiment in run}
        if not (found := [named[name] for name in self.shown(named)]):
            raise ConfigError(
                f"--experiments for {self.name}: got {', '.join(map(repr, named))}, expected "
                f"{' or '.join(map(repr, self.experiments))}; name one of those"
            )
        return found if self.several else found[0]

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
            timed = experiments.values() if self.timing else ()
            timings = [layout.CellFiles(cell).timing for e in timed for cell in methods.timed_cells(e)]
            return [layout.metrics_table(scale), *timings, *further]
        shown = [experiments[name] for name in self.shown(experiments)]
        if self.timing:
            return [layout.CellFiles(cell).timing for e in shown for cell in methods.timed_cells(e)] + further
        shared = [layout.DatasetFiles(scale, e.name, dataset) for e in shown for dataset in e.data.datasets]
        own = [layout.CellFiles(cell) for e in shown for cell in methods.cells(e)]
        found = [path for files in shared for path in (files.data, files.reference)]
        return found + [path for files in own for path in (files.record, files.samples)] + further


def table_files(name: str) -> tuple[str, ...]:
    """Return the files of a table, below reports/<scale>/."""
    return tuple(f"tables/{name}.{ending}" for ending in TABLE_FORMATS)


def reports() -> list[Report]:
    """Return all scripts in reports/.

    Raises:
        ConfigError: a script lacks a declaration.
    """
    paths = sorted(p for p in (ROOT / "reports").glob("*.py") if not p.stem.startswith("_"))
    return [_describe(path, path.stat().st_mtime_ns) for path in paths]


def selected(experiments: Iterable[Experiment]) -> list[Report]:
    """Return the scripts that show at least one of the experiments given, in their scope."""
    shown = {experiment.name: experiment.scope for experiment in experiments}
    known = [report for report in reports() if report.experiments is None or report.shown(shown)]
    return [report for report in known if report.scope == "core" or "full" in shown.values()]


@cache
def _describe(path: Path, _: int) -> Report:
    """Read a script, again only when its time stamp says that it was written: every report asks about all."""
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("EXPERIMENT", "INPUTS", "OUTPUTS", "PAGE", "SCOPE", "TIMING")
    }
    table = any(isinstance(node, ast.FunctionDef) and node.name == "table" for node in tree.body)
    if "EXPERIMENT" not in constants or table == ("OUTPUTS" in constants):
        raise ConfigError(
            f"reports/{path.name}: got {', '.join([*sorted(constants), *(['a function table'] if table else [])])}, "
            f"expected EXPERIMENT and either a function table or OUTPUTS; correct it"
        )
    named = constants["EXPERIMENT"]
    return Report(
        name=path.stem,
        path=path,
        experiments=(named,) if isinstance(named, str) else named,
        several=not isinstance(named, str),
        scope=constants.get("SCOPE", "core"),
        table=table,
        files=table_files(path.stem) if table else tuple(constants["OUTPUTS"]),
        page=constants.get("PAGE", False),
        timing=constants.get("TIMING", False),
        reads=tuple(constants.get("INPUTS", ())),
        docstring=ast.get_docstring(tree) or path.stem,
    )
