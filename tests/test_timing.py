"""How long sampling takes: the clock, the stage on a tiny network, its place in the graph, and Figure 13."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib import image
from matplotlib.figure import Figure

from baselines import analytic_ddim, analytic_ddpm, ddim, ddpm, hsivi_sm
from hsivi import layout, methods, overall, timing
from hsivi.__main__ import main
from hsivi.config import ConfigError, load_experiment
from hsivi.data_config import image_shape
from hsivi.experiment import Experiment, Timing
from hsivi.methods import Cell
from hsivi.noise import SampleNoise
from hsivi.problem import device_name
from hsivi.provenance import ROOT, imported_files, stage_file
from hsivi.record import write_json
from hsivi.reporting import reports
from hsivi.schedule import LinearBetaSchedule
from hsivi.score_statistics import optimal_std
from hsivi.stages import settings
from hsivi.stages import time as stage
from hsivi.time_grid import time_grid
from hsivi.timing import DeviceClock, HostClock, StoredNoise, time_sampling
from hsivi.timing_record import TimingRecord, read_timing
from reports import _style, figure13

CPU = torch.device("cpu")
GRIDS = {
    "fastdpm": "var_quadratic",
    "dpm_solver_fast": "fast_logsnr",
    "dpm_solver": "order2_logsnr",
    "dpm_solver_multistep": "logsnr",
    "iddim": "iddim",
}
EXPERIMENT = Experiment.model_validate(
    {
        "name": "cifar10",
        "title": "Tiny",
        "source": "none",
        "scale": "smoke",
        "data": {
            "kind": "images",
            "datasets": ["cifar10"],
            "seed": 1,
            "files": "generated",
            "size": 8,
            "features": {"kind": "classifier", "epochs": 1},
        },
        "score_model": {
            "schedule": {"kind": "linear_beta"},
            "network": {
                "kind": "unet",
                "predicts": "noise",
                "channels": [8, 8],
                "layers_per_block": 1,
                "norm_groups": 4,
                "dropout": 0.1,
            },
            "checkpoint": {"layout": "ddpm_torch", "file": "nowhere.pt", "origin": "none"},
            "time_grids": {2: "hsivi", 5: "hsivi"},
        },
        "seeds": [11, 12],
        "num_samples": 20,
        "nfe": [2, 5],
        "timing": {"nfe": 5, "batch": 3, "warm_up": 1, "runs": 3},
        "methods": {
            "hsivi_sm": {"config": hsivi_sm.CONTRACT["tiny"]},
            **{label: {"grid": grid} for label, grid in GRIDS.items()},
        },
    }
)
TIMED = [cell.label for cell in methods.timed_cells(EXPERIMENT)]


def changed(**values: Any) -> Experiment:
    return EXPERIMENT.model_copy(update=values)


def cell(label: str, nfe: int = 5, experiment: Experiment = EXPERIMENT) -> Cell:
    return Cell("smoke", experiment.name, "cifar10", label, nfe)


class Machine:
    """Work that takes a known time on a clock of its own; ``slower`` per second that has passed."""

    def __init__(self, slower: float = 0.0) -> None:
        self.now, self.slower, self.done = 0.0, slower, ""

    def work(self, seconds: float, name: str = "") -> None:
        self.now += seconds * (1 + self.slower * self.now)
        self.done += name

    def time(
        self, run: Callable[[timing.Begin], object], forward: Callable[[], object], warm_up: int = 0, runs: int = 3
    ) -> timing.Durations:
        return time_sampling(run, forward, CPU, warm_up, runs, HostClock(lambda: self.now))


def test_statistics_of_known_durations() -> None:
    machine, durations = Machine(), iter([100.0, 1.0, 2.0, 3.0, 4.0, 10.0])
    found = machine.time(lambda begin: machine.work(next(durations)), lambda: machine.work(0.5), warm_up=1, runs=5)
    assert (found.median, found.mean, found.forward, found.setup) == (3.0, 4.0, 0.5, 0.0)
    assert found.p95 == pytest.approx(8.8), "0.8 of the way from the fourth to the fifth"
    assert found.std == pytest.approx(12.5**0.5), "over runs, with n - 1"
    assert found.forward_equivalents == 6.0
    assert found.peak_memory > 1e7 and found.peak_memory_kind == "process_resident"


def test_runs_and_passes_take_turns() -> None:
    machine = Machine()
    machine.time(lambda begin: machine.work(1.0, "s"), lambda: machine.work(1.0, "f"), warm_up=2, runs=3)
    assert machine.done == "sf" * 5


def test_what_precedes_the_first_x_is_setup() -> None:
    machine = Machine()

    def run(begin: timing.Begin) -> None:
        machine.work(7.0)
        begin()
        machine.work(2.0)
        begin()
        machine.work(1.0)

    found = machine.time(run, lambda: machine.work(1.0))
    assert (found.setup, found.median) == (7.0, 3.0), "and a second request of x_T starts no clock anew"


@pytest.mark.parametrize("passes", [1, 5, 20])
def test_cost_in_forward_passes_survives_a_machine_that_slows_down(passes: int) -> None:
    machine = Machine(slower=1e-3)

    def run(begin: timing.Begin) -> None:
        begin()
        for _ in range(passes):
            machine.work(1.0)
        machine.work(0.1)

    found = machine.time(run, lambda: machine.work(1.0), runs=21)
    assert found.median > 1.01 * (passes + 0.1), "it did slow down"
    assert found.forward_equivalents == pytest.approx(passes + 0.1, rel=0.02)
    assert found.forward_equivalents >= 0.99 * passes


class Event:
    """A GPU's event on a clock that advances by itself with each wait."""

    log: ClassVar[list[str]] = []
    now = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: str) -> None:
        Event.log.append(f"record on {stream}")
        self.at = Event.now

    def synchronize(self) -> None:
        Event.log.append("wait for the event")

    def elapsed_time(self, end: "Event") -> float:
        return end.at - self.at


def test_a_gpu_is_timed_with_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 1)
    memory = {gpu: 5}
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: Event.log.append(f"wait for {device}"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: memory.update({device: 1}))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: memory[device] + 6)
    clock = DeviceClock(gpu)
    clock.start()
    Event.now += 1500.0
    assert clock.stop() == 1.5, "events count milliseconds"
    on_stream = "record on stream of cuda:1"
    assert Event.log == ["wait for cuda:1", on_stream, on_stream, "wait for the event"]

    def busy(milliseconds: float) -> None:
        Event.now += milliseconds

    found = time_sampling(lambda begin: busy(40.0), lambda: busy(8.0), gpu, 1, 3)
    assert (found.median, found.forward) == (0.04, 0.008)
    assert (found.peak_memory, found.peak_memory_kind) == (7, "device_allocated"), "warm-up forgotten"


def test_stored_noise_is_the_same_noise_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    stored = StoredNoise(3, 2, 6, (3, 4, 4), asked=lambda: asked.append("x_T"))
    fresh = SampleNoise(3, 2, 6, (3, 4, 4))
    assert torch.equal(stored.prior(), fresh.prior()) and torch.equal(stored.step(1), fresh.step(1))
    monkeypatch.setattr("hsivi.noise.standard_normal", lambda *_: pytest.fail("drew noise again"))
    assert stored.prior() is stored.prior() and stored.step(1) is stored.step(1)
    assert asked == ["x_T"] * 3


@pytest.mark.parametrize(("dataset", "shape"), [("fashion_mnist", (1, 8, 8)), ("celeba", (3, 8, 8))])
def test_shape_of_an_image(dataset: str, shape: tuple[int, ...]) -> None:
    assert image_shape(EXPERIMENT.data.model_copy(update={"datasets": (dataset,)})) == shape


# The stage


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def timed(label: str, experiment: Experiment = EXPERIMENT) -> TimingRecord:
    stage.run(experiment, cell(label, experiment=experiment))
    return read_timing(layout.CellFiles(cell(label, experiment=experiment)).timing)


@pytest.mark.parametrize("label", TIMED)
def test_every_sampler_is_timed_without_data_or_training(label: str, tmp_path: Path) -> None:
    record = timed(label)
    assert (record.status, record.nfe, record.batch, record.warm_up, record.runs) == ("ok", 5, 3, 1, 3)
    assert (record.weights, record.device, record.threads) == ("random", device_name(), 1)
    assert set(record.seconds) == {"median", "mean", "p95", "std"}
    assert 0 < record.seconds["median"] <= record.seconds["p95"] < record.stage_seconds
    assert record.images_per_second == pytest.approx(3 / record.seconds["median"])
    assert record.forward_equivalents == pytest.approx(record.seconds["median"] / record.forward_seconds)
    assert record.parameters > 1000 and record.digests.keys() == {"settings", "code"}
    assert record.command.startswith("python -m hsivi time --scale smoke --experiment cifar10")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["timing.json"]
    written = record.model_dump(mode="json")
    write_json(tmp_path / "again.json", written)
    assert read_timing(tmp_path / "again.json") == record


def test_the_clock_sees_the_network_and_no_noise_made(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """A clock that counts calls of the network finds five in a run, without what precedes it, and one in a pass."""
    if device.type != "cpu":
        pytest.skip("a GPU has a clock of its own, which counts no calls")
    passes = SimpleNamespace(count=0)
    forward = stage.build_score_model.__globals__["build_network"]

    def counted(*arguments: Any) -> Any:
        network = forward(*arguments)
        network.register_forward_pre_hook(lambda *_: setattr(passes, "count", passes.count + 1))
        return network

    drawn = timing.SampleNoise._draw
    monkeypatch.setitem(stage.build_score_model.__globals__, "build_network", counted)
    monkeypatch.setattr(timing, "HostClock", lambda: HostClock(lambda: float(passes.count)))

    def slow(self: SampleNoise, purpose: str, t: int) -> torch.Tensor:
        passes.count += 1000
        return drawn(self, purpose, t)

    sample = ddpm.sample

    def prepared(*arguments: Any) -> Any:
        passes.count += 50
        yield from sample(*arguments)

    monkeypatch.setattr(timing.SampleNoise, "_draw", slow)
    monkeypatch.setattr(ddpm, "sample", prepared)
    record = timed("ddpm")
    assert (record.seconds["median"], record.forward_seconds, record.setup_seconds) == (5.0, 1.0, 50.0)
    assert record.forward_equivalents == 5.0


def test_the_networks_dropout_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    build = stage.build_score_model

    def watched(*arguments: Any) -> Any:
        model = build(*arguments)
        model.network.register_forward_pre_hook(lambda network, _: modes.append(network.networks[0].training))
        return model

    monkeypatch.setattr(stage, "build_score_model", watched)
    timed("ddim")
    assert set(modes) == {False}


def test_what_cannot_be_timed_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(analytic_ddpm, "untrained")
    record = timed("analytic_ddpm")
    assert (record.status, record.reason, record.seconds) == ("declined", stage.UNTRAINED, {})
    monkeypatch.setattr(ddim, "skip", lambda problem, config: "needs digits", raising=False)
    record = timed("ddim")
    assert (record.status, record.reason, record.forward_equivalents) == ("declined", "needs digits", None)
    assert record.parameters > 1000


@pytest.mark.parametrize("baseline", [analytic_ddpm, analytic_ddim])
def test_an_untrained_state_adds_noise_as_a_trained_one(baseline: Any) -> None:
    schedule = LinearBetaSchedule()
    state = baseline.untrained(SimpleNamespace(nfe=5), None)["mean_square_noise"]
    std = optimal_std(schedule, time_grid(schedule, "hsivi", 5), state, 0.0, 1.0, None)
    assert all(value > 0 for value in std[1:]), "a step without a variance would draw no noise, and be faster"


def one_line(error: pytest.ExceptionInfo[ConfigError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text and "got" in text and "expected" in text and ";" in text
    assert all(word in text for word in words)


def test_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as error:
        stage.run(EXPERIMENT, cell("ddim", nfe=2))
    one_line(error, "--method ddim --nfe 2", "the budget 5", "cifar10.yaml")
    with pytest.raises(ConfigError) as error:
        stage.run(changed(timing=None), cell("ddim"))
    one_line(error, "no such section")
    monkeypatch.setattr(analytic_ddpm, "untrained", lambda problem, config: {"x": problem.draw(3, "key")})
    with pytest.raises(ConfigError) as error:
        stage.run(EXPERIMENT, cell("analytic_ddpm"))
    one_line(error, "request for data", "untrained(problem, config)")

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(stage, "time_sampling", full)
    with pytest.raises(ConfigError) as error:
        stage.run(EXPERIMENT, cell("ddim"))
    one_line(error, "timing.batch", "got 3")
    place = ["--scale", "smoke", "--experiment", "digits", "--dataset", "digits", "--method", "ddim", "--nfe", "5"]
    assert main(["time", *place]) == 2
    said = capsys.readouterr().err
    assert said.startswith("hsivi time: digits.yaml: timing: got no such section") and said.count("\n") == 1


def test_a_broken_record_is_one_line(tmp_path: Path) -> None:
    write_json(tmp_path / "timing.json", {"experiment": "cifar10"})
    with pytest.raises(ConfigError) as error:
        read_timing(tmp_path / "timing.json")
    assert "timing.json" in str(error.value) and "\n" not in str(error.value)


# In the graph


def test_timed_cells() -> None:
    assert methods.timed_cells(changed(timing=None)) == []
    assert {c.nfe for c in methods.timed_cells(EXPERIMENT)} == {5}
    assert {"ddim", "hsivi_sm", "analytic_ddpm", *GRIDS} <= set(TIMED) and "prior" not in TIMED
    digits = load_experiment("digits", "smoke").model_copy(update={"timing": EXPERIMENT.timing})
    with pytest.raises(ConfigError) as error:
        methods.check(digits)
    one_line(error, "digits.yaml: timing", "'digits'")


def test_only_what_decides_a_duration_is_in_its_settings() -> None:
    before = settings.of_time(EXPERIMENT, cell("ddim"))
    same = changed(seeds=(1,), num_samples=50, data=EXPERIMENT.data.model_copy(update={"rows": 20}))
    assert settings.of_time(same, cell("ddim")) == before
    batch = Timing(**{**EXPERIMENT.timing.model_dump(), "batch": 4})
    for other in (changed(timing=batch), changed(data=EXPERIMENT.data.model_copy(update={"size": 16}))):
        assert settings.of_time(other, cell("ddim")) != before


def test_timing_depends_on_neither_data_nor_training_nor_metrics() -> None:
    names = {str(file.relative_to(ROOT / "hsivi")) for file in imported_files(stage_file("time"))}
    assert not [n for n in names if n.startswith(("data/", "metrics/", "train", "pretrain", "stages/c"))]


def test_progress_counts_timings(tmp_path: Path) -> None:
    every = overall.jobs([EXPERIMENT])
    jobs = [job for job in every if job.stage == "time"]
    assert [job.output for job in jobs] == [layout.CellFiles(cell(label)).timing for label in TIMED]
    assert overall.remaining_seconds(jobs, cores=8) == (0, overall.GUESS["time"] * len(jobs)), "one after another"
    for job in jobs[1:]:
        write_json(job.output, {"stage_seconds": 30.0})
    assert overall.remaining_seconds(jobs, cores=8) == (len(jobs) - 1, 30.0)


def test_the_figure_needs_timings_only() -> None:
    (report,) = [report for report in reports() if report.name == "figure13"]
    expected = [layout.CellFiles(cell(label)).timing for label in TIMED]
    assert report.inputs("smoke", {"cifar10": EXPERIMENT}, []) == expected
    # Those that show all experiments read timings among other things.
    assert not any(other.timing for other in reports() if other != report and other.experiments is not None)


# Figure 13


def synthetic(experiment: Experiment, declined: str = "") -> None:
    """Write a record for every timed cell."""
    for place, label in enumerate(TIMED):
        median = 0.1 + 0.01 * place
        found: dict[str, Any] = {
            "status": "ok",
            "seconds": {"median": median, "mean": median, "p95": 1.1 * median, "std": 0.01},
            "forward_equivalents": 5.0 + place / 100,
        }
        if label == declined:
            found = {"status": "declined", "reason": "no wish to"}
        write_json(
            layout.CellFiles(cell(label, experiment=experiment)).timing,
            {
                **{"experiment": experiment.name, "dataset": experiment.name, "label": label, "baseline": label},
                **{"title": methods.title(experiment, label), "scale": "smoke", "nfe": 5, "batch": 128, "warm_up": 1},
                **{"runs": 100, "parameters": 35_746_307, "device": "cuda (Some GPU)", "threads": 1},
                **{"stage_seconds": 1.0, "environment": {}, "commit": "", "digests": {}, "command": ""},
                **found,
            },
        )


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Experiment]], Figure]:
    kept: list[Figure] = []
    save = _style.save
    monkeypatch.setattr(_style, "save", lambda drawn, *place: (kept.append(drawn), save(drawn, *place)))

    def render(experiments: list[Experiment]) -> Figure:
        figure13.render("smoke", experiments)
        return kept[-1]

    return render


def texts(panel: Any) -> list[str]:
    return [text.get_text() for text in panel.texts]


def test_figure13(figure: Callable[[list[Experiment]], Figure]) -> None:
    synthetic(EXPERIMENT, declined="iddim")
    left, right = figure([EXPERIMENT]).axes
    title = left.get_title()
    assert all(words in title for words in ("random weights", "cuda (Some GPU)", "batch 128", "100 runs", "35.7 M"))
    assert [tick.get_text() for tick in left.get_yticklabels()] == [methods.title(EXPERIMENT, n) for n in TIMED]
    widths = [patch.get_width() for patch in left.patches]
    assert widths == pytest.approx([100 + 10 * i for i, label in enumerate(TIMED) if label != "iddim"])
    said = texts(left)
    assert said[TIMED.index("iddim")] == "declined: no wish to"
    assert said[TIMED.index("ddim")] == f"{5 + TIMED.index('ddim') / 100:.2f} forward passes"
    assert any("make reproduce SCALE=quick\nEXPERIMENTS=celeba" in text for text in texts(right)), "not in the run"
    drawn = image.imread(Path("reports/smoke") / figure13.OUTPUTS[0])
    assert drawn[..., :3].std() > 0.02
    plt.close("all")


def test_figure13_says_why_a_panel_is_empty(figure: Callable[[list[Experiment]], Figure]) -> None:
    unknown = changed(name="celeba", timing=EXPERIMENT.timing.model_copy(update={"nfe": 7}))
    left, right = figure([changed(timing=None), unknown]).axes
    assert any("workflows/experiments/cifar10.yaml" in text for text in texts(left))
    assert any("no row runs at 7 evaluations" in text for text in texts(right))
    plt.close("all")
