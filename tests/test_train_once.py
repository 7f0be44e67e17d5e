"""Stages with hardly any training: one training serves many sampling seeds, and pre-training keeps to its precision."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines import hsivi_sm
from hsivi import layout
from hsivi.arrays import load_arrays
from hsivi.config import load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.problem import compute_device
from hsivi.record import read_record
from hsivi.sampler import draw
from hsivi.stages import cell as cell_stage
from hsivi.stages import data, fit, measure, reference, sample, settings
from hsivi.stages import pretrain as pretrain_stage

OURS = Cell("smoke", "toy2d", "moons", "hsivi_sm", 5)


def tiny(pretrain: dict[str, Any] | None = None, **changes: Any) -> Experiment:
    """2-D data at scale smoke with hardly any training."""
    whole = load_experiment("toy2d", "smoke")
    model, used = whole.diffusion, whole.recipes["recommended"]
    shorter = model.pretrain.model_copy(update={"iterations": 5, "batch": 16, **(pretrain or {})})
    few = {"iterations": 2, "batch": 8, "critic_batch": 8, "critic_warmup": 0, "variance_learning_rate": 0.1}
    values = {**used.values, **few}
    return whole.model_copy(
        update={
            "num_samples": 100,
            "data": whole.data.model_copy(update={"reference_draws": 100_000}),
            "score_model": model.model_copy(update={"pretrain": shorter}),
            "recipes": {**whole.recipes, "recommended": used.model_copy(update={"values": values, "overrides": ()})},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("scale")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        for stage in (data, pretrain_stage, reference):
            stage.run(tiny(), "moons")
    return where


@pytest.fixture
def folder(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepared)
    return prepared


def test_one_training_serves_all_seeds(folder, monkeypatch):
    experiment = tiny(seeds=(6, 7, 8), train_once=True)
    trained = []
    whole = hsivi_sm.fit
    monkeypatch.setattr(
        hsivi_sm, "fit", lambda problem, config, seeds, session: trained.append(seeds) or whole(
            problem, config, seeds, session
        )
    )  # fmt: skip
    fit.run(experiment, OURS)
    files = layout.CellFiles(OURS)
    assert trained == [(6,)] and {name.partition("/")[0] for name in load_arrays(files.fit)} == {"6"}
    sample.run(experiment, OURS)
    stored = load_arrays(files.samples)["samples"]
    (state,) = cell_stage.stored_states(files.fit, (6,))
    opened = cell_stage.open_cell(experiment, OURS)
    device = compute_device()
    for of_seed, seed in zip(stored, (6, 7, 8), strict=True):
        wanted = draw(hsivi_sm, opened.problem, opened.config, seed, of_seed.shape[0] * 100, state, device=device)
        np.testing.assert_array_equal(of_seed.reshape(-1, 2), wanted.x.cpu().numpy())
    assert len({of_seed.tobytes() for of_seed in stored}) == 3
    measure.run(experiment, OURS)
    record = read_record(files.record)
    assert record.trainings == 1 and {m.seed for m in record.measurements} == {6, 7, 8}


def test_the_score_model_of_a_cell_drops_nothing(folder):
    """A network with dropout is random unless it is told that it is not in training; its copies do as it does."""
    given = cell_stage.open_cell(tiny(), OURS).problem
    for network in (given.network.network, given.copies(2).network):
        assert not any(module.training for module in network.modules())


def test_records_count_trainings(folder):
    by_itself = Cell("smoke", "toy2d", "moons", "ddim", 5)
    sample.run(tiny(seeds=(6, 7)), by_itself)
    measure.run(tiny(seeds=(6, 7)), by_itself)
    assert read_record(layout.CellFiles(by_itself).record).trainings == 0
    for stage in (fit, sample, measure):
        stage.run(tiny(seeds=(6, 7)), OURS)
    assert read_record(layout.CellFiles(OURS).record).trainings == 2


def test_a_further_sampling_seed_samples_again_and_trains_nothing():
    some, more = (tiny(seeds=seeds, train_once=True) for seeds in ((6, 7), (6, 7, 8)))
    assert settings.of_fit(some, OURS) == settings.of_fit(more, OURS)
    assert settings.of_sample(some, OURS) != settings.of_sample(more, OURS)
    other = tiny(seeds=(5, 7), train_once=True)
    assert settings.of_fit(some, OURS) != settings.of_fit(other, OURS)
    each, further = (tiny(seeds=seeds) for seeds in ((6, 7), (6, 7, 8)))
    assert settings.of_fit(each, OURS) != settings.of_fit(further, OURS)


def test_pre_training_runs_in_bfloat16_as_its_recipe_says(monkeypatch, folder):
    device = compute_device().type

    def enabled(precision: str) -> set[bool]:
        seen: set[bool] = set()
        forward = ScoreMLP.forward
        with monkeypatch.context() as patch:
            patch.setattr(
                ScoreMLP, "forward", lambda self, *x: seen.add(torch.is_autocast_enabled(device)) or forward(self, *x)
            )
            pretrain_stage.run(tiny(pretrain={"iterations": 1, "precision": precision}), "moons")
        return seen

    assert enabled("bfloat16") == {True}
    stored = load_arrays(layout.DatasetFiles("smoke", "toy2d", "moons").score_model)
    assert {array.dtype for array in stored.values()} == {np.dtype("float32")}
    assert enabled("float32") == {False}
