"""``hsivi diff``: identical sets, shifted ones, sets under the null, and what cannot be compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hsivi import diff, layout
from hsivi.__main__ import main
from hsivi.config import ConfigError
from hsivi.methods import Cell
from tests import made_up

SEEDS = (11, 12, 13)


def measured(values: dict[str, Any], settings: str = "", seeds: tuple[int, ...] = SEEDS) -> pd.DataFrame:
    """Return measurements of one cell: by metric, one value a seed."""
    rows = [
        ("toy2d", "moons", "ddim", 5, metric, seed, float(value), settings)
        for metric, per_seed in values.items()
        for seed, value in zip(seeds, per_seed, strict=False)
    ]
    return pd.DataFrame(rows, columns=diff.COLUMNS)


def by_metric(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, Any]:
    return {row["metric"]: row for row in diff.compare(a, b).to_dict("records")}


# ------------------------------------------------------------------------------------------------------------ the tests
def test_identical_sets_do_not_differ():
    a = measured({"x": (1, 2, 3), "y": (0.1, 0.2, 0.1), "one": (5,)})
    table = diff.compare(a, a.sample(frac=1, random_state=0))
    assert set(table.outcome) == {diff.EQUAL}
    assert (table.difference == 0).all() and (table.p == 1).all() and not diff.differs(table)


def test_the_last_bit_counts():
    a, b = measured({"x": (1, 2, 3)}), measured({"x": (1, 2, np.nextafter(3, 4))})
    row = by_metric(a, b)["x"]
    assert row["outcome"] == diff.SIMILAR and row["difference"] > 0


def test_rounding_in_all_seeds_alike_is_no_difference():
    values = np.array([0.25, 0.26, 0.27, 0.28, 0.29])
    for shift, outcome in ((2.0**-54, diff.SIMILAR), (1e-9, diff.DIFFERENT)):
        row = by_metric(measured({"x": values}, seeds=range(5)), measured({"x": values + shift}, seeds=range(5)))["x"]
        assert row["outcome"] == outcome and row["difference"] > 0


@pytest.mark.parametrize("used", [("s", "s"), ("", "s"), ("", ""), ("s", "t")])
def test_numbers_are_those_of_scipy(used):
    """Paired where seeds are the same and settings are not known to differ, else Welch."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 0.2, 5), rng.normal(1.4, 0.5, 5)
    seeds = tuple(range(5))
    row = by_metric(measured({"x": x}, used[0], seeds), measured({"x": y}, used[1], seeds))["x"]
    paired = used != ("s", "t")
    wanted = stats.ttest_rel(y, x) if paired else stats.ttest_ind(y, x, equal_var=False)
    interval = wanted.confidence_interval(0.95)
    assert row["test"] == ("paired t" if paired else "Welch")
    assert row["p"] == pytest.approx(wanted.pvalue) == row["p_holm"]
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["mean_a"], row["mean_b"], row["difference"]) == pytest.approx((x.mean(), y.mean(), (y - x).mean()))


def test_other_seeds_are_not_paired():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 3.0, 9.0])
    for seeds in ((11, 12, 14, 15), (11, 12, 13, 14)):
        row = by_metric(measured({"x": x}), measured({"x": y}, seeds=seeds))["x"]
        assert row["test"] == "Welch" and row["p"] == pytest.approx(stats.ttest_ind(y, x, equal_var=False).pvalue)
    equal = by_metric(measured({"x": x}), measured({"x": x}, seeds=(11, 12, 14)))["x"]
    assert (equal["outcome"], equal["p"]) == (diff.SIMILAR, 1.0)


def test_single_seeds_are_not_comparable_unless_equal():
    found = by_metric(measured({"x": (1,), "y": (1,), "z": (1, 2)}), measured({"x": (2,), "y": (1,), "z": (1,)}))
    assert [found[name]["outcome"] for name in "xyz"] == [diff.SINGLE, diff.EQUAL, diff.SINGLE]
    assert np.isnan(found["x"]["p"]) and found["x"]["difference"] == 1


def test_a_difference_without_spread_is_one():
    """The values of every seed moved by as much: no chance is in it."""
    found = by_metric(measured({"x": (1, 2, 3), "y": (5, 5, 5)}), measured({"x": (2, 3, 4), "y": (5, 5, 5.0)}))
    assert (found["x"]["outcome"], found["x"]["p"], found["x"]["low"]) == (diff.DIFFERENT, 0, 1)
    assert found["y"]["outcome"] == diff.EQUAL
    welch = by_metric(measured({"y": (5, 5, 5)}), measured({"y": (5, 5, 5)}, seeds=(1, 2, 3)))["y"]
    assert (welch["outcome"], welch["p"]) == (diff.SIMILAR, 1.0)


def test_what_is_in_one_set_only_is_listed():
    table = diff.compare(measured({"x": (1, 2, 3), "y": (1, 2, 3)}), measured({"y": (1, 2, 3), "z": (1, 2, 3)}))
    assert dict(zip(table.metric, table.outcome, strict=True)) == {"x": diff.ONLY_A, "y": diff.EQUAL, "z": diff.ONLY_B}
    assert diff.differs(table)
    assert any(line == "only in A: toy2d/moons/ddim/5/x" for line in diff.lines(table))


def test_a_shifted_metric_is_found_and_comes_first():
    rng = np.random.default_rng(2)
    values = {f"m{k}": rng.normal(0, 1, 3) for k in range(30)}
    other = {name: x + 0.01 * rng.normal(0, 1, 3) for name, x in values.items()}
    other["m7"] = other["m7"] + 100.0
    table = diff.compare(measured(values), measured(other))
    assert list(table.metric[table.outcome == diff.DIFFERENT]) == ["m7"] == [table.metric[0]]
    assert table.difference[0] == pytest.approx(100, abs=0.1) and table.low[0] < 100 < table.high[0]
    assert np.all(np.diff(table.p[1:]) >= 0), "sorted by p"
    (line,) = [line for line in diff.lines(table) if line.startswith("different: ")]
    assert "toy2d/moons/ddim/5/m7" in line and "(paired t)" in line


def test_holm_counts_every_key_compared():
    """One p-value of 0.02 is enough alone, and is not among two equal keys more."""
    d = np.array([-1.0, 0.0, 1.0]) + stats.t.isf(0.01, 2) / np.sqrt(3)
    for equal, outcome in ((0, diff.DIFFERENT), (1, diff.DIFFERENT), (2, diff.SIMILAR)):
        same = {f"y{k}": (1, 2, 3) for k in range(equal)}
        row = by_metric(measured({"x": (0, 0, 0)} | same), measured({"x": d} | same))["x"]
        assert row["p"] == pytest.approx(0.02) and row["p_holm"] == pytest.approx(0.02 * (1 + equal))
        assert row["outcome"] == outcome


REPEATS, KEYS = 400, 200


@pytest.mark.parametrize("paired", [True, False])
def test_the_family_wise_error_holds_under_the_null(paired):
    """200 keys of three seeds without any difference: at most 5 in 100 comparisons name one."""
    rng = np.random.default_rng(3)
    shape = (REPEATS * KEYS, 3)
    common = rng.normal(0, 3, shape) if paired else 0.0

    def drawn(seeds: tuple[int, ...]) -> pd.DataFrame:
        values = common + rng.normal(0, 1, shape)
        keys = np.repeat([f"{k:07d}" for k in range(len(values))], 3)
        columns = ("e", "d", "m", 5, keys, np.tile(seeds, len(values)), values.ravel(), "")
        return pd.DataFrame(dict(zip(diff.COLUMNS, columns, strict=True)))

    tested = diff.tested(drawn(SEEDS), drawn(SEEDS if paired else (21, 22, 23)))
    assert tested.paired.all() == paired
    below = (tested.p < 0.05).mean()
    error = np.sqrt(0.05 * 0.95 / len(tested))
    # Welch's test is conservative with three values of equal variance, the paired one exact.
    assert (0.05 - 4 * error if paired else 0.03) <= below <= 0.05 + 4 * error
    families = tested.p.to_numpy().reshape(REPEATS, KEYS)
    # Holm's procedure names a key exactly if Bonferroni's does; the corrected p-values say so where it is close.
    named = families.min(axis=1) <= diff.LEVEL / KEYS
    for k in np.argsort(np.abs(families.min(axis=1) - diff.LEVEL / KEYS))[:6]:
        assert (diff.corrected(families[k]) <= diff.LEVEL).any() == named[k]
    errors = named.mean()
    assert errors <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / REPEATS)
    if paired:  # a procedure that never says anything would pass the line above
        assert errors >= 0.05 - 3 * np.sqrt(0.05 * 0.95 / REPEATS)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5), st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5))
def test_exchanging_the_sets_turns_the_sign(x: list[float], y: list[float]) -> None:
    a, b = measured({"x": x}, seeds=tuple(range(5))), measured({"x": y}, seeds=tuple(range(5)))
    forth, back = (diff.tested(*both).iloc[0] for both in ((a, b), (b, a)))
    assert forth["difference"] == -back["difference"]
    assert (forth["low"], forth["high"]) == (-back["high"], -back["low"])
    assert forth["p"] == back["p"] and forth["equal"] == back["equal"]
    assert 0 <= forth["p"] <= 1


# ---------------------------------------------------------------------------------------------------------- the command
@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made_up.write_results("ring")
    (tmp_path / "results" / made_up.SCALE).rename(tmp_path / "a")
    made_up.write_results("ring")
    return tmp_path


def test_folders_and_tables_are_read_alike(sets, capsys):
    again = Path("results", made_up.SCALE)
    for a, b in (("a", again), ("a/metrics.csv", again), ("a", again / "metrics.csv")):
        assert main(["diff", str(a), str(b), "--fail"]) == 0
        assert capsys.readouterr().out.splitlines()[0] == "20 keys: 20 equal to the bit"
    pd.testing.assert_frame_equal(
        diff.read(Path("a")).assign(settings="").sort_values([*diff.KEY, "seed"], ignore_index=True),
        diff.read(Path("a/metrics.csv")).sort_values([*diff.KEY, "seed"], ignore_index=True),
        check_dtype=False,
    )
    assert (diff.read(Path("a")).settings != "").all()


def test_a_shifted_cell_is_found_in_records(sets, capsys):
    ring = made_up.load_experiment("ring", made_up.SCALE)
    cell = Cell(made_up.SCALE, "ring", "unit_ring", "ddim", 5)
    made_up.write_cell(ring, cell, shift=0.5)
    arguments = ["diff", "a", f"results/{made_up.SCALE}"]
    assert main([*arguments, "--csv", "out/all.csv"]) == 0
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == "20 keys: 4 different; 16 equal to the bit"
    assert "family-wise level 0.05 over 20 keys (Holm)" in second
    assert all(line.startswith("different: ring/unit_ring/ddim/5/") and "difference +0.5 " in line for line in rest)
    table = pd.read_csv("out/all.csv")
    assert len(table) == 20 and list(table.outcome).count("different") == 4
    assert main([*arguments, "--fail"]) == 1
    layout.CellFiles(cell).record.unlink()
    assert main([*arguments, "--fail"]) == 1
    assert "4 only in A" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none", None, "got no such file or folder"),
        ("empty", "", "got no records, expected <experiment>"),
        ("x.csv", "a,b\n1,2\n", "got no table of measurements"),
        ("x.csv", "", "got no table of measurements"),
        ("x.csv", "\x00\xff", "got "),
        (
            "x.csv",
            "experiment,dataset,method,nfe,seed,metric,value\ne,d,m,five,1,x,1\n",
            "got no table of measurements",
        ),
        ("x.csv", "experiment,dataset,method,nfe,seed,metric,value\ne,d,m,5,1,x,\n", "got empty places"),
        (
            "x.csv",
            "experiment,dataset,method,nfe,seed,metric,value\ne,d,m,5,1,x,inf\n",
            "got empty places or values that",
        ),
        ("x.csv", 2 * "experiment,dataset,method,nfe,seed,metric,value\n" + 2 * "e,d,m,5,1,x,1\n", "got "),
        (
            "x.csv",
            "experiment,dataset,method,nfe,seed,metric,value\n" + 2 * "e,d,m,5,1,x,1\n",
            "got several values of e/d/m/5/x, seed 1",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, monkeypatch, capsys, name, text, words):
    monkeypatch.chdir(tmp_path)
    if name == "empty":
        Path(name).mkdir()
    elif text is not None:
        Path(name).write_text(text)
    assert main(["diff", name, name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hsivi diff: {name}: ") and words in line


def test_an_edited_record_is_not_compared(sets):
    path = layout.CellFiles(Cell(made_up.SCALE, "ring", "unit_ring", "ddim", 5)).record
    path.write_text(path.read_text().replace("c0ffee", "decade"))
    with pytest.raises(ConfigError, match="somebody edited it"):
        diff.read(Path("results", made_up.SCALE))
