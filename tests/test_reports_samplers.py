"""Reports on samplers, rendered from made-up results of the real experiments in both scopes."""

import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import image
from matplotlib.figure import Figure

from hsivi import layout, methods
from hsivi.arrays import save_arrays
from hsivi.config import load_experiment
from hsivi.data.mixture import Mixture
from hsivi.dpm_solver import ExponentialIntegrator, Stage
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Measurement, Record, write_record
from hsivi.schedule import LinearBetaSchedule
from hsivi.time_grid import fast_orders, time_grid
from reports import _ddim, _mix, _samplers, _style
from reports._findings import blow_up, findings, ranks
from reports._records import title
from reports._tables import latex
from tests.rendering import REPORTS, render

SCRIPTS = (
    *("figure_nfe_ring", "figure_nfe_toy2d", "figure_nfe_digits", "figure_blow_up", "figure_mix", "figure_mix_digits"),
    *("figure_ddim_ring", "figure_ddim_toy2d", "figure_ddim_digits"),
    *("table_samplers_ring", "table_samplers_toy2d", "table_samplers_digits"),
)
METRICS = {
    "ring": ("js_cell", "off_mode", "modes_found", "within_mode_sd"),
    "toy2d": ("js_cell", "jdist_ite"),
    "digits": ("fd_digits_classifier", "kid_digits_classifier"),
}
DECLINED = {("ring", "hsivi_sm"), ("toy2d", "fastdpm")}
WHY = "it asks for a network_of_its_own"
FLOOR, FLOOR_SD = 0.0001, 0.0002
N = 70
RUNS = (("smoke", "core"), ("quick", "full"))


def value(label: str, nfe: int, metric: str, seed: int) -> float:
    """Return a made-up number, different for every row, that falls with the number of evaluations."""
    return 0.5 / (nfe + 1) + zlib.crc32(f"{label} {metric}".encode()) % 1000 / 4000 + 0.001 * (seed % 5)


def mean(experiment: Experiment, label: str, nfe: int, metric: str) -> float:
    return float(np.mean([value(label, nfe, metric, seed) for seed in experiment.seeds]))


def write(experiment: Experiment, cell: Cell) -> None:
    """Write the record and the samples of a cell."""
    declined = (experiment.name, cell.label) in DECLINED
    metrics = () if declined else METRICS[experiment.name]
    floor = {} if experiment.name == "digits" else {"floor": FLOOR, "floor_std": FLOOR_SD}
    row = methods.rows(experiment)[cell.label]
    record = Record(
        experiment=cell.experiment,
        dataset=cell.dataset,
        label=cell.label,
        baseline=row.baseline or cell.label,
        title=title(experiment, cell.label),
        scale=cell.scale,
        nfe=cell.nfe,
        time_grid=methods.time_grid_name(experiment, cell.label, cell.nfe),
        protocol=row.protocol,
        status="declined" if declined else "ok",
        reason=WHY if declined else None,
        config={"chain": "mixed", "mix": 1.0} | dict(row.config),
        measurements=tuple(
            Measurement(
                seed=s, metric=m, value=value(cell.label, cell.nfe, m, s), standard_error=None, num_samples=N, **floor
            )
            for m in metrics
            for s in experiment.seeds
        ),
        **dict.fromkeys(("device", "dtype", "commit", "command"), ""),
        seconds={},
        environment={},
        digests={},
    )
    write_record(layout.CellFiles(cell).record, record)
    save_arrays(layout.CellFiles(cell).samples, {} if declined else arrays(experiment, cell))


def arrays(experiment: Experiment, cell: Cell) -> dict[str, Any]:
    """Return samples, and for DDIM its illustrations, whose errors are 1 / NFE in every coordinate."""
    event = (1, 8, 8) if experiment.name == "digits" else (2,)
    rng = np.random.default_rng(7)  # the same for every cell, as x_T
    found = {"samples": rng.standard_normal((len(experiment.seeds), 1, N, *event)) + 1 / (cell.nfe + 1)}
    if cell.nfe <= 50 and event == (2,):
        found["trajectory"] = np.stack([found["samples"][0, 0] * (t + 1) for t in range(cell.nfe + 1)])
    if cell.label == "ddim":
        found["reconstruction_original"] = rng.standard_normal((64, *event))
        found["reconstruction_decoded"] = found["reconstruction_original"] + 1 / cell.nfe
        found["interpolation"] = rng.standard_normal((6, 11, *event))
    return {name: array.astype(np.float32) for name, array in found.items()}


@cache
def load(name: str, scale: str, scope: str) -> Experiment:
    return load_experiment(name, scale, scope)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Write all results of both runs, each in a folder of its own."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        for run in RUNS:
            folders[run] = tmp_path_factory.mktemp("-".join(run))
            patch.chdir(folders[run])
            for name in METRICS:
                experiment = load(name, *run)
                for cell in methods.cells(experiment):
                    write(experiment, cell)
    return folders


@pytest.fixture(params=RUNS, ids="-".join)
def run(request: Any, results: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Go where one of the runs has its results."""
    monkeypatch.chdir(results[request.param])
    return request.param


@pytest.fixture
def full(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go where the full run has its results."""
    monkeypatch.chdir(results["quick", "full"])


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Keep figures instead of writing them."""
    kept: dict[str, Figure] = {}
    monkeypatch.setattr(_style, "save", lambda figure, scale, name: kept.update({name: figure}))
    return kept


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close figures, of which a report has only one."""
    yield
    plt.close("all")


def read(name: str, scale: str = "quick") -> pd.DataFrame:
    path = Path("reports", scale, "tables", f"{name}.csv")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_renders(run: tuple[str, str], name: str) -> None:
    scale, scope = run
    (experiment,) = REPORTS[name].experiments
    for path in render(name, scale, load(experiment, scale, scope)):
        if path.suffix == ".png":
            pixels = image.imread(path)
            assert min(pixels.shape[:2]) > 150
            assert pixels[..., :3].std() > 0.02
        elif path.suffix == ".svg":
            assert path.read_text().rstrip().endswith("</svg>")
        elif path.suffix == ".tex":
            text = path.read_text()
            assert text.isascii()
            assert all(latex(cell) in text for cell in read(name, scale).to_numpy().ravel())
        elif path.suffix == ".md":
            lines = [line.strip("| ").split(" | ") for line in path.read_text().splitlines()]
            assert lines[2:] == read(name, scale).to_numpy().tolist()


# ---------------------------------------------------------------------------------------------------------- the tables
@pytest.mark.usefixtures("full")
def test_cells_are_the_numbers_of_the_records():
    ring = load("ring", "quick", "full")
    render("table_samplers_ring", "quick", ring)
    table = read("table_samplers_ring").set_index(["metric", "sampler"])
    assert list(table.columns[:2]) == ["protocol", "time grid"]
    assert list(table.columns[2:]) == [*(f"NFE {nfe}" for nfe in (0, 4, 5, 10, 15, 20, 50, 1000)), "note"]
    sd = np.std([value("ddim", 10, "js_cell", s) for s in ring.seeds], ddof=1)
    for metric, heading, digits in (("js_cell", "js_cell (nats)", 4), ("modes_found", "modes found, of 8", 2)):
        for label in methods.rows(ring):
            row = table.loc[(heading, title(ring, label))]
            known = {cell.nfe for cell in methods.cells(ring) if cell.label == label}
            for nfe in (0, 4, 5, 10, 15, 20, 50, 1000):
                shown = row[f"NFE {nfe}"].removesuffix(_samplers.BEST)
                number = f"{mean(ring, label, nfe, metric):.{digits}f} ± {sd:.{digits}f}"
                assert shown == ("–" if nfe not in known else "declined" if label == "hsivi_sm" else number)
    assert table.loc["js_cell (nats)", "HSIVI-SM"]["note"] == WHY
    assert set(table.drop(index="HSIVI-SM", level="sampler")["note"]) == {"–"}
    assert table.loc["js_cell (nats)", "DDPM, as published"]["protocol"] == "as published"
    assert table.loc["js_cell (nats)", "DDIM"]["time grid"] == "ddim_quad_floor, full"
    assert table.loc["js_cell (nats)", "Prior (control)"]["time grid"] == "–"
    order = list(table.loc["js_cell (nats)"].protocol)
    assert order.index("as published") == order.count("common") - len(_samplers.CONTROLS), "after the rows to compare"


@pytest.mark.usefixtures("full")
def test_the_best_of_protocol_common_is_marked():
    ring = load("ring", "quick", "full")
    render("table_samplers_ring", "quick", ring)
    table = read("table_samplers_ring").set_index(["metric", "sampler"])
    common = [label for label, row in methods.rows(ring).items() if row.protocol == "common"]
    common = [label for label in common if label not in ("prior", "reference", "hsivi_sm")]
    for nfe in (4, 5, 10, 15, 20, 50, 1000):
        run_ = [cell.label for cell in methods.cells(ring) if cell.nfe == nfe and cell.label in common]
        for metric, heading, wanted in (
            ("js_cell", "js_cell (nats)", -np.inf),
            ("off_mode", "share off all modes", FLOOR),
        ):
            loss = {label: round(mean(ring, label, nfe, metric), 4) for label in run_}
            loss = {label: x if wanted < 0 else abs(x - FLOOR) for label, x in loss.items()}
            best = {title(ring, label) for label in run_ if loss[label] <= min(loss.values()) + 1e-9}
            column = table.loc[heading][f"NFE {nfe}"]
            assert set(column[column.str.endswith(_samplers.BEST)].index) == best
    assert not table.loc["modes found, of 8"].map(lambda text: text.endswith(_samplers.BEST)).any(axis=None)
    assert not table["NFE 0"].str.endswith(_samplers.BEST).any(), "controls do not compete"


def test_scope_core_has_its_own_rows_only(results, monkeypatch):
    monkeypatch.chdir(results["smoke", "core"])
    for name in METRICS:
        core, everything = load(name, "smoke", "core"), load(name, "smoke", "full")
        render(f"table_samplers_{name}", "smoke", core)
        table = read(f"table_samplers_{name}", "smoke")
        shown = {title(everything, label) for label in methods.rows(core)}
        assert set(table.sampler) == shown
        assert shown < {title(everything, label) for label in methods.rows(everything)}
        assert "note" not in table.columns, "nothing declines"
        assert [column for column in table.columns if column.startswith("NFE")][:2] == ["NFE 0", "NFE 5"]


@pytest.mark.usefixtures("full")
def test_one_row_stands_for_its_family():
    ring = load("ring", "quick", "full")
    known = _samplers.main_rows(ring)
    assert {"ddpm", "ddpm-large", "ddim", "dpm_solver", "iddim", "hsivi_sm"} <= set(known)
    assert [label for label in known if "-" in label] == ["ddpm-large"]
    assert not {"prior", "reference"} & set(known)
    rows = {label: row for label, row in ring.methods.items() if label not in ("iddim", "hsivi_sm")}
    variants = ring.model_copy(update={"methods": rows})
    chosen = [label for label in _samplers.main_rows(variants) if label.startswith("iddim")]
    assert chosen in (["iddim"], ["iddim-0"])
    colours = [_style.colour(label) for label in known if label != "ddpm-large"]
    markers = [_style.marker(label) for label in known if label != "ddpm-large"]
    assert len(set(colours)) == len(colours)
    assert len(set(markers)) == len(markers)
    assert len(set(_style.COLOURS.values())) == len(_style.COLOURS) - 1, "only the two controls share one"


# --------------------------------------------------------------------------------------------------------- the figures
@pytest.mark.usefixtures("full")
def test_lines_are_means_over_seeds(figures):
    toys = load("toy2d", "quick", "full")
    render("figure_nfe_toy2d", "quick", toys)
    figure = figures["figure_nfe_toy2d"]
    assert [panel.get_title() for panel in figure.axes] == list(toys.data.datasets)
    panel = figure.axes[1]
    lines = {line.get_color(): line for line in panel.get_lines() if len(line.get_xdata()) > 2}
    ddim = lines[_style.colour("ddim")]
    assert list(ddim.get_xdata()) == [5, 10, 15, 20, 50]
    assert np.allclose(ddim.get_ydata(), [mean(toys, "ddim", nfe, "js_cell") for nfe in (5, 10, 15, 20, 50)])
    assert _style.colour("fastdpm") not in lines, "declined"
    (stars,) = (line for line in panel.get_lines() if line.get_marker() == "*")
    assert stars.get_linestyle() == "None", "trained for each budget"
    assert np.allclose(stars.get_ydata(), [mean(toys, "hsivi_sm", nfe, "js_cell") for nfe in (5, 10)])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "FastDPM (declined)" in words
    assert {"DDIM", "HSIVI-SM", "draws of the target"} <= set(words)
    assert any(np.allclose(line.get_ydata(), FLOOR) for line in panel.get_lines())


def test_figures_say_what_was_not_run(results, monkeypatch, figures):
    monkeypatch.chdir(results["smoke", "core"])
    ring = load("ring", "smoke", "core")
    for name in ("figure_mix", "figure_blow_up"):
        render(name, "smoke", ring)
        words = [text.get_text() for panel in figures[name].axes for text in panel.texts]
        assert any("not run in scope core" in text and "SCOPE=full EXPERIMENTS=ring" in text for text in words)
    off = {label: row.model_copy(update={"enabled": False}) for label, row in ring.methods.items()}
    nothing = ring.model_copy(update={"methods": off})
    for name in ("figure_nfe_ring", "figure_blow_up", "figure_ddim_ring", "figure_mix"):
        render(name, "smoke", nothing)
        assert any("not run" in text.get_text() for panel in figures[name].axes for text in panel.texts)


@pytest.mark.usefixtures("full")
def test_the_best_m_is_that_of_the_lowest_mean(figures):
    ring = load("ring", "quick", "full")
    table = _mix.sweep(ring, "js_cell")
    assert set(table.chain) == {"mixed", "separate"}
    assert set(table.nfe) == {4, 10, 20, 50}
    labels = {
        0.0: "iddim-0",
        0.1: "iddim-0_1",
        0.2: "iddim-0_2",
        0.3: "iddim",
        0.4: "iddim-0_4",
        0.6: "iddim-0_6",
        1.0: "iddim-radical",
    }
    lowest = min(labels, key=lambda m: mean(ring, labels[m], 10, "js_cell"))
    separate = table[table.chain == "separate"]
    assert set(separate.m) == set(labels)
    assert _mix.best(separate).m[10] == lowest
    ends = table[(table.chain == "mixed") & (table.nfe == 4) & (table.m == 0)]
    assert np.allclose(ends.value, [value("iddim-0", 4, "js_cell", s) for s in ring.seeds])
    render("figure_mix", "quick", ring)
    left, *_, right = figures["figure_mix"].axes
    assert f"NFE 10: best m = {lowest:g}" in [text.get_text() for text in left.get_legend().get_texts()]
    words = [text.get_text() for text in right.get_legend().get_texts()]
    assert words == ["NFE 4: best m = 1", "NFE 10: best m = 0.4", "NFE 20: best m = 0.3", "NFE 50: best m = 0.1"]


@pytest.mark.usefixtures("full")
def test_errors_of_ddim_are_those_of_the_arrays():
    found = _ddim.runs(load("ring", "quick", "full"), "unit_ring")
    assert list(found) == [5, 10, 15, 20, 50], "1000 is on another grid"
    means = _ddim.errors(found).groupby(["what", "nfe"]).value.mean()
    for nfe in (5, 10, 15, 20):
        assert means[_ddim.RECONSTRUCTION, nfe] == pytest.approx(nfe**-2, rel=1e-3)
        assert means[_ddim.CONSISTENCY, nfe] == pytest.approx((1 / (nfe + 1) - 1 / 51) ** 2, rel=1e-3)
    assert (_ddim.CONSISTENCY, 50) not in means.index
    assert _ddim.errors({5: {"samples": found[5]["samples"]}}).empty, "nothing to compare with"


@pytest.mark.usefixtures("full")
def test_the_blow_up_shows_the_first_seed(figures):
    ring = load("ring", "quick", "full")
    render("figure_blow_up", "quick", ring)
    panel, *_, sizes = figures["figure_blow_up"].axes[:5]
    x = arrays(ring, Cell("quick", "ring", "unit_ring", "dpm_solver_fast", 5))["samples"][0, 0]
    assert np.allclose(panel.collections[0].get_offsets(), x)
    share = 100 * value("dpm_solver_fast", 5, "off_mode", ring.seeds[0])
    largest = np.linalg.norm(x, axis=1).max()
    assert panel.get_title() == f"DPM-Solver-fast\nlargest |x| {largest:.1f}, off all modes {share:.1f} %"
    first = sizes.get_lines()[0].get_ydata()
    assert np.allclose(first, (np.square(x).sum(-1).mean()) ** 0.5 * np.arange(1, 7), rtol=1e-5)


def test_what_the_caption_of_the_blow_up_says():
    """Every number of the docstring of reports/figure_blow_up.py."""
    schedule, generator = LinearBetaSchedule(), torch.Generator().manual_seed(0)
    model = Mixture.unit_ring().exact_score_model(schedule)
    levels, x = time_grid(schedule, "fast_logsnr", 5), torch.randn(10_000, 2, generator=generator)

    def norm(v: torch.Tensor) -> torch.Tensor:
        return v.square().sum(1).mean().sqrt()

    def solve(
        at: torch.Tensor, start: torch.Tensor, orders: tuple[int, ...], kind: Any = "noise"
    ) -> list[torch.Tensor]:
        solver = ExponentialIntegrator(model, at, kind)
        return list(solver.run(start, solver.singlestep(orders, "dpmsolver")))

    assert fast_orders(5) == (3, 2)
    snr = (schedule.alpha_bar(levels).sqrt() / schedule.sigma(levels)).log()
    assert (snr[2] - snr[5]).item() == pytest.approx(4.83, abs=0.005) == (snr[0] - snr[2]).item()
    assert (snr[0] - snr[2]).exp().item() == pytest.approx(125, abs=1)
    stages: list[Stage] = ExponentialIntegrator(model, levels, "noise").singlestep((3, 2), "dpmsolver")
    assert -sum(stages[2].weights) == pytest.approx(97, abs=0.5), "all on the first evaluation, and on changes from it"
    assert -stages[2].weights[0] == pytest.approx(29, abs=0.5)
    assert -stages[4].weights[0] == pytest.approx(1.24, abs=0.005)

    states = solve(levels, x, (3, 2))
    noise = [model.noise(state, levels[5 - k]) for k, state in enumerate([x, *states[:4]])]
    assert norm(noise[2] - noise[0]).item() == pytest.approx(0.02, abs=0.005)
    assert norm(noise[4] - noise[3]).item() == pytest.approx(2.5, abs=0.05)
    assert schedule.sigma(levels[1]).item() == pytest.approx(0.11, abs=0.005)

    def exact(end: int) -> torch.Tensor:
        at = torch.linspace(0, 1, 201, dtype=torch.float64)
        fine = schedule.level(torch.sigmoid(2 * (snr[end] * (1 - at) + snr[5] * at))[1:-1])
        solver = ExponentialIntegrator(model, torch.cat([levels[end : end + 1], fine, levels[5:]]), "data")
        return list(solver.run(x, solver.multistep(2, False, "released")))[-1]

    assert norm(states[3] - exact(1)).item() == pytest.approx(0.4, abs=0.05)
    alone = solve(levels[:3], exact(2), (2,))[-1]
    assert alone.norm(dim=1).median().item() == pytest.approx(3.7, abs=0.05)
    assert exact(0).norm(dim=1).median().item() == pytest.approx(1.4, abs=0.05)
    assert states[2].norm(dim=1).max() < 1.25 * exact(2).norm(dim=1).max(), "the first step is in the right range"
    assert solve(levels, x, (3, 2), "data")[-1].norm(dim=1).max().item() < 1.75
    sizes = [norm(state).item() / 2**0.5 for state in solve(time_grid(schedule, "order2_logsnr", 5), x, (2, 2, 1))]
    assert sizes[1] == pytest.approx(1, abs=0.05)
    assert sizes[3] == pytest.approx(2.4, abs=0.05)
    assert sizes[4] == pytest.approx(1.4, abs=0.05)


# ------------------------------------------------------------------------------------------------ margins and findings
def test_margins_rank_rivals_of_protocol_common(run):
    experiments = [load(name, *run) for name in METRICS]
    render("margins", run[0], *experiments)
    table = read("margins", run[0])
    digits = experiments[2]
    ours = table[(table["data set"] == "digits") & (table["T"] == "5") & (table.metric == "fd_digits_classifier")]
    common = [label for label, row in methods.rows(digits).items() if row.protocol == "common"]
    rivals = [c.label for c in methods.cells(digits) if c.nfe == 5 and c.label in common and c.label != "hsivi_sm"]
    rivals = sorted(rivals, key=lambda label: mean(digits, label, 5, "fd_digits_classifier"))
    assert list(ours.rival) == [title(digits, label) for label in rivals]
    assert set(ours.ours) == {f"{mean(digits, 'hsivi_sm', 5, 'fd_digits_classifier'):.4f}"}
    assert list(ours["rival's"]) == [f"{mean(digits, label, 5, 'fd_digits_classifier'):.4f}" for label in rivals]
    assert not table.rival.str.contains("published").any()
    (ring,) = table[table["data set"] == "unit_ring"].to_dict("records")
    assert (ring["method"], ring["rival"]) == ("HSIVI-SM", "–")
    assert ring["outcome"] == ("declined" if run[1] == "full" else "not run")
    render("margins", run[0], experiments[0])
    assert len(read("margins", run[0])) == 1


def rewrite(experiment: Experiment, values: dict[tuple[str, int], list[float]], metric: str) -> None:
    """Replace the numbers of some cells of the first data set."""
    for (label, nfe), per_seed in values.items():
        path = layout.CellFiles(Cell(experiment.scale, experiment.name, experiment.data.datasets[0], label, nfe)).record
        record = Record.model_validate_json(path.read_text())
        measured = [
            Measurement(seed=s, metric=metric, value=v, standard_error=None, num_samples=N)
            for s, v in zip(experiment.seeds, per_seed, strict=True)
        ]
        others = [m for m in record.measurements if m.metric != metric]
        content = record.model_copy(update={"measurements": (*others, *measured), "status": "ok"})
        write_record(path, content)


def test_findings_name_the_rivals_that_hsivi_sm_is_not_ahead_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toys, ring, digits = load("toy2d", "quick", "core"), load("ring", "quick", "core"), load("digits", "quick", "core")
    for experiment in (toys, ring, digits):
        for cell in methods.cells(experiment):
            write(experiment, cell)
    values = {
        ("hsivi_sm", 5): [1.0, 1.1, 0.9],
        ("ddim", 5): [2.0, 2.1, 1.9],
        ("ddpm", 5): [3.0, 3.1, 2.9],
        ("hsivi_sm", 10): [1.0, 1.1, 0.9],
        ("ddim", 10): [0.5, 0.51, 0.49],
        ("ddpm", 10): [1.0, 1.2, 1.1],
    }
    rewrite(toys, values, "js_cell")
    first, second = (s for s in ranks(toys) if s.startswith(("checkerboard, NFE 5:", "checkerboard, NFE 10:")))
    assert first.endswith(
        "HSIVI-SM (js_cell 1.0000) is ahead of both rivals of protocol common in scope core, the nearest being DDIM "
        "(2.0000)"
    )
    assert second.endswith(
        "is ahead of 0 of 2 rivals of protocol common in scope core; it is BEHIND DDIM (0.5000); it is not clearly "
        "different from DDPM (1.1000)"
    )
    assert not any("NFE 2:" in sentence for sentence in ranks(toys)), "no rival there"
    assert len(ranks(digits)) == 1
    rewrite(
        ring, {("dpm_solver_fast", 5): [0.6, 0.61, 0.62], ("dpm_solver_multistep", 5): [0.2, 0.21, 0.22]}, "js_cell"
    )
    rewrite(
        ring, {("dpm_solver_fast", 5): [1.0, 1.0, 1.0], ("dpm_solver_multistep", 5): [0.04, 0.04, 0.04]}, "off_mode"
    )
    (sentence,) = blow_up(ring)
    assert "DPM-Solver-fast puts 100.0 per cent of its samples off all modes (js_cell 0.6100)" in sentence
    assert "DPM-Solver++(2M) puts 4.0 per cent" in sentence
    assert "the first js_cell is ABOVE (+49.0 s.e.) the second" in sentence
    assert blow_up(toys) == ranks(ring) == []
    assert set(findings([toys, ring, digits])) == {*ranks(toys), sentence, *ranks(digits)}
