"""What survives: kills at random moments, interrupts, two runs at once, full disks, read-only folders."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsivi import layout, run_lock
from hsivi.config import ROOT, ConfigError
from hsivi.writing import unfinished
from tests.survival import RUN, Run, finished, measured, tables
from tests.test_workflow import Checkout
from tests.warm import Warm

pytestmark = pytest.mark.slow
KILLS = 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Checkout:
    """A checkout after a run that nothing disturbed, one job at a time: bits do not depend on the number of cores."""
    checkout = Checkout(tmp_path_factory.mktemp("whole"), warm)
    done = checkout.snakemake(*RUN[1:], "--cores", "1")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return checkout


@pytest.fixture
def idle(tmp_path: Path, warm: Warm) -> Checkout:
    return Checkout(tmp_path / "checkout", warm)


def test_a_run_killed_twenty_times_ends_where_a_whole_one_does(whole: Checkout, idle: Checkout, tmp_path: Path) -> None:
    """Every third time a job alone is killed, as by a system that runs out of memory; the others go on."""
    rng = random.Random(8)
    found: dict[Path, tuple[int, int]] = {}
    hit: set[str] = set()
    for number in range(KILLS):
        run = Run(idle, tmp_path / f"{number}.log")
        run.wait_for("Select jobs to execute")
        run.wait_for("Finished jobid", rng.choice((0, 0, 1)))  # so the kills are spread over the run on any machine
        time.sleep(rng.uniform(0, 0.6))
        hit |= run.stages()
        jobs = run.jobs()
        if number % 3 == 2 and jobs:
            with contextlib.suppress(ProcessLookupError):  # it has just finished
                os.kill(rng.choice(jobs), signal.SIGKILL)
            time.sleep(0.5)
        run.kill()
        found |= finished(idle.folder)
    assert {"fit", "sample", "measure"} <= hit
    last = idle.snakemake(*RUN[1:])
    assert last.returncode == 0, last.stdout[-3000:] + last.stderr[-3000:]
    after = finished(idle.folder)
    assert {path for path, status in found.items() if after[path] != status} == set(), "computed again"
    assert measured(idle.folder) == measured(whole.folder) != {}
    assert tables(idle.folder) == tables(whole.folder) != {}


def test_an_interrupt_ends_within_five_seconds_and_says_how_to_go_on(idle: Checkout, tmp_path: Path) -> None:
    run = Run(idle, tmp_path / "log")
    run.wait_for("Select jobs to execute")
    time.sleep(1)
    start = time.monotonic()
    for process in (-run.process.pid, *run.jobs()):  # a terminal tells all of them; warm jobs are in another group
        os.kill(process, signal.SIGINT) if process > 0 else os.killpg(-process, signal.SIGINT)
    assert run.process.wait() == 1 and time.monotonic() - start < 5
    said = run.log.read_text()
    assert said.count("The run is not finished. What is done stays; the same command goes on where it was.") == 1
    assert "Traceback" not in said
    while run.jobs() and time.monotonic() - start < 5:
        time.sleep(0.02)
    assert run_lock.holders(idle.folder / layout.run_lock("smoke")) == run.jobs() == []


def test_a_second_run_says_that_there_is_a_first(idle: Checkout, tmp_path: Path) -> None:
    run = Run(idle, tmp_path / "log")
    run.wait_for("Select jobs to execute")
    second = idle.snakemake(*RUN[1:])
    assert second.returncode == 1
    assert f"snakemake: process {run.process.pid} runs scale smoke here; wait for it" in second.stderr
    looked = idle.snakemake("-n", *RUN[1:])
    assert looked.returncode == 0 and f"process {run.process.pid} runs scale smoke" in looked.stderr
    assert run.process.poll() is None
    run.kill()
    assert "runs scale smoke here" not in idle.snakemake("-n", *RUN[1:]).stderr


def test_jobs_of_a_killed_run_are_waited_for(idle: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes would write one file; a new run names them and how to stop them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_lock, "PATIENCE", 0.3)
    monkeypatch.setattr(run_lock, "_held", {})
    layout.jobs_lock("smoke").parent.mkdir(parents=True)
    program = "from hsivi import run_lock\nwith run_lock.working('smoke'): print('now', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as job:
        assert job.stdout is not None and job.stdout.readline() == "now\n"
        with pytest.raises(ConfigError, match=f"still at work.*kill {job.pid}$"):
            run_lock.take("smoke")
        run_lock.take("quick")
        job.kill()
        job.wait()
        run_lock.take("smoke")
    for file in run_lock._held.values():
        file.close()


def test_only_locks_of_this_scale_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_lock, "_held", {})
    run_lock.SNAKEMAKE.mkdir(parents=True)
    for number, scale in enumerate(("smoke", "quick")):
        layout.run_lock(scale).parent.mkdir(parents=True)
        (run_lock.SNAKEMAKE / f"{number}.output.lock").write_text(
            f"results/{scale}/x/record.json\nreports/{scale}/a.html\n"
        )
    assert run_lock.look("smoke") is None
    assert [path.name for path in run_lock.SNAKEMAKE.iterdir()] == ["1.output.lock"]
    for file in run_lock._held.values():
        file.close()


def test_only_what_was_half_written_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_lock, "_held", {})
    gone = [
        *("results/smoke/x/record.json", "results/smoke/.scratch/x/fit.checkpoint", "results/smoke/m.csv"),
        *("reports/smoke/index.html", "reports/smoke/figures/figure1.svg"),
    ]
    gone = [str(unfinished(Path(name))) for name in gone]
    kept = [
        *("results/smoke/x/record.json", "results/smoke/.scratch/x/fit.checkpoint", "results/smoke/x/.gitignore"),
        *("results/quick/x/.record.json.ab12cdef.partial", "reports/smoke/a.json.ab12cdef.partial"),
        *("results/smoke/.a.json.bak", "results/smoke/.a.json.partial", "results/smoke/.a.json.ab12cdeg.partial"),
    ]
    for name in (*gone, *kept):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    run_lock.take("smoke")
    assert [name for name in (*gone, *kept) if Path(name).exists()] == kept
    for file in run_lock._held.values():
        file.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("file systems cannot be mounted here, which takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def stage(name: str, results: Path) -> subprocess.CompletedProcess[str]:
    """Run one stage of digits with its results elsewhere."""
    place = ["--scale", "smoke", "--experiment", "digits", "--dataset", "digits"]
    return subprocess.run(
        [sys.executable, "-m", "hsivi", name, *place],
        env={**os.environ, layout.RESULTS: str(results)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(small_disk: Path) -> None:
    blob = small_disk / "blob"
    blob.write_bytes(bytes(2**25 - 2**16))
    for name in ("data", "pretrain"):
        before = {path.relative_to(small_disk) for path in small_disk.rglob("*")}
        done = stage(name, small_disk)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"hsivi {name}: disk: got no room left")
        made = {path.relative_to(small_disk) for path in small_disk.rglob("*") if path.is_file()} - before
        assert all(any(part.startswith(".") for part in path.parts) for path in made), "a result"
        blob.unlink()
        assert stage(name, small_disk).returncode == 0
        room = os.statvfs(small_disk)
        blob.write_bytes(bytes(room.f_bavail * room.f_frsize - 2**14))


def test_a_folder_that_cannot_be_written_is_one_line(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = stage("data", small_disk)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("hsivi data: folder: got one that cannot be written to")


def test_a_clock_that_jumps_makes_nothing_again(whole: Checkout) -> None:
    """What is newer than what was made of it would be made again, but for the digests that Snakemake keeps."""
    for name, path, days in (
        ("ahead", "results/smoke/digits/digits/data.safetensors", 1),
        ("back", "results/smoke/digits/digits/hsivi_sm/nfe5/fit.safetensors", -2),
    ):
        file = whole.folder / path
        before = file.stat()
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + days * 86_400 * 10**9))
        planned = whole.snakemake("-n", *RUN[1:])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert "Nothing to be done" in planned.stdout + planned.stderr, name
