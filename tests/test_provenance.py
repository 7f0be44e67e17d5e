"""Digests, records and layout: what is made again, and what is written."""

import ast
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsivi import layout, methods, provenance, reporting
from hsivi.config import ROOT, ConfigError, load_experiment
from hsivi.metrics.statistics import standard_error
from hsivi.record import (
    Measurement,
    Record,
    content_digest,
    edited_allowed,
    read_json,
    read_record,
    write_record,
)
from hsivi.stages import settings
from hsivi.tidy import tidy

DDPM, DDIM = ROOT / "baselines" / "ddpm.py", ROOT / "baselines" / "ddim.py"


def some_record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "experiment": "toy2d", "dataset": "moons", "label": "ddim", "baseline": "ddim", "title": "DDIM",
        "scale": "smoke", "nfe": 5, "time_grid": "hsivi", "status": "ok", "config": {"eta": 0.0},
        "measurements": (Measurement(seed=0, metric="js_cell", value=0.1, standard_error=None, num_samples=10),),
        "seconds": {"sample": 1.0}, "device": "cpu", "dtype": "float32", "environment": {}, "commit": "abc",
        "digests": {}, "command": "snakemake",
    }  # fmt: skip
    return Record(**{**values, **changes})


IMPORTS = """
import a
async def f():
    async with x: import b
class C:
    try: import c
    except E: import d
    else: import e
    finally: import f
if x: import g
elif y: import h
else: import i
for _ in x: import j
else: import k
while x: import l
with x: import m
match x:
    case 1: import n
"""


def test_imports_are_found_wherever_they_stand() -> None:
    tree = ast.parse(IMPORTS)
    expected = [node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)]
    found = [node.names[0].name for node in provenance._statements(tree.body) if isinstance(node, ast.Import)]
    assert sorted(found) == sorted(expected) == list("abcdefghijklmn")


def test_a_source_file_that_was_written_again_has_another_digest(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    source = tmp_path / "new.py"
    digests = set()
    for k in range(2):
        source.write_text(f"x = {k}\n")
        os.utime(source, ns=(k, k))
        digests.add(provenance.code_digest(source))
    assert len(digests) == 2


def test_code_digest_covers_what_a_file_imports() -> None:
    imported = {p.name for p in provenance.imported_files(ROOT / "baselines" / "hsivi_sm.py")}
    assert {"train.py", "hierarchy.py", "objective.py", "gaussian.py", "noise.py"} <= imported
    assert "hsivi_sm.py" not in {p.name for p in provenance.imported_files(DDPM)}
    assert provenance.code_digest(DDPM) != provenance.code_digest(DDIM)


def test_stages_do_not_depend_on_reports_or_on_the_command_line() -> None:
    for stage in ("data", "pretrain", "reference", "fit", "sample", "measure"):
        files = provenance.imported_files(provenance.stage_file(stage))
        assert not [f for f in files if "reports" in f.parts or f.name == "__main__.py"]


def test_a_methods_settings_touch_only_its_own_cells() -> None:
    before = load_experiment("toy2d", "quick")
    recipe = before.recipes["recommended"]
    faster = recipe.model_copy(update={"values": {**recipe.values, "learning_rate": 1.0}})
    after = before.model_copy(update={"recipes": {**before.recipes, "recommended": faster}})
    changed = {c.label for c in methods.cells(before) if settings.of_sample(before, c) != settings.of_sample(after, c)}
    assert changed == {"hsivi_sm"}
    assert settings.of_score_model(before) == settings.of_score_model(after)


def test_more_samples_and_other_metrics_train_nothing() -> None:
    for name, field in (("toy2d", {"floor_pairs": 99}), ("digits", {"classifier_epochs": 99})):
        before = load_experiment(name, "quick")
        more = before.model_copy(update={"num_samples": 12_345, "data": before.data.model_copy(update=field)})
        assert settings.of_score_model(before) == settings.of_score_model(more)
        assert settings.of_reference(before) != settings.of_reference(more)
        for cell in methods.cells(before):
            assert settings.of_fit(before, cell) == settings.of_fit(more, cell)
            assert settings.of_sample(before, cell) != settings.of_sample(more, cell)


def test_another_data_set_leaves_the_others_alone() -> None:
    after = load_experiment("toy2d", "quick")
    before = after.model_copy(update={"data": after.data.model_copy(update={"datasets": ("moons",)})})
    assert settings.of_data(before) == settings.of_data(after)
    assert settings.of_score_model(before) == settings.of_score_model(after)
    assert settings.of_reference(before) == settings.of_reference(after)


def test_more_seeds_do_not_train_the_score_model_again() -> None:
    before = load_experiment("toy2d", "quick")
    after = before.model_copy(update={"seeds": (*before.seeds, 99)})
    assert settings.of_score_model(before) == settings.of_score_model(after)
    assert settings.of_reference(before) == settings.of_reference(after)


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers(), max_size=3), max_size=4))
def test_digest_ignores_the_order_of_keys(value: dict[str, Any]) -> None:
    assert provenance.digest(value) == provenance.digest(dict(reversed(list(value.items()))))


def test_record_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record = some_record()
    write_record(path, record)
    read = read_record(path)
    assert read.sha256 == content_digest(record.model_dump(mode="json"))
    assert read == record.model_copy(update={"sha256": read.sha256})
    write_record(path, read)
    assert read_record(path) == read, "a record's digest does not cover itself"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"], "no partial file is left"


@pytest.mark.parametrize(
    "edit",
    [{"seconds": {"sample": 2.5}}, {"title": "another"}, {"sha256": ""}, {"sha256": "0" * 64}],
    ids=str,
)
def test_an_edited_record_is_refused_in_one_line(edit: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, some_record())
    edited = read_json(path) | edit
    path.write_text(json.dumps(edited))
    with pytest.raises(ConfigError, match=r"somebody edited it, so measure it again: rm .*record.json") as error:
        read_record(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    with edited_allowed():
        assert read_record(path).sha256 == edited["sha256"]
    with pytest.raises(ConfigError):
        read_record(path)


def test_a_value_of_a_record_cannot_be_edited_unseen(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    measured = Measurement(seed=0, metric="a", value=0.1, standard_error=None, num_samples=10)
    write_record(path, some_record(measurements=(measured,)))
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text)))
    assert read_record(path).measurements == (measured,), "white space is no content"
    path.write_text(text.replace("0.1", "0.10000000000000002"))
    with pytest.raises(ConfigError, match="differs from its digest"):
        read_record(path)


def test_records_without_a_digest_are_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    content = some_record().model_dump(mode="json") | {"schema_version": 1}
    del content["sha256"]
    path.write_text(json.dumps(content))
    for context in (contextlib.nullcontext(), edited_allowed()):
        with context, pytest.raises(ConfigError, match=r"version 1.* run snakemake, which measures again"):
            read_record(path)


def test_tidy_has_one_row_a_measurement() -> None:
    both = (
        Measurement(seed=0, metric="a", value=1.0, standard_error=None, num_samples=10),
        Measurement(seed=1, metric="a", value=2.0, standard_error=0.1, num_samples=10),
    )
    table = tidy([some_record(measurements=both), some_record(label="ddpm")])
    assert len(table) == 3
    required = {"experiment", "dataset", "method", "nfe", "seed", "metric", "value", "standard_error", "num_samples"}
    assert required <= set(table.columns)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_cannot_be_recorded(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Measurement(seed=0, metric="a", value=value, standard_error=None, num_samples=10)


def test_broken_records_are_named(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(ConfigError, match="no such file"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="broken JSON in line 1"):
        read_json(path)
    path.write_text(json.dumps({**some_record().model_dump(mode="json"), "nfe": "five"}))
    with pytest.raises(ConfigError, match=r"record.json: nfe: got 'five'"):
        read_record(path)


def test_standard_error() -> None:
    assert standard_error([1.0]) is None
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)  # sd sqrt(2), over sqrt(2)


def test_layout_keeps_scales_apart() -> None:
    paths = set()
    for scale in ("smoke", "quick", "paper"):
        for cell in methods.cells(load_experiment("toy2d", scale)):
            files = layout.CellFiles(cell)
            paths |= {files.fit, files.samples, files.record, layout.scratch(files.fit), layout.note(files.samples)}
            assert f"results/{scale}/" in str(files.record)
    assert all(not p.is_absolute() and ".." not in p.parts for p in paths)


def test_methods_are_read_without_being_run(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.py"
    hostile.write_text(
        '"""Doc."""\nTITLE = "x"\nCITATION = "y"\nraise SystemExit\nclass Config: ...\ndef sample(): ...\n'
    )
    assert methods.describe(hostile).title == "x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TITLE = 'x'\n", "module docstring"),
        ('"""Doc."""\nCITATION = "y"\n', "TITLE"),
        ('"""Doc."""\nTITLE = "x"\nCITATION = "y"\nclass Config: ...\n', "function sample"),
        ("def (", "invalid Python in line 1"),
    ],
)
def test_an_unfinished_baseline_is_explained(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        methods.describe(path)
    assert "expected" in str(caught.value) and "\n" not in str(caught.value)


def test_a_new_file_becomes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(DDIM.read_text().replace('TITLE = "DDIM"', 'TITLE = "Mine"'))
    found = {**methods.method_files(), "mine": mine}
    monkeypatch.setattr(methods, "method_files", lambda: found)
    for scope, budgets in (("core", (5, 10)), ("full", (5, 10, 15, 20, 50))):
        experiment = load_experiment("toy2d", "quick", scope)
        cells = [cell for cell in methods.cells(experiment) if cell.label == "mine"]
        assert [(c.dataset, c.nfe) for c in cells] == [(d, n) for d in experiment.data.datasets for n in budgets]


def test_reports_declare_what_they_write() -> None:
    reports = reporting.reports()
    assert {report.name for report in reports if report.scope == "full"} == {"figure_mix", "figure_mix_digits"}
    for scope, shown in (("core", False), ("full", True)):
        names = {report.name for report in reporting.selected([load_experiment("ring", "quick", scope)])}
        assert "figure_nfe_ring" in names and ("figure_mix" in names) == shown
    assert {"table1", "figure4", "figure7", "figure10", "figure_digits", "index"} <= {r.name for r in reports}
    written = [path for report in reports for path in report.outputs("quick")]
    assert len(written) == len(set(written))
