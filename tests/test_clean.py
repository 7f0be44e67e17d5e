"""Cleaning: what can go goes, and nothing else, whatever lies in the folders."""

import fcntl
import os
from pathlib import Path

import pytest

from hsivi import layout, methods
from hsivi.__main__ import main
from hsivi.config import ConfigError, load_experiment
from hsivi.methods import Cell
from hsivi.planning.jobs import jobs
from hsivi.upkeep import cleaning
from hsivi.writing import unfinished

EXPERIMENT = load_experiment("toy2d", "smoke", "core")
MOONS = layout.DatasetFiles("smoke", "toy2d", "moons")
FIT = layout.CellFiles(Cell("smoke", "toy2d", "moons", "hsivi_sm", 5)).fit


def write(path: Path, text: str = "x" * 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a finished run of toy2d at scale smoke."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HSIVI_CACHE_DIR", "HSIVI_RESULTS", "HSIVI_REPORTS"):
        monkeypatch.delenv(name, raising=False)
    for job in jobs([EXPERIMENT]):
        write(job.output)
        write(layout.note(job.output))
    write(layout.metrics_table("smoke"))
    return folder


def files(folder: Path) -> set[str]:
    """Return what is there, less the locks that a run keeps."""
    found = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    return {str(path.relative_to(folder)) for path in found if path.name not in (".run.lock", ".jobs.lock")}


def run(*arguments: str) -> int:
    return main(["clean", *arguments])


def test_a_finished_run_stays(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(place)
    assert run() == 0
    assert files(place) == before
    assert capsys.readouterr().out == "nothing can go\n"


def rubbish() -> dict[Path, str]:
    """Return what can go, by path, with a word of the reason."""
    results = Path("results/smoke")
    other = MOONS.score_model.with_name("other.safetensors")
    return {
        write(layout.logs("smoke") / "fit" / "toy2d" / "moons" / "a.log"): "logs",
        write(layout.scratch(FIT)): "finished",
        write(unfinished(layout.scratch(FIT))): "half written",
        write(layout.scratch(other)): "nothing that an experiment names",
        write(results / ".scratch" / "gone" / "a" / "score_model.checkpoint"): "nothing that an experiment names",
        write(unfinished(MOONS.folder / "data.json")): "half written",
        write(unfinished(FIT)): "half written",
        write(results / "toy2d" / "moons" / "gone" / "nfe5" / "record.json"): "no row gone",
        write(results / "toy2d" / "moons" / "ddim" / "nfe7" / "record.json"): "no budget 7",
        write(results / "toy2d" / "circles" / "data.json"): "no data set circles",
        write(results / "gone" / "set" / "data.json"): "no experiment gone",
        write(Path.home() / ".cache" / "hsivi-bench" / "mnist" / "old.gz"): "no source",
    }


def test_what_nothing_needs_goes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(place)
    paths = rubbish()
    assert run("--dry-run") == 0
    said = capsys.readouterr().out.splitlines()
    assert all(path.exists() for path in paths), "a dry run removes nothing"
    assert len(said) == len(paths) + 1 and said[-1] == f"{len(paths) * 100 / 1000:.0f} kB would be free"
    for path, words in paths.items():
        assert any(words in line and str(path).startswith(line.split(": ")[0].split()[-1]) for line in said), path
    assert run() == 0
    assert files(place) == before, "the finished run is as it was"
    assert not any(path.exists() for path in paths)
    assert not (place / "results/smoke/gone").exists() and not (place / "results/smoke/.logs").exists()
    assert capsys.readouterr().out.splitlines()[-1] == "1 kB freed"
    assert run() == 0
    assert capsys.readouterr().out == "nothing can go\n"


def test_a_training_that_can_go_on_keeps_its_checkpoint(place: Path) -> None:
    checkpoint = write(layout.scratch(FIT))
    layout.note(FIT).unlink()
    assert run() == 0
    assert checkpoint.exists(), "output without its note: the job was killed between them"
    FIT.unlink()
    assert run() == 0
    assert checkpoint.exists()
    assert run("--all", "--experiments", "toy2d") == 0
    assert not checkpoint.exists()


def test_the_chains_of_a_finished_reference_stay(place: Path) -> None:
    """Whose output is there on purpose: a new metric is measured on them without running them again."""
    chains = write(layout.scratch(MOONS.reference))
    assert run() == 0
    assert MOONS.reference.exists() and chains.exists()


def test_no_record_that_an_experiment_names_goes_at_any_scope(place: Path) -> None:
    full = load_experiment("toy2d", "quick", "full")
    outputs = [layout.CellFiles(cell).record for cell in methods.cells(full)]
    for path in outputs:
        write(path)
    assert run() == 0
    assert all(path.exists() for path in outputs)


def test_links_are_neither_followed_nor_removed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To a folder or a file outside, in place of a folder of ours, of a scale, of the logs, and dangling."""
    precious = write(tmp_path / "outside" / "set" / "data.json").parent.parent
    write(precious / "nfe9" / "record.json")
    scale = place / "results" / "smoke"
    gone = write(scale / "gone" / "set" / "data.json").parent
    links = {
        scale / "linked_experiment": precious,
        scale / ".logs": precious,
        scale / ".scratch": precious,
        scale / "toy2d" / "linked_set": precious,
        scale / "toy2d" / "moons" / "linked_row": precious,
        scale / "toy2d" / "moons" / "ddim" / "nfe9": precious,
        scale / "toy2d" / "moons" / ".hidden": precious / "set" / "data.json",
        gone / "below": precious,
        gone / "file": precious / "set" / "data.json",
        gone / "dangling": tmp_path / "nowhere",
        place / "results" / "paper": precious,
        Path.home() / ".cache" / "hsivi-bench" / "linked": precious,
    }
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    before = files(precious)
    for arguments in ([], ["--all", "--experiments", "toy2d"], ["--all"]):
        assert run(*arguments) == 0
        assert files(precious) == before, arguments
        assert all(link.is_symlink() for link in links), arguments
    assert not (gone / "data.json").exists(), "what is no link goes"
    assert f"left {(gone / 'below').relative_to(place)}: it is a link" in capsys.readouterr().out


def test_folders_that_are_not_ours_stay(place: Path) -> None:
    notes = write(place / "results" / "smoke" / "my_notes" / "today.txt")
    other = write(place / "results" / "other" / "set" / "data.json")
    plots = write(MOONS.folder / "plots" / "one.png")
    reference = write(place / "results" / "reference" / "smoke" / "gone" / "set" / "data.json")
    assert run("--all", "--experiments", "my_notes", "--dry-run") == 0
    assert run() == 0
    assert notes.exists() and other.exists() and plots.exists()
    assert run("--all") == 0
    assert reference.exists() and other.exists(), "published results never go"


def test_all_of_a_scale_or_an_experiment(place: Path) -> None:
    quick = write(place / "results" / "quick" / "toy2d" / "moons" / "data.json")
    ring = write(place / "results" / "smoke" / "ring" / "unit_ring" / "data.json")
    page = write(place / "reports" / "smoke" / "index.html")
    assert run("--all", "--scale", "smoke", "--experiments", "toy2d") == 0
    assert not MOONS.folder.exists() and ring.exists() and page.exists()
    assert run("--all", "--scale", "smoke") == 0
    assert not ring.exists() and not page.exists() and quick.exists()
    assert run("--all") == 0
    assert not quick.exists()


def test_only_what_is_asked_for(place: Path) -> None:
    paths = rubbish()
    elsewhere = write(place / "results" / "quick" / "gone" / "set" / "data.json")
    cached = next(path for path in paths if "hsivi-bench" in str(path))
    assert run("--scale", "smoke", "--experiments", "toy2d") == 0
    left = {path for path in paths if path.exists()}
    assert left == {path for path in paths if "gone/set" in str(path) or ".scratch/gone" in str(path)} | {cached}
    assert elsewhere.exists()


def test_a_cache_that_its_user_named_is_not_touched(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write(place / "mine" / "mnist" / "private.npz")
    monkeypatch.setenv("HSIVI_CACHE_DIR", str(place / "mine"))
    assert run() == 0 and own.exists()
    kept = [write(Path.home() / ".cache" / "hsivi-bench" / "mnist" / "train-images-idx3-ubyte.gz.partial")]
    kept.append(write(kept[0].with_name("t10k-labels-idx1-ubyte")))
    kept.append(write(kept[0].with_name(".lock")))
    monkeypatch.delenv("HSIVI_CACHE_DIR")
    assert run() == 0 and all(path.exists() for path in kept), "listed files stay, and so does the part that goes on"


def test_not_while_a_run_is_under_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = rubbish()
    with layout.jobs_lock("smoke").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert run() == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"kill {os.getpid()}" in error and "expected none" in error
        assert run("--all") == 2
        assert all(path.exists() for path in paths) and FIT.exists()
        assert run("--dry-run") == 0
    assert run() == 0


def test_a_mistake_in_a_file_costs_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong is found before anything is removed."""
    paths = rubbish()
    known = load_experiment

    def broken(name: str, scale: str) -> object:
        if name == "toy2d":
            raise ConfigError("toy2d.yaml: got nothing, expected something; correct it")
        return known(name, scale)

    monkeypatch.setattr(cleaning, "load_experiment", broken)
    assert run() == 2
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("arguments", [["--scale", "big"], ["--experiments", "toy3d"], ["--experiments", "../../etc"]])
def test_bad_input(place: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = files(place)
    assert run("--all", *arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert files(place) == before


def test_what_cannot_be_removed_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(layout.logs("smoke") / "a.log")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert run() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(log) in error and "Permission denied" in error


def test_the_working_directory_may_be_anywhere(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that HSIVI_RESULTS names, behind a link that their user made: only what is below goes."""
    (tmp_path / "disk").mkdir()
    (place / "results").rename(tmp_path / "disk" / "results")
    (tmp_path / "short").symlink_to(tmp_path / "disk" / "results")
    monkeypatch.setenv("HSIVI_RESULTS", str(tmp_path / "short"))
    log = write(layout.logs("smoke") / "a.log")
    assert run() == 0
    assert not log.exists()
    assert all(job.output.exists() for job in jobs([EXPERIMENT]))
