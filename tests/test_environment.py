"""Pins: constraints, environment.yml and pyproject.toml say the same, and every dependency has its line."""

import re
import tomllib

import pytest
import yaml

from hsivi.config import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LISTED = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
DIRECT = [requirement for requirement in LISTED if not requirement.startswith(PROJECT["name"])]
"""An extra may include another one of the project's own."""


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0].lower().replace("_", "-")


def pins(lines: list[str]) -> dict[str, str]:
    return {name_of(line): line.split("==")[1].strip() for line in lines if "==" in line}


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text().splitlines())


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
