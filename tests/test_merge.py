"""Merging results of other machines: what is taken over, what is refused, and that nothing here is lost."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsivi import layout
from hsivi.__main__ import main
from hsivi.arrays import save_arrays
from hsivi.config import ConfigError, load_experiment
from hsivi.merging import plan, taking_over
from hsivi.merging.product import Product, products
from hsivi.provenance import file_digest
from hsivi.record import read_json, read_record, write_json, write_record
from tests import made_up
from tests.test_workflow import Checkout

SCALE = made_up.SCALE
DDIM = Path("ring/unit_ring/ddim/nfe5")
TOY = Path("toy2d/moons")


def _results(machine: Path) -> Path:
    """Write the results of one machine, with the notes that stages leave; no commit tells of them."""
    machine.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(machine)
        made_up.write_results("ring", "toy2d")
    folder = machine / "results" / SCALE
    for output in folder.rglob("*.safetensors"):
        _note(output)
    (folder / ".logs/sample/ring/unit_ring").mkdir(parents=True)
    (folder / ".logs/sample/ring/unit_ring/ddim-nfe5.log").write_text("drawn\n")
    return folder


def _note(output: Path, commit: str = "unknown") -> None:
    write_json(layout.note(output), {"sha256": file_digest(output), "commit": commit, "seconds": time.monotonic()})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _results(tmp_path_factory.mktemp("made") / "machine")


@pytest.fixture(scope="module")
def known(made: Path) -> list[Product]:
    """All products of two experiments that were made, found once: it takes as long as all else."""
    every = [one for name in ("ring", "toy2d") for one in products(load_experiment(name, SCALE))]
    return [one for one in every if (made / one.output).exists()]


@pytest.fixture
def there(made: Path, known: list[Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another machine's results; this one's are in the working directory, and there are none."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(plan, "_known", lambda scale: known)
    shutil.copytree(made, tmp_path / "there" / SCALE, symlinks=True)
    return tmp_path / "there" / SCALE


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return what is there, less the locks that a run keeps."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def merge(*sources: Path, dry: bool = False) -> plan.Merge:
    found = plan.plan(sources, layout.results_folder() / SCALE)
    if not dry:
        taking_over.take_over(found)
    return found


HERE = Path("results") / SCALE


def test_everything_is_taken_over_in_an_empty_folder(
    there: Path, known: list[Product], capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(there)
    assert main(["merge", str(there), "--dry-run"]) == 0
    assert not list(Path.cwd().iterdir()), "a dry run writes nothing"
    assert main(["merge", str(there)]) == 0
    said = capsys.readouterr().out
    assert f"{len(known)} taken over, 0 identical, 0 conflicts, 0 refused, 0 unknown" in said
    here = tree(HERE)
    assert {name: content for name, (content, _) in here.items()} == {
        name: content for name, (content, _) in before.items() if name != "metrics.csv"
    }
    assert tree(there) == before
    assert main(["merge", str(there)]) == 0
    assert f"0 taken over, {len(known)} identical" in capsys.readouterr().out
    assert tree(HERE) == here, "merging again changes nothing, time stamps included"


def test_no_product_is_older_than_what_it_was_made_from(there: Path, known: list[Product]) -> None:
    """Clocks differ: there the data are newest; here, a data set lies that is newer than all that is merged."""
    for age, output in enumerate(sorted(there.rglob("*.*"), reverse=True)):
        os.utime(output, ns=(10**18 + age, 10**18 + age))
    (HERE / TOY).mkdir(parents=True)
    for name in ("data.safetensors", "data.json"):
        shutil.copy(there / TOY / name, HERE / TOY / name)
        os.utime(HERE / TOY / name, ns=(15 * 10**17, 15 * 10**17))
    begin = time.time_ns()
    assert merge(there).identical == 1
    for product in known:
        made = min((HERE / file).stat().st_mtime_ns for file in product.files)
        assert all((HERE / file).stat().st_mtime_ns <= made for file in product.inputs), product.key
        if product.stage == "measure":
            assert made >= begin, "the table of all records is made again"


def test_what_is_made_of_a_file_that_comes_back_stays_finished(there: Path) -> None:
    merge(there)
    (HERE / TOY / "data.safetensors").unlink()
    (HERE / TOY / "data.json").unlink()
    os.utime(there / TOY / "data.safetensors")
    merge(there)
    newest = (HERE / TOY / "data.safetensors").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns >= newest for path in (HERE / TOY).rglob("*") if path.is_file())


def test_another_value_is_a_conflict_and_stays(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merge(there)
    record = read_record(there / DDIM / "record.json")
    shifted = [one.model_copy(update={"value": one.value + 0.5}) for one in record.measurements]
    write_record(there / DDIM / "record.json", record.model_copy(update={"measurements": tuple(shifted)}))
    before = tree(HERE)
    assert main(["merge", str(there)]) == 1
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("conflict")]
    for word in (str(HERE / DDIM / "record.json"), str(there / DDIM / "record.json"), "js_cell of seed 0", "more numb"):
        assert word in line
    assert "hsivi diff" in said and "1 conflicts" in said
    assert tree(HERE) == before


def test_records_that_say_the_same_are_identical_whatever_the_machine(there: Path) -> None:
    merge(there)
    path = there / DDIM / "record.json"
    record = read_record(path)
    write_record(path, record.model_copy(update={"seconds": {"sample": 99.0}, "environment": {}, "commit": "other"}))
    found = merge(there)
    assert not found.copies and not found.conflicts and not found.refused


def test_other_arrays_are_a_conflict_and_take_nothing_with_them(there: Path, known: list[Product]) -> None:
    """Data that differ by rounding: what was made of them there does not fit what is here."""
    (HERE / TOY).mkdir(parents=True)
    save_arrays(HERE / TOY / "data.safetensors", {"x": np.array([0.0, 1 + 1e-9, 2])}, {"of": "here"})
    _note(HERE / TOY / "data.safetensors")
    before = tree(HERE)
    found = merge(there)
    (line,) = found.conflicts
    assert "toy2d/moons data" in line and "numbers, by at most 1e-09" in line
    assert not [copy for copy in found.copies if copy.product.dataset == "moons"]
    of_moons = [product for product in known if product.dataset == "moons"]
    assert len(found.refused) == len(of_moons) - 1, "all but the data"
    assert all("made from another toy2d/moons/data" in line or "no usable" in line for line in found.refused)
    assert {name: content for name, content in tree(HERE).items() if name in before} == before


def test_two_sources_that_differ_conflict_with_each_other(there: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / SCALE
    shutil.copytree(there, other)
    path = other / DDIM / "record.json"
    record = read_record(path)
    write_record(path, record.model_copy(update={"title": "another"}))
    found = merge(there, other)
    (line,) = found.conflicts
    assert str(there / DDIM) in line and str(other / DDIM) in line and "differ in title" in line
    assert read_record(HERE / DDIM / "record.json").title == record.title, "the first that is named"


def _tamper_with_arrays(folder: Path) -> None:
    (folder / "samples.safetensors").write_bytes(b"x" + (folder / "samples.safetensors").read_bytes()[1:])


def _edit(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "record.json"
        path.write_text(json.dumps(read_json(path) | changes))

    return edit


def _sign(**changes: Any) -> Callable[[Path], None]:
    def sign(folder: Path) -> None:
        record = read_record(folder / "record.json")
        digests = record.digests | changes.pop("digests", {})
        write_record(folder / "record.json", record.model_copy(update={**changes, "digests": digests}))

    return sign


def _link(folder: Path) -> None:
    (folder / "record.json").rename(folder / "elsewhere.json")
    (folder / "record.json").symlink_to(folder / "elsewhere.json")


def _link_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"), target_is_directory=True)


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "arrays": (_tamper_with_arrays, "another file than its note describes"),
    "lost note": (lambda folder: (folder / "samples.json").unlink(), "got no file"),
    "lost samples": (lambda folder: (folder / "samples.safetensors").unlink(), "got no file"),
    "edited record": (_edit(title="better"), "differs from its digest"),
    "no JSON": (lambda folder: (folder / "record.json").write_bytes(b"\xff\xfe{"), "not UTF-8"),
    "deep JSON": (lambda folder: (folder / "record.json").write_text("[" * 100_000), "nested too deeply"),
    "record of another cell": (_sign(dataset="moons"), "expected its folder's"),
    "record of another budget": (_sign(nfe=7), "expected its folder's"),
    "other code": (_sign(digests={"code": "0" * 16}), "got code other than this checkout's"),
    "other settings": (_sign(digests={"settings": "0" * 16}), "got settings other than"),
    "other samples": (
        _sign(digests={f"results/{SCALE}/{DDIM}/samples.safetensors": "0" * 64}),
        "got nothing that says with which code",
    ),
    "link": (_link, "got a link"),
    "linked folder": (_link_folder, "got a link"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_does_not_hold_is_refused_with_all_that_needs_it(how: str, there: Path, known: list[Product]) -> None:
    breaks, words = BROKEN[how]
    breaks(there / DDIM)
    found = merge(there)
    assert found.refused and not found.conflicts
    assert any(words in line for line in found.refused), found.refused
    assert all(f"{DDIM.parent}" in line and "expected" in line and ";" in line for line in found.refused)
    assert not (HERE / DDIM / "record.json").exists()
    assert not list(HERE.rglob(".*.*")), "no partial file is left"
    assert len(found.copies) >= len(known) - 2, "the others are taken over"


def test_without_a_record_or_a_commit_nothing_says_how_a_training_was_made(there: Path) -> None:
    for path in there.rglob("record.json"):
        path.unlink()
    found = merge(there)
    assert not found.copies and all("nothing that says" in line or "no usable" in line for line in found.refused)


def test_links_here_are_not_written_through(there: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    HERE.mkdir(parents=True)
    (HERE / "ring").symlink_to(outside, target_is_directory=True)
    (HERE / ".logs").symlink_to(outside, target_is_directory=True)
    found = merge(there)
    assert not list(outside.iterdir())
    assert found.refused and not [copy for copy in found.copies if copy.product.experiment.name == "ring"]


def test_names_that_nobody_knows_are_listed_and_become_no_paths(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = there / "toy2d" / "moons" / "x\n\x1b[31m; touch hacked" / "nfe5"
    shutil.copytree(there / TOY / "ddim" / "nfe5", hostile)
    found = merge(there)
    assert sorted(found.unknown) == sorted(ascii(str(p)) for p in hostile.iterdir() if p.name != "samples.json")
    assert "\n" not in "".join(found.unknown) and "\x1b" not in "".join(found.unknown)
    assert not list(HERE.rglob("*hacked*"))


def test_a_file_that_a_job_writes_meanwhile_stays(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = merge(there, dry=True)
    target = HERE / found.copies[0].files[0]
    target.parent.mkdir(parents=True)
    target.write_text("a job's")
    with pytest.raises(ConfigError, match="a job wrote meanwhile"):
        taking_over.take_over(found)
    assert target.read_text() == "a job's"
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_a_source_that_changes_meanwhile_is_noticed(there: Path) -> None:
    found = merge(there, dry=True)
    (found.copies[0].source / found.copies[0].files[0]).write_text("changed")
    with pytest.raises(ConfigError, match="other content than a moment ago"):
        taking_over.take_over(found)
    assert not [p for p in HERE.rglob("*") if p.is_file()]


@pytest.mark.parametrize("kept", [0, 1], ids=["output", "note"])
def test_a_merge_that_was_stopped_goes_on(kept: int, there: Path) -> None:
    merge(there)
    names = ["samples.safetensors", "samples.json"]
    (HERE / DDIM / names[1 - kept]).unlink()
    found = merge(there)
    assert [copy.files for copy in found.copies] == [(DDIM / names[1 - kept],)]
    assert (HERE / DDIM / names[1 - kept]).read_bytes() == (there / DDIM / names[1 - kept]).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere/smoke"], "no such folder"),
        (["{there}", "--into", "results/smke"], "did you mean 'smoke'"),
        (["{there}", "--into", "results/quick"], "expected 'quick'"),
        (["{there}/ring"], "--into: scale: got 'ring'"),
        (["results/smoke"], "got no such folder"),
        (["{there}", "--into", "{there}"], "the folder that is merged into"),
    ],
)
def test_a_wrong_folder_is_one_line(
    arguments: list[str], words: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(there)
    assert main(["merge", *(word.format(there=there) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error and "expected" in error
    assert not list(Path.cwd().iterdir()) and tree(there) == before


ASK = """
import json, sys
from hsivi.merging import origin
from hsivi.config import load_experiment
from hsivi.merging.product import products
told = {}
for product in products(load_experiment("toy2d", "smoke")):
    if product.stage != "measure" and product.dataset == "moons" and (product.cell is None or product.cell.nfe == 5):
        try:
            told[product.key] = origin.differences(product, {"commit": sys.argv[1]})
        except origin.UntoldError:
            told[product.key] = "untold"
print(json.dumps(told))
"""


def test_git_tells_whether_code_and_settings_are_those_of_a_commit(tmp_path: Path) -> None:
    folder = Checkout(tmp_path).folder

    def git(*arguments: str) -> str:
        own = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.hooksPath=/dev/null"]
        done = subprocess.run(["git", *own, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def ask(commit: str) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, "-c", ASK, commit]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    first = git("rev-parse", "HEAD")
    told = ask(first)
    assert len(told) >= 5 and not any(told.values())
    assert set(ask("0" * 40).values()) == set(ask(first + "+changes").values()) == {"untold"}
    assert set(ask("--help").values()) == {"untold"}
    with (folder / "baselines" / "ddim.py").open("a") as file:
        file.write("# edited\n")
    settings = folder / "workflows" / "experiments" / "toy2d.yaml"
    text = settings.read_text()
    assert "  seed: 2023\n" in text
    told = ask(first)
    assert {key for key, differs in told.items() if differs} == {"toy2d/moons/ddim/nfe5 sample"}
    assert told["toy2d/moons/ddim/nfe5 sample"] == ["code"]
    settings.write_text(text.replace("  seed: 2023\n", "  seed: 2024\n"))
    assert all("settings" in differs for differs in ask(first).values())
