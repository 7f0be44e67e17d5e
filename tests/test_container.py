"""The Dockerfile, which no engine builds in the tests: its lint, its pins, and what failed when it was first built."""

import fnmatch
import getpass
import os
import pwd
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

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


@pytest.mark.parametrize(
    "path", [".git", ".venv", ".snakemake", ".benchmarks", "results/quick", "reports/paper", "hsivi/__pycache__"]
)
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
    assert f"ln -s {volume}/.snakemake .snakemake" in only("RUN")[-1] and f"mkdir -p {volume}/.snakemake" in entry


def test_a_user_whom_the_image_does_not_know_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snakemake asks for it; with --user there is no entry in the list of users."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(KeyError):
        getpass.getuser()
    for assignment in shlex.split(" ".join(only("ENV"))):
        monkeypatch.setenv(*assignment.split("=", 1))
    assert getpass.getuser() == "hsivi"


def test_packages_of_an_earlier_build_are_not_installed_again(tmp_path: Path) -> None:
    """An engine's cache goes by contents, and make by times: a fresh checkout is newer than what was installed."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for path in (tmp_path / ".venv" / "bin" / "python", tmp_path / ".venv" / "installed"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (0, 0))
    asked = ["make", "-q", "environment"]
    assert subprocess.run(asked, cwd=tmp_path, check=False).returncode == 1
    assert [name for name, _ in STEPS].count("COPY") == 2
    after = STEPS[[words for _, words in STEPS].index(". .") :]
    for words in (words for name, words in after if name == "RUN"):
        subprocess.run(["sh", "-c", words], cwd=tmp_path, check=True)
    assert subprocess.run(asked, cwd=tmp_path, check=False).returncode == 0


@pytest.mark.parametrize("target", ["reproduce", "figures", "report"])
def test_what_make_writes_lies_where_the_variable_says(target: str) -> None:
    asked = ["make", "-n", target, "SCALE=smoke"]
    told = subprocess.run(
        asked, cwd=ROOT, env={**os.environ, "HSIVI_REPORTS": "/out/reports"}, capture_output=True, text=True, check=True
    ).stdout
    named = re.findall(r"\S*reports/(?:smoke|reference)", told)
    assert named and all(path.strip('"').startswith("/out/reports/") for path in named)


def test_all_processes_hear_of_an_interrupt() -> None:
    """As the first process, make would keep it to itself."""
    (entry,), (signal,) = only("ENTRYPOINT"), only("STOPSIGNAL")
    assert yaml.safe_load(entry)[:3] == ["tini", "-g", "--"]
    assert signal == "SIGINT", "that of Ctrl-C, upon which a run says how to go on"
    (install,) = [words for words in only("RUN") if "apt-get install" in words]
    assert "tini" in shlex.split(install)


def test_the_entry_point_runs_what_it_is_given() -> None:
    """With its folder left out, since this machine has no /out, and without the program that hands on signals."""
    (entry,) = only("ENTRYPOINT")
    words = yaml.safe_load(entry)
    words = words[words.index("--") + 1 :]
    words[2] = words[2].replace("mkdir -p /out/.snakemake", "true")
    shown = subprocess.run(
        [*words, "printenv", "HSIVI_RESULTS", "HSIVI_REPORTS"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["/out/results", "/out/reports"]
