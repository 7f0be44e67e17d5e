"""``hsivi explain`` on made-up results: what it prints is what the records hold."""

import json
from pathlib import Path

import numpy as np
import pytest

from hsivi import layout
from hsivi.__main__ import main
from hsivi.methods import Cell
from hsivi.record import read_record
from reports import table1, table_samplers_ring
from reports._explain import explain
from reports._place import _split, place
from tests import made_up
from tests.made_up import SCALE

MOONS = Cell(SCALE, "toy2d", "moons", "ddim", 5)
KEY = "toy2d/moons/ddim/5/js_cell"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made_up.write_results("ring", "toy2d")
    return folder


@pytest.fixture(autouse=True)
def here(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pristine)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments, "--scale", SCALE]) == 0
    return capsys.readouterr().out


def test_a_key_is_explained_from_its_record(capsys):
    path = layout.CellFiles(MOONS).record
    record = read_record(path)
    values = np.array([m.value for m in record.measurements if m.metric == "js_cell"])
    text = said(capsys, KEY)
    mean, sd = values.mean(), values.std(ddof=1) if len(values) > 1 else None
    assert f"{KEY} = {mean:.4f}" in text and f"mean {mean:.6g}" in text
    assert sd is None or f"sd {sd:.6g}, se {sd / len(values) ** 0.5:.6g}, n {len(values)}" in text
    for measurement in (m for m in record.measurements if m.metric == "js_cell"):
        assert f"seed {measurement.seed}: {measurement.value:.10g} ± 0.01 (s.e.), 100 samples" in text
    assert "floor 0.001 ± 0.0005" in text
    assert f"record     {path}\n" in text and f"make again {record.command}" in text
    assert f"log        results/{SCALE}/.logs/sample/toy2d/moons/ddim-nfe5.log (not there)" in text
    assert ".logs/fit/" not in text and ".logs/pretrain/toy2d/moons.log" in text
    assert "c0ffee" in text and 'settings   {"eta": 0.0}' in text and "sample 1 s, measure 0.5 s" in text
    assert f"digest     record {record.sha256[:16]}: holds" in text
    assert text.count(": as in the checkout") == 2 and text.count(": holds") == 1 + 4
    assert "published  hsivi table1, js_paper: " in text


def test_logs_that_are_there_are_named(capsys, pristine):
    log = Path("results", SCALE, ".logs", "measure", "toy2d", "moons", "ddim-nfe5.log")
    log.parent.mkdir(parents=True)
    log.touch()
    assert f"log        {log}\n" in said(capsys, KEY)


def test_what_does_not_hold_is_said(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_up.write_results("ring")
    files = layout.CellFiles(Cell(SCALE, "ring", "unit_ring", "ddim", 5))
    files.record.write_text(files.record.read_text().replace("c0ffee", "decade"))
    files.samples.write_bytes(b"x")
    text = said(capsys, "ring/unit_ring/ddim/5/js_cell")
    assert "somebody edited it" in text and f"{files.samples} " in text and ": edited or made again since" in text


@pytest.mark.parametrize("row", ["2", "js_cell (calibrated, nats; the number to trust), moons"])
@pytest.mark.parametrize("column", ["4", "T = 5 DDIM"])
def test_a_place_in_a_table_is_its_cell(row, column):
    shown = table1.table(SCALE, made_up.load_experiment("toy2d", SCALE))
    found = place(f"table1/{row}/{column}", SCALE)
    assert found.sources[0].key == KEY and found.text == shown.grid[2][3]
    assert shown.grid[0][3] == "T = 5 DDIM" and shown.grid[2][1] == "moons"
    assert explain(f"table1/{row}/{column}", SCALE).origins[0].key == KEY


def test_every_place_of_a_table_can_be_asked_for():
    shown = table_samplers_ring.table(SCALE, made_up.load_experiment("ring", SCALE, "core"))
    for i, (_, cells) in enumerate(shown.rows, 1):
        for j, cell in enumerate(cells, 1 + len(shown.index)):
            _, column = _split(shown, "table_samplers_ring", f"{i}/{j}")
            assert column == j - 1
            if i == 1:
                found = explain(f"table_samplers_ring/{i}/{j}", SCALE)
                assert (found.place.text, found.place.sources) == (cell.text, cell.sources)
                assert all(cell.text.removesuffix(" *") == origin.text for origin in found.origins)


def test_margins_have_two_origins(capsys):
    content = json.loads(said(capsys, "margins/2/difference", "--json"))
    assert len(content["origins"]) == len(content["sources"]) == 2
    ours, theirs = (origin["mean"] for origin in content["origins"])
    assert content["text"] == f"{ours - theirs:+.4f}"
    assert content["origins"][0]["values"][0]["metric"] == content["sources"][0]["metric"]


def test_words_have_no_origin(capsys):
    assert "no record stands behind it" in said(capsys, "table_samplers_ring/1/1")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("tabel1/1/1", "did you mean 'table1' or "),
        ("toy2/moons/ddim/5/js_cell", "did you mean 'toy2d'"),
        ("toy2d/mons/ddim/5/js_cell", "did you mean 'moons'?"),
        ("toy2d/moons/dim/5/js_cell", "did you mean 'ddim'?"),
        ("toy2d/moons/ddim/6/js_cell", "nfe: got '6', expected one of 5; choose"),
        ("toy2d/moons/ddim/five/js_cell", "nfe: got 'five'"),
        ("toy2d/moons/ddim/5/js_cel", "did you mean 'js_cell'?"),
        ("toy2d/moons/ddim/5", "got 4 parts"),
        ("table1", "give a row and a column"),
        ("table1/1", "give a row and a column"),
        ("table1/0/3", "expected a number from 1 to "),
        ("table1/1/99", "expected a number from 1 to "),
        ("table1/moons/T = 5 DDIM", "which 7 rows are called, expected one; choose 2 (js_cell"),
        ("table1/moon/T = 5 DDIM", "did you mean 'moons'"),
        ("table1/2/DDIM", "did you mean 'T = 5 DDIM'"),
        ("table_digits/1/3", "got no results of digits at scale smoke"),
        ("", "got '' first"),
        ("nothing like it", "give experiment/dataset/method/nfe/metric, or table/ROW/COLUMN"),
    ],
)
def test_mistakes_are_named_in_one_line(capsys, asked, words):
    assert main(["explain", asked, "--scale", SCALE]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hsivi explain: ") and words in line


def test_a_cell_that_was_not_run_says_what_runs_it(capsys):
    assert main(["explain", "ring/unit_ring/iddim/5/js_cell", "--scale", SCALE]) == 2
    assert f"make reproduce SCALE={SCALE} SCOPE=full EXPERIMENTS=ring" in capsys.readouterr().err
