"""Verdicts, from made-up records on disk whose truth is known, and the error rates of families of statements."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsivi import layout, methods, significance
from hsivi.config import ConfigError, load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Measurement, Record, write_json, write_record
from hsivi.timing_record import TimingRecord
from reports import _blanks, verdicts
from reports._compared import Compared, Test, aligned, equivalence, examine
from reports._judged_statements import Case, combined, correct, decide
from reports._ledger import load_ledger
from reports._margin import Margin
from reports._run import Series
from reports._tables import Source
from reports._verdicts import Outcome, Verdict, outcomes, verdict_counts

SEEDS = (11, 12, 13, 14, 15)
REPEATS = 5000


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_blanks, "has_device", lambda: True)


def write(cell: Cell, values: dict[str, list[float]], trainings: int = 5, **changes: Any) -> None:
    """Write a record with one value a seed of each metric."""
    measured = [
        Measurement(seed=seed, metric=metric, value=value, standard_error=None, num_samples=100)
        for metric, per_seed in values.items()
        for seed, value in zip(SEEDS, per_seed, strict=False)
    ]
    facts: dict[str, Any] = {"status": "ok", "measurements": measured, "trainings": trainings} | changes
    record = Record(
        experiment=cell.experiment, dataset=cell.dataset, label=cell.label, baseline="b", title="t", scale=cell.scale,
        nfe=cell.nfe, time_grid=None, config={}, seconds={}, device="cpu", dtype="", environment={}, commit="",
        digests={}, command="python -m hsivi measure", **facts,
    )  # fmt: skip
    write_record(layout.CellFiles(cell).record, record)


def around(mean: float, sd: float = 0.0005, n: int = 5) -> list[float]:
    """Return n values with exactly that mean and standard deviation, different for every mean."""
    z = np.random.default_rng(int(mean * 1e6)).normal(size=n)
    return [float(v) for v in mean + sd * (z - z.mean()) / z.std(ddof=1)]


def by_id(scale: str, *experiments: Experiment) -> dict[str, Outcome]:
    return {outcome.id: outcome for outcome in outcomes(scale, experiments)}


def posterior() -> Experiment:
    return load_experiment("conditioned_diffusion", "paper", "core")


def give_posterior(values: dict[tuple[str, int], Any], **changes: Any) -> dict[str, Outcome]:
    """Write covariance errors at scale paper and return the verdicts."""
    for (label, nfe), per_seed in values.items():
        cell = Cell("paper", "conditioned_diffusion", "conditioned_diffusion", label, nfe)
        write(cell, {"covariance_frobenius": per_seed}, **changes)
    return by_id("paper", posterior())


# ---------------------------------------------------------------------------------------------------- published numbers
def test_a_verdict_on_every_claim_without_any_result():
    for scale, experiments in (("quick", ["toy2d", "cifar10"]), ("paper", []), ("smoke", ["toy2d"])):
        found = outcomes(scale, [load_experiment(name, scale, "core") for name in experiments])
        assert len(found) == 173 + len(load_ledger(scale).statements) and len({o.id for o in found}) == len(found)
        assert {o.verdict for o in found} <= {Verdict.NOT_RUN, Verdict.NOT_COMPARABLE}
        assert all(o.reason and "\n" not in o.reason for o in found)
        assert sum(verdict_counts(found).values()) == len(found)
    assert set(verdict_counts([])) == set(Verdict)


def test_numbers_from_records_on_disk():
    """Printed: 0.0886, 0.0813, 0.0431, 0.0333 and 0.0883, 0.0825, 0.0722, 0.0433, each with a margin of 10 percent."""
    found = give_posterior(
        {
            ("hsivi_sm", 1): around(0.0886 * 1.05),
            ("hsivi_sm", 2): around(0.0813 * 0.7),
            ("hsivi_sm", 3): around(0.0431 * 1.3),
            ("hsivi_sm", 5): around(0.0333, 0.01),
            ("hsivi_lb", 1): around(0.0883, n=2),
            ("hsivi_lb", 2): around(0.0825 * 1.099),
        }
    )
    expected = {
        "sm-t1": Verdict.REPRODUCED,
        "sm-t2": Verdict.BETTER,
        "sm-t3": Verdict.WORSE,
        "sm-t5": Verdict.INCONCLUSIVE,
        "lb-t1": Verdict.INCONCLUSIVE,
        "lb-t2": Verdict.INCONCLUSIVE,
        "lb-t3": Verdict.NOT_RUN,
    }
    assert {name: found[f"hsivi-table4-hsivi_{name}"].verdict for name in expected} == expected
    good = found["hsivi-table4-hsivi_sm-t1"]
    (comparison,) = good.comparisons
    assert good.printed == 0.0886 and good.ours == pytest.approx(0.0886 * 1.05)
    assert good.difference == pytest.approx(0.0886 * 0.05) and comparison.margin == pytest.approx(0.00886)
    assert comparison.sources == (
        Source("conditioned_diffusion", "conditioned_diffusion", "hsivi_sm", 1, "covariance_frobenius"),
    )
    # 0.0005 / sqrt(5), times the 95 percent quantile of Student's t with 4 degrees of freedom.
    assert comparison.high - comparison.difference == pytest.approx(2.1318 * 0.0005 / 5**0.5, rel=1e-4)
    assert comparison.seeds == 5 and comparison.p < 0.001
    assert "lies within the margin of 0.00886" in good.reason
    assert "on the better side" in found["hsivi-table4-hsivi_sm-t2"].reason
    assert found["hsivi-table4-hsivi_lb-t1"].reason == "2 seeds in common; a verdict needs three"
    assert "neither within nor beyond" in found["hsivi-table4-hsivi_lb-t2"].reason
    assert "make reproduce SCALE=paper EXPERIMENTS=conditioned_diffusion" in found["hsivi-table4-hsivi_lb-t3"].reason
    assert good.experiment == "conditioned_diffusion" and good.methods == ("hsivi_sm",) and good.nfe == (1,)


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"trainings": 1}, Verdict.INCONCLUSIVE, "HSIVI-SM was trained once"),
        ({"trainings": 2}, Verdict.INCONCLUSIVE, "was trained twice"),
        ({"trainings": 0}, Verdict.REPRODUCED, "within the margin"),
        ({"trainings": None}, Verdict.REPRODUCED, "within the margin"),
        ({"status": "declined", "reason": "no use", "measurements": ()}, Verdict.NOT_RUN, "declined: no use"),
        (
            {"measurements": ()},
            Verdict.NOT_RUN,
            "its record lacks covariance_frobenius; python -m hsivi measure writes",
        ),
    ],
)
def test_what_stands_in_the_way_of_a_verdict(changes, verdict, words):
    found = give_posterior({("hsivi_sm", 5): around(0.0333)}, **changes)["hsivi-table4-hsivi_sm-t5"]
    assert found.verdict is verdict and words in found.reason


def test_other_scales_show_ours_without_a_verdict():
    quick = load_experiment("conditioned_diffusion", "quick", "core")
    cell = Cell("quick", "conditioned_diffusion", "conditioned_diffusion", "hsivi_sm", 5)
    write(cell, {"covariance_frobenius": around(0.0333)})
    # This scale does not have the row with the paper's recipe, which is judged; it shows its own.
    found = by_id("quick", quick)["hsivi-table4-hsivi_sm-t5"]
    assert found.verdict is Verdict.NOT_COMPARABLE and "at scale paper only" in found.reason
    assert found.ours == pytest.approx(0.0333) and found.difference == pytest.approx(0, abs=1e-9)
    assert found.comparisons[0].outcome is Verdict.NOT_COMPARABLE and found.comparisons[0].p is None
    ring = load_experiment("mixture", "smoke", "core")
    smoke = by_id("smoke", ring)
    assert {o.verdict for o in smoke.values()} == {Verdict.NOT_COMPARABLE}
    assert "a trial" in smoke["hsivi-table4-hsivi_sm-t5"].reason
    assert "a trial" in smoke["hsivi-ring-trapped"].reason and not smoke["hsivi-ring-trapped"].comparisons


def test_a_number_that_is_never_judged_shows_ours_beside_it():
    """Table 1's estimator is not identified; ours is in the quantity that the paper names."""
    toys = load_experiment("toy2d", "paper", "core")
    write(Cell("paper", "toy2d", "moons", "ddim", 5), {"js_ite": around(0.02)})
    found = by_id("paper", toys)["hsivi-table1-moons-ddim-t5"]
    assert found.verdict is Verdict.NOT_COMPARABLE and "not identified" in found.reason
    assert found.ours == pytest.approx(0.02) and found.difference == pytest.approx(0.02 - 0.355)
    assert by_id("paper", toys)["hsivi-table1-moons-ddpm-t5"].ours is None


def test_images_by_the_paper_s_names():
    full = load_experiment("celeba", "paper", "full")
    for label, value, trainings in (("ddim", 27.38, 0), ("ddpm-large", 300.0, 0), ("hsivi_sm-paper", 6.22, 1)):
        cell = Cell("paper", "celeba", "celeba", label, 5)
        write(cell, {"fid_inception@12345678": around(value, 0.1, 3)}, trainings=trainings)
    found = by_id("paper", full)
    ddim = found["hsivi-table2-celeba64-ddim-t5"]
    assert ddim.verdict is Verdict.REPRODUCED and ddim.datasets == ("celeba",)
    assert ddim.comparisons[0].sources[0].metric == "fid_inception@12345678"
    assert found["hsivi-table2-celeba64-ddpm-t5"].verdict is Verdict.BETTER
    assert found["hsivi-table2-celeba64-hsivi_sm-t5"].verdict is Verdict.INCONCLUSIVE
    assert "no data" in found["hsivi-table2-celeba64-fastdpm-t5"].reason
    assert found["gdim-table1-iddim_m0.0-t4"].verdict is Verdict.NOT_COMPARABLE
    assert "has no row ddim with 4" in found["gdim-table1-iddim_m0.0-t4"].reason


def test_parameters_are_counted():
    experiments = [load_experiment(name, "paper", "core") for name in ("cifar10", "celeba")]
    for experiment, count in zip(experiments, (35_746_307, 78_664_000), strict=True):
        files = layout.DatasetFiles("paper", experiment.name, experiment.name)
        write_json(layout.note(files.score_model), {"parameters": count})
    found = by_id("paper", *experiments)
    wrong, right = (found[f"hsivi-table5-{name}-all"] for name in ("cifar10", "celeba64"))
    assert wrong.verdict is Verdict.WORSE and right.verdict is Verdict.REPRODUCED
    assert wrong.reason == "counted, not measured: 35.75 is not the printed 38.72"
    assert right.ours == pytest.approx(78.664) and right.comparisons[0].p is None
    assert "not part of this run" not in by_id("paper")["hsivi-table5-cifar10-all"].reason  # data come first
    assert by_id("paper")["hsivi-table5-cifar10-all"].verdict is Verdict.NOT_RUN


# ----------------------------------------------------------------------------------------------------------- statements
def test_orderings_from_records_on_disk():
    found = give_posterior(
        {("hsivi_sm", nfe): around(value) for nfe, value in ((1, 0.09), (2, 0.08), (3, 0.04), (5, 0.03))}
        | {("hsivi_lb", nfe): around(value) for nfe, value in ((1, 0.10), (2, 0.09), (3, 0.095), (5, 0.05))}
    )
    assert found["hsivi-posterior-sm_layers"].verdict is Verdict.REPRODUCED
    assert "all 3 comparisons hold" in found["hsivi-posterior-sm_layers"].reason
    wrong = found["hsivi-posterior-lb_layers"]
    assert wrong.verdict is Verdict.WORSE
    assert [one.outcome for one in wrong.comparisons] == [Verdict.REPRODUCED, Verdict.WORSE, Verdict.REPRODUCED]
    assert "T = 3: HSIVI-LB below itself at T = 2" in wrong.reason
    assert found["hsivi-posterior-lb_five_layers"].verdict is Verdict.REPRODUCED
    assert found["hsivi-posterior-sm_beats_lb"].verdict is Verdict.REPRODUCED
    missing = found["hsivi-posterior-sivi_sm_underestimates"]
    assert missing.verdict is Verdict.NOT_RUN and "its record lacks variance_ratio" in missing.reason


def test_seeds_are_paired():
    """Seeds move both methods far more than they differ; only the seeds that both have count."""
    shared = np.array([0.05, 0.15, 0.25, 0.35, 0.45])
    values = {("hsivi_lb", nfe): list(shared) for nfe in (1, 2, 3, 5)}
    values |= {("hsivi_sm", nfe): list(shared - np.array(around(0.01, 0.001)))[:4] for nfe in (1, 2, 3, 5)}
    found = give_posterior(values)["hsivi-posterior-sm_beats_lb"]
    assert found.verdict is Verdict.REPRODUCED
    assert {one.seeds for one in found.comparisons} == {4}
    source = Source("e", "d", "m", 1, "x")
    mine, theirs = aligned(Series({3: 3.0, 1: 1.0, 2: 2.0}, source, 0), Series({4: 40.0, 1: 10.0, 3: 30.0}, source, 0))
    assert mine.tolist() == [1, 3] and theirs.tolist() == [10, 30]


def toys(
    improve: float = 0.5, checkerboard_10: float = 1.0, rows: tuple[str, ...] = ("hsivi_sm",)
) -> dict[str, Outcome]:
    """Write js_cell at scale quick with three seeds and return the verdicts."""
    experiment = load_experiment("toy2d", "quick", "core")
    for cell in methods.cells(experiment):
        base = {"ddpm": 0.08, "ddim": 0.06}.get(cell.label, 0.06 * improve) * (5 / cell.nfe if cell.nfe else 1)
        base = 0.015 if cell.nfe == 1000 else base
        if (cell.dataset, cell.label, cell.nfe) == ("checkerboard", "hsivi_sm", 10):
            base *= checkerboard_10
        write(cell, {"js_cell": around(base, 1e-4, 3)}, trainings=3 if "hsivi" in cell.label else 0)
    return by_id("quick", experiment)


def test_the_toys_at_scale_quick():
    found = toys()
    improves = found["hsivi-toy2d-improves"]
    assert improves.verdict is Verdict.REPRODUCED and len(improves.comparisons) == 16
    assert "at scale quick all 16 comparisons hold" in improves.reason
    assert improves.datasets == ("checkerboard", "swissroll", "circles", "moons") and improves.nfe == (5, 10)
    assert set(improves.methods) == {"hsivi_sm", "ddim", "ddpm"} and improves.metrics == ("js_cell",)
    assert improves.comparisons[0].words == "checkerboard, T = 5: HSIVI-SM below DDIM (js_cell)"
    assert [source.method for source in improves.comparisons[0].sources] == ["hsivi_sm", "ddim"]
    assert found["hsivi-toy2d-comparable_to_1000"].verdict is Verdict.REPRODUCED
    assert found["hsivi-toy2d-few_layers_fail"].verdict is Verdict.REPRODUCED


def test_one_part_that_is_contradicted_contradicts_a_statement():
    found = toys(checkerboard_10=3.0)
    assert found["hsivi-toy2d-improves"].verdict is Verdict.WORSE
    assert "checkerboard, T = 10" in found["hsivi-toy2d-improves"].reason
    assert found["hsivi-toy2d-comparable_to_1000"].verdict is Verdict.WORSE, "six times the value"
    assert found["hsivi-toy2d-ddim_beats_ddpm"].verdict is Verdict.REPRODUCED


def test_better_than_comparable():
    """0.0015 against 0.015, with a factor of 2.28 for comparable; the other three sets are at 0.003."""
    found = toys(improve=0.1, checkerboard_10=0.5)["hsivi-toy2d-comparable_to_1000"]
    assert found.verdict is Verdict.BETTER and "nothing is worse than claimed" in found.reason


def test_better_asks_for_every_part_not_to_be_worse():
    clear, unsure = Test(1.0, 1.0, exceeds=0.001, allowed=0.0005), Test(0.5, 0.6, exceeds=1.0, allowed=0.4)
    assert combined([clear, unsure])[2] == 0.4
    assert combined([clear, clear, Test(0.01, 1.0, exceeds=1.0, allowed=0.01)])[2] == 0.01
    assert combined([clear, None])[2] == 1
    assert combined([Test(0.01, 1.0), None]) == (1.0, 1.0, None)


def test_a_missing_part_leaves_a_statement_open():
    toys()
    layout.CellFiles(Cell("quick", "toy2d", "moons", "hsivi_sm", 5)).record.unlink()
    found = by_id("quick", load_experiment("toy2d", "quick", "core"))["hsivi-toy2d-improves"]
    assert found.verdict is Verdict.NOT_RUN and found.reason.startswith("2 of 16 comparisons lack numbers: ")
    assert [one.ours for one in found.comparisons if one.words.startswith("moons, T = 5")] == [None, None]


def test_rows_of_scope_full_do_not_weaken_scope_core():
    """The ring's family has six statements, of which scope core includes one; p = 0.02 by itself is enough there."""
    experiment = load_experiment("ring", "quick", "core")
    for label, values in (("ddim", [0.1, 0.1, 0.1]), ("dpm_solver_fast", [0.2, 0.25, 0.17])):
        write(Cell("quick", "ring", "unit_ring", label, 5), {"js_cell": values}, trainings=0)
    (name,) = [n for n in by_id("quick", experiment) if n.startswith("hsivi-ring_sampler")]
    core, full = (by_id("quick", load_experiment("ring", "quick", scope))[name] for scope in ("core", "full"))
    assert 0.05 / 6 < core.comparisons[0].p < 0.05
    assert core.verdict is Verdict.REPRODUCED and full.verdict is Verdict.INCONCLUSIVE
    assert "after correction over" in full.reason


def test_seeds_that_agree_exactly_get_a_sign_test():
    """Five seeds, no mode found in any: p = 1/32, not zero."""
    experiment = load_experiment("mixture", "quick", "core")
    for cell in methods.cells(experiment):
        sivi = cell.label in ("sivi_sm", "sivi_lb")
        value = {"mode_weight_min": [0.0] * 5 if sivi else around(0.1, 0.001)}
        write(
            cell, value | {"js_cell": around(0.3 if sivi or not cell.nfe else 0.01)} | {"within_mode_sd": around(1.1)}
        )
    found = by_id("quick", experiment)
    assert [one.p for one in found["hsivi-ring-trapped"].comparisons] == [1 / 32, 1 / 32]
    assert found["hsivi-ring-all_modes"].verdict is Verdict.REPRODUCED
    width = found["hsivi-ring-width"]
    assert width.verdict is Verdict.INCONCLUSIVE and width.difference == 0  # equal in every seed
    assert "|within_mode_sd - 1|" in width.comparisons[0].words and width.ours == pytest.approx(0.1)


def test_one_training_of_a_rival_is_too_few_as_well():
    experiment = load_experiment("mnist", "quick", "core")
    for label, trainings in (("dpm_solver_fast", 0), ("ddim", 0), ("ddpm", 0), ("hsivi_sm", 1)):
        value = {"fd_mnist_classifier@1": around(len(label), n=3), "precision_mnist_classifier@1": around(0.5, n=3)}
        write(Cell("quick", "mnist", "mnist", label, 5), value, trainings=trainings)
    found = by_id("quick", experiment)
    assert found["hsivi-mnist-fast_breaks_down"].verdict is Verdict.REPRODUCED
    assert found["hsivi-mnist-five"].verdict is Verdict.INCONCLUSIVE
    assert found["hsivi-mnist-five"].reason.startswith("HSIVI-SM was trained once")
    write(Cell("quick", "mnist", "mnist", "ddim", 5), {"fd_mnist_classifier@2": around(4.0, n=3)}, trainings=0)
    found = by_id("quick", experiment)["hsivi-mnist-fast_breaks_down"]
    assert found.verdict is Verdict.NOT_COMPARABLE and "values of two protocols" in found.reason


def give_timing(label: str, mean: float, std: float = 0.01, parameters: int = 7, **changes: Any) -> None:
    cell = Cell("paper", "cifar10", "cifar10", label, 5)
    facts: dict[str, Any] = {
        "status": "ok",
        "seconds": {"mean": mean, "std": std, "median": mean, "p95": mean},
    } | changes
    record = TimingRecord(
        experiment="cifar10", dataset="cifar10", label=label, baseline=label, title=label, scale="paper", nfe=5,
        batch=128, warm_up=1, runs=100, parameters=parameters, device="cpu", threads=1, stage_seconds=1,
        environment={}, commit="", digests={}, command="", **facts,
    )  # fmt: skip
    write_json(layout.CellFiles(cell).timing, record.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ({"mean": 1.05}, Verdict.REPRODUCED),
        ({"mean": 1.2}, Verdict.WORSE),
        ({"mean": 0.8}, Verdict.BETTER),
        ({"mean": 1.1}, Verdict.INCONCLUSIVE),
        ({"mean": 1.0, "status": "declined", "reason": "no", "seconds": {}}, Verdict.NOT_RUN),
    ],
)
def test_sampling_times(ours, verdict):
    give_timing("ddim", 1.0)
    give_timing("hsivi_sm", **ours)
    found = by_id("paper", load_experiment("cifar10", "paper", "core"))
    timed = found["hsivi-cifar10-sampling_time"]
    assert timed.verdict is verdict and timed.metrics == ("seconds",)
    if verdict is not Verdict.NOT_RUN:
        (one,) = timed.comparisons
        assert (
            one.difference == pytest.approx(ours["mean"] - 1) and one.margin == pytest.approx(0.1) and one.seeds == 100
        )
        assert found["hsivi-cifar10-parameters"].verdict is Verdict.REPRODUCED
    assert by_id("paper")["hsivi-cifar10-sampling_time"].verdict is Verdict.NOT_RUN


def test_more_parameters_contradict_equal_ones():
    give_timing("ddim", 1.0)
    give_timing("hsivi_sm", 1.0, parameters=8)
    found = by_id("paper", load_experiment("cifar10", "paper", "core"))
    assert found["hsivi-cifar10-parameters"].verdict is Verdict.WORSE
    give_timing("hsivi_sm", 1.0, std=0.0)
    give_timing("ddim", 1.0, std=0.0)
    found = by_id("paper", load_experiment("cifar10", "paper", "core"))
    assert found["hsivi-cifar10-sampling_time"].reason == "the durations have no spread"


def test_a_share_of_a_value_that_is_not_positive_is_no_margin():
    found = toys()
    assert found["hsivi-toy2d-comparable_to_1000"].verdict is Verdict.REPRODUCED
    write(Cell("quick", "toy2d", "moons", "ddpm", 1000), {"js_cell": [-0.001, -0.002, -0.0015]}, trainings=0)
    found = by_id("quick", load_experiment("toy2d", "quick", "core"))
    assert found["hsivi-toy2d-comparable_to_1000"].verdict is Verdict.INCONCLUSIVE
    assert "not positive" in found["hsivi-toy2d-comparable_to_1000"].reason


def test_a_broken_record_is_one_line():
    cell = Cell("paper", "conditioned_diffusion", "conditioned_diffusion", "hsivi_sm", 1)
    write_json(layout.CellFiles(cell).record, {"experiment": "conditioned_diffusion"})
    with pytest.raises(ConfigError, match=r"record\.json"):
        by_id("paper", posterior())


def test_it_takes_no_time():
    toys()
    experiments = [
        load_experiment(n, "quick", "core") for n in ("toy2d", "mixture", "conditioned_diffusion", "digits", "ring")
    ]
    begin = time.process_time()
    outcomes("quick", experiments)
    assert time.process_time() - begin < 3


def test_the_table_shows_every_claim():
    toys()
    experiment = load_experiment("toy2d", "quick", "core")
    table, found = verdicts.table("quick", [experiment]), outcomes("quick", [experiment])
    assert [names[0] for names, _ in table.rows] == [outcome.id for outcome in found]
    grid = table.grid
    assert grid[0][:6] == ["claim", "statement", "place", "printed", "ours", "compared with"]
    row = {names[0]: dict(zip(grid[0][3:], cells, strict=True)) for names, cells in table.rows}
    improves = row["hsivi-toy2d-improves"]
    assert improves["verdict"].text == "REPRODUCED" and improves["comparisons"].text == "16"
    assert improves["seeds"].text == "3" and len(improves["verdict"].sources) == 4 * 2 * 3
    assert row["hsivi-table1-moons-ddim-t5"]["printed"].text == "0.355"
    assert table.text("md").count("\n") == len(found) + 2 and table.text("tex").isascii()


# ---------------------------------------------------------------------------------------- error rates of whole families
def simulated(rng: np.random.Generator, means: np.ndarray, n: int, repeats: int) -> Iterator[list[Verdict]]:
    """Yield the verdicts on families of statements "below", from differences that seeds share in part.

    Arguments:
        rng: source of chance.
        means: true differences in standard deviations, with shape (statements, parts).
        n: seeds.
        repeats: families.
    """
    shared = rng.normal(0, np.sqrt(0.5), (n, 1, 1, repeats))
    values = means[..., None] + shared + rng.normal(0, np.sqrt(0.5), (n, *means.shape, repeats))
    known = significance.evidence(values, values)
    statement = load_ledger("quick").statements[0]
    for k in range(repeats):
        cases = []
        for below, above in zip(known.below[..., k], known.above[..., k], strict=True):
            tests = [Test(*both) for both in zip(below, above, strict=True)]
            parts = tuple(Compared(None, test) for test in tests)  # type: ignore[arg-type]
            cases.append(Case(statement, parts, *combined(tests)))
        yield [decide(case) for case in correct(cases)]


def rates(means: list[list[float]], n: int, verdict: Verdict, wrong: list[int], repeats: int = REPEATS) -> float:
    """Return how often any of the statements listed gets a verdict."""
    rng = np.random.default_rng([n, len(wrong), len(verdict)])
    families = simulated(rng, np.array(means, float), n, repeats)
    return sum(any(found[k] is verdict for k in wrong) for found in families) / repeats


LIMIT = 0.05 + 4 * (0.05 * 0.95 / REPEATS) ** 0.5


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_family_rarely_has_a_false_reproduction(n):
    """Four statements, each with one part of no effect and one of a huge one: any REPRODUCED is false."""
    assert rates([[0, -1e4]] * 4, n, Verdict.REPRODUCED, [0, 1, 2, 3]) < LIMIT
    assert rates([[0, -1e4], [-1e4, -1e4], [-1e4, 0]], n, Verdict.REPRODUCED, [0, 2]) < LIMIT, "beside a true one"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_family_rarely_has_a_false_contradiction(n):
    """Three statements of three parts without effect: any WORSE is false."""
    assert rates([[0, 0, 0]] * 3, n, Verdict.WORSE, [0, 1, 2]) < LIMIT


def test_true_statements_are_found_and_more_often_with_more_seeds():
    family = [[-2.0, -2.0], [-2.0, -2.0]]
    power = [rates(family, n, Verdict.REPRODUCED, [0], 150) for n in (3, 5, 10)]
    assert power[0] + 0.1 < power[1] < power[2] and power[2] > 0.9
    contrary = [rates([[-2.0, 2.0]], n, Verdict.WORSE, [0], 150) for n in (3, 5, 10)]
    assert contrary[0] + 0.1 < contrary[1] < contrary[2] and contrary[2] > 0.9


def test_one_comparison_is_the_test_of_its_relation():
    """What `examine` returns are the p-values whose error rates tests/test_significance.py checks."""
    x, y = np.array([0.4, 0.7, 0.2, 0.9]), np.array([0.5, 0.9, 0.1, 0.7])
    margin = Margin(relative=0.2, why="so")
    order, shares = significance.evidence(x - y, x - y), significance.evidence(x - 0.8 * y, x - 1.2 * y)
    assert examine(x, y, "below", None, "lower") == Test(float(order.below), float(order.above))
    assert examine(x, y, "above", None, "lower") == Test(float(order.above), float(order.below))
    assert examine(x, y, "not_above", margin, "lower") == Test(float(shares.not_above), float(shares.above))
    both = examine(x, y, "equivalent", margin, "lower")
    assert both.holds == shares.inside and both.allowed == shares.not_above
    assert (both.fails, both.exceeds) == (min(1, 2 * shares.above), min(1, 2 * shares.below))


def test_which_side_of_an_equivalence_is_better():
    low, high = np.full(5, -9.0) + np.arange(5) / 10, np.full(5, 9.0) + np.arange(5) / 10
    margin = Margin(absolute=1.0, why="so")
    expected = {
        ("lower", "low"): Verdict.BETTER,
        ("lower", "high"): Verdict.WORSE,
        ("higher", "low"): Verdict.WORSE,
        ("higher", "high"): Verdict.BETTER,
        ("equal", "low"): Verdict.WORSE,
        ("equal", "high"): Verdict.WORSE,
    }
    for (better, side), verdict in expected.items():
        values = low if side == "low" else high
        assert examine(values, np.zeros(5), "equivalent", margin, better).verdict is verdict
    assert Test(0.5, 0.5).verdict is Verdict.INCONCLUSIVE and equivalence  # the rule of numbers is the same
