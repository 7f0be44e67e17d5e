"""Checks of the environment, each in the situation that it is there for."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hsivi import layout, run_lock
from hsivi.__main__ import main
from hsivi.config import ROOT, load_experiment
from hsivi.upkeep import doctor, doctor_run, machine
from hsivi.upkeep.doctor import Check
from hsivi.upkeep.doctor import torch as torch_checks

SMOKE = [load_experiment("toy2d", "smoke", "core")]
HEALTHY: dict[str, Any] = {
    "version": "2.15.0",
    "built_for": "13.2",
    "product": True,
    "gpus": [],
    "torchvision": "0.29.2",
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSIVI_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("HSIVI_DATA_DIR", "HSIVI_OFFLINE", "SNAKEMAKE_PROFILE", "HSIVI_RESULTS", "HSIVI_REPORTS"):
        monkeypatch.delenv(name, raising=False)


def only(checks: Iterable[Check], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


# ------------------------------------------------------------------------------------------------------------- packages
def versions(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    known = metadata.version

    def version(name: str) -> str:
        if changed.get(name.replace("-", "_"), "") is None:
            raise metadata.PackageNotFoundError(name)
        return changed.get(name.replace("-", "_")) or known(name)

    monkeypatch.setattr(metadata, "version", version)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, diffusers=None, mkdocs=None)
    found = only(doctor.packages(), "packages")
    assert [check.status for check in found] == ["problem", "note"]
    assert found[0].found == "missing: diffusers" and "make environment" in found[0].remedy
    assert "mkdocs" in found[1].found and "no run needs them" in found[1].remedy


def test_another_version_than_the_pinned_one_is_a_note_and_a_too_old_one_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pinned = metadata.version("scipy")
    versions(monkeypatch, scipy="99.0", numpy="1.2.0", torch=metadata.version("torch").partition("+")[0] + "+cpu")
    (problem,) = only(doctor.packages(), "packages")
    assert problem.status == "problem" and problem.found == "numpy 1.2.0, expected at least 1.26"
    (pins,) = only(doctor.packages(), "pins")
    assert pins.status == "note" and f"scipy 99.0 (pinned {pinned})" in pins.found
    assert "torch" not in pins.found, "a build is no version"


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [check.status for check in doctor.python()] == ["ok"]
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    (found,) = doctor.python()
    assert found.status == "problem" and "3.10.4" in found.found and "3.11" in found.found


# ---------------------------------------------------------------------------------------------------------------- torch
def test_torch_that_works() -> None:
    assert [check.status for check in torch_checks(HEALTHY)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("changed", "name", "words"),
    [
        ({"version": "2.9.1+cpu"}, "torch", "expected at least 2.11"),
        ({"product": False}, "torch", "wrongly"),
        ({"torchvision": None, "torchvision_error": "operator torchvision::nms\ndoes not exist"}, "torchvision", "nms"),
    ],
)
def test_torch_that_does_not(changed: dict[str, Any], name: str, words: str) -> None:
    content = {key: value for key, value in {**HEALTHY, **changed}.items() if value is not None}
    (found,) = [check for check in torch_checks(content) if check.status == "problem"]
    assert found.name == name and words in found.found and found.remedy
    assert "\n" not in str(found)


def test_torch_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of it is a line, and so is an answer after warnings."""
    done = SimpleNamespace(returncode=0, stdout="a warning\n" + json.dumps(HEALTHY) + "\n", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert doctor.ask_torch() == HEALTHY
    done.returncode, done.stderr = 1, "Traceback\nImportError: libcudart.so.13: cannot open shared object file"
    assert doctor.ask_torch() == "ImportError: libcudart.so.13: cannot open shared object file"
    done.returncode, done.stderr = -4, ""
    (found,) = torch_checks(doctor.ask_torch())
    assert found.status == "problem" and "status -4" in found.found

    def slow(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(subprocess, "run", slow)
    assert "took more than" in str(doctor.ask_torch())


def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "nvidia0"
    monkeypatch.setattr(doctor_run, "GPU_TRACES", (device,))
    assert [check.status for check in doctor_run.gpu(HEALTHY, SMOKE)] == ["ok"]
    (found,) = doctor_run.gpu({**HEALTHY, "gpus": [["A card", 8e10]]}, SMOKE)
    assert found.found == "A card with 80.0 GB"
    device.touch()
    (blind,) = doctor_run.gpu({**HEALTHY, "built_for": "processors"}, SMOKE)
    assert blind.status == "note" and "built for processors" in blind.found
    (hidden,) = doctor_run.gpu(HEALTHY, SMOKE)
    assert hidden.status == "note" and "CUDA_VISIBLE_DEVICES" in hidden.remedy
    needed = list(doctor_run.gpu(HEALTHY, [load_experiment("cifar10", "quick", "core")]))
    assert "cifar10" in needed[-1].found


# -------------------------------------------------------------------------------------------------------------- machine
@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 64 cores and 100 GB, and a control group of it without limits."""
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(machine, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "meminfo").write_text("MemTotal: 200000000 kB\nMemAvailable: 100000000 kB\n")
    (tmp_path / "membership").write_text("0::/outer/inner\n")
    inner = tmp_path / "cgroup" / "outer" / "inner"
    inner.mkdir(parents=True)
    return inner


def test_limits_of_a_control_group(group: Path, tmp_path: Path) -> None:
    assert machine.usable_cores() == 64 and machine.usable_memory() == 1.024e11
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    assert machine.usable_cores() == 64 and machine.usable_memory() == 1.024e11
    (group.parent / "cpu.max").write_text("150000 100000\n")
    (group.parent / "memory.max").write_text("8000000000\n")
    (group.parent / "memory.current").write_text("5000000000\n")
    assert machine.usable_cores() == 1.5 and machine.usable_memory() == 3e9, "a parent's holds too"


def test_limits_of_version_1(group: Path, tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("5:cpu,cpuacct:/job\n4:memory:/job\n0::/\nnonsense\n")
    for controller, files in {
        "cpu": {"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"},
        "memory": {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "1"},
    }.items():
        folder = tmp_path / "cgroup" / controller / "job"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    assert machine.usable_cores() == 4
    assert machine.usable_memory() == 1.024e11, "the huge number is no limit"
    (tmp_path / "cgroup" / "cpu" / "job" / "cpu.cfs_quota_us").write_text("-1")
    assert machine.usable_cores() == 64


def test_a_system_that_says_nothing(tmp_path: Path, group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("meminfo", "membership"):
        (tmp_path / name).unlink()
    assert machine.usable_memory() is None and machine.usable_cores() == 64
    (memory,) = only(doctor_run.folders(SMOKE), "memory")
    assert memory.status == "note" and "does not say" in memory.found


def test_fewer_cores_than_the_system_has(group: Path) -> None:
    assert [check.status for check in doctor_run.cores(None)] == ["ok"]
    (group / "cpu.max").write_text("250000 100000\n")
    cores, threads = doctor_run.cores("16")
    assert cores.status == "note" and "2.5 of 64" in cores.found and "CORES=2" in cores.remedy
    assert threads.status == "note" and "OMP_NUM_THREADS=16" in threads.found


@pytest.mark.parametrize(
    ("gigabytes", "status", "words"), [(80, "ok", ""), (3, "note", "CORES=2"), (0.5, "problem", "")]
)
def test_memory(group: Path, gigabytes: float, status: str, words: str) -> None:
    (group / "memory.max").write_text(f"{gigabytes * 1e9:.0f}\n")
    (memory,) = only(doctor_run.folders(SMOKE), "memory")
    assert memory.status == status and words in memory.remedy and "64 at once" in memory.found


# ----------------------------------------------------------------------------------------------------- disk and folders
def test_little_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1e9, 1e9, 1e6))
    experiment = load_experiment("mnist", "quick", "core")
    results, cache, temporary = only(doctor_run.folders([experiment]), "disk")
    assert results.status == "problem" and "hsivi clean" in results.remedy
    assert cache.status == "problem" and "HSIVI_CACHE_DIR" in cache.remedy and "55 MB needed" in cache.found
    assert temporary.status == "note" and "TMPDIR" in temporary.remedy
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1e12, 0, 1e12))
    assert {check.status for check in only(doctor_run.folders([experiment]), "disk")} == {"ok"}
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_folder_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    known = tempfile.NamedTemporaryFile

    def refuse(**given: Any) -> Any:
        if given["dir"] == tmp_path / "results":
            raise OSError(errno.EROFS, "Read-only file system")
        return known(**given)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    found = list(doctor_run.folders(SMOKE))
    (results,), (reports,) = only(found, "results"), only(found, "reports")
    assert results.status == "problem" and "Read-only file system" in results.found
    assert "HSIVI_RESULTS" in results.remedy and reports.status == "ok"


def test_a_file_where_the_results_belong(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    (results,) = only(doctor_run.folders(SMOKE), "results")
    assert results.status == "problem" and "Not a directory" in results.found


# ------------------------------------------------------------------------------------------------------------ Snakemake
def test_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    path, profile, lock = doctor_run.snakemake()
    assert path.status == "note" and profile.status == "problem" and lock.status == "ok"
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    assert only(doctor_run.snakemake(), "profile")[0].status == "ok"
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "slurm")
    (found,) = only(doctor_run.snakemake(), "profile")
    assert found.status == "note" and "slurm" in found.found


def test_a_lock_left_behind_and_one_of_a_run(tmp_path: Path) -> None:
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/smoke/a\n")
    (left,) = only(doctor_run.snakemake(), "lock")
    assert left.status == "ok" and "the next one removes it" in left.found
    layout.run_lock("smoke").parent.mkdir(parents=True)
    with run_lock.held("smoke"):
        (held,) = only(doctor_run.snakemake(), "lock")
    assert held.status == "note" and f"process {os.getpid()}" in held.found


# ---------------------------------------------------------------------------------------------------------------- files
def test_files_from_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    experiments = [load_experiment(name, "quick", "core") for name in ("toy2d", "mnist", "celeba")]
    found = list(doctor_run.files(experiments))
    assert found[0].status == "ok" and "toy2d needs none" in found[0].found
    by_hand = [check for check in found if "img_align_celeba" in check.found]
    assert by_hand[0].status == "problem" and "HSIVI_DATA_DIR/celeba" in by_hand[0].remedy
    assert {check.status for check in found if "mnist:" in check.found} == {"ok"}
    monkeypatch.setenv("HSIVI_OFFLINE", "1")
    monkeypatch.setenv("HSIVI_DATA_DIR", str(tmp_path / "own"))
    found = list(doctor_run.files(experiments))
    assert found[0].status == "note" and found[1].name == "own files" and found[1].status == "problem"
    assert {check.status for check in found if "mnist:" in check.found} == {"problem"}


# ---------------------------------------------------------------------------------------------------------- the command
def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "ask_torch", lambda: HEALTHY)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    before = sorted(tmp_path.rglob("*"))
    assert main(["doctor", "--scale", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.split()[0] in ("ok", "note", "problem") for line in lines)
    for name in ("Python", "packages", "pins", "torch", "GPU", "cores", "memory", "disk", "profile", "lock", "files"):
        assert any(line.split()[1] == name for line in lines), name
    assert sorted(tmp_path.rglob("*")) == before, "a check leaves nothing behind"
    monkeypatch.setattr(doctor, "ask_torch", lambda: "ImportError: no torch")
    assert main(["doctor", "--scale", "smoke", "--experiments", "toy2d"]) == 1
    assert "does not load: ImportError: no torch; run make environment" in capsys.readouterr().out
    assert main(["doctor", "--scale", "big"]) == 2
