"""Bad input of every kind: one line, exit status 2, no traceback, nothing written; and good input comes back."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hsivi import config, new_baseline
from hsivi.__main__ import main
from hsivi.config import ROOT
from tests import malformed
from tests.test_workflow import Checkout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose experiments are those that are read; the working directory is another, and empty."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(config, "ROOT", tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "checkout"


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that has to refuse its input, and return what is wrong with how it did, or nothing."""
    try:
        status = main(arguments)
    except BaseException as error:
        return f"raised {type(error).__name__}: {error}"
    said = capsys.readouterr().err
    faults = {
        f"exit status {status}": status != 2,
        "not one line": said.count("\n") != 1 or not said.endswith("\n"),
        "characters that are not printed": not said.rstrip("\n").isprintable(),
        "a long line": len(said) > 1000,
        "a traceback": "Traceback" in said,
        "not what was given": "got" not in said,
        "not what was expected": "expected" not in said,
        "not what to do": ";" not in said,
        "something written": bool(list(Path.cwd().iterdir())),
    }
    found = [fault for fault, there in faults.items() if there]
    return f"{', '.join(found)}: {said[:300]!r}" if found else ""


def test_there_are_many_malformed_files() -> None:
    cases = [case for operator in malformed.OPERATORS.values() for case in operator()]
    assert len({content for _, content in cases}) >= 500


@pytest.mark.parametrize("operator", malformed.OPERATORS)
def test_a_malformed_experiment_is_one_line(operator: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = []
    for case in malformed.OPERATORS[operator]():
        malformed.put(case, checkout)
        if found := complaint(["list"], capsys):
            faults.append(f"{case[0]}: {found}")
    assert not faults, "\n".join(faults)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


KINDS: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a folder": lambda path: path.symlink_to(path.parent, target_is_directory=True),
    "pipe, which would never end": _fifo,
}
NAMES = ["a b", "a\nb", "\x1b[31mred", "\u202eeman", "$(touch hacked)", "'; touch hacked; '", "..", "-", "\u0430", "A"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_one_line(kind: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = malformed.put(malformed.EMPTY, checkout)
    path.unlink()
    KINDS[kind](path)
    assert not complaint(["list"], capsys)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_hostile_names_of_files_are_one_line(name: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = malformed.put(malformed.EMPTY, checkout)
    content = (ROOT / "workflows" / "experiments" / "ring.yaml").read_bytes()
    path.with_name(f"{name}.yaml").write_bytes(content)
    path.unlink()
    assert not complaint(["list"], capsys)


HOSTILE = [
    "../ring",
    "/etc/passwd",
    "ring/../../x",
    "ring; touch x",
    "$(touch x)",
    "a\nb",
    "",
    "\x00",
    "\u202e",
    "x" * 9999,
]


@pytest.mark.parametrize("option", ["--scale", "--experiment", "--dataset", "--method", "--nfe", "--threads"])
def test_hostile_arguments_are_one_line(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    good = {
        "--scale": "smoke", "--experiment": "ring", "--dataset": "unit_ring", "--method": "ddim", "--nfe": "5",
        "--threads": "1",
    }  # fmt: skip
    numbers = ["-1", "1.5", "nan", "\u00b2", "9" * 5000] if option in ("--nfe", "--threads") else []
    faults = []
    for value in [*HOSTILE, *numbers]:
        words = [f"{name}={given}" for name, given in (good | {option: value}).items()]
        if found := complaint(["sample", *words], capsys):
            faults.append(f"{value[:20]!r}: {found}")
    assert not faults, "\n".join(faults)


def test_hostile_names_of_reports_and_baselines_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "baselines").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(new_baseline, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path / "work")
    faults = []
    for value in HOSTILE:
        for command in (
            ["report", "--scale=smoke", "--experiments=ring", "--", value],
            ["report", "--scale=smoke", f"--experiments={value}", "--", "table1"],
            ["collect", "--scale=smoke", f"--scope={value}", "--experiments", "ring"],
            ["check", "--", value],
            ["new-baseline", "--", value],
            ["explain", "--", value],
        ):
            if found := complaint(command, capsys):
                faults.append(f"{command[0]} {value[:20]!r}: {found}")
    assert not faults, "\n".join(faults)
    assert not list((tmp_path / "baselines").iterdir())


OUTSIDE = ["missing key", "whole files", "tags", "nul byte", "path for a name"]


@pytest.mark.parametrize("operator", OUTSIDE)
def test_a_process_of_its_own_says_the_same(operator: str, tmp_path: Path) -> None:
    """With the package as it is installed, and nobody to catch what comes out."""
    for name in ("hsivi", "baselines"):
        (tmp_path / "checkout").mkdir(exist_ok=True)
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "work").mkdir()
    case = next(malformed.OPERATORS[operator]())
    experiment = malformed.put(case, tmp_path / "checkout").stem
    command = ["data", "--scale", "smoke", "--experiment", experiment, "--dataset", "x"]
    done = subprocess.run(
        [sys.executable, "-m", "hsivi", *command],
        cwd=tmp_path / "work",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "checkout")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("hsivi data: ")
    assert not done.stdout and not list((tmp_path / "work").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("operator", [*OUTSIDE, "misspelt key", "laughs"])
def test_snakemake_says_the_same(operator: str, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    case = list(malformed.OPERATORS[operator]())[-1]
    experiment = malformed.put(case, tmp_path).stem
    done = checkout.snakemake("--cores", "1", "--config", "scale=smoke", f"experiments={experiment}")
    output = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in output
    (line,) = [line for line in output.splitlines() if line.strip() and not line.startswith("Using workflow")]
    assert line.startswith("snakemake: ") and "got" in line and "expected" in line
    assert not (tmp_path / "results").exists() and not (tmp_path / "reports" / "smoke").exists()
