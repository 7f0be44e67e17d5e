"""The Dockerfile, which no engine builds in the tests: its lint, its pins, and that what it names is there."""

import fnmatch
import re
import shlex
import shutil
import subprocess
import tomllib

import pytest
import yaml

from hsivi.config import ROOT

LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
STEPS = [line.partition(" ")[::2] for line in LINES if line and not line.startswith("#")]
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def only(instruction: str) -> list[str]:
    return [words for name, words in STEPS if name == instruction]


def is_left_out(path: str) -> bool:
    """Whether the build does not see a path; the last pattern that fits decides."""
    left_out = False
    for pattern in IGNORED:
        plain = pattern.removeprefix("!").removeprefix("**/")
        if any(fnmatch.fnmatch(part, plain) for part in (path, path.partition("/")[0], path.rpartition("/")[2])):
            left_out = not pattern.startswith("!")
    return left_out


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="got no hadolint, expected the extra 'dev'")
def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stdout, done.stdout


def test_the_base_has_the_pinned_python() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = [pin.partition("=")[2] for pin in environment["dependencies"] if str(pin).startswith("python=")]
    (base,) = only("FROM")
    assert re.fullmatch(rf"python:{re.escape(python)}-slim-\w+", base)


def test_packages_are_installed_by_make_with_the_pins() -> None:
    (install,) = [words for words in only("RUN") if "make environment" in words]
    extras = re.search(r"EXTRA=(\S+)", install)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"]) - {"dev"}, "no tools of development"
    told = subprocess.run(
        ["make", "-n", "-W", "pyproject.toml", "environment", extras[0]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f'pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[{extras[1]}]"' in told
    assert "pip install" not in " ".join(only("RUN")), "nothing beside the pins"


def test_what_is_copied_is_there_and_what_is_needed_is_not_left_out() -> None:
    first, everything = (shlex.split(words) for words in only("COPY"))
    assert everything == [".", "."]
    assert {"pyproject.toml", "constraints.txt", "Makefile", PROJECT["readme"]} <= set(first[:-1])
    for path in first[:-1]:
        assert (ROOT / path).is_file() and not is_left_out(path)
    needed = ["Snakefile", "hsivi", "baselines", "reports", "workflows", "profiles", "claims", "references.bib"]
    for path in [*needed, "environment.yml", "results/reference", "reports/page"]:
        assert (ROOT / path).exists() and not is_left_out(path), path


@pytest.mark.parametrize("path", [".git", ".venv", ".snakemake", "results/quick", "reports/paper", "hsivi/__pycache__"])
def test_what_belongs_to_this_machine_stays_here(path: str) -> None:
    assert is_left_out(path)


def test_it_is_no_root_and_works_in_the_mounted_folder() -> None:
    (user,) = only("USER")
    assert user.isdecimal() and int(user) > 0
    order = [name for name, _ in STEPS]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name == "RUN"), "after all that needs root"
    (volume,), (entry,), (command,) = only("VOLUME"), only("ENTRYPOINT"), only("CMD")
    assert command == '["make", "reproduce"]'
    documented = (ROOT / "docs" / "commands.md").read_text()
    for name, value in re.findall(r"(HSIVI_\w+)=(\S+)", " ".join([entry, *only("ENV")])):
        assert f"`{name}`" in documented and value.startswith(f"{volume}/")
    assert f"ln -s {volume}/.snakemake .snakemake" in only("RUN") and f"mkdir -p {volume}/.snakemake" in entry


def test_the_entry_point_runs_what_it_is_given() -> None:
    """With its folders renamed, since this machine has no /out."""
    (entry,) = only("ENTRYPOINT")
    words = yaml.safe_load(entry)
    words[2] = words[2].replace("mkdir -p /out/.snakemake", "true")
    shown = subprocess.run(
        [*words, "printenv", "HSIVI_RESULTS", "HSIVI_REPORTS"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["/out/results", "/out/reports"]
