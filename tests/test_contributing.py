"""The tutorial in CONTRIBUTING is executed: its commands run in a copy of the checkout, and what it claims is true."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from hsivi import layout
from hsivi.config import ROOT, load_experiment
from hsivi.contract.problem import VECTOR
from hsivi.methods import cells, describe
from hsivi.new_baseline import render
from hsivi.reporting import selected
from hsivi.sampler import draw, load_baseline, make_config

if TYPE_CHECKING:
    from tests.test_workflow import Checkout

TUTORIAL = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a baseline")[2].partition("\n## ")[0]
(COMMANDS, *_) = re.findall(r"```\n(.*?)```", TUTORIAL, re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for line in COMMANDS.splitlines()]
(SHOWN,) = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
SOURCE = render("euler")
EXPERIMENT = load_experiment("toy2d", "smoke", "core")


def lines_of_code(source: str) -> int:
    """Count lines that are neither blank, nor comments, nor part of a docstring."""
    tree = ast.parse(source)
    documented = [tree, *(n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef)))]
    docstrings = {
        line
        for node in documented
        if isinstance(first := node.body[0], ast.Expr) and isinstance(first.value, ast.Constant)
        for line in range(first.lineno, (first.end_lineno or first.lineno) + 1)
    }
    texts = [text.strip() for i, text in enumerate(source.splitlines(), 1) if i not in docstrings]
    return sum(bool(text) and not text.startswith("#") for text in texts)


def test_the_tutorials_line_count_is_true(tmp_path: Path) -> None:
    (claimed,) = re.findall(r"(\d+) lines of code", TUTORIAL)
    assert lines_of_code(SOURCE) == int(claimed) <= 25
    path = tmp_path / "euler.py"
    path.write_text(SOURCE)
    assert describe(path).title == "Euler"


def test_the_tutorial_shows_the_template() -> None:
    assert SHOWN in SOURCE
    assert COMMANDS == ["hsivi new-baseline euler", "hsivi check euler", "make reproduce"]


def test_the_tutorials_sampler_is_ddim(tmp_path: Path) -> None:
    """Euler's method in this variable is DDIM at eta = 0 (Song et al., 2021, section 4.3)."""
    path = tmp_path / "euler.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("euler", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["euler"] = module
    spec.loader.exec_module(module)
    problem, ddim = VECTOR.problem(8, "hsivi"), load_baseline("ddim")
    ours = draw(module, problem, make_config(module, {}, "euler"), 0, 200, {})  # type: ignore[arg-type]
    theirs = draw(ddim, problem, make_config(ddim, {}, "ddim"), 0, 200, {})
    torch.testing.assert_close(ours.x, theirs.x, rtol=1e-4, atol=1e-5)  # float32 over eight steps
    assert ours.nfe == 8


@dataclass
class Reader:
    """Somebody who follows the tutorial in a checkout whose run is finished."""

    checkout: "Checkout"
    said: dict[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ("--config", "scale=smoke", f"experiments={EXPERIMENT.name}")

    def finish(self) -> None:
        """Make Snakemake believe that everything is done: files are there, and it knows with which code."""
        own: set[Path] = {layout.metrics_table("smoke")}
        for dataset in EXPERIMENT.data.datasets:
            shared = layout.DatasetFiles("smoke", EXPERIMENT.name, dataset)
            own |= {shared.data, shared.score_model, shared.reference}
        for files in map(layout.CellFiles, cells(EXPERIMENT)):
            own |= {files.fit, files.samples, files.record}
        own |= {layout.note(path) for path in own}
        own |= {Path(path) for report in selected([EXPERIMENT]) for path in report.outputs("smoke")}
        for path in own:
            (self.checkout.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.checkout.folder / path).touch()
        done = self.checkout.snakemake("--touch", "--cores", "1", *self.settings)
        assert done.returncode == 0, done.stdout + done.stderr

    def follow(self, command: str) -> None:
        """Run one command of the tutorial; of ``make reproduce`` the plan."""
        if command == "make reproduce":
            done = self.checkout.snakemake("--dry-run", *self.settings)
        else:
            environment = {**os.environ, "PYTHONPATH": str(self.checkout.folder)}
            environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
            done = subprocess.run(
                command.split(), cwd=self.checkout.folder, env=environment, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stdout + done.stderr
        self.said[command] = done.stdout + done.stderr


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    from tests.test_workflow import Checkout  # which shows this tutorial's file to a real run

    found = Reader(Checkout(tmp_path_factory.mktemp("tutorial")))
    shutil.copy(ROOT / "references.bib", found.checkout.folder)
    found.finish()
    for command in [*COMMANDS, "hsivi list"]:
        found.follow(command)
    return found


@pytest.mark.slow
def test_the_tutorials_commands_lead_to_a_baseline(reader: Reader) -> None:
    assert (reader.checkout.folder / "baselines" / "euler.py").read_text() == SOURCE
    told = reader.said["hsivi new-baseline euler"]
    assert all(command in told for command in ["baselines/euler.py", *COMMANDS[1:]])
    checked = reader.said["hsivi check euler"]
    assert "euler.py keeps the contract" in checked and "FAILED" not in checked
    assert checked.count("\nok ") >= 20
    assert re.search(r"^  euler +Euler: Euler's method", reader.said["hsivi list"], re.MULTILINE)
    assert re.search(r"rows: .*\beuler\b", reader.said["hsivi list"])


@pytest.mark.slow
def test_a_new_baseline_runs_its_own_cells_only(reader: Reader) -> None:
    """And what shows all cells: the table and the reports."""
    table = reader.said["make reproduce"].rpartition("Job stats:")[2].partition("total")[0]
    planned = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    own = len(EXPERIMENT.data.datasets) * len(EXPERIMENT.nfe)
    assert (planned["sample"], planned["measure"], planned["collect"]) == (own, own, 1)
    others = set(planned) - {"sample", "measure", "collect", "all"}
    assert "report_table1" in others and all(name.startswith("report_") for name in others)
