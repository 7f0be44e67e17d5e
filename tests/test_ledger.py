"""The claims ledger: every claim has one place, every cell it names exists, and mistakes are one line."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hsivi import methods
from hsivi.config import SCALES, ConfigError, load_experiment
from hsivi.listing import METRICS
from reports._judged_numbers import identifiers, statement
from reports._ledger import FILE, load_ledger
from reports._margin import Margin
from reports._published import published
from reports._statements import Test


@pytest.mark.parametrize("scale", SCALES)
def test_every_published_number_belongs_to_one_block(scale):
    ledger, lines = load_ledger(scale), published()
    assert len(lines) == 173
    for line in lines:
        block = ledger.block(line)
        assert {line.dataset, line.method} <= set(ledger.titles)
        if block.compare is not None:
            assert line.dataset in block.compare.places and line.method in block.compare.rows
            assert line.metric in block.compare.metrics


def test_names_are_stable_and_tell_apart():
    names = identifiers(published())
    assert len(set(names)) == len(names) == 173
    assert {
        "hsivi-table4-hsivi_sm-t5",
        "hsivi-table2-celeba64-dpm_solver_fast-t15",
        "hsivi-table5-cifar10-all",
        "gdim-table1-iddim_m0.3-t20",
        "gdim-table2-iddim_best-t20-inception_score",
        "gdim-table9-T_gdim_iddim_m0.7-t4",
        "dvp_vae-table5-omniglot-dvp_vae",
    } <= set(names)
    assert not set(names) & {statement.id for statement in load_ledger("paper").statements}


def test_numbers_in_words():
    ledger = load_ledger("paper")
    words = {
        name: statement(ledger, ledger.block(one), one)
        for name, one in zip(identifiers(published()), published(), strict=True)
    }
    assert (
        words["hsivi-table4-hsivi_sm-t5"] == "Table 4: Frobenius distance of covariances of HSIVI-SM at T = 5 is 0.0333"
    )
    assert (
        words["hsivi-table1-moons-hsivi_sm-t5"]
        == "Table 1: JS divergence of HSIVI-SM on Moons at T = 5 is 0.096 ± 0.013"
    )
    assert words["hsivi-table2-celeba64-ddpm-t5"] == "Table 2: FID of DDPM on CelebA 64x64 at T = 5 is 366.10"
    assert words["gdim-table2-iddim_best-t20-inception_score"].startswith(
        "Table 2: Inception score of iDDIM with the best"
    )


@cache
def planned(name: str, scale: str) -> set[tuple[str, str, int]]:
    return {(cell.dataset, cell.label, cell.nfe) for cell in methods.cells(load_experiment(name, scale))}


@pytest.mark.parametrize("scale", SCALES)
def test_every_cell_that_a_statement_names_exists(scale):
    for one in load_ledger(scale).statements:
        if one.experiment is None or scale not in one.scales or one.never:
            continue
        there, experiment = planned(one.experiment, scale), load_experiment(one.experiment, scale)
        for part in one.parts():
            assert (part.dataset, part.method, part.nfe) in there, one.id
            assert part.rival is None or (part.dataset, *part.rival) in there, one.id
            stem = part.metric.split("_")[0] if experiment.data.kind == "images" else part.metric
            assert any(m == part.metric or f"{stem}_" in m for m in METRICS[experiment.data.kind]), one.id
        if one.timings:
            timed = {cell.label for cell in methods.timed_cells(experiment)}
            assert {label for test in one.timings for label in (test.method, test.rival)} <= timed


def test_numbers_are_compared_with_cells_that_exist():
    """Where the ledger names a row and the budget is one of HSIVI's paper, scale paper has the cell."""
    ledger = load_ledger("paper")
    for line in published():
        compare = ledger.block(line).compare
        if compare is not None and compare.kind == "measured" and line.source == "hsivi":
            place = compare.places[line.dataset]
            assert (place.dataset, compare.rows[line.method], line.nfe) in planned(place.experiment, "paper")


def test_statements_ask_for_what_they_say():
    by_name = {one.id: one for one in load_ledger("paper").statements}
    toys = by_name["hsivi-toy2d-improves"].parts()
    assert len(toys) == 16 and len({(p.dataset, p.nfe, p.rival) for p in toys}) == 16
    assert {p.method for p in toys} == {"hsivi_sm-paper"} and {p.rival[0] for p in toys} == {"ddim", "ddpm"}
    assert {p.method for p in load_ledger("quick").statements[1].parts()} == {"hsivi_sm", "hsivi_lb"}
    ordered = by_name["hsivi-posterior-lb_layers"].parts()
    assert [(p.nfe, p.rival) for p in ordered] == [(b, ("hsivi_lb", a)) for a, b in ((1, 2), (2, 3), (3, 5))]
    assert len(by_name["hsivi-cifar10-on_par"].parts()) == 18
    assert all(one.never for one in by_name.values() if not one.tests and not one.timings)


def test_margins_have_limits_about_every_value():
    value = np.array([10.0, 20.0])
    assert np.allclose(Margin(absolute=1, why="so").limits(value), ([9, 19], [11, 21]))
    assert np.allclose(Margin(relative=0.1, why="so").limits(value), ([9, 18], [11, 22]))
    assert np.allclose(Margin(factor=2, why="so").limits(value), ([5, 10], [20, 40]))
    with pytest.raises(
        ValueError, match="got absolute, relative of absolute, relative and factor, expected exactly one"
    ):
        Margin(absolute=1, relative=0.1, why="so")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 2\nchanges", "version: 3\nchanges", "changes: got other versions than 1 to 3"),
        ("    decimals: 3\n", "    decimals: 3\n    digits: 3\n", "digits: got a key that is not known"),
        ("  - id: hsivi-ring-all_modes", "  - id: hsivi-ring-trapped", "the id 'hsivi-ring-trapped' twice"),
        ("relation: equivalent", "relation: below", "margin: got one with below, expected none"),
        (
            "        value: 0.06\n",
            "        value: 0.06\n        rival: {nfe: 1}\n",
            "both or neither of rival and value",
        ),
        ("      kind: counted\n", "      kind: measured\n", "got kind measured without a margin"),
        ("    experiment: mixture\n", "", "got no experiment or no family"),
        ("version: 2\n", "version: [\n", "text that is not YAML"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, old, new, said):
    text = FILE.read_text()
    assert old in text
    path = tmp_path / "ledger.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=r"ledger\.yaml") as caught:
        load_ledger("quick", path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_ledger_and_an_unknown_line_are_one_line(tmp_path: Path):
    with pytest.raises(ConfigError, match="got no such file, expected the claims ledger"):
        load_ledger("quick", tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="got list, expected a mapping"):
        load_ledger("quick", tmp_path / "list.yaml")
    ledger = load_ledger("quick")
    alien = ledger.model_copy(update={"numbers": ledger.numbers[1:]})
    with pytest.raises(ConfigError, match="got 0 blocks for hsivi, table1, checkerboard"):
        alien.block(published()[0])


def test_one_value_stands_for_a_list():
    one = Test(dataset="a", method="m", nfe=[1, 2], metric="x", relation="below", rival={"method": "r", "nfe": [3, 4]})
    assert [(p.nfe, p.rival) for p in one.parts()] == [(1, ("r", 3)), (1, ("r", 4)), (2, ("r", 3)), (2, ("r", 4))]
