"""Runs that are killed while a named stage is at work, with half of its file written or downloaded."""

import contextlib
import hashlib
import os
import shutil
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from hsivi.data import generated_files
from tests.mirror import Mirror, serving
from tests.survival import Run, Trap, finished, half_written, measured, tables
from tests.test_workflow import Checkout
from tests.warm import Warm

pytestmark = pytest.mark.slow
Seen = dict[Path, tuple[int, int]]


def command(experiment: str, *targets: Path) -> list[str]:
    """Return a run with one job at a time, so that what is to be killed is never finished before."""
    settings = ["--config", "scale=smoke", f"experiments={experiment}"]
    return ["snakemake", "--cores", "1", *settings, "--", *map(str, targets)]


@pytest.fixture
def undisturbed(tmp_path: Path, warm: Warm) -> Checkout:
    return Checkout(tmp_path / "undisturbed", warm)


@pytest.fixture
def idle(tmp_path: Path, warm: Warm) -> Checkout:
    return Checkout(tmp_path / "checkout", warm)


def kill_at(checkout: Checkout, stage: str, file: Path, run_of: Sequence[str], scratch: Path) -> Seen:
    """Run until a stage has written half of a file, kill everything, and return what is finished."""
    trap = Trap(scratch / file.name, file.name)
    run = Run(checkout, scratch / f"{file.name}.log", run_of, trap.folder)
    job = trap.wait(run)
    assert run.stages() == {stage}
    with contextlib.suppress(ProcessLookupError):  # where it holds no lock, `Run.kill` does not know of it
        os.kill(job, signal.SIGKILL)
    run.kill()
    assert not (checkout.folder / file).exists()
    assert len(half_written(checkout.folder)) == 1
    return finished(checkout.folder)


def finish(checkout: Checkout, run_of: Sequence[str]) -> None:
    done = checkout.snakemake(*run_of[1:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert half_written(checkout.folder) == []


def made_again(checkout: Checkout, found: Seen) -> set[Path]:
    after = finished(checkout.folder)
    return {path for path, status in found.items() if after[path] != status}


def test_what_cells_share_is_whole_after_kills(idle: Checkout, undisturbed: Checkout, tmp_path: Path) -> None:
    files = {"data": "data", "pretrain": "score_model", "reference": "reference"}
    folder = Path("results", "smoke", "digits", "digits")
    outputs = {stage: folder / f"{name}.safetensors" for stage, name in files.items()}
    run_of, found = command("digits", *outputs.values()), Seen()
    for stage, file in outputs.items():
        found |= kill_at(idle, stage, file, run_of, tmp_path)
    assert {outputs["data"], outputs["pretrain"]} <= set(found)
    finish(idle, run_of)
    assert made_again(idle, found) == set()
    finish(undisturbed, run_of)
    for file in outputs.values():
        assert (idle.folder / file).read_bytes() == (undisturbed.folder / file).read_bytes(), file


def test_tables_and_the_page_are_whole_after_kills(idle: Checkout, undisturbed: Checkout, tmp_path: Path) -> None:
    """Of a table one format is there already, and of a figure the picture without its drawing."""
    finish(undisturbed, command("ring"))
    for name in ("results", ".snakemake"):
        shutil.copytree(undisturbed.folder / name, idle.folder / name)
    table, reports = Path("results", "smoke", "metrics.csv"), Path("reports", "smoke")
    (idle.folder / table).unlink()
    found = finished(idle.folder)
    for stage, file in (
        ("collect", table),
        ("report", reports / "tables" / "table_samplers_ring.md"),
        ("report", reports / "figures" / "figure_nfe_ring.svg"),
        ("report", reports / "index.html"),
    ):
        found |= kill_at(idle, stage, file, command("ring", file), tmp_path)
    assert {reports / "tables" / "verdicts.csv", table} <= set(found)
    finish(idle, command("ring"))
    assert made_again(idle, found) == set()
    assert measured(idle.folder) == measured(undisturbed.folder) != {}
    assert tables(idle.folder) == tables(undisturbed.folder) != {}
    places = [
        {path.relative_to(one.folder) for path in (one.folder / reports).rglob("*")} for one in (idle, undisturbed)
    ]
    assert places[0] == places[1]
    for picture in (undisturbed.folder / reports / "figures").iterdir():
        assert (idle.folder / reports / "figures" / picture.name).read_bytes() == picture.read_bytes(), picture.name


# ------------------------------------------------------------------------------------------------------------ downloads
DIGITS = "train-images-idx3-ubyte"
MEGABYTE = 1 << 20
"""Downloads are read, and written, a megabyte at a time."""
DATA = Path("results", "smoke", "mnist", "mnist", "data.safetensors")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving() as served:
        yield served


def large(folder: Path) -> dict[str, bytes]:
    """Return files in MNIST's format, with as many pictures as make a file of two and a half megabytes."""
    files = {name: path.read_bytes() for name, path in generated_files.write("mnist", folder, 1).items()}
    pictures, labels = files[DIGITS][16:] * 16, files["train-labels-idx1-ubyte"][8:] * 16
    files[DIGITS] = struct.pack(">4i", 2051, len(labels), 28, 28) + pictures
    files["train-labels-idx1-ubyte"] = struct.pack(">2i", 2049, len(labels)) + labels
    return files


def download_from(checkout: Checkout, mirror: Mirror) -> None:
    """Let a checkout have its MNIST from a mirror, with lengths and hashes as they are there."""
    listed = {"page": "https://mnist.example", "files": []}
    for name, content in mirror.files.items():
        facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        listed["files"].append({"name": name[1:], **facts, "sources": [{"url": mirror.url + name}]})
    (checkout.folder / "hsivi" / "data" / "sources.yaml").write_text(yaml.safe_dump({"mnist": listed}))
    experiment = checkout.folder / "workflows" / "experiments" / "mnist.yaml"
    text = experiment.read_text()
    assert "files: {smoke: generated" in text
    experiment.write_text(text.replace("files: {smoke: generated", "files: {smoke: official"))


def test_a_download_goes_on_where_it_was_killed(
    idle: Checkout, undisturbed: Checkout, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HSIVI_DATA_DIR", "HSIVI_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    mirror.files = {f"/{name}": content for name, content in large(tmp_path / "made").items()}
    for checkout in (idle, undisturbed):
        download_from(checkout, mirror)
    cache = tmp_path / "cache" / "mnist"
    monkeypatch.setenv("HSIVI_CACHE_DIR", str(cache.parent))
    mirror.stall = MEGABYTE + 1000
    run, partial = Run(idle, tmp_path / "log", command("mnist", DATA)), cache / f"{DIGITS}.partial"
    while not partial.exists() or partial.stat().st_size < MEGABYTE:
        assert run.process.poll() is None, run.log.read_text()[-3000:]
        time.sleep(0.02)
    assert run.stages() == {"data"} and len(run.jobs()) == 1
    run.kill()
    assert partial.read_bytes() == mirror.files[f"/{DIGITS}"][:MEGABYTE]
    assert not (cache / DIGITS).exists() and not (idle.folder / DATA).exists()

    mirror.stall = None
    finish(idle, command("mnist", DATA))
    asked = [wanted for path, wanted in mirror.asked if path == f"/{DIGITS}"]
    assert asked == [None, f"bytes={MEGABYTE}-"]
    assert {f"/{path.name}": path.read_bytes() for path in cache.iterdir() if path.name != ".lock"} == mirror.files

    monkeypatch.setenv("HSIVI_CACHE_DIR", str(tmp_path / "other"))
    finish(undisturbed, command("mnist", DATA))
    assert (idle.folder / DATA).read_bytes() == (undisturbed.folder / DATA).read_bytes()
