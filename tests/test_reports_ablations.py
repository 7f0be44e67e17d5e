"""The report on ablations, from made-up records of which the answer is known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hsivi import layout, methods
from hsivi.config import load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Measurement, Record, write_record
from reports import _ablations, table_ablations
from reports._findings import findings
from tests.rendering import REPORTS, render

FLOOR = 0.0004
EFFECT = {"hsivi_sm-independent": 0.02, "hsivi_sm-critic_10": -0.01, "ddim": 0.3}
NOISE = {11: 0.003, 12: -0.002, 13: -0.001}
"""What a seed adds to every row, which pairing takes away."""
OWN = {11: 1e-5, 12: 0.0, 13: -1e-5}
"""What a seed adds to all rows but the recipe's."""


def value(cell: Cell, seed: int) -> float:
    base = cell.label == "hsivi_sm" and cell.nfe == 5
    layers = 0.5 / cell.nfe if cell.label == "hsivi_sm" else 0.1
    unclear = 0.0 if cell.label in EFFECT or base or cell.label == "hsivi_sm" else 1.0
    return layers + EFFECT.get(cell.label, 0.0) + NOISE[seed] + (0.0 if base else OWN[seed]) + unclear * 3 * NOISE[seed]


def write(experiment: Experiment, cell: Cell) -> None:
    info = methods.info(experiment, cell.label)
    config: dict[str, Any] = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    record = Record(
        experiment=cell.experiment, dataset=cell.dataset, label=cell.label, baseline=info.name,
        title=methods.title(experiment, cell.label), scale=cell.scale, nfe=cell.nfe, time_grid="hsivi", status="ok",
        config=config, device="", dtype="", commit="", command="", environment={}, digests={},
        seconds={"sample": 1.0} | ({"fit": 60.0 + cell.nfe} if info.needs_fit else {}),
        measurements=tuple(
            Measurement(seed=s, metric=m, value=v, standard_error=None, num_samples=10, floor=FLOOR, floor_std=0.0)
            for s in experiment.seeds
            for m, v in (("swd_ref", 9.0), ("js_cell", value(cell, s)))
        ),
    )  # fmt: skip
    write_record(layout.CellFiles(cell).record, record)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experiment]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("ablations"))
        experiment = load_experiment("toy2d_ablations", "quick")
        for cell in methods.cells(experiment):
            write(experiment, cell)
        yield experiment


def test_every_row_of_the_experiment_is_one_row_of_the_table(shown: Experiment) -> None:
    table = table_ablations.table("quick", shown)
    cells = {(c.label, c.nfe) for c in methods.cells(shown)}
    names = [name for name, _ in table.rows]
    assert len(names) == len(set(names)) == len(cells) + 1
    behind = {(s.method, s.nfe) for _, row in table.rows[1:] for s in row[0].sources}
    assert behind == cells
    assert names[:2] == [("draws of the target", ""), ("none: the recipe", "T = 5")]
    words = {
        *{("rollout", "one layer a chain"), ("rollout and updates", "one layer a chain, 880")},
        *{("antithetic noise", "off"), ("critic updates", "10"), ("beta power", "2"), ("parameter average", "off")},
        *{("learning rates", "constant"), ("eta", "0.25"), ("variance", "fixed"), ("layers", "T = 20")},
        *{("HSIVI-LB, joint", "T = 10"), ("DDIM", "T = 2")},
    }
    assert words <= set(names)


def test_differences_pair_seeds_and_are_from_the_right_row(shown: Experiment) -> None:
    table = table_ablations.table("quick", shown)
    rows = {name: dict(zip(table.columns, row, strict=True)) for name, row in table.rows}
    error = np.std(list(OWN.values()), ddof=1) / 3**0.5
    for name, difference, nfe in (
        (("rollout", "one layer a chain"), 0.02, 5),
        (("layers", "T = 2"), 0.25 - 0.1, 5),
        (("DDIM", "T = 10"), 0.1 + 0.3 - 0.05, 10),
    ):
        cell = rows[name]["moons", "difference"]
        spread = 0.0 if nfe == 10 else error  # the recipe with T = 10 has the noise of a seed, as DDIM has
        assert cell.text == f"{difference:+.4f} ± {spread:.4f}"
        assert {(s.method, s.nfe) for s in cell.sources} >= {("hsivi_sm", nfe)} and len(cell.sources) == 2
    spread = np.std([v + NOISE[s] for s, v in OWN.items()], ddof=1) / 3**0.5
    assert rows["DDIM", "T = 10"]["moons", "js_cell"].text == f"0.4000 ± {spread:.4f}"
    assert rows["none: the recipe", "T = 5"]["moons", "difference"].text == "–"
    assert rows["layers", "T = 7"]["moons", "training (s)"].text == "67"
    assert rows["DDIM", "T = 2"]["moons", "training (s)"].text == "–"
    assert rows["draws of the target", ""]["checkerboard", "js_cell"].text == f"{FLOOR:.4f}"


def test_sentences_name_what_is_clear(shown: Experiment) -> None:
    said = findings([shown])
    assert [sentence.partition(":")[0] for sentence in said] == ["moons", "checkerboard"]
    worse, better, rest = said[0].split("; ")
    assert "rollout one layer a chain (+0.0200)" in worse and "layers T = 2 (+0.1500)" in worse
    assert "critic updates 10 (-0.0100)" in better and "layers T = 20 (-0.0750)" in better
    assert "beta power" not in worse + better
    total = len({(c.label, c.nfe) for c in methods.cells(shown) if c.label.startswith("hsivi_sm")}) - 1
    counts = [int(text) for text in (worse.split("HSIVI-SM ")[1].split()[0], better.split()[0], rest.split()[0])]
    assert f"of {total} changes" in worse and sum(counts) == total


def test_rows_without_records_are_left_out(shown: Experiment) -> None:
    made = {place: r for place, r in _ablations.found(shown).items() if place != ("moons", "ddim", 5)}
    change = next(c for c in _ablations.changes(made) if (c.label, c.nfe) == ("ddim", 5))
    assert _ablations.effect(made, "moons", change) is None
    assert _ablations.effect(made, "checkerboard", change) is not None


def test_the_figure_shows_means_over_seeds(shown: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr("reports._style.save", lambda figure, *_: kept.append(figure))
    render("figure_ablations_layers", "quick", shown)
    (figure,) = kept
    panel = figure.axes[0]
    lines = dict(zip((h.get_label() for h in panel.containers), panel.containers, strict=True))
    assert set(lines) == {"HSIVI-SM", "HSIVI-LB, joint", "DDIM", "DDPM"}
    data = lines["HSIVI-SM"].lines[0]
    assert list(data.get_xdata()) == [2, 3, 5, 7, 10, 15, 20]
    assert np.allclose(data.get_ydata(), [0.5 / t for t in (2, 3, 5, 7, 10, 15, 20)])
    plt.close(figure)


def test_the_figure_is_written(shown: Experiment) -> None:
    assert all(path.exists() for path in render("figure_ablations_layers", "quick", shown))
    assert REPORTS["table_ablations"].table and Path("reports").is_dir()
