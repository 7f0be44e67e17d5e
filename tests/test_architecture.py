"""Imports run one way; what the Snakefile and the reports import needs no torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hsivi.config import ROOT
from hsivi.contract.file import imports
from hsivi.contract.subject import Subject
from hsivi.provenance import imported_files

# What each layer may import, besides itself and the layers it names.  Nouns come first, the command line last.
TORCH_FREE = {
    "baseline_file",
    "diff",
    "upkeep/cleaning",
    "planning/cost",
    "upkeep/doctor",
    "upkeep/doctor_run",
    "planning/downloads",
    "inspecting",
    "planning/jobs",
    "upkeep/machine",
    "planning/plan",
    "planning/plan_text",
    "remedies",
    "run_lock",
    "upkeep/commands",
    "planning/work",
    "merging/plan",
    "merging/origin",
    "merging/product",
    "merging/result_differences",
    "merging/taking_over",
    "yaml_text",
    "new_baseline",
    "config",
    "data_config",
    "experiment",
    "moments",
    "overall",
    "nonfinite",
    "process",
    "summary",
    "significance",
    "recipe",
    "planning/rates",
    "record",
    "provenance",
    "layout",
    "methods",
    "reporting",
    "planning/resources",
    "arrays",
    "rng",
    "reading",
    "publishing/reduction",
    "rendering",
    "publishing/manifest",
    "publishing/publish",
    "publishing/figures",
    "publishing/again",
    "publishing/adding",
    "writing",
}
LAYERS = {
    "nouns": [
        "noise",
        "rng",
        "gaussian",
        "schedule",
        "nn/stacked",
        "nn/mlp",
        "nn/score_mlp",
        "nn/unet",
        "score_model",
        "target",
    ],
    "method": ["bridge", "hierarchy", "objective", "optimise", "recipe", "evidence", "mcmc", "laplace"],
    "training": ["train", "sequential", "pretrain", "checkpoint", "langevin"],
}
FORBIDDEN = [
    ("objective", {"hierarchy", "bridge", "train", "schedule", "score_model"}, "an objective knows no layer loop"),
    ("hierarchy", {"bridge", "objective", "train"}, "the hierarchy knows no target"),
    ("bridge", {"nn/score_mlp", "nn/unet", "hierarchy", "train"}, "the bridge knows no network"),
    ("gaussian", {"hierarchy", "bridge", "train", "schedule"}, "a Gaussian knows nothing else"),
    ("target", {"bridge", "hierarchy", "score_model", "problem"}, "a target does not know who leads to it"),
    ("mcmc", {"target", "bridge", "hierarchy"}, "a chain knows no target"),
    ("sequential", {"problem", "sampler", "data/__init__", "metrics/__init__", "target"}, "the trainer knows no data"),
    ("train", {"problem", "sampler", "data/__init__", "metrics/__init__"}, "the trainer knows no data"),
    ("problem", {"sampler", "stages/__init__"}, "a problem knows no sampler"),
]


def direct(path: Path) -> set[str]:
    """Return what a file of the package imports itself, as paths without ending below hsivi/."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hsivi"):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name.removeprefix("hsivi.").replace(".", "/") for name in found}


def closure(name: str) -> set[str]:
    files = imported_files(ROOT / "hsivi" / f"{name}.py")
    return {str(f.relative_to(ROOT / "hsivi").with_suffix("")) for f in files if f.is_relative_to(ROOT / "hsivi")}


@pytest.mark.parametrize(("name", "forbidden", "why"), FORBIDDEN)
def test_forbidden_edges(name: str, forbidden: set[str], why: str) -> None:
    assert not direct(ROOT / "hsivi" / f"{name}.py") & forbidden, why


@pytest.mark.parametrize("name", [n for layer in LAYERS.values() for n in layer])
def test_the_library_knows_neither_stages_nor_files(name: str) -> None:
    above = {"stages/__init__", "layout", "__main__", "sampler", "problem", "methods", "reporting"}
    assert not closure(name) & above


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*.py")), ids=lambda p: p.stem)
def test_baselines_import_nouns_only(path: Path) -> None:
    assert imports(Subject(path)) is None


@pytest.mark.parametrize("path", sorted((ROOT / "hsivi").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_package_imports_neither_baselines_nor_reports(path: Path) -> None:
    text = path.read_text()
    assert "from baselines" not in text and "from reports" not in text


@pytest.mark.parametrize("stage", ["data", "pretrain", "reference", "fit", "sample", "measure", "collect"])
def test_results_do_not_depend_on_the_contract(stage: str) -> None:
    """An edit of a check computes nothing again."""
    assert not [name for name in closure(f"stages/{stage}") if name.startswith("contract")]


@pytest.mark.parametrize("package", ["planning", "upkeep", "merging", "publishing"])
def test_results_do_not_depend_on_who_looks_after_them(package: str) -> None:
    """An edit of a command computes nothing again."""
    stages = [f"stages/{path.stem}" for path in (ROOT / "hsivi" / "stages").glob("*.py")]
    assert not [name for stage in stages for name in closure(stage) if name.startswith(f"{package}/")]


def test_samples_do_not_depend_on_metrics() -> None:
    """An edit of a metric draws no samples again."""
    assert not [name for name in closure("stages/sample") if name.startswith("metrics")]


def test_no_torch_where_none_is_needed() -> None:
    names = [*(name.replace("/", ".") for name in sorted(TORCH_FREE)), "__main__", "stages.settings", "stages.measure"]
    modules = [f"hsivi.{name}" for name in names]
    modules += [f"reports.{p.stem}" for p in (ROOT / "reports").glob("*.py") if p.stem != "__init__"]
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules!r}]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("path", sorted((ROOT / "reports").glob("*.py")), ids=lambda p: p.stem)
def test_reports_read_arrays_where_it_is_seen(path: Path) -> None:
    """What they look at is what `hsivi publish` keeps."""
    assert not re.search(r"\b(load|map)_arrays\b", path.read_text()), "use hsivi.reading.read_arrays"


def test_files_stay_readable() -> None:
    long = {str(p): n for p in ROOT.glob("hsivi/**/*.py") if (n := len(p.read_text().splitlines())) > 320}
    assert not long
