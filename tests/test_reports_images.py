"""Reports on sets of images, rendered from made-up results; no network is trained and none is loaded."""

import subprocess
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from matplotlib.figure import Figure
from scipy.stats import ttest_ind

import hsivi.__main__ as command_line
from hsivi import layout, methods, reporting
from hsivi.arrays import save_arrays
from hsivi.config import ROOT, ConfigError, load_experiment
from hsivi.data_config import ImageData
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.metrics.protocol import Protocol
from hsivi.record import Measurement, Record, write_json, write_record
from reports import (
    _blanks,
    _fan,
    _fid,
    _findings,
    _image_grid,
    _images,
    _page_run,
    _protocols,
    _style,
    index,
    table2,
    table3,
    table5,
)
from reports._page_numbers import Numbers
from reports._page_parts import Parts
from reports._tables import Table, latex
from reports._tables import groups as spans
from tests import rendering

N = 40
PRIORS, MEMBERS = 4, 8
DECLINED = "fastdpm"
WHY = "it asks for a network of its own"
PAPER = ("cifar10", "celeba", "imagenet64")
SCRIPTS = {
    "mnist": ("figure5", "figure11", "figure6_mnist", "figure_nfe_mnist", "table_samplers_mnist"),
    "fashion_mnist": ("figure_fashion_mnist", "table_samplers_fashion_mnist"),
    "celeba": ("figure6",),
}
OFF = ("analytic_ddim", "dpm_solver", "dpm_solver_multistep", "iddim")
"""Rows left out, for speed."""
SHARED = ("figure12", "table2", "table3", "table5")


@cache
def experiment(name: str, scope: str = "full", size: int = 16, nfe: tuple[int, ...] = (5, 10, 15)) -> Experiment:
    """Return an experiment with most rows of MNIST's."""
    base = load_experiment("mnist", "quick", scope)
    off = {label: base.methods[label].model_copy(update={"enabled": False}) for label in OFF}
    features: dict[str, Any] = {"kind": "inception"} if name in PAPER else {"kind": "classifier", "epochs": 1}
    data = ImageData(kind="images", datasets=(name,), seed=1, files="official", size=size, features=features)
    return base.model_copy(
        update={
            "name": name,
            "data": data,
            "nfe": nfe,
            "full_nfe": (),
            "seeds": (11, 12, 13),
            "methods": {**base.methods, **off},
        }
    )


def protocol(shown: Experiment, **changes: Any) -> Protocol:
    name = "inception" if shown.name in PAPER else f"{shown.name}_classifier"
    values: dict[str, Any] = {
        "extractor": name, "weights": "abc", "statistics": shown.name, "statistics_origin": "computed",
        "real_images": 60_000, "compared": "x", "rows": 20, "samples": N, "quantise": "round", "size": shown.data.size,
        "crop": "none",
    }  # fmt: skip
    return Protocol(**values | changes)


def value(label: str, nfe: int, seed: int) -> float:
    return 100 / nfe + zlib.crc32(label.encode()) % 100 + 0.1 * (seed % 5) if nfe else 1.0


def mean(shown: Experiment, label: str, nfe: int) -> float:
    return float(np.mean([value(label, nfe, seed) for seed in shown.seeds]))


def spread(label: str) -> float:
    return 0.0 if label == "ddim" else 0.25 + zlib.crc32(label.encode()) % 50 / 100


def images(shown: Experiment, cell: Cell) -> np.ndarray:
    """Return samples whose n-th image is the same in every cell but for the lowest bits."""
    channels, size = 3 if shown.name in PAPER else 1, shown.data.size
    same = np.random.default_rng(5).integers(0, 250, (len(shown.seeds), 1, N, channels, size, size))
    return (same + zlib.crc32(f"{cell.label}{cell.nfe}".encode()) % 6).astype(np.uint8)


def write(shown: Experiment, cell: Cell, own: Protocol | None = None, leave_out: tuple[str, ...] = ()) -> None:
    """Write the record and the samples of a cell."""
    declined, own = cell.label == DECLINED, own or protocol(shown)
    measured = [
        Measurement(seed=s, metric=own.named(metric), value=value(cell.label, cell.nfe, s), standard_error=None,
                    num_samples=count)
        for metric, count in ((_images.frechet(shown), N), (_images.kid(shown), 20))
        for s in shown.seeds
        if metric not in leave_out
    ]  # fmt: skip
    fan = Measurement(
        seed=11, metric="spread_given_prior", value=spread(cell.label), standard_error=0.01, num_samples=32
    )
    known = methods.rows(shown)[cell.label]
    record = Record(
        experiment=cell.experiment, dataset=cell.dataset, label=cell.label, baseline=known.baseline or cell.label,
        title=methods.title(shown, cell.label), scale=cell.scale, nfe=cell.nfe, trainings=int("hsivi" in cell.label),
        time_grid="hsivi", protocol=known.protocol, status="declined" if declined else "ok",
        reason=WHY if declined else None, config={}, measurements=() if declined else (*measured, fan),
        seconds={"sample": 1.0, "measure": 1.0}, device="cpu", dtype="uint8", environment={}, commit="c", digests={},
        command="python -m hsivi measure",
    )  # fmt: skip
    write_record(layout.CellFiles(cell).record, record)
    arrays: dict[str, Any] = {}
    if not declined:
        arrays["samples"] = images(shown, cell)
        event = arrays["samples"].shape[3:]
        steps = np.linspace(1, -1, max(cell.nfe, 1) + 1).reshape(-1, 1, 1, 1, 1, 1)
        arrays["fan"] = np.broadcast_to(steps, (len(steps), PRIORS, MEMBERS, *event)).astype(np.float16)[None]
    save_arrays(layout.CellFiles(cell).samples, arrays)


def write_all(shown: Experiment, data: bool = True) -> None:
    for cell in methods.cells(shown):
        write(shown, cell)
    files = layout.DatasetFiles(shown.scale, shown.name, shown.name)
    if data:
        save_arrays(files.data, {"x": np.zeros(1)})
    metadata = {"protocol": protocol(shown).metadata(), "facts": {"held_out_accuracy": 0.97}}
    write_json(layout.note(files.reference), {"metadata": metadata, "seconds": 1.0})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with a GPU, and with experiments of the paper that have the rows of MNIST's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_blanks, "has_device", lambda: True)
    monkeypatch.setattr(_blanks, "load_experiment", lambda name, scale: experiment(name))
    return tmp_path


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Keep figures instead of writing them."""
    kept: dict[str, Figure] = {}
    monkeypatch.setattr(_style, "save", lambda figure, scale, name: kept.update({name: figure}))
    return kept


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def render(name: str, *shown: Experiment) -> list[Path]:
    return rendering.render(name, "quick", *shown)


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(f"reports/quick/tables/{name}.csv", dtype=str, keep_default_na=False)


def words(figure: Figure) -> str:
    texts = [text for panel in figure.axes for text in (*panel.texts, panel.title, panel.yaxis.label)]
    return " ".join(" ".join(text.get_text().split()) for text in [*texts, *figure.texts])


def check_files(files: list[Path]) -> None:
    for path in files:
        if path.suffix == ".png":
            pixels = image.imread(path)
            assert min(pixels.shape[:2]) > 150 and pixels[..., :3].std() > 0.02
        elif path.suffix == ".tex":
            text = path.read_text()
            assert text.isascii()
            assert all(latex(cell) in text for cell in read(path.stem).to_numpy().ravel())


def test_every_script_renders_with_and_without_results(folder):
    for name, scripts in SCRIPTS.items():
        shown = experiment(name, "core", 16, (5,))
        write_all(shown)
        for script in scripts:
            check_files(render(script, shown))
    celeba = experiment("celeba", "core", 16, (5,))
    for script in SHARED:
        check_files(render(script, celeba))
    for script in ("table2", "table3", "table5"):
        check_files(render(script, experiment("imagenet64")))


# ------------------------------------------------------------------------------------------------------- several names
def test_a_script_of_several_experiments_shows_those_that_are_run():
    report = {r.name: r for r in reporting.reports()}["table2"]
    cifar, celeba, mnist = experiment("cifar10"), experiment("celeba"), experiment("mnist")
    assert report.shown({"celeba", "mnist", "cifar10"}) == ["cifar10", "celeba"]
    for run, shown in (([mnist], []), ([mnist, celeba], [celeba]), ([celeba, cifar], [cifar, celeba])):
        assert (report.name in {r.name for r in reporting.selected(run)}) == bool(shown)
        named = {e.name: e for e in run}
        wanted = {layout.DatasetFiles("quick", e.name, e.name).reference for e in shown}
        wanted |= {layout.CellFiles(c).record for e in shown for c in methods.cells(e)}
        inputs = set(report.inputs("quick", named, []))
        assert wanted <= inputs
        assert not any("mnist" in path.parts for path in inputs)
    assert {r.experiments for r in reporting.reports() if r.name == "figure5"} == {("mnist",)}


def test_the_page_places_it_under_the_first_that_is_run(folder):
    mnist, celeba, imagenet = experiment("mnist"), experiment("celeba"), experiment("imagenet64")
    run = [imagenet, mnist, celeba]
    report = {r.name: r for r in reporting.selected(run)}["table3"]
    write_all(celeba)
    render("table3", celeba)
    parts = Parts(Numbers("quick", tuple(run)), ())
    places = [parts.items(e, [report], {}) for e in (None, *run)]
    assert [len(tables) for tables in places] == [0, 0, 0, 1]
    assert places[3][0]["command"].endswith("report table3 --scale quick --scope full --experiments celeba imagenet64")


def test_the_command_line_gives_a_script_its_own_experiments(folder, monkeypatch, capsys):
    seen: list[Any] = []
    monkeypatch.setattr(command_line, "load_experiment", lambda name, scale, scope: experiment(name))
    monkeypatch.setattr(table2, "table", lambda scale, shown: seen.append([e.name for e in shown]) or Table((), (), ()))
    common = ["report", "table2", "--scale", "quick", "--experiments"]
    assert command_line.main([*common, "imagenet64", "mnist", "cifar10"]) == 0
    assert seen == [["cifar10", "imagenet64"]]
    assert command_line.main([*common, "mnist"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "got 'mnist', expected 'cifar10' or 'celeba' or 'imagenet64'; name one of those" in line


# --------------------------------------------------------------------------------------------------------- the figures
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_panels_show_the_same_first_images(folder, figures, name):
    shown = experiment(name)
    write_all(shown)
    _image_grid.draw("quick", shown, (10,), "grid")
    panels = {panel.get_title(): panel for panel in figures["grid"].axes if panel.get_title()}
    assert "Prior (control)" not in panels and "HSIVI-SM, isotropic variance, T = 10" not in panels
    frame = shown.data.size + 2
    for label in ("ddim", "hsivi_sm"):
        cell = Cell("quick", name, name, label, 10)
        drawn = np.asarray(panels[f"{methods.title(shown, label)}, T = 10"].images[0].get_array())
        drawn = drawn * 2 - 1 if drawn.ndim == 3 else drawn
        for index_, (row, column) in {0: (0, 0), 7: (1, 1), 35: (5, 5)}.items():
            found = drawn[row * frame + 1 : (row + 1) * frame - 1, column * frame + 1 : (column + 1) * frame - 1]
            wanted = images(shown, cell)[0, 0, index_].astype(float) / 127.5 - 1
            assert np.allclose(found, wanted.transpose(1, 2, 0).squeeze(), atol=1e-5)
    assert "declined" in words(figures["grid"])


def test_grids_say_what_is_shown(folder, figures):
    small, full = experiment("mnist", nfe=(5,)), experiment("mnist", size=32, nfe=(5,))
    for shown, said in ((small, True), (full, False)):
        write_all(shown)
        render("figure5", shown)
        assert ("Images: 16x16, area-averaged from 28x28 padded to 32x32" in words(figures["figure5"])) == said
    render("figure11", full)
    (text,) = [text.get_text() for panel in figures["figure11"].axes for text in panel.texts]
    assert " ".join(text.split()).startswith("not run: scale quick does not have it"), "T = 10 is not there"
    assert _images.facts(experiment("celeba")) == ["16x16, area-averaged from 64x64"]


def test_paths_start_at_one_prior(folder, figures):
    shown = experiment("mnist")
    write_all(shown)
    render("figure6_mnist", shown)
    figure = figures["figure6_mnist"]
    assert [panel.get_title() for panel in figure.axes] == [f"$x_{{{t}}}$" for t in (10, 8, 6, 4, 2, 0)]
    first, *_, last = (np.asarray(panel.images[0].get_array()) for panel in figure.axes)
    frame = shown.data.size + 2
    assert first.shape == (MEMBERS * frame, frame)
    assert first.max() == 1 and last.min() == -1 and last.max() == _image_grid.GAP
    said = words(figure)
    assert f"HSIVI-SM {spread('hsivi_sm'):.4f} ± 0.0100 (s.e.)" in said
    assert "DDIM 0.0000 ± 0.0100 (s.e.) (0 by construction)" in said and f"DDPM {spread('ddpm'):.4f}" in said
    assert _fan.times(3) == [3, 2, 1, 0] and _fan.times(5) == [5, 4, 3, 2, 1, 0]


def test_empty_panels_say_why(folder, figures):
    celeba = experiment("celeba", nfe=(5,))
    write_all(celeba)
    render("figure12", celeba)
    panels = figures["figure12"].axes
    texts = [" ".join(text.get_text() for text in panel.texts) for panel in panels]
    assert [bool(panel.images) for panel in panels] == [False] * 3 + [True, False, False] + [False] * 3
    assert all(text.startswith("no data:") for text in texts[:3] + texts[6:])
    assert all(text.startswith("not run:") and "SCALE=paper" in text.replace("\n", " ") for text in texts[4:6])
    assert panels[0].get_ylabel() == "CIFAR-10"


# ---------------------------------------------------------------------------------------------------------- the tables
def test_table_2_has_the_papers_layout(folder):
    cifar = experiment("cifar10")
    write_all(cifar)
    render("table2", cifar)
    table = read("table2").set_index(["method", "numbers"])
    groups = [f"{name} NFE {nfe}" for name in ("CIFAR-10", "CelebA", "ImageNet 64x64") for nfe in (5, 10, 15)]
    assert list(table.columns) == [*groups, "note"]
    printed = [name for name, numbers in table.index if numbers == "printed"]
    assert printed == [*("DDPM", "DDIM", "FastDPM", "Analytic-DDPM", "Analytic-DDIM", "DPM-Solver-fast", "HSIVI-SM")]
    assert list(table.loc["HSIVI-SM", "printed"])[:9] == [
        *("6.27", "4.31", "4.17", "6.22", "3.09", "2.23", "40.43", "17.67", "15.49")
    ]
    assert list(table.loc["FastDPM", "printed"])[6:9] == ["N/A"] * 3
    sd = np.std([value("ddim", 5, s) for s in cifar.seeds], ddof=1)
    assert table.loc[("DDIM", "ours"), "CIFAR-10 NFE 5"] == f"{mean(cifar, 'ddim', 5):.2f} ± {sd:.2f}"
    assert table.loc[("FastDPM", "ours"), "CIFAR-10 NFE 5"] == "declined"
    assert f"declined: {WHY}" in table.loc[("FastDPM", "ours"), "note"]
    assert table.loc[("DDPM", "ours"), "CelebA NFE 10"] == "no data"
    assert "CelebA: no data: results/quick/celeba/celeba/data.safetensors" in table.loc[("DDPM", "ours"), "note"]
    assert table.loc[("HSIVI-SM", "ours"), "note"] == "as above"
    own = protocol(cifar).fingerprint
    facts = table.loc[("protocol", "ours"), "CIFAR-10 NFE 5"]
    assert facts == f"{own}, {N} samples, 16x16, area-averaged from 32x32"
    assert ("DDPM, large variance", "ours") in table.index and ("DDPM, large variance", "printed") not in table.index
    assert not (table == "").any(axis=None)
    assert ("CIFAR-10", 3) in spans(table2.table("quick", [cifar]).columns)


def test_blanks_have_their_own_reasons(folder, monkeypatch):
    cifar = experiment("cifar10", nfe=(5, 10))
    cells = {(c.label, c.nfe): c for c in methods.cells(cifar)}
    write(cifar, cells["fastdpm", 5])
    write(cifar, cells["ddpm", 5], leave_out=("fid_inception",))

    def codes(*shown: Experiment) -> dict[tuple[str, int], str]:
        results = _blanks.Results.read("quick", shown)
        places = [("fastdpm", 5), ("ddpm", 5), ("ddim", 5), ("ddim", 15)]
        return {place: results.why("cifar10", *place).code for place in places}

    kept = {("fastdpm", 5): "declined", ("ddpm", 5): "not measured"}
    assert codes(cifar) == kept | {("ddim", 5): "no data", ("ddim", 15): "no data"}
    save_arrays(layout.DatasetFiles("quick", "cifar10", "cifar10").data, {"x": np.zeros(1)})
    assert codes(cifar) == kept | {("ddim", 5): "not run", ("ddim", 15): "not run"}
    monkeypatch.setattr(_blanks, "has_device", lambda: False)
    assert codes(cifar) == kept | {("ddim", 5): "no device", ("ddim", 15): "not run"}
    monkeypatch.setattr(_blanks, "has_device", lambda: True)
    nothing = _blanks.Results.read("quick", [])
    assert "not part of this run" in nothing.why("cifar10", "ddim", 5).reason
    reason = _blanks.Results.read("quick", [cifar]).why("cifar10", "ddim", 5).reason
    assert reason == "make reproduce SCALE=quick SCOPE=full EXPERIMENTS=cifar10 runs it"
    assert "SCALE=paper" in _blanks.Results.read("quick", [cifar]).why("cifar10", "ddim", 15).reason
    trial = _blanks.Results("smoke", {"cifar10": cifar.model_copy(update={"scale": "smoke"})})
    save_arrays(layout.DatasetFiles("smoke", "cifar10", "cifar10").data, {"x": np.zeros(1)})
    monkeypatch.setattr(_blanks, "has_device", lambda: False)
    assert trial.why("cifar10", "ddim", 5).code == "not run", "trials need no GPU"


def test_a_device_is_found_without_torch(monkeypatch):
    for found in (None, "/usr/bin/nvidia-smi"):
        monkeypatch.setattr(_blanks.shutil, "which", lambda name, found=found: found)
        assert _blanks.has_device() == (found is not None)


def test_two_protocols_are_not_mixed(folder):
    shown = experiment("mnist", "core", 16, (5,))
    write_all(shown)
    write(shown, Cell("quick", "mnist", "mnist", "ddim", 5), protocol(shown, quantise="truncate"))
    for script in ("table_samplers_mnist", "figure_nfe_mnist"):
        with pytest.raises(ConfigError, match="got values of 2 protocols"):
            render(script, shown)
    with pytest.raises(ConfigError, match="got values of 2 protocols"):
        _findings.on_images(shown)
    cifar = experiment("cifar10", "core", 16, (5,))
    write_all(cifar)
    write(cifar, Cell("quick", "cifar10", "cifar10", "ddim", 5), protocol(cifar, samples=N + 1))
    for script in ("table2", "table3"):
        with pytest.raises(ConfigError, match="got values of 2 protocols"):
            render(script, cifar)


def test_table_3_compares_the_two_variances(folder):
    cifar = experiment("cifar10")
    write_all(cifar)
    render("table3", cifar)
    table = read("table3").set_index(["CIFAR-10", "numbers"])
    assert list(table.columns) == [*table3.COLUMNS.values(), "note"]
    assert list(table.loc["NFE 10", "printed"])[:4] == ["278.65", "13.73", "4.78", "4.31"]
    sd = f"{np.std([value('ddim', 5, s) for s in cifar.seeds], ddof=1):.2f}"
    ours = [f"{mean(cifar, label, 10):.2f} ± {sd}" for label in table3.COLUMNS]
    assert list(table.loc["NFE 10", "ours"])[:4] == ours
    render("table3", experiment("celeba"))
    assert set(read("table3").set_index(["CIFAR-10", "numbers"]).loc["NFE 5", "ours"][:4]) != {""}
    core = experiment("cifar10", "core")
    cell = _fid.Numbers(_blanks.Results.read("quick", [core])).cell("cifar10", "hsivi_sm-isotropic", 5)
    assert cell[0].text == "not run", "the row is in scope full only"


def test_table_5_counts(folder):
    cifar = experiment("cifar10", size=32)
    note = layout.note(layout.DatasetFiles("quick", "cifar10", "cifar10").score_model)
    write_json(note, {"parameters": 35_746_307, "checkpoint": {"file": "cifar10.pt"}})
    render("table5", cifar)
    table = read("table5").set_index("data set")
    row = table.loc["CIFAR-10"]
    assert (row["network"], row["variances"]) == ("35,746,307", "3,072")
    assert row["with HSIVI-SM's variances"] == "35,749,379" and row["printed"] == "38.72 million"
    assert "probably a transposition" in row["note"] and "another network" not in row["note"]
    assert table.loc["CelebA", "network"] == "no data" and table.loc["CelebA", "printed"] == "78.66 million"
    assert table.loc["CelebA", "variances"] == "12,288" and table.loc["ImageNet 64x64", "printed"] == "N/A"
    write_json(note, {"parameters": 5})
    render("table5", cifar)
    assert "scale quick has another network" in read("table5").set_index("data set").loc["CIFAR-10", "note"]
    assert table5.STATED["celeba"] == 78_700_803


def test_tables_of_samplers_name_the_protocol(folder):
    shown = experiment("fashion_mnist")
    write_all(shown)
    render("table_samplers_fashion_mnist", shown)
    table = read("table_samplers_fashion_mnist").set_index(["metric", "sampler"])
    heading = f"fd_fashion_mnist_classifier@{protocol(shown).fingerprint}, 16x16"
    assert list(table.index.unique("metric"))[0::2] == [heading, "spread_given_prior"]
    assert table.loc[(heading, "DDIM"), "NFE 5"].startswith(f"{mean(shown, 'ddim', 5):.4f} ± ")
    assert table.loc[("spread_given_prior", "DDIM"), "NFE 5"] == "0.0000"
    assert table.loc[(heading, "FastDPM"), "note"] == WHY


# ------------------------------------------------------------------------------------------------- sentences and page
def test_findings_compare_with_ddim_and_ddpm(folder):
    shown = experiment("mnist")
    write_all(shown)
    sentences = _findings.findings([shown])
    assert [sentence.partition(":")[0] for sentence in sentences] == [f"mnist, NFE {nfe}" for nfe in (5, 10, 15)]
    ours, theirs = ([value(label, 5, s) for s in shown.seeds] for label in ("hsivi_sm", "ddim"))
    below = np.mean(ours) < np.mean(theirs)
    assert ttest_ind(ours, theirs, equal_var=False).pvalue < 0.05
    ratio = (np.mean(ours) - np.mean(theirs)) / np.hypot(np.std(ours, ddof=1), np.std(theirs, ddof=1)) * np.sqrt(3)
    word = "below" if below else "ABOVE"
    assert f"{word} ({ratio:+.1f} s.e.) DDIM ({np.mean(theirs):.4f}) and " in sentences[0]
    assert f"fd_mnist_classifier@{protocol(shown).fingerprint} {np.mean(ours):.4f}" in sentences[0]
    assert sentences[0].endswith("3 seeds of sampling, of one training")


def test_margins_compare_on_the_classifiers_features(folder):
    shown = experiment("mnist", "core", 16, (5,))
    write_all(shown)
    render("margins", shown)
    bare = {metric.partition("@")[0] for metric in read("margins")["metric"]}
    assert bare == {"fd_mnist_classifier", "kid_mnist_classifier"}


def test_the_page_explains_every_fingerprint(folder):
    shown = experiment("mnist", "core", 16, (5,))
    write_all(shown)
    ddim = Cell("quick", "mnist", "mnist", "ddim", 5)
    for own, said in (
        (protocol(shown), f"{N} samples a set"),
        (protocol(shown).of(20), "20 samples a set"),
        (protocol(shown, weights="other"), "of an earlier reference"),
    ):
        write(shown, ddim, own)
        results = _blanks.Results.read("quick", [shown]).of("mnist")
        lines = _protocols.about(shown, results)
        (line,) = [line for line in lines if line.startswith(own.fingerprint)]
        assert said in line
        assert ("features of mnist_classifier, weights abc" in line) == (said[0] != "o")
    assert "whatever is trained is trained once, with seed 11" in " ".join(lines)
    assert _protocols.about(load_experiment("digits", "quick", "core"), []) == []


BARE_PAGE: dict[str, Any] = {
    **dict.fromkeys(("counts", "claims", "ledger_columns", "findings", "question", "parts", "methods"), ()),
    **dict.fromkeys(("scale", "title", "metrics", "experiment_flag"), ""),
    "choices": dict.fromkeys(("dataset", "method", "nfe", "metric", "verdict"), ()),
    "ledger": {"name": "", "names": [], "rows": []},
    "ledger_report": {"files": (), "command": ""},
    "run": {"environments": [], "work_minutes": 0, "finished": "", "commits": [], "devices": []},
    "data": {"numbers": {"rows": []}},
}
"""A page without results."""


def test_the_page_knows_imported_networks(folder):
    trained, imported = experiment("mnist"), experiment("cifar10")
    for shown in (trained, imported):
        write_all(shown)
        facts = {"recipe": {"iterations": 7}} if shown is trained else {"checkpoint": {"file": "c.pt", "sha256": "d1"}}
        note = layout.note(layout.DatasetFiles("quick", shown.name, shown.name).score_model)
        write_json(note, {"parameters": 3, "seconds": 1.0, "command": "x", **facts})
    first, second = _page_run.training("quick", [trained, imported])
    assert (first["iterations"], first["checkpoint"], first["accuracy"]) == (7, None, 0.97)
    assert (second["iterations"], second["checkpoint"]["file"]) == (None, "c.pt")
    page = index.page(**BARE_PAGE, training=[first, second])
    assert "imported from c.pt, SHA-256 <code>d1</code>" in page and "<td>7</td>" in page


def test_reports_on_images_need_no_torch():
    names = [name for scripts in (*SCRIPTS.values(), SHARED) for name in scripts]
    code = f"import sys, importlib\nfor n in {names}: importlib.import_module('reports.' + n)\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
