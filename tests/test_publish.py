"""Publishing: what is kept is enough to draw everything again, to the byte, and nothing can be changed unnoticed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hsivi import layout, methods
from hsivi.__main__ import main
from hsivi.arrays import load_arrays, load_metadata, save_arrays
from hsivi.config import ConfigError, load_experiment
from hsivi.experiment import Experiment, Method
from hsivi.planning import cost, rates
from hsivi.provenance import file_digest
from hsivi.publishing import figures, manifest
from hsivi.publishing.adding import publish_more
from hsivi.publishing.again import publish_again
from hsivi.publishing.figures import as_published, draw_published
from hsivi.publishing.publish import publish
from hsivi.record import read_json, read_record, write_json, write_record
from hsivi.reporting import selected
from reports._verify import verify
from tests.test_reports_samplers import write

SCALE, NAME, DATASET = "smoke", "ring", "unit_ring"
NOTE = {"command": "", "started": "2026-01-01T00:00:00+00:00", "seconds": 1.0, "environment": {}, "commit": "abc"}


def ring() -> Experiment:
    return load_experiment(NAME, SCALE, "core")


def finish() -> None:
    """Write made-up results of a finished run below the working directory: records, arrays, notes and digests."""
    shared = layout.DatasetFiles(SCALE, NAME, DATASET)
    for path in (shared.data, shared.reference):
        save_arrays(path, {"large": np.zeros((100, 100))}, {})
        write_json(layout.note(path), {**NOTE, "metadata": {}})
    for cell in methods.cells(ring()):
        write(ring(), cell)
        own = layout.CellFiles(cell)
        inputs = (shared.data, shared.reference, own.samples)
        environment = {"python": "3", "platform": "", "processor": "", "cores": 1, "packages": {"torch": "2"}}
        changes = {
            "commit": "abc",
            "environment": environment,
            "seconds": {"sample": 1.0, "measure": 1.0},
            "digests": {layout.input_name(path): file_digest(path) for path in inputs},
        }
        write_record(own.record, read_record(own.record).model_copy(update=changes))
        for path in (own.samples, own.fit):
            write_json(layout.note(path), {**NOTE, "environment": environment})
    for path in (shared.data, shared.reference):
        write_json(layout.note(path), {**NOTE, "environment": environment, "metadata": {}})


@pytest.fixture(autouse=True, scope="module")
def alone() -> Iterator[None]:
    """Render in this process, which has loaded what draws figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hsivi.rendering._cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run and what was published of it, as ``reference``."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finish()
        publish([ring()], Path("reference"))
        write(ring(), methods.cells(ring())[0])  # results may go on to change; what is published does not
    return folder


@pytest.fixture
def reference(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what was published, for a test to change."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run / "reference", tmp_path / "reference")
    return Path("reference")


def draw(reference: Path) -> list[str]:
    return list(draw_published(SCALE, "core", [], reference, Path("drawn")))


def samples(label: str) -> str:
    return f"{NAME}/{DATASET}/{label}/nfe5/samples.safetensors"


def test_everything_is_drawn_from_what_was_published(reference: Path) -> None:
    assert draw(reference) == ["wrote drawn/smoke/index.html"]
    for report in selected([ring()]):
        for file in report.files:
            drawn, kept = Path("drawn", SCALE, file), reference / SCALE / NAME / file
            assert drawn.stat().st_size > 100
            if file.endswith((".png", ".csv", ".md")) and report.experiments is not None:
                assert drawn.read_bytes() == kept.read_bytes(), file


def test_arrays_are_cut_to_what_is_looked_at(run: Path, reference: Path) -> None:
    """The figures show the first set of the first seed; data and reference of the target are not looked at."""
    full, cut = run / "results" / SCALE / samples("ddim"), reference / SCALE / samples("ddim")
    before, after = load_arrays(full), load_arrays(cut)
    assert before["samples"].shape[0] > 1
    np.testing.assert_array_equal(after["samples"], before["samples"][:1])
    assert set(after) == {"samples", "trajectory", "reconstruction_decoded", "reconstruction_original", "interpolation"}
    assert load_metadata(cut)["reduced"]["sha256"] == file_digest(full)
    assert not list(reference.glob("**/data.safetensors")) and not list(reference.glob("**/reference.safetensors"))


def test_a_record_leads_to_its_reduced_samples(reference: Path) -> None:
    record = read_record(reference / SCALE / NAME / DATASET / "ddim" / "nfe5" / "record.json")
    listed = read_json(reference / SCALE / "manifest.json")["files"]
    key = f"results/{SCALE}/{samples('ddim')}"
    assert listed[samples("ddim")]["reduced_from"] == record.digests[key]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_text(path.read_text().replace("0.", "1.", 1)), "got sha256"),
        (lambda path: path.unlink(), "got no such file"),
        (lambda path: path.with_name("more.json").write_text("{}"), "does not list"),
    ],
)
def test_every_change_shows_in_the_manifest(change, words: str, reference: Path) -> None:
    assert manifest.problems(reference / SCALE) == []
    change(reference / SCALE / NAME / DATASET / "ddim" / "nfe5" / "record.json")
    (problem, *_) = manifest.problems(reference / SCALE)
    assert words in problem


def test_a_reduced_file_that_claims_another_origin_shows(reference: Path) -> None:
    path = reference / SCALE / samples("ddim")
    facts = load_metadata(path)
    facts["reduced"]["sha256"] = "0" * 64
    save_arrays(path, load_arrays(path), facts)
    assert any("reduced_from" in problem for problem in manifest.problems(reference / SCALE))


def test_a_baseline_that_came_later_is_left_out(reference: Path) -> None:
    """A row, a budget and seeds that are not published."""
    rows = ring().methods
    later = {
        **rows,
        "later": Method(baseline="ddim", title="Later"),
        "ddim": rows["ddim"].model_copy(update={"nfe": (5, 7)}),
    }
    grids = ring().diffusion.model_copy(update={"time_grids": {**ring().diffusion.time_grids, 7: "hsivi"}})
    experiment = ring().model_copy(update={"methods": later, "seeds": (0, 1, 2), "score_model": grids})
    with layout.folders(reference, Path("drawn")):
        found, lines = as_published(experiment)
    (line,) = lines
    assert "unit_ring/later/nfe5" in line and "unit_ring/ddim/nfe7" in line and "2 cells" in line
    assert methods.cells(found) == methods.cells(ring())
    assert found.seeds == ring().seeds


def test_a_figure_without_its_arrays_is_shown_as_published(reference: Path) -> None:
    (reference / SCALE / samples("dpm_solver_fast")).unlink()
    with layout.folders(reference, Path("drawn")):
        said = figures.draw(SCALE, [ring()], "figure_blow_up")
        assert "figure_blow_up" in said and "as it was published" in said
        assert "as published" in Path("drawn", SCALE, "figures", "figure_blow_up.svg").read_text()
        (reference / SCALE / NAME / "figures" / "figure_blow_up.png").unlink()
        with pytest.raises(ConfigError, match="got no such file"):
            figures.draw(SCALE, [ring()], "figure_blow_up")


def test_published_files_that_do_not_follow_are_found_and_drawn_again(reference: Path) -> None:
    own = reference / SCALE / NAME
    table, figure = own / "tables" / "table_samplers_ring.csv", own / "figures" / "figure_blow_up.png"
    before = [path.read_bytes() for path in (table, figure)]
    with layout.folders(reference, Path("drawn")):
        done = verify(SCALE)
        assert done.holds and "table_samplers_ring" in done.tables
        table.write_text(table.read_text().replace("0.", "1.", 1))
        figure.write_bytes(b"")
        found = {finding.kind: finding.where for finding in verify(SCALE).findings if finding.fails}
    assert set(found) == {"cell", "manifest"} and str(table) in found["cell"]
    assert set(publish_again(SCALE, reference)) == {
        f"wrote {path}" for path in (table, figure, reference / SCALE / "manifest.json")
    }
    assert [path.read_bytes() for path in (table, figure)] == before
    with layout.folders(reference, Path("drawn")):
        assert verify(SCALE).holds


def test_arrays_that_no_figure_looks_at_go_unless_a_figure_cannot_be_drawn(reference: Path) -> None:
    path = reference / SCALE / samples("ddim")
    before = set(load_arrays(path))
    save_arrays(path, load_arrays(path) | {"more": np.zeros(100)}, load_metadata(path))
    assert any(line.startswith(f"wrote {path}: ") for line in publish_again(SCALE, reference))
    assert set(load_arrays(path)) == before
    save_arrays(path, load_arrays(path) | {"more": np.zeros(100)}, load_metadata(path))
    (reference / SCALE / samples("dpm_solver_fast")).unlink()
    list(publish_again(SCALE, reference))
    assert "more" in load_arrays(path)


def everything(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unpublish(reference: Path, label: str) -> Path:
    """Leave a row out of what is published, as if it came later; return the record that it has in the results."""
    shutil.rmtree(reference / SCALE / NAME / DATASET / label)
    return Path("results", SCALE, NAME, DATASET, label, "nfe5", "record.json")


@pytest.fixture
def results(run: Path, reference: Path) -> Path:
    """A copy of the results beside that of what was published."""
    shutil.copytree(run / "results", "results")
    return Path("results")


@pytest.mark.usefixtures("results")
def test_a_row_that_came_later_is_added_as_if_it_had_been_there(reference: Path) -> None:
    before = everything(reference)
    unpublish(reference, "ddim")
    list(publish_again(SCALE, reference))
    assert everything(reference).keys() < before.keys()
    assert "added ring/unit_ring/ddim/nfe5" in list(publish_more([ring()], reference))
    assert everything(reference) == before


@pytest.mark.usefixtures("results")
def test_samples_of_an_added_row_that_no_figure_looks_at_are_not_kept(reference: Path) -> None:
    """With arrays of another row lost no figure can be drawn again, so none looks at the new row's."""
    before = everything(reference)
    unpublish(reference, "ddim")
    for path in reference.glob("**/samples.safetensors"):
        path.unlink()
    lines = list(publish_more([ring()], reference))
    assert any("left as it is" in line for line in lines)
    assert f"{reference}/{SCALE}/{samples('ddim')}: no figure that could be drawn looks at it; not kept" in lines
    assert everything(reference).keys() == {path for path in before if path.name != "samples.safetensors"}
    assert manifest.problems(reference / SCALE) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"commit": "abc+changes"}, "expected those of a commit"),
        ({"digests": {f"results/{SCALE}/{NAME}/{DATASET}/data.safetensors": "0" * 64}}, "another data.safetensors"),
        ({"digests": {f"results/{SCALE}/{samples('ddim')}": "0" * 64}}, "another file than the one that its records"),
    ],
)
@pytest.mark.usefixtures("results")
def test_a_row_that_does_not_belong_to_what_is_published_is_not_added(change, words: str, reference: Path) -> None:
    path = unpublish(reference, "ddim")
    before, record = everything(reference), read_record(path)
    digests = {**record.digests, **change.get("digests", {})}
    write_record(path, record.model_copy(update={**change, "digests": digests}))
    with pytest.raises(ConfigError, match=words):
        list(publish_more([ring()], reference))
    assert everything(reference) == before


@pytest.mark.usefixtures("results")
def test_nothing_to_add_is_one_line(reference: Path, capsys) -> None:
    with pytest.raises(ConfigError, match="got no record of ring that is not published"):
        list(publish_more([ring()], reference))
    with layout.folders(Path("elsewhere"), Path("drawn")):
        assert main(["publish", "--add", "--scale", SCALE, "--experiments", NAME]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "elsewhere/smoke: got no record of ring" in line


def test_a_manifest_that_is_none_is_a_finding(reference: Path) -> None:
    (reference / SCALE / "manifest.json").write_text("{")
    with layout.folders(reference, Path("drawn")):
        assert [finding.kind for finding in verify(SCALE).findings if finding.fails] == ["manifest"]


def test_a_figure_without_its_arrays_is_not_drawn_again(reference: Path) -> None:
    (reference / SCALE / samples("dpm_solver_fast")).unlink()
    figure = reference / SCALE / NAME / "figures" / "figure_blow_up.png"
    figure.write_bytes(b"as it was")
    assert "figure_blow_up: its arrays are not published; left as it is" in list(publish_again(SCALE, reference))
    assert figure.read_bytes() == b"as it was"


def test_a_result_that_its_record_was_not_made_from_is_not_published(run: Path, monkeypatch) -> None:
    monkeypatch.chdir(run)
    finish()
    path = Path("results", SCALE, samples("ddim"))
    save_arrays(path, load_arrays(path) | {"more": np.zeros(2)}, {})
    with pytest.raises(ConfigError, match="another file than the one that its records were made from"):
        publish([ring()], Path("elsewhere"))
    assert not Path("elsewhere").exists()


def test_limits_follow_what_is_published_in_the_checkout(run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(run)
    finish()
    table, folder = tmp_path / "rates.csv", tmp_path / "reference"
    monkeypatch.setattr(rates, "TABLE", table)
    monkeypatch.setattr(cost, "PUBLISHED", folder)
    publish([ring()], tmp_path / "elsewhere")
    assert not table.exists()
    monkeypatch.setattr("hsivi.publishing.publish.REFERENCE", folder)
    publish([ring()], folder)
    assert "sample,ring,ddim,mixture,ddim," in table.read_text()


def test_a_figure_that_reads_past_the_watch_is_found(run: Path, monkeypatch) -> None:
    """What is not seen is not kept, so the picture from the reduced files is another one, and nothing is published."""
    monkeypatch.chdir(run)
    finish()

    def render(name: str, scale: str, experiments: list[Experiment]) -> None:
        (report,) = [report for report in selected(experiments) if report.name == name]
        for path in report.outputs(scale):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str((layout.results_folder() / SCALE / samples("ddim")).exists()))

    monkeypatch.setattr("hsivi.publishing.publish.render", render)
    with pytest.raises(RuntimeError, match="got another picture from the reduced results"):
        publish([ring()], Path("elsewhere"))
    assert not list(Path("elsewhere").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scale", "paper"], ["got no results of scale paper", "hsivi publish"]),
        (["--scale", "smoke", "--experiments", "rin"], ["got 'rin'", "did you mean 'ring'"]),
        (["--scale", "smok"], ["got 'smok'", "did you mean 'smoke'"]),
    ],
)
def test_a_wrong_choice_is_one_line(arguments: list[str], words: list[str], reference: Path, capsys) -> None:
    assert main(["figures", "--from", str(reference), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words), line
