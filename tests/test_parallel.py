"""Several processes that train one model and draw its samples: they find what one finds, and the first writes it down.

The processes are this file, started by torchrun on the processor: ``python -m tests.test_parallel FOLDER``.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import hsivi.arrays
import hsivi.record
from hsivi import __main__ as command_line
from hsivi import failure, layout, parallel, sampler
from hsivi.arrays import load_arrays
from hsivi.checkpoint import Session
from hsivi.config import ROOT, load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.optimise import NonFiniteLoss
from hsivi.record import read_json
from hsivi.stages import data, fit, pretrain
from tests.test_train import mlps

CELL = Cell("smoke", "toy2d", "moons", "hsivi_sm", 5)
PLACE = ["--scale", "smoke", "--experiment", "toy2d", "--dataset", "moons", "--method", "hsivi_sm", "--nfe", "5"]
FIT, SAMPLE = ["fit", *PLACE], ["sample", *PLACE]
PRETRAINED = layout.DatasetFiles("smoke", "toy2d", "moons").score_model
FITTED, DRAWN = layout.CellFiles(CELL).fit, layout.CellFiles(CELL).samples
HALF, WHOLE = 3, 6


def tiny() -> Experiment:
    """2-D data with hardly any training, in micro-batches."""
    whole = load_experiment("toy2d", "smoke")
    model, used = whole.diffusion, whole.recipes["recommended"]
    shorter = {"iterations": 6, "batch": 32, "samples_per_time": 2, "microbatches": 4, "learning_rate": 1e-3}
    values = {"iterations": 3, "batch": 8, "critic_batch": 8, "critic_warmup": 0, "microbatches": 4, "ema": 0.5}
    values |= {"learning_rate": 1e-4, "critic_learning_rate": 1e-4}
    recipe = used.model_copy(update={"values": {**used.values, **values}, "overrides": ()})
    return whole.model_copy(
        update={
            "data": whole.data.model_copy(update={"reference_draws": 100_000}),
            "score_model": model.model_copy(update={"pretrain": model.pretrain.model_copy(update=shorter)}),
            "recipes": {**whole.recipes, "recommended": recipe},
        }
    )


def session(folder: Path, rollout: str, made: str) -> Session:
    return Session(f"test {made} {rollout}", folder / f"{made}-{rollout}.checkpoint", identity="test", interval=1e9)


def continued(folder: Path, rollout: str, made: str, until: int) -> dict[str, Tensor]:
    """Train until iteration ``until``, from the checkpoint that ``made`` names where there is one."""
    trainer = mlps((3, 8), rollout=rollout, microbatches=4, critic_batch=8, ema=0.9, warm_up=2, schedule="cosine")
    session(folder, rollout, made).train(trainer, until)
    critic = {f"critic.{name}": p.detach() for name, p in trainer.critic.network.named_parameters()}
    return {**trainer.average.parameters(), **critic}


def work(folder: Path) -> None:
    """What each process does: train alone what is stored, then both stages of the command line."""
    parallel.start()
    written: list[str] = []

    def noted(module: Any, name: str) -> None:
        whole: Callable[..., Any] = getattr(module, name)

        def wrapper(*inputs: Any, **options: Any) -> Any:
            written.append(name)
            return whole(*inputs, **options)

        setattr(module, name, wrapper)

    for module, name in ((hsivi.arrays, "save_file"), (hsivi.record, "write_json"), (torch, "save")):
        noted(module, name)
    facts: dict[str, Any] = {"processes": parallel.processes(), "share": list(parallel.own_share(4))}
    torch.set_default_dtype(torch.float64)
    learned = {}
    for rollout in ("shared", "independent"):
        learned[rollout] = continued(folder, rollout, "by-one", WHOLE)
        continued(folder, rollout, "by-two", HALF)
    first, rank = parallel.is_first(), int(os.environ["RANK"])
    facts["not finite"] = not_finite(rank)
    torch.set_default_dtype(torch.float32)
    if first:
        torch.save(learned, folder / "learned.pt")
        written.remove("save")
    os.chdir(folder)
    experiment = tiny()
    pretrain.run(experiment, "moons")
    parallel.meet()  # as the next stage would start only then
    refused = command_line.main(FIT)  # the experiment's own recipe has one micro-batch
    facts["refused"] = [refused, FITTED.exists()]
    command_line.load_experiment = lambda *_: experiment
    leave, parallel.stop = parallel.stop, parallel.meet  # several commands in one life: they meet, and stay together
    sampler.batch_size = lambda _: 256  # so that there are several batches to share out
    facts |= {"status": command_line.main(FIT), "sampling": command_line.main(SAMPLE), "first": first}
    facts["written"] = list(written)
    written.clear()
    diverge(experiment)
    facts["written of a failure"] = written
    leave()
    (folder / f"process{rank}.json").write_text(json.dumps(facts))


def not_finite(rank: int) -> str:
    """Return what a training says whose second process alone has a loss that is not finite."""
    trainer = mlps((3, 8), microbatches=4, critic_batch=8)
    if rank:
        trainer._critic_gradients = lambda pairs: (torch.full(pairs.x.shape[:3], torch.nan), ())
    with pytest.raises(NonFiniteLoss) as error:
        trainer.step()
    return str(error.value)


def diverge(experiment: Experiment) -> None:
    """Let the training of another cell fail in both processes."""

    def diverges(*_: object) -> None:
        raise NonFiniteLoss("loss: got nan, expected a number; change the recipe")

    fit.run = diverges
    failure.run("fit", experiment, Cell("smoke", "toy2d", "moons", "hsivi_sm", 10))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes worked, from what one prepared."""
    folder = tmp_path_factory.mktemp("two")
    torch.set_default_dtype(torch.float64)
    for rollout in ("shared", "independent"):
        continued(folder, rollout, "by-one", HALF)
    torch.set_default_dtype(torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data.run(tiny(), "moons")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "tests.test_parallel", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_two_processes_continue_what_one_began_and_the_reverse(two, rollout, tmp_path):
    expected = continued(tmp_path, rollout, "whole", WHOLE)
    by_two = torch.load(two / "learned.pt", weights_only=True)[rollout]
    by_one = continued(two, rollout, "by-two", WHOLE)
    for name, value in expected.items():
        # Float64, and four gradients added in another order: 1e-16, which Adam amplifies where a gradient is small.
        torch.testing.assert_close(by_two[name], value, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(by_one[name], value, rtol=1e-9, atol=1e-11)
    start = mlps((3, 8)).hierarchy.state_dict()
    assert all((value - start[name]).abs().max() > 1e-4 for name, value in expected.items() if name in start)


@pytest.mark.slow
def test_stages_on_two_processes_learn_what_they_learn_on_one(two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = tiny()
    data.run(experiment, "moons")
    pretrain.run(experiment, "moons")
    monkeypatch.setattr(command_line, "load_experiment", lambda *_: experiment)
    assert command_line.main(FIT) == 0
    for path in (PRETRAINED, FITTED):
        alone, together = load_arrays(path), load_arrays(two / path)
        assert set(alone) == set(together)
        for name, value in alone.items():
            # Float32: gradients differ by 1e-7 of their terms, so that a step of Adam where they nearly cancel may
            # differ by a percent.  The rates are 1e-3 and 1e-4, and there are few steps.
            np.testing.assert_allclose(together[name], value, rtol=1e-5, atol=3e-5, err_msg=f"{path} {name}")
        notes = [read_json(layout.note(folder / path)) for folder in (Path(), two)]
        assert [note["processes"] for note in notes] == [1, 2]


@pytest.mark.slow
def test_two_processes_draw_the_samples_of_one_to_the_bit(two, tmp_path, monkeypatch):
    for path in (layout.DatasetFiles("smoke", "toy2d", "moons").data, PRETRAINED, FITTED):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(two / path, tmp_path / path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "load_experiment", lambda *_: tiny())
    monkeypatch.setattr(sampler, "batch_size", lambda _: 256)
    assert command_line.main(SAMPLE) == 0
    assert load_arrays(DRAWN)["samples"].shape[2] > 2 * 256, "two processes with a batch each at least"
    assert DRAWN.read_bytes() == (two / DRAWN).read_bytes()
    assert [read_json(layout.note(folder / DRAWN))["processes"] for folder in (Path(), two)] == [1, 2]


@pytest.mark.slow
def test_all_processes_stop_where_the_loss_of_one_is_not_finite(two):
    said = [json.loads((two / f"process{rank}.json").read_text())["not finite"] for rank in (0, 1)]
    assert said[0] == said[1], "the first, which writes the failure down, knows where it was"
    assert said[0].startswith("critic loss: got a non-finite value at iteration 0, layer [")


@pytest.mark.slow
def test_the_first_of_two_processes_alone_writes(two):
    first, second = (json.loads((two / f"process{rank}.json").read_text()) for rank in (0, 1))
    assert (first["processes"], first["share"], second["share"]) == (2, [0, 2], [1, 3])
    assert (first["first"], second["first"], first["status"], second["status"]) == (True, False, 0, 0)
    assert (first["sampling"], second["sampling"]) == (0, 0)
    assert {"save", "save_file", "write_json"} == set(first["written"]) and second["written"] == []
    assert {"save_file", "write_json"} == set(first["written of a failure"]) and second["written of a failure"] == []
    said = (two / "said.txt").read_text()
    lines = [line for line in said.splitlines() if line.startswith(("fit moons", "pretrain moons", "test by"))]
    assert len(lines) == len(set(lines)) == 8, "two stages, and two trainings in two ways, one of which continues"
    assert not list((two / "results").rglob("*.checkpoint")) and not list((two / "results").rglob("*.partial"))


@pytest.mark.slow
def test_micro_batches_that_cannot_be_shared_out_are_one_line(two):
    assert [json.loads((two / f"process{rank}.json").read_text())["refused"] for rank in (0, 1)] == [[1, False]] * 2
    said = (two / "said.txt").read_text()
    message = (
        "hsivi fit: microbatches: got 1 for 2 processes, expected a multiple; change the number of processes, or "
        "microbatches in the recipe"
    )
    # Two processes write at once, so that one's line may end where the other's does.
    assert said.count(message) == said.count("hsivi fit:") == 2 and "Traceback" not in said


def test_shares_are_a_partition(monkeypatch):
    monkeypatch.setattr(parallel.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(parallel.dist, "get_world_size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(parallel.dist, "get_rank", lambda rank=rank: rank)
        shares += [*parallel.own_share(6)]
        assert len(parallel.own_share(6)) == 2
        with pytest.raises(
            ValueError, match="microbatches: got 4 for 3 processes, expected a multiple; change"
        ) as error:
            parallel.own_share(4)
        assert "\n" not in str(error.value)
    assert sorted(shares) == list(range(6))


@given(st.integers(1, 9), st.integers(0, 3_000), st.integers(1, 700))
def test_samples_are_shared_out_in_whole_batches(processes, count, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "processes", lambda: processes)
        shares = []
        for rank in range(processes):
            patch.setattr(parallel, "_rank", lambda rank=rank: rank)
            shares.append(parallel.own_rows(count, batch))
    assert [row for share in shares for row in share] == [*range(count)], "in the order of ranks"
    assert all(share.start % batch == 0 for share in shares if share)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) < 2 * batch and (sizes[0] > 0 or count == 0)


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    parallel.start()
    assert (parallel.processes(), parallel.is_first(), list(parallel.own_share(3))) == (1, True, [0, 1, 2])
    value = torch.ones(2)
    parallel.average_([value])
    parallel.meet()
    parallel.stop()
    assert torch.equal(value, torch.ones(2)) and torch.equal(parallel.gather_rows(value, 2, 1), value)
    assert (
        parallel.own_rows(7, 3) == range(7)
        and parallel.first_problem("x") == "x"
        and parallel.first_problem(None) is None
    )


@pytest.mark.usefixtures("float64")
def test_lines_come_from_the_first_process(monkeypatch, capsys, tmp_path):
    """Progress, and what is said of a checkpoint: every process reads it."""

    def said(name: str, first: bool) -> str:
        monkeypatch.setattr(parallel, "is_first", lambda: first)
        for identity, until in (("a", 1), ("a", 2), ("b", 1)):
            Session(name, tmp_path / "some", identity).train(mlps((3,)), until)
            (tmp_path / "some").write_bytes(b"" if identity == "b" else (tmp_path / "some").read_bytes())
        Session(name, tmp_path / "some", "b").train(mlps((3,)), 1)
        return capsys.readouterr().err

    loud = said("loud", first=True)
    assert [line.partition(",")[0] for line in loud.splitlines()] == [
        "loud: 1/1",
        "loud: continuing at iteration 1",
        "loud: 2/2",
        "loud: settings",
        "loud: 1/1",
        f"loud: {tmp_path / 'some'} is damaged; starting anew",
        "loud: 1/1",
    ]
    Session("test", tmp_path / "some", "a").train(mlps((3,)), 1)
    capsys.readouterr()
    assert said("silent", first=False) == ""


if __name__ == "__main__":
    work(Path(sys.argv[1]))
