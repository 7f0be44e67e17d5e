"""Pins: constraints, environment.yml and pyproject.toml say the same, and every dependency has its line."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hsivi.config import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = PROJECT["name"]
EXTRAS = {"base": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
# Extras build on one another: "hsivi-bench[run]" is no package.
DIRECT = [requirement for extra in EXTRAS.values() for requirement in extra if not requirement.startswith(OWN)]
MODULES = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0].lower().replace("_", "-")


def pins(lines: list[str]) -> dict[str, str]:
    return {name_of(line): line.split("==")[1].strip() for line in lines if "==" in line}


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text().splitlines())


def test_extras_build_on_one_another() -> None:
    """dev is run and tools, run is figures and what trains, and nothing is named twice."""
    names = [name_of(requirement) for requirement in DIRECT]
    assert len(names) == len(set(names))
    assert f"{OWN}[figures]" in EXTRAS["run"] and f"{OWN}[run]" in EXTRAS["dev"]
    assert not any(requirement.startswith(OWN) for requirement in EXTRAS["figures"])
    assert {"torch", "torchvision", "diffusers", "torch-fidelity", "snakemake"} <= set(map(name_of, EXTRAS["run"]))


def test_what_tables_and_figures_import_is_in_the_light_extra() -> None:
    """Modules that are imported when a report is; what trains is imported where it is asked for."""
    queue = [
        *(ROOT / "reports").glob("*.py"),
        ROOT / "hsivi" / "publishing" / "figures.py",
        ROOT / "hsivi" / "__main__.py",
    ]
    seen, used = set(queue), set()
    while queue:
        for name in at_import(queue.pop()):
            stem = ROOT.joinpath(*name.split("."))
            own = {path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()}
            queue += own - seen
            seen |= own
            used.add(name.partition(".")[0])
    light = {name_of(requirement) for requirement in [*EXTRAS["base"], *EXTRAS["figures"]]}
    packages = {MODULES.get(name, name) for name in used - set(sys.stdlib_module_names)} - {"hsivi", "reports"}
    assert {"matplotlib", "pandas", "pydantic", "safetensors"} <= packages
    assert packages <= light, f"add {sorted(packages - light)} to the extra figures"


def at_import(path: Path) -> Iterator[str]:
    """Yield the modules, and names that may be modules, that a file imports when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_every_direct_dependency_is_pinned() -> None:
    assert {name_of(r) for r in DIRECT} <= set(CONSTRAINTS)


def test_environment_yml_agrees_with_the_constraints() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    pinned = pins(pip)
    assert set(pinned) == {name_of(r) for r in DIRECT}
    assert pinned == {name: CONSTRAINTS[name] for name in pinned}
    assert f"python={PROJECT['requires-python'].removeprefix('>=')}" in environment["dependencies"]


@pytest.mark.parametrize("requirement", DIRECT)
def test_pins_satisfy_the_lower_bounds(requirement: str) -> None:
    bound = requirement.split(">=")[1]
    pinned = CONSTRAINTS[name_of(requirement)]
    assert [int(p) for p in re.findall(r"\d+", pinned)] >= [int(p) for p in re.findall(r"\d+", bound)]


@pytest.mark.parametrize("requirement", DIRECT)
def test_every_dependency_earns_a_line(requirement: str) -> None:
    assert f"`{name_of(requirement)}`" in (ROOT / "CONTRIBUTING.md").read_text().lower()


def test_no_machine_path_or_host_in_the_tree() -> None:
    # Written in pieces, so that this file is not its own finding.
    patterns = ["/" + "work/", "/" + "root/", "pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npm"]
    for path in [*ROOT.glob("*.*"), *ROOT.glob("hsivi/**/*.py"), *ROOT.glob("workflows/**/*"), ROOT / "Makefile"]:
        if path.is_file() and path.suffix not in (".png", ".safetensors"):
            text = path.read_text()
            assert not [p for p in patterns if re.search(p, text)], path
