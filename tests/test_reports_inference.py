"""Reports on inference, rendered from made-up results whose tables can be checked by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from hsivi import layout, methods
from hsivi.arrays import load_arrays, save_arrays
from hsivi.data.mixture import Mixture
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Measurement, Record, write_record
from reports import _style, figure1, table4, table_mixture
from tests.rendering import render

SEEDS = (11, 12, 13)
N, DIM = 400, 60
RNG = np.random.default_rng(0)
FILES = {"hsivi_sequential": "", "gaussian_vi": "NFE = (0,)", "laplace": "NFE = (0,)", "uivi": "NFE = (1,)"}
FILES["reference"] = "NFE = (0,)"
SOURCE = '''"""A made-up baseline."""
TITLE = "{title}"
CITATION = "nobody"
TASKS = ("inference",)
{nfe}
class Config:
    """Settings."""
def sample(problem, config, noise, state): ...
'''


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, with baselines of its own."""
    (tmp_path / "baselines").mkdir()
    files = {}
    for name, nfe in FILES.items():
        files[name] = tmp_path / "baselines" / f"{name}.py"
        files[name].write_text(SOURCE.format(title=name.capitalize(), nfe=nfe))
    monkeypatch.setattr(methods, "method_files", lambda: files)
    monkeypatch.chdir(tmp_path)


def sequential(title: str, **values: Any) -> dict[str, Any]:
    return {"baseline": "hsivi_sequential", "title": title, **values}


def ring() -> Experiment:
    data = {"kind": "mixture", "datasets": ["ring"], "seed": 1, "reference_draws": 100_000, "floor_pairs": 2}
    rows = {
        "hsivi_sm": sequential("HSIVI-SM"),
        "hsivi_lb": sequential("HSIVI-LB"),
        "sivi_sm": sequential("SIVI-SM", nfe=[1]),
        "sivi_lb": sequential("SIVI-LB", nfe=[1]),
        "hsivi_sm-diffusion": sequential("HSIVI-SM, diffusion bridge"),
        "hsivi_lb-diffusion": sequential("HSIVI-LB, diffusion bridge", enabled=False),
    }
    return experiment("mixture", data, rows, (5,))


def posterior() -> Experiment:
    data = {"kind": "posterior", "datasets": ["conditioned_diffusion"], "seed": 1, "chains": 2, "burn_in": 1}
    data |= {"step_size": 1e-4, "check_draws": 1000, "floor_pairs": 2}
    rows = {
        "hsivi_sm": sequential("HSIVI-SM"),
        "hsivi_lb": sequential("HSIVI-LB"),
        "sivi_sm-matched": sequential("SIVI-SM, 5 x updates", nfe=[1]),
        "gaussian_vi-full": {"baseline": "gaussian_vi", "title": "Full-rank Gaussian"},
        "uivi": {"enabled": False},
    }
    return experiment("conditioned_diffusion", data, rows, (1, 2, 5))


def experiment(name: str, data: dict[str, Any], rows: dict[str, Any], nfe: tuple[int, ...]) -> Experiment:
    return Experiment.model_validate(
        {
            "name": name,
            "title": name,
            "source": "here",
            "scale": "smoke",
            "data": data,
            "seeds": SEEDS,
            "num_samples": N,
            "nfe": nfe,
            "methods": rows,
        }
    )


def write(cell: Cell, values: dict[str, list[float]], arrays: dict[str, Any], status: str = "ok") -> None:
    """Write a cell's record, with one value a seed of each metric, and its samples."""
    measurements = [
        Measurement(seed=s, metric=m, value=v, standard_error=None, num_samples=N, floor=0.5, floor_std=0.25)
        for m, per_seed in values.items()
        for s, v in zip(SEEDS, per_seed, strict=False)
    ]
    record = Record(
        experiment=cell.experiment,
        dataset=cell.dataset,
        label=cell.label,
        baseline=cell.label,
        title=cell.label,
        scale=cell.scale,
        nfe=cell.nfe,
        time_grid=None,
        status=status,
        config={},
        measurements=tuple(measurements),
        seconds={},
        device="",
        dtype="",
        environment={},
        commit="",
        digests={},
        command="",
    )
    write_record(layout.CellFiles(cell).record, record)
    save_arrays(layout.CellFiles(cell).samples, arrays)


def read(name: str, index: list[str]) -> pd.DataFrame:
    folder = Path("reports/smoke/tables")
    for ending in ("md", "tex"):
        assert (folder / f"{name}.{ending}").stat().st_size > 100
    return pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False).set_index(index)


def drawn(name: str) -> np.ndarray:
    """Return the pixels of a figure, whose SVG exists too; something is drawn on it."""
    folder = Path("reports/smoke/figures")
    assert (folder / f"{name}.svg").read_text().rstrip().endswith("</svg>")
    pixels = image.imread(folder / f"{name}.png")
    assert min(pixels.shape[:2]) > 150
    assert pixels[..., :3].std() > 0.02
    return pixels


# ------------------------------------------------------------------------------------------------------------- the ring
GOOD = {"modes_found": [8, 8, 8], "mode_weight_min": [0.06, 0.1, 0.1], "mode_weight_max": [0.19, 0.15, 0.15]}


def ring_results(experiment: Experiment) -> None:
    for cell in methods.cells(experiment):
        x = Mixture.ring().draw(3 * N, cell.label).reshape(3, 1, N, 2).astype(np.float32)
        if cell.label == "laplace":
            write(cell, {}, {}, status="declined")
            continue
        trajectory = np.stack([x[0, 0] * share for share in np.linspace(0, 1, cell.nfe + 1)])
        values: dict[str, list[float]] = GOOD | {"within_mode_sd": [0.9, 1.0, 1.1], "js_cell": [0.01, 0.02, 0.03]}
        if cell.label == "sivi_sm":
            values = {
                "modes_found": [8, 7, 8],
                "mode_weight_min": [0.059, 0.1, 0.1],
                "mode_weight_max": [0.1, 0.1, 0.2],
            }
        write(cell, values, {"samples": x, "trajectory": trajectory})


def test_the_table_of_the_ring():
    render("table_mixture", "smoke", give(ring(), ring_results))
    table = read("table_mixture", ["method", "T"])
    ours = table.loc["HSIVI-SM", "5"]
    assert ours["sd within modes"] == "1.0000 ± 0.1000"
    assert ours["js_cell (nats)"] == "0.0200 ± 0.0100"
    assert ours["modes found"] == "8.00 ± 0.00"
    assert ours["TV of weights"] == "–"  # not measured here
    assert ours[table_mixture.COMPLETE] == "3/3"  # both ends of the interval count
    assert table.loc["SIVI-SM", "1"][table_mixture.COMPLETE] == "0/3"  # each seed fails for a reason of its own
    assert table.loc["SIVI-SM", "1"]["sd within modes"] == "–"
    assert set(table.loc["Laplace", ""]) == {"declined"}
    assert "HSIVI-LB, diffusion bridge" not in table.index.unique("method"), "switched off at this scale"
    floor = table.loc["draws of the target", ""]
    assert floor["js_cell (nats)"] == "0.5000 ± 0.2500"
    names = [name for name, _ in table.index]
    assert names[:3] == ["draws of the target", "HSIVI-SM", "HSIVI-SM, diffusion bridge"]
    assert names.index("SIVI-LB") < names.index("Uivi") < names.index("Laplace")
    assert len(names) == len(set(names)) == 10


def test_one_seed_has_no_deviation():
    lone = ring().model_copy(update={"seeds": (11,)})
    for cell in methods.cells(lone):
        write(cell, {name: values[:1] for name, values in GOOD.items()}, {})
    render("table_mixture", "smoke", lone)
    table = read("table_mixture", ["method", "T"])
    assert table.loc["HSIVI-SM", "5"]["modes found"] == "8.00"
    assert table.loc["HSIVI-SM", "5"][table_mixture.COMPLETE] == "1/1"


def give(experiment: Experiment, make: Any) -> Experiment:
    make(experiment)
    return experiment


def test_the_figures_of_the_ring():
    here = give(ring(), ring_results)
    for figure in ("figure1", "figure2", "figure8"):
        render(figure, "smoke", here)
    for name in ("figure1", "figure2", "figure8"):
        drawn(name)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Keep figures instead of writing them."""
    kept: dict[str, Figure] = {}
    monkeypatch.setattr(_style, "save", lambda figure, scale, name: kept.update({name: figure}))
    return kept


def points(panel: Any) -> np.ndarray:
    """Return what was scattered last."""
    return np.asarray(panel.collections[-1].get_offsets())


def test_figures_of_the_ring_show_what_is_stored(figures):
    here = give(ring(), ring_results)
    render("figure2", "smoke", here)
    panels = figures["figure2"].axes
    assert len(panels) == 10
    for k, label in enumerate(("sivi_lb", "sivi_sm", "hsivi_lb", "hsivi_sm", "uivi")):
        large, strip = panels[k], panels[5 + k]
        assert large.get_title().split("-")[0].upper().startswith(label.split("_")[0].upper())
        x = Mixture.ring().draw(3 * N, label).reshape(3, N, 2)
        assert np.allclose(points(large), x[0], atol=1e-5)
        side_by_side = np.stack([strip.collections[2 * seed + 1].get_offsets() for seed in range(3)])
        assert np.allclose(side_by_side - 32.2 * np.array([[[0, 0]], [[1, 0]], [[2, 0]]]), x, atol=1e-4)
        assert [text.get_text() for text in strip.texts] == ["11", "12", "13"]
    render("figure8", "smoke", here)
    panels = figures["figure8"].axes
    x = Mixture.ring().draw(3 * N, "hsivi_sm-diffusion")[:N]
    for t, panel in zip((4, 3, 2, 1, 0), panels[5:], strict=True):
        assert np.allclose(points(panel), x * (1 - t / 5), atol=1e-5)
        assert panel.get_title() == f"$x_{t}$,  $\\alpha_{t} = {1 - t / 5:.1f}$"
        outer = np.concatenate([path.vertices for path in panel.collections[0].get_paths()])
        # Circles of two standard deviations about the centres, where those are far enough apart.
        reach = np.abs(outer).max()
        assert reach == pytest.approx((1 - t / 5) ** 0.5 * 10 + 2, abs=0.1)
    assert [panel.get_ylabel() for panel in panels[::5]] == ["HSIVI-LB", "HSIVI-SM"]
    render("figure1", "smoke", here)
    maps = [panel.images[0].get_array() for panel in figures["figure1"].axes]
    assert np.allclose(maps[4], maps[9])  # both bridges end at the target
    assert np.allclose(maps[0], figure1.density(lambda at: figure1.geometric(Mixture.ring(), 0.2, at)))
    assert np.allclose(maps[6], figure1.density(lambda at: figure1.diffused(Mixture.ring(), 0.4, at)))


def test_figures_say_what_was_declined_or_not_run():
    """Nothing but rows that declined or are switched off."""
    off = {label: row.model_copy(update={"enabled": False}) for label, row in ring().methods.items() if "lb" in label}
    here = ring().model_copy(update={"methods": ring().methods | off})
    for cell in methods.cells(here):
        write(cell, {}, {}, status="declined")
    render("table_mixture", "smoke", here)
    for figure in ("figure2", "figure8"):
        render(figure, "smoke", here)
    words = (
        Path("reports/smoke/figures/figure2.svg").read_text(),
        Path("reports/smoke/figures/figure8.svg").read_text(),
    )
    for text in words:
        assert "<!-- declined -->" in text
        assert "<!-- not run" in text
    assert "11" not in read("table_mixture", ["method", "T"]).to_numpy()


def test_the_bridges_have_closed_forms():
    """Between modes that do not overlap the geometric bridge of N(0, I) is a ring of unit Gaussians at share * 10."""
    mixture, share = Mixture.ring(), 0.6
    x = 6 * RNG.uniform(-1, 1, (50, 2))
    standard = -0.5 * (x**2).sum(-1) - np.log(2 * np.pi)
    assert np.allclose(figure1.geometric(mixture, 0.0, x), standard)
    assert np.allclose(figure1.geometric(mixture, 1.0, x), mixture.log_density(x))
    assert np.allclose(figure1.diffused(mixture, 1.0, x), mixture.log_density(x))
    assert np.allclose(figure1.diffused(mixture, 0.0, x), standard)
    near = share * mixture.means + 0.5 * RNG.standard_normal((8, 2))
    field = figure1.score(lambda at: figure1.geometric(mixture, share, at), near)
    assert np.allclose(field, share * mixture.means - near, atol=0.02)
    shrunk = Mixture(share**0.5 * mixture.means, np.ones(8), mixture.weights)  # 0.6 * 1 + 0.4
    assert np.allclose(figure1.diffused(mixture, share, x), shrunk.log_density(x))
    for level in (figure1.geometric, figure1.diffused):
        values = figure1.density(lambda at, level=level: level(mixture, share, at))
        cell = (2 * figure1.EXTENT / len(values)) ** 2
        assert abs(values.sum() * cell - 1) < 1e-12
        second = (values[..., None] * figure1.grid(len(values)) ** 2).sum((0, 1)) * cell
        radius = share * 10 if level is figure1.geometric else share**0.5 * 10
        assert np.allclose(second, radius**2 / 2 + 1, rtol=0.01)
    assert np.allclose(figure1.grid(2, 4.0)[0, 1], [2, -2])  # rows along y


# -------------------------------------------------------------------------------------------------------- the posterior
def posterior_results(experiment: Experiment) -> None:
    time = 0.05 * np.arange(DIM)
    covariance = 0.07**2 * np.exp(-np.abs(time[:, None] - time) / 0.1)
    path = np.tanh(3 * time) + 0.05 * np.cumsum(RNG.standard_normal(DIM))
    states = RNG.multivariate_normal(path, covariance, 500)
    files = layout.DatasetFiles("smoke", experiment.name, "conditioned_diffusion")
    save_arrays(files.data, {"path": path, "observations": path + 0.1 * RNG.standard_normal(DIM)})
    save_arrays(files.reference, {"states": states, "mean": path, "covariance": covariance})
    for cell in methods.cells(experiment):
        if cell.label == "laplace":
            write(cell, {}, {}, status="declined")
            continue
        shrink = 0.25 * cell.nfe**0.5 if cell.nfe else 1.0
        base = {"samples": path + shrink * (states - path), "mean": path, "covariance": shrink**2 * covariance}
        arrays = {name: np.stack(3 * [array[None]]).astype(np.float32) for name, array in base.items()}
        error = 0.1 - 0.01 * cell.nfe
        values = {
            "covariance_frobenius": [error, error + 0.003, error - 0.003],
            "covariance_frobenius_hmc": [error, error, error],
            "variance_ratio": [0.5, 0.5, 0.5],
        }
        if cell.nfe:
            values |= {"elbo_k1000": [100.0, 101.0, 102.0], "elbo_k200": [90.0, 90.0, 90.0]}
        if cell.label == "gaussian_vi-full":
            values["elbo"] = [80.0, 80.0, 80.0]
        write(cell, values, arrays)


def test_table_4():
    render("table4", "smoke", give(posterior(), posterior_results))
    table = read("table4", ["metric", "method"])
    assert list(table.columns) == ["T = 1", "T = 2", "T = 5", "no layers", "draws", "change"]
    heading = table4.BLOCKS["covariance_frobenius"][0]
    se = 0.003 / 3**0.5
    ours = table.loc[heading, "HSIVI-SM"]
    assert list(ours[:4]) == [f"0.0900 ± {se:.4f}", f"0.0800 ± {se:.4f}", f"0.0500 ± {se:.4f}", "–"]
    assert ours["draws"] == "0.5000"
    assert ours["change"] == f"-0.0400 ({-0.04 / (2**0.5 * se):+.1f} s.e.)"
    assert list(table.loc[heading, "SIVI-SM, 5 x updates"])[:4] == [f"0.0900 ± {se:.4f}", "–", "–", "–"]
    assert table.loc[heading, "SIVI-SM, 5 x updates"]["change"] == "–"
    assert table.loc[heading, "Full-rank Gaussian"]["no layers"] == f"0.1000 ± {se:.4f}"
    assert table.loc[heading, "Laplace"]["no layers"] == "declined"
    assert "Uivi" not in table.loc[heading].index, "switched off at this scale"
    # Without spread over seeds there is no error to divide by.
    assert table.loc[table4.BLOCKS["covariance_frobenius_hmc"][0], "HSIVI-SM"]["change"] == "-0.0400"
    bounds = [metric for metric in table.index.unique("metric") if "K = " in metric]
    assert [metric.partition("K = ")[2] for metric in bounds] == ["200 (nats)", "1000 (nats)"]
    assert table.loc[bounds[1], "HSIVI-LB"]["T = 2"] == f"101.00 ± {1 / 3**0.5:.2f}"
    for bound in bounds:  # its density is known, so K does not matter
        assert table.loc[bound, "Full-rank Gaussian"]["no layers"] == "80.00 ± 0.00"
    assert table.loc[bounds[1], "Reference"]["no layers"] == "–"
    printed = table.loc[table4.PRINTED, "HSIVI-SM"]
    assert list(printed) == ["0.0886", "0.0813", "0.0333", "–", "–", "-0.0553"]
    assert list(table.loc[table4.PRINTED, "HSIVI-LB"])[:3] == ["0.0883", "0.0825", "0.0433"]
    assert not any("error of the mean" in metric for metric in table.index.unique("metric"))  # not measured here
    metrics = list(dict.fromkeys(metric for metric, _ in table.index))
    assert metrics[:2] == [heading, table4.PRINTED]


def test_the_figures_of_the_posterior():
    here = give(posterior(), posterior_results)
    render("figure3", "smoke", here)
    render("figure9", "smoke", here)
    assert drawn("figure3").shape == drawn("figure9").shape
    text = Path("reports/smoke/figures/figure3.svg").read_text()
    assert "<!-- HSIVI-SM -->" in text
    assert "<!-- T = 5 -->" in text
    # sqrt(0.25^2 * T) of the truth's width
    assert "<!-- band width 0.25 of the truth's (root mean square) -->" in text
    assert f"<!-- band width {0.25 * 5**0.5:.2f} of the truth's (root mean square) -->" in text


def test_bands_are_those_of_the_stored_moments_and_samples(figures):
    here = give(posterior(), posterior_results)
    render("figure3", "smoke", here)
    files = layout.DatasetFiles("smoke", here.name, "conditioned_diffusion")
    truth, data = load_arrays(files.reference), load_arrays(files.data)
    panels = figures["figure3"].axes
    assert [panel.get_ylabel() for panel in panels[::2]] == ["ground truth", "SIVI-SM\nT = 1", "HSIVI-SM\nT = 5"]
    sd = np.diagonal(truth["covariance"]) ** 0.5
    for row, shrink in ((0, 1.0), (1, 0.25), (2, 0.25 * 5**0.5)):
        for panel in panels[2 * row : 2 * row + 2]:
            lines = {line.get_label(): line for line in panel.get_lines()}
            assert np.allclose(lines["mean"].get_ydata(), truth["mean"], atol=1e-5)
            assert np.allclose(lines["mean"].get_xdata(), 0.01 * np.arange(1, DIM + 1))
            assert np.allclose(lines["true path"].get_ydata(), data["path"])
            dots, band = panel.collections
            assert np.allclose(dots.get_offsets()[:, 1], data["observations"])
            high = band.get_paths()[0].get_extents().ymax
            assert high == pytest.approx((truth["mean"] + 1.96 * shrink * sd).max(), abs=1e-5)
            quantile = lines["2.5 and 97.5 % quantiles of samples"].get_ydata()
            drawn_ = truth["mean"] + shrink * (truth["states"] - truth["mean"])
            assert np.allclose(quantile, np.quantile(drawn_, 0.025, axis=0), atol=1e-5)
            assert ("95 % of the ground truth" in lines) == (row > 0)
            if row:
                assert np.allclose(lines["95 % of the ground truth"].get_ydata(), truth["mean"] - 1.96 * sd)
    (legend,) = figures["figure3"].legends
    assert len(legend.get_texts()) == 6


def test_figures_of_the_posterior_with_rows_missing():
    rows = posterior().methods
    for changes in ({"nfe": (1,)}, {"enabled": False}):
        here = posterior().model_copy(
            update={"methods": rows | {"hsivi_lb": rows["hsivi_lb"].model_copy(update=changes)}}
        )
        posterior_results(here)
        render("figure9", "smoke", here)
        render("table4", "smoke", here)
    assert Path("reports/smoke/figures/figure9.svg").read_text().count("<!-- not run at this scale -->") == 4
    for cell in methods.cells(here):
        write(cell, {}, {}, status="declined")
    render("figure3", "smoke", here)
    render("table4", "smoke", here)
    assert "<!-- declined -->" in Path("reports/smoke/figures/figure3.svg").read_text()
