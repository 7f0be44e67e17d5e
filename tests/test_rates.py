"""The table of the slowest published rates, and limits that rest on it."""

from pathlib import Path

import pytest

from hsivi import layout
from hsivi.config import load_experiment
from hsivi.data import conditioned_diffusion
from hsivi.methods import Cell
from hsivi.planning import cost, jobs, rates, resources, work
from hsivi.planning.rates import Slowest
from hsivi.record import write_json
from tests.test_plan import job, write_note


def test_the_table_is_what_the_published_records_say() -> None:
    """Publishing writes it; by hand: python -c "from hsivi import rates; rates.write()"."""
    assert rates.TABLE.read_text() == rates.text(cost.published())


def test_every_published_stage_of_every_row_is_there() -> None:
    published = {cost.keys(one)[0] for one, _ in cost.published()}
    assert len(published) > 100
    assert all(rates.read().of(key) for key in published)


def test_what_ran_on_a_gpu_sets_no_limit_of_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST's network has its published size at scale paper only; jobs without one, such as data, go with it."""
    monkeypatch.setattr(cost, "PUBLISHED", tmp_path)
    for scale in ("quick", "paper"):
        experiment = load_experiment("mnist", scale)
        write_note(jobs.of_dataset("data", experiment, "mnist"), 1.0, tmp_path / scale / "mnist/mnist/data.safetensors")
    assert [one.output.parts[1] for one, _ in cost.published()] == ["quick"]


def test_what_ran_on_a_gpu_without_need_counts_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a cluster's limit would end a processor's training."""
    monkeypatch.setattr(cost, "PUBLISHED", tmp_path)
    experiment, cell = (
        load_experiment("conditioned_diffusion", "paper"),
        Cell("paper", *["conditioned_diffusion"] * 2, "hsivi_sm", 5),
    )
    devices = {"fit": "cuda (NVIDIA H100)", "sample": "cpu"}
    for stage, device in devices.items():
        one = jobs.of_cell(stage, experiment, cell)
        note = layout.note(tmp_path / layout.inside_results(one.output))
        write_json(note, {"seconds": 1.0, "device": device})
    assert [one.stage for one, _ in cost.published()] == ["sample"]


def test_the_slowest_of_the_large_counts() -> None:
    finished = [(job("fit", "x", 100), 10.0), (job("fit", "x", 50), 20.0), (job("fit", "x", 1), 5.0)]
    assert rates.slowest(finished) == finished[1]
    assert cost.estimate(job("fit", "x", 1000), [lambda: Slowest(finished)]).seconds == pytest.approx(400)


def test_other_methods_are_no_guide_to_a_training() -> None:
    """They are to sampling, which is counted in function evaluations."""
    known = [(job("fit", "x", 10), 1.0), (job("sample", "x", 10), 1.0)]
    for experiment in ("a", "another"):
        for stage, factor in (("fit", rates.STRANGE), ("sample", 1.0)):
            found = cost.estimate(job(stage, "y", 30, experiment), [lambda: Slowest(known)])
            assert found.seconds == pytest.approx(3 * factor), (experiment, stage)


def test_published_methods_differ_by_no_more_than_that() -> None:
    """UIVI against the others of the mixture."""
    known = Slowest(cost.published())
    fits = {name: known.of(("row", "fit", "mixture", name)) for name in ("uivi", "hsivi_sm", "sivi_sm")}
    slow, *others = fits.values()
    assert slow and all(other and 1 < slow / other < 1.5 * rates.STRANGE for other in others), fits
    assert slow / max(other or 0.0 for other in others) < rates.STRANGE


def test_a_size_of_nothing_sets_no_rate() -> None:
    """An imported checkpoint is no work, however long its download took."""
    assert rates.rows([(job("pretrain", "", 0), 100.0)]) == []


def test_limits_follow_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the published duration is twice the part of the limit that grows; nothing published is the guess."""
    experiment, cell = load_experiment("toy2d", "paper"), Cell("paper", "toy2d", "moons", "hsivi_sm", 10)
    size = jobs.of_cell("fit", experiment, cell).size
    for seconds in (10.0, 20.0):
        known = Slowest([(jobs.of_cell("fit", experiment, cell)._replace(size=size / 7), seconds)])
        monkeypatch.setattr(rates, "read", lambda known=known: known)
        assert resources.seconds("fit", experiment, cell) == pytest.approx(resources.FLAT["fit"] + 7 * seconds)
    monkeypatch.setattr(rates, "read", lambda: Slowest([]))
    for stage, one in (("data", None), ("pretrain", None), ("reference", None), ("fit", cell), ("measure", cell)):
        assert resources.seconds(stage, experiment, one) == resources.FLAT[stage] + cost.GUESS[stage]


def test_draws_of_a_posterior_are_counted_in_steps_of_its_chains() -> None:
    """Its reference and the control that draws from it are the same kind of work."""
    gradients = conditioned_diffusion.HMC_STEPS * conditioned_diffusion.LEAPFROGS
    assert 13 * gradients == work.DRAW_STEPS
    experiment = load_experiment("conditioned_diffusion", "paper")
    data = experiment.data
    drawn = jobs.of_cell("sample", experiment, Cell("paper", experiment.name, experiment.name, "reference", 0))
    assert drawn.size == 5 * 100_000 * work.DRAW_STEPS
    whole = jobs.of_dataset("reference", experiment, experiment.name)
    assert whole.size == 100_000 * 10_001 + (data.check_draws + data.floor_pairs * 100_000) * work.DRAW_STEPS
    published = dict(cost.published())
    found = cost.estimate(drawn, [lambda: Slowest([(whole, published[whole])])])
    assert found.basis == "slowest published results, other chains"
    assert 0.5 < found.seconds / published[drawn] < 4
