"""The plan of a run: arithmetic on notes made by hand."""

from pathlib import Path

import pytest

from hsivi import layout
from hsivi.__main__ import main
from hsivi.config import ROOT, load_experiment
from hsivi.methods import Cell, cells
from hsivi.planning import cost, downloads, plan, plan_text, work
from hsivi.planning.cost import Estimate, Rates
from hsivi.planning.jobs import STAGES, Job, jobs, took
from hsivi.record import write_json


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No results, and none published: what is known is what a test writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "PUBLISHED", tmp_path / "published")
    for name in ("HSIVI_DATA_DIR", "HSIVI_OFFLINE", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HSIVI_CACHE_DIR", str(tmp_path / "cache"))


def write_note(job: Job, seconds: float, output: Path | None = None) -> None:
    place = output or job.output
    if job.stage == "measure":
        write_json(place, {"seconds": {"measure": seconds}})
    elif job.stage == "time":
        write_json(place, {"stage_seconds": seconds})
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        if output is None:
            place.touch()
        write_json(layout.note(place), {"seconds": seconds})


def job(stage: str, label: str, size: float, experiment: str = "a", method: str = "", kind: str = "toy2d") -> Job:
    return Job(stage, experiment, size, Path(f"{experiment}/{label}/{size}"), kind, "set", label, method or label)


def known(name: str, *finished: tuple[Job, float]) -> cost.Source:
    rates = Rates(name, finished)
    return lambda: rates


# ------------------------------------------------------------------------------------------------------------ estimates
def test_a_job_takes_its_size_times_what_a_unit_took() -> None:
    source = known("own", (job("fit", "x", 10), 30.0), (job("fit", "x", 30), 50.0))
    assert cost.estimate(job("fit", "x", 5), [source]) == Estimate(5 * 80 / 40, "own")


def test_the_most_alike_are_asked_first_then_the_nearest() -> None:
    here = known("here", (job("fit", "other", 1), 7.0))
    there = known("there", (job("fit", "x", 1), 3.0))
    elsewhere = known("elsewhere", (job("fit", "y", 1, "b", "x"), 5.0))
    assert cost.estimate(job("fit", "x", 2), [here, there]) == Estimate(6.0, "there")
    assert cost.estimate(job("fit", "x", 2), [there, known("far", (job("fit", "x", 1), 9.0))]).seconds == 6.0
    assert cost.estimate(job("fit", "x-big", 2, method="x"), [here, there]) == Estimate(6.0, "there, other rows")
    assert cost.estimate(job("fit", "x", 2), [here, elsewhere]) == Estimate(10.0, "elsewhere, other data")
    assert cost.estimate(job("fit", "x", 2), [here]) == Estimate(14.0, "here, other methods")
    assert cost.estimate(job("sample", "x", 2), [here, there]) == Estimate(cost.GUESS["sample"], "guess")
    assert cost.estimate(job("fit", "x", 2, "c", kind="images"), [here, there]).basis == "guess"


def test_a_job_can_be_left_out() -> None:
    one, two = (job("fit", "x", 10), 30.0), (job("fit", "x", 1 / 3), 4.0)
    assert cost.estimate(one[0], [known("own", one, two)], one).seconds == pytest.approx(10 * 4.0 * 3)
    assert cost.estimate(one[0], [known("own", one)], one).basis == "guess"
    # The first source only: the others do not know the job.
    assert cost.estimate(one[0], [known("own", one), known("published", one)], one) == Estimate(30.0, "published")


def test_published_and_other_scales_are_scaled_by_the_number_of_updates(tmp_path: Path) -> None:
    smoke, quick = (load_experiment("toy2d", scale, "core") for scale in ("smoke", "quick"))
    fit = next(one for one in jobs([quick]) if (one.stage, one.label, one.dataset) == ("fit", "hsivi_sm", "moons"))
    assert cost.estimate(fit, cost.before("quick", ["toy2d"])).basis == "guess"
    here = next(one for one in jobs([smoke]) if (one.stage, one.label, one.dataset) == ("fit", "hsivi_sm", "moons"))
    write_note(here, 2.0)
    found = cost.estimate(fit, cost.before("quick", ["toy2d"]))
    # The same five layers: 450 updates against 10, three seeds against two.
    assert found == Estimate(pytest.approx(2.0 * 450 / 10 * 3 / 2), "jobs at scale smoke")
    write_note(fit, 11.0, tmp_path / "published" / layout.inside_results(fit.output))
    assert not fit.output.exists(), "a note is all that is published of a training"
    assert cost.estimate(fit, cost.before("quick", ["toy2d"])) == Estimate(11.0, "published results at scale quick")


def test_a_training_that_was_interrupted_took_all_its_parts() -> None:
    one = next(one for one in jobs([load_experiment("toy2d", "smoke")]) if one.stage == "fit")
    assert took(one) is None
    write_note(one, 3.0)
    assert took(one) == 3.0
    write_json(layout.note(one.output), {"seconds": 3.0, "training_seconds": 40.0})
    assert took(one) == 40.0
    write_json(layout.note(one.output), {"seconds": None})
    assert took(one) is None, "a note of another kind is none"


# ----------------------------------------------------------------------------------------------------------------- work
def test_work_grows_as_the_recipe_says() -> None:
    experiment = load_experiment("toy2d", "paper")
    five, ten = (Cell("paper", "toy2d", "moons", "hsivi_sm", nfe) for nfe in (5, 10))
    assert work.of_fit(experiment, ten) == 2 * work.of_fit(experiment, five)
    # An independent rollout updates one layer, and simulates five or two and a half more at two fifths of the cost.
    paper = [Cell("paper", "toy2d", "moons", "hsivi_sm-paper", nfe) for nfe in (5, 10)]
    assert work.of_fit(experiment, paper[1]) / work.of_fit(experiment, paper[0]) == pytest.approx(
        (1 + 5 * 0.4) / (1 + 2.5 * 0.4)
    )
    count = work.draws(experiment, five)
    assert count == 10000 * 5 * 5
    assert work.of_sample(experiment, 10, count) == 10 * work.of_sample(experiment, 0, count)
    assert work.sample_bytes(experiment, count) == count * 2 * 4


@pytest.mark.parametrize(("name", "scale", "published"), [("cifar10", "paper", 35.7e6), ("celeba", "quick", 78.7e6)])
def test_the_size_of_a_network_is_about_right(name: str, scale: str, published: float) -> None:
    """Against the parameters that the papers state; attention and embeddings are left out of ours."""
    experiment = load_experiment(name, scale)
    assert work.has_published_size(experiment)
    assert 0.6 < work.network(experiment).parameters / published < 1.1


def test_which_experiments_need_a_gpu() -> None:
    def needing(scale: str) -> set[str]:
        names = [path.stem for path in (ROOT / "workflows" / "experiments").glob("*.yaml")]
        return {name for name in names if work.has_published_size(load_experiment(name, scale))}

    assert needing("smoke") == set()
    assert needing("quick") == {"cifar10", "celeba", "imagenet64"}


# ------------------------------------------------------------------------------------------------------------- the plan
def test_totals() -> None:
    """One experiment whose every job takes ten seconds, in which some are done."""
    experiment = load_experiment("toy2d", "smoke", "core")
    every = jobs([experiment])
    done = [one for one in every if one.stage in ("data", "pretrain") or (one.stage, one.label) == ("sample", "ddim")]
    for one in done:
        write_note(one, 10.0)
    made = plan.make([experiment])
    lines = {line.stage: line for line in made.lines}
    assert [line.stage for line in made.lines] == [stage for stage in STAGES if stage != "time"]
    assert lines["data"].done == 2 and lines["data"].left == 0 and lines["data"].seconds == 0
    assert made.left == len(every) - len(done)
    assert lines["fit"].bases == {"guess": 2} and lines["fit"].seconds == 2 * cost.GUESS["fit"]
    assert made.core_seconds == pytest.approx(sum(line.seconds for line in made.lines) + plan.START * made.left)
    assert made.gpu_seconds == 0
    assert made.wall_seconds(2) == pytest.approx(max(made.core_seconds / 2, made.chain))
    assert made.wall_seconds(1000) == made.chain
    # The longest is DDPM's with 100 evaluations: ten times DDIM's 20,000 (half the samples at twenty times the budget).
    chain = cost.GUESS["reference"] + 100.0 + cost.GUESS["measure"]
    assert made.chain == pytest.approx(chain), "data and score model are there"


def test_a_job_on_all_cores_is_not_divided() -> None:
    made = plan.make([load_experiment("conditioned_diffusion", "smoke", "core")])
    assert made.alone == cost.GUESS["reference"]
    shared = made.core_seconds - made.alone
    assert made.wall_seconds(2) == pytest.approx(shared / 2 + made.alone)


def test_hours_of_a_gpu_are_not_hours_of_a_core() -> None:
    experiment = load_experiment("cifar10", "quick", "core")
    made = plan.make([experiment])
    assert {line.stage for line in made.lines if line.gpu} == set(plan.GPU_STAGES)
    fits = sum(one.size for one in jobs([experiment]) if one.stage == "fit")
    assert next(line.seconds for line in made.lines if line.stage == "fit") == pytest.approx(fits / plan.GPU_RATE)
    text = "\n".join(plan_text.lines(made, 2))
    assert "GPU-hours" in text and "cifar10 needs one" in text and "guess, never run at this size" in text
    assert "cifar-10-python.tar.gz" in text and "put there by hand: checkpoints/cifar10_2040.pt" in text


def test_how_far_estimates_were_off(tmp_path: Path) -> None:
    experiment = load_experiment("toy2d", "smoke", "core")
    fits = [one for one in jobs([experiment]) if one.stage == "fit"]
    for one, seconds in zip(fits, (10.0, 30.0), strict=True):
        write_note(one, seconds)
        write_note(one, 8.0, tmp_path / "published" / layout.inside_results(one.output))
    (found,) = plan.make([experiment]).accuracy
    assert (found.stage, found.finished, found.took, found.before) == ("fit", 2, 40.0, 16.0)
    assert found.others == pytest.approx(3.0), "each from the other: 30 for 10 and 10 for 30"
    assert found.basis == "published results at scale smoke"
    text = "\n".join(plan_text.lines(plan.make([experiment]), 1))
    assert "took 40 s; before the run 16 s, took 2.50 of it (published results at scale smoke)" in text


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", "--scale", "smoke", "--experiments", "mixture", "toy2d", "--cores", "2"]) == 0
    text = capsys.readouterr().out
    for word in ["mixture", "toy2d", "to do", "core-hours", "GPU: none needed", "2 cores", "disk", "downloads: none"]:
        assert word in text, word
    assert "guesses, and may be far off" in text and "estimates: none to compare with" in text
    assert not list(tmp_path.iterdir()), "a plan writes nothing"
    for wrong in (["--cores", "0"], ["--cores", "two"], ["--experiments", "toy3d"], ["--scope", "all"]):
        assert main(["plan", "--scale", "smoke", *wrong]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "expected" in error


# ------------------------------------------------------------------------------------------------------------ downloads
def states(name: str, scale: str = "quick") -> dict[str, str]:
    return {file.name: file.state for file in downloads.needed(load_experiment(name, scale))}


def test_which_files_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states("toy2d") == {} and states("mnist", "smoke") == {}
    assert set(states("mnist").values()) == {"download"} and len(states("mnist")) == 4
    celeba = states("celeba")
    assert celeba["celeba/img_align_celeba.zip"] == "by hand", "its page asks for a confirmation"
    assert celeba[f"inception/{downloads.INCEPTION[0]}"] == "download"
    monkeypatch.setenv("HSIVI_OFFLINE", "1")
    assert set(states("mnist").values()) == {"by hand"}
    monkeypatch.setenv("HSIVI_DATA_DIR", str(tmp_path / "own"))
    own = tmp_path / "own" / "mnist" / "train-labels-idx1-ubyte"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"short")
    assert states("mnist")["mnist/train-labels-idx1-ubyte"] == "other length"
    own.write_bytes(bytes(60008))
    assert states("mnist")["mnist/train-labels-idx1-ubyte"] == "there"
    layout.DatasetFiles("quick", "mnist", "mnist").folder.mkdir(parents=True)
    layout.DatasetFiles("quick", "mnist", "mnist").data.touch()
    assert states("mnist") == {}, "the data are prepared"


def test_a_damaged_download_is_fetched_again(tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    assert states("mnist")["mnist/t10k-labels-idx1-ubyte"] == "download"
    cached.write_bytes(bytes(10008))
    assert states("mnist")["mnist/t10k-labels-idx1-ubyte"] == "there"


def test_weights_are_where_torch_and_torch_fidelity_have_them() -> None:
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert URL_INCEPTION_V3.endswith(downloads.INCEPTION[0])
    assert downloads.torch_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_every_cell_has_its_jobs() -> None:
    experiment = load_experiment("mnist", "smoke", "full")
    every = jobs([experiment])
    assert len({one.output for one in every}) == len(every)
    assert sum(one.stage == "measure" for one in every) == len(cells(experiment))
    assert all(one.size > 0 for one in every)
