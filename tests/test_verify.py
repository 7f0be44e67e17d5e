"""``hsivi verify`` on made-up results that somebody tampered with."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hsivi import layout
from hsivi.__main__ import main
from hsivi.arrays import save_arrays
from hsivi.config import ROOT, ConfigError, load_experiment
from hsivi.methods import Cell
from hsivi.record import content_digest, read_record
from reports import _blanks, _evidence, _present, _reading, _verify, table1
from reports._tables import Cell as Shown
from reports._tables import Table, latex
from reports._verify import Verification, verify
from tests import made_up
from tests.made_up import SCALE

DDIM = Cell(SCALE, "ring", "unit_ring", "ddim", 5)
RECORD = layout.CellFiles(DDIM).record
TABLES = Path("reports", SCALE, "tables")
PAGE = Path("reports", SCALE, "index.html")
TABLES_OF_BOTH = [
    "break_even",
    "margins",
    "table1",
    "table1_question",
    "table_samplers_ring",
    "table_samplers_toy2d",
    "verdicts",
]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs in scope core with all their tables and a page: of both experiments, and of the ring alone."""
    folders = {"both": tmp_path_factory.mktemp("both"), "ring": tmp_path_factory.mktemp("ring")}
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in folders.items():
            patch.chdir(folder)
            made_up.write_page(
                made_up.write_tables(made_up.write_results(*(["ring", "toy2d"] if name == "both" else ["ring"])))
            )
    return folders


@pytest.fixture
def both(pristine: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the run of both experiments."""
    shutil.copytree(pristine["both"], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(pristine: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the run of the ring."""
    shutil.copytree(pristine["ring"], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def kinds(done: Verification) -> set[str]:
    return {finding.kind for finding in done.findings}


def shown(name: str, ending: str = "csv") -> str:
    """Return the first number of a table in one of its files."""
    grid = _reading.grid((TABLES / f"{name}.{ending}").read_text(), ending)
    return next(cell for row in grid for cell in row if "0." in cell and ("±" in cell or "pm" in cell))


# ------------------------------------------------------------------------------------------------------------- all well
def test_everything_follows(both, capsys):
    assert main(["verify", "--scale", SCALE]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("cells of 7 tables follow from 17 records; 0 edited; 0 stale; the page was checked")
    done = verify(SCALE)
    assert done.tables == TABLES_OF_BOTH
    assert done.records == len(_present.recorded(SCALE)) == 17
    assert done.cells > 250


def test_the_scope_is_that_of_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_up.write_tables(made_up.write_results("ring", scope="full"))
    for scope in (None, "full"):
        done = verify(SCALE, scope)
        assert (done.findings, [e.scope for e in done.run.experiments]) == ([], ["full"])
    assert not verify(SCALE, "core").holds, "the table has rows of scope full"
    layout.metrics_table(SCALE).unlink()
    assert kinds(verify(SCALE)) == {"unchecked"}, "the records say so too"


# ------------------------------------------------------------------------------------------------------- edited outputs
def test_an_edited_cell_is_found_in_every_format(here, capsys):
    for ending in ("csv", "md", "tex"):
        edit(TABLES / f"table_samplers_ring.{ending}", shown("table_samplers_ring", ending), "0.0001 ± 0.0001")
    done = verify(SCALE)
    assert not done.holds
    for ending, wanted in (("csv", "±"), ("md", "±"), ("tex", "$\\\\pm$")):
        (finding,) = [f for f in done.findings if f.where.startswith(f"tables/table_samplers_ring.{ending}, row 1 ")]
        assert "(js_cell (nats) / " in finding.where and "column 'NFE 5'" in finding.where
        assert finding.words.startswith("has '0.0001 ± 0.0001', the records give '0.") and wanted in finding.words
    assert len(done.findings) == 3
    assert main(["verify", "--scale", SCALE]) == 1
    assert "3 differences found" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("before", "after"),
    [("data set", "set of data"), ("moons", "suns"), ("target itself", "target")],
    ids=["header of the index", "name of a row", "header"],
)
def test_an_edited_name_is_found(both, before, after):
    edit(TABLES / "table1.csv", before, after)
    (finding,) = verify(SCALE).findings
    assert repr(after) in finding.words and finding.fails


@pytest.mark.parametrize("ending", ["csv", "md", "tex"])
def test_lost_and_added_rows_are_found(both, ending):
    path = TABLES / f"margins.{ending}"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:6] + lines[7:]))
    lost = verify(SCALE).findings
    assert lost and all(finding.fails for finding in lost) and "is not there, the records give" in lost[0].words
    path.write_text("".join([*lines[:7], lines[6], *lines[7:]]))
    added = verify(SCALE).findings
    assert added and "the records give nothing there" in added[0].words


def test_what_stands_around_the_cells_is_found(both):
    edit(TABLES / "table1.tex", r"\toprule", r"\toprule % revised")
    (finding,) = verify(SCALE).findings
    assert finding.fails and "what stands around them" in finding.words
    edit(TABLES / "table1.tex", r" % revised", "")
    edit(TABLES / "table1.tex", r"\multicolumn{3}{c}{T = 5}", r"\multicolumn{3}{c}{T = 6}")
    (finding,) = verify(SCALE).findings
    assert finding.fails and "groups of columns" in finding.where


def test_a_table_of_no_script_is_found(both):
    (TABLES / "by_hand.csv").write_text("a,b\n1,2\n")
    (finding,) = verify(SCALE).findings
    assert finding.fails and finding.where == "tables/by_hand"
    (TABLES / "by_hand.csv").unlink()
    (TABLES / "table1.md").unlink()
    (finding,) = verify(SCALE).findings
    assert not finding.fails and finding.where == "tables/table1.md"


def test_an_edited_page_is_found(both):
    number = shown("table1")
    assert verify(SCALE).page
    edit(PAGE, f">{number}<", ">0.0001<")
    (finding,) = verify(SCALE).findings
    assert finding.fails and finding.where.startswith("index.html, table1, row 1 (js_cell")
    assert finding.words == f"has '0.0001', the records give {number!r}"
    edit(PAGE, ">0.0001<", f">{number}<")
    edit(PAGE, 'data-row="2" data-column="3"', 'data-row="2" data-column="99"')
    findings = verify(SCALE).findings
    assert {f.words.partition(",")[0].partition(" '")[0] for f in findings} == {"has", "is not there"}
    PAGE.write_text("<table><tr><td>1</td></tr></table>")
    done = verify(SCALE)
    assert done.holds and not done.page and done.summary.endswith("the page was not checked")


def test_a_table_that_the_page_lacks_is_found(here):
    edit(PAGE, 'data-table="margins"', 'data-table="other"')
    found = verify(SCALE).findings
    assert [(f.where, f.fails) for f in found] == [("index.html, margins", True), ("index.html, other", False)]


def test_excuses_may_depend_on_the_machine_but_numbers_may_not(both, monkeypatch):
    table = Table.of(("method",), {("DDIM",): {"NFE 5": "no device", "note": "CelebA: no device: a GPU is not there"}})
    other = {("DDIM",): {"NFE 5": "not run", "note": "CelebA: not run: make reproduce runs it"}}
    monkeypatch.setattr(table1, "table", lambda scale, experiment: table)
    table.write(SCALE, "table1")
    monkeypatch.setattr(table1, "table", lambda scale, experiment: Table.of(("method",), other))
    found = [f for f in verify(SCALE).findings if f.where.startswith("tables/table1")]
    assert len(found) == 6 and {f.kind for f in found} == {"words"}
    other["DDIM",]["NFE 5"] = Shown("0.1 ± 0.2")
    found = [f for f in verify(SCALE).findings if f.where.startswith("tables/table1.csv")]
    assert [f.kind for f in found] == ["cell", "words"]
    assert set(_verify.EXCUSES) < set(_blanks.CODES)


# ------------------------------------------------------------------------------------------------------ edited results
def test_an_edited_value_is_found_twice(here):
    """Its record does not agree with its digest, nor the tables with it."""
    value = read_record(RECORD).measurements[0].value
    edit(RECORD, repr(value), repr(value / 2))
    done = verify(SCALE)
    (edited,) = [f for f in done.findings if f.kind == "edited"]
    assert edited.where == str(RECORD) and "somebody edited it" in edited.words
    cells = [f for f in done.findings if f.kind == "cell"]
    assert {f.where.partition(",")[0] for f in cells} == {
        f"tables/table_samplers_ring.{e}" for e in ("csv", "md", "tex")
    }
    assert [f.where for f in done.findings if f.kind == "metrics"] == [
        f"results/{SCALE}/metrics.csv, ring/unit_ring/ddim/5/js_cell, seed {read_first_seed()}"
    ]
    assert "1 edited" in done.summary
    with pytest.raises(ConfigError, match="somebody edited"):
        read_record(RECORD)


def read_first_seed() -> int:
    return load_experiment("ring", SCALE).seeds[0]


def test_an_edited_value_with_a_new_digest_disagrees_with_the_tables(here):
    content = json.loads(RECORD.read_text())
    content["measurements"][0]["value"] /= 2
    content["sha256"] = content_digest(content)
    RECORD.write_text(json.dumps(content))
    done = verify(SCALE)
    assert not done.holds and kinds(done) >= {"cell", "metrics"} and "edited" not in kinds(done)


def test_a_title_edited_in_a_record_is_found(here):
    edit(RECORD, '"dtype": "float32"', '"dtype": "float64"')
    (finding,) = verify(SCALE).findings
    assert (finding.kind, finding.fails) == ("edited", True)


def test_a_replaced_samples_file_is_found(here):
    path = layout.CellFiles(DDIM).samples
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (finding,) = verify(SCALE).findings
    assert finding.kind == "input" and finding.fails and finding.where == str(RECORD)
    assert f"{path} was edited or made again since" in finding.words
    path.unlink()
    assert verify(SCALE).findings == [], "published results have no samples"


def test_a_replaced_shared_file_concerns_all_its_cells(here):
    save_arrays(layout.DatasetFiles(SCALE, "ring", "unit_ring").reference, {})
    found = verify(SCALE).findings
    assert {f.kind for f in found} == {"input"}
    assert len(found) == len(_present.recorded(SCALE)) == 5


def test_a_file_cut_from_the_full_one_stands_for_it(here):
    path = layout.CellFiles(DDIM).samples
    wanted = read_record(RECORD).digests[str(path)]
    save_arrays(path, {}, {"reduced": {"sha256": wanted}})
    assert verify(SCALE).findings == []
    save_arrays(path, {}, {"reduced": {"sha256": "0" * 64}})
    assert kinds(verify(SCALE)) == {"input"}


def test_large_inputs_may_be_skipped(here, monkeypatch, capsys):
    path = layout.CellFiles(DDIM).samples
    path.write_bytes(path.read_bytes() + bytes(2000))
    monkeypatch.setattr(_evidence, "LARGE", 1000)
    assert main(["verify", "--scale", SCALE, "--quick"]) == 0
    assert capsys.readouterr().out.strip().endswith("1 large inputs were not read")
    assert kinds(verify(SCALE)) == {"input"}


def test_only_results_are_read(here):
    """A record that names other files makes nobody read them."""
    (here / "outside.bin").write_text("x")
    digests = _evidence.Digests()
    names = ["outside.bin", "results/../outside.bin", str(here / "outside.bin"), "results", "", "results/smoke"]
    digests.read(names)
    assert [digests.of(name) for name in names] == [None] * 6


def test_stale_records_are_listed_and_fail_nothing(both, monkeypatch, capsys):
    monkeypatch.setattr(_evidence, "code_now", lambda path: "other")
    monkeypatch.setattr(_evidence.settings, "of_sample", lambda experiment, cell: "other")
    done = verify(SCALE)
    assert done.holds and kinds(done) == {"stale"} and "17 stale" in done.summary
    assert {f.words for f in done.findings if f.kind == "stale"} == {"made with other code and settings"}
    assert len([line for line in _verify.lines(done) if line.startswith("stale: results")]) == _verify.SHOWN
    assert "stale: and 9 more (--json lists all)" in _verify.lines(done)


def test_a_missing_record_is_found(here):
    RECORD.unlink()
    done = verify(SCALE)
    assert not done.holds and kinds(done) == {"missing", "metrics", "table"}
    (missing,) = [f for f in done.findings if f.kind == "missing"]
    assert missing.where == str(RECORD) and DDIM.command("measure") in missing.words
    assert {f.where for f in done.findings if f.kind == "table"} == {"table_samplers_ring", "margins", "break_even"}


def test_an_orphan_record_is_listed(here):
    orphan = layout.CellFiles(Cell(SCALE, "ring", "unit_ring", "gone", 5)).record
    shutil.copytree(RECORD.parent, orphan.parent)
    found = verify(SCALE).findings
    assert [(f.kind, f.fails) for f in found if f.where == str(orphan)] == [("orphan", False)]


def test_a_record_in_another_place_is_found(here):
    place = layout.CellFiles(Cell(SCALE, "ring", "unit_ring", "dpm_solver_fast", 5)).record
    shutil.copy(RECORD, place)
    found = [f for f in verify(SCALE).findings if f.where == str(place)]
    assert [(f.kind, f.fails) for f in found if f.kind != "stale"] == [("misplaced", True)]
    assert "ring/unit_ring/ddim" in found[0].words


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 1}', '{"schema_version": 2}', "\x00"])
def test_an_unreadable_record_is_found(here, text):
    RECORD.write_text(text)
    done = verify(SCALE)
    assert not done.holds and "unreadable" in kinds(done)
    assert all("\n" not in line for line in _verify.lines(done))


# ---------------------------------------------------------------------------------------------------------- metrics.csv
def test_a_row_that_metrics_lacks_is_found(here):
    path = layout.metrics_table(SCALE)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3] + lines[4:]))
    (finding,) = [f for f in verify(SCALE).findings if f.kind == "metrics"]
    assert finding.fails and finding.words == "the row is not there, the records have it"
    assert f"/{lines[3].split(',')[3]}/" in finding.where
    path.write_text("".join([*lines, lines[3]]))
    (finding,) = [f for f in verify(SCALE).findings if f.kind == "metrics"]
    assert finding.words == "the row is there 2 times"
    path.write_text("".join([lines[0], *reversed(lines[1:])]))
    assert not verify(SCALE).holds, "its order is that of the run"


def test_an_edited_place_of_metrics_is_found(here):
    path = layout.metrics_table(SCALE)
    value = repr(read_record(RECORD).measurements[0].value)
    edit(path, value, "0.5")
    (finding,) = [f for f in verify(SCALE).findings if f.kind == "metrics"]
    assert finding.words == f"value is '0.5', the records have {value!r}"
    edit(path, "0.5", value)
    edit(path, "c0ffee", "decade")
    (finding,) = [f for f in verify(SCALE).findings if f.kind == "metrics"]
    assert finding.words == "commit is 'decade', the records have 'c0ffee'"


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "experiment,dataset,method,nfe\nring,unit_ring,ddim,many\n", "\x00"]
)
def test_a_broken_metrics_table_is_found(here, text):
    layout.metrics_table(SCALE).write_text(text)
    done = verify(SCALE)
    assert not done.holds and "metrics" in kinds(done)


# -------------------------------------------------------------------------------------------------------- command line
def test_json_has_everything(both, capsys):
    edit(TABLES / "table1.csv", shown("table1"), "1")
    assert main(["verify", "--scale", SCALE, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["holds"] is False and content["scopes"] == {"ring": "core", "toy2d": "core"}
    assert content["records"] == 17 and content["tables"] == TABLES_OF_BOTH
    (finding,) = [f for f in content["findings"] if f["kind"] == "cell"]
    assert finding["fails"] and finding["where"].startswith("tables/table1.csv, row 1 (js_cell")


def test_experiments_may_be_chosen(both):
    edit(TABLES / "table1.csv", shown("table1"), "1")
    edit(layout.metrics_table(SCALE), "moons", "suns")
    done = verify(SCALE, names=["ring"])
    assert done.findings == [] and done.tables == ["break_even", "margins", "table_samplers_ring", "verdicts"]
    assert {f.kind for f in verify(SCALE, names=["toy2d"]).findings} == {"cell", "metrics"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scale", "quik"], "did you mean 'quick'?"),
        (
            ["--scale", "quick"],
            f"run make reproduce SCALE=quick, or look at the published ones with HSIVI_RESULTS={ROOT}/",
        ),
        (["--scale", SCALE, "--experiments", "rink"], "did you mean 'ring'?"),
        (["--scale", SCALE, "--scope", "half"], "expected one of core, full"),
    ],
)
def test_mistakes_are_named_in_one_line(here, capsys, arguments, words):
    assert main(["verify", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hsivi verify: ") and words in line


def test_no_torch_is_loaded():
    code = (
        "import sys, reports._verify, reports._explain, hsivi.diff, hsivi.inspecting; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ------------------------------------------------------------------------------------------------------------- reading
def table() -> Table:
    cells: Callable[..., Shown] = Shown
    return Table.of(
        ("metric", "a|b"),
        {
            ("x & y_1", ""): {("T = 5", "DDPM"): cells("0.1 ± 0.2"), ("T = 5", "DDIM"): cells("–"), "50 %": "a, b"},
            ("", "z\\"): {("T = 5", "DDPM"): cells("<&>"), "50 %": 'say "{no}"'},
        },
    )


@pytest.mark.parametrize("ending", ["csv", "md", "tex"])
def test_what_is_written_is_read_again(ending):
    read = _reading.grid(table().text(ending), ending)
    if ending == "tex":
        assert read[0] == ["", "", r"\multicolumn{2}{c}{T = 5}", ""]
        assert read[2:] == [[latex(text) for text in row] for row in table().grid[1:]]
    else:
        assert read == table().grid
    assert list(_reading.differences(read, read)) == []


def test_pages_are_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = _reading.Page(made_up.write_page({"t": table()}).read_text())
    assert list(page.tables) == ["t"] and list(_reading.on_page(page.tables["t"], table())) == []
