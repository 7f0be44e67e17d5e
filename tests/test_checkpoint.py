"""Interrupted trainings: rerun is resume, and a checkpoint of other settings is not continued."""

from pathlib import Path

import pytest
import torch

from hsivi.checkpoint import Session
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.optimise import NonFiniteLoss
from hsivi.pretrain import Pretrainer
from hsivi.recipe import PretrainRecipe
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import NetworkScoreModel

RECIPE = PretrainRecipe(iterations=12, batch=16, samples_per_time=4, learning_rate=1e-3, schedule="cosine", ema=0.9)


class Killed(Exception):
    """Stands for a process that ends in the middle of training."""


def trainer(data: torch.Tensor | None = None) -> Pretrainer:
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) if data is None else data
    network = ScoreMLP((0,), width=8, embedding_width=8)
    return Pretrainer(NetworkScoreModel(network, QuadraticSchedule()), points, RECIPE, seed=0)


def train(path: Path, identity: str, kill_at: int | None = None) -> dict[str, torch.Tensor]:
    run = trainer()

    step = run.step

    def step_or_die() -> float:
        if run.iteration == kill_at:
            raise Killed
        return step()

    run.step = step_or_die  # type: ignore[method-assign]
    Session("test", path, identity, interval=0.0).train(run, RECIPE.iterations)
    return run.average.parameters()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", "x")
    with pytest.raises(Killed):
        train(tmp_path / "cut", "x", kill_at=7)
    assert (tmp_path / "cut").exists()
    assert equal(train(tmp_path / "cut", "x"), whole)


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "cut", "old", kill_at=7)
    assert equal(train(tmp_path / "cut", "new"), train(tmp_path / "other", "new"))
    assert "starting anew" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut").write_bytes(b"half of a file")
    assert equal(train(tmp_path / "cut", "x"), train(tmp_path / "other", "x"))
    assert "is damaged; starting anew" in capsys.readouterr().err


def test_a_bit_that_flipped_in_a_number_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "cut", "x", kill_at=7)
    whole = (tmp_path / "cut").read_bytes()
    weights = next(iter(torch.load(tmp_path / "cut", weights_only=True)["state"]["network"].values()))
    at = whole.index(weights.contiguous().numpy().tobytes())
    (tmp_path / "cut").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert torch.load(tmp_path / "cut", weights_only=True)["seconds"] > 0, "PyTorch itself passes over it"
    assert equal(train(tmp_path / "cut", "x"), train(tmp_path / "other", "x"))
    assert "is damaged; starting anew" in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object, path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        train(tmp_path / "cut", "x")
    assert not list(tmp_path.iterdir())


def test_time_before_an_interruption_counts(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "cut", "x", kill_at=7)
    stored = torch.load(tmp_path / "cut", weights_only=True)
    torch.save({**stored, "seconds": 1000.0}, tmp_path / "cut")
    session = Session("test", tmp_path / "cut", "x")
    session.train(trainer(), RECIPE.iterations)
    assert session.seconds > 1000


def test_checkpoints_hold_no_code(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "cut", "x", kill_at=7)
    torch.load(tmp_path / "cut", weights_only=True)  # refuses anything but tensors and plain values


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    with pytest.raises(NonFiniteLoss, match="iteration 0, expected a finite number; lower the learning rate"):
        trainer(torch.full((200, 2), torch.inf)).step()
