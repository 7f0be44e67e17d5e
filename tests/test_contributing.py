"""The tutorial in CONTRIBUTING is executed: the file it shows passes the contract, and it is short."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from hsivi.config import ROOT
from hsivi.methods import describe
from hsivi.sampler import draw, load_baseline, make_config
from tests.test_baselines import VECTOR

TUTORIAL = (ROOT / "CONTRIBUTING.md").read_text()
(SOURCE,) = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)


def lines_of_code(source: str) -> int:
    """Count lines that are neither blank nor part of a docstring."""
    tree = ast.parse(source)
    documented = [tree, *(n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef)))]
    docstrings = {
        line
        for node in documented
        if isinstance(first := node.body[0], ast.Expr) and isinstance(first.value, ast.Constant)
        for line in range(first.lineno, (first.end_lineno or first.lineno) + 1)
    }
    return sum(bool(text.strip()) and i not in docstrings for i, text in enumerate(source.splitlines(), 1))


@pytest.fixture
def euler(tmp_path: Path) -> Path:
    path = tmp_path / "euler.py"
    path.write_text(SOURCE)
    return path


def test_the_tutorials_line_count_is_true(euler: Path) -> None:
    (claimed,) = re.findall(r"\((\d+) lines of code\)", TUTORIAL)
    assert lines_of_code(SOURCE) == int(claimed)
    assert int(claimed) <= 25
    assert describe(euler).title == "Euler"


def test_the_tutorials_sampler_is_ddim(euler: Path) -> None:
    """Euler's method in this variable is DDIM at eta = 0 (Song et al., 2021, section 4.3)."""
    spec = importlib.util.spec_from_file_location("euler", euler)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["euler"] = module
    spec.loader.exec_module(module)
    problem, ddim = VECTOR.problem(8, "hsivi"), load_baseline("ddim")
    ours = draw(module, problem, make_config(module, {}, "euler"), 0, 200, {})  # type: ignore[arg-type]
    theirs = draw(ddim, problem, make_config(ddim, {}, "ddim"), 0, 200, {})
    torch.testing.assert_close(ours.x, theirs.x, rtol=1e-4, atol=1e-5)  # float32 over eight steps
    assert ours.nfe == 8
