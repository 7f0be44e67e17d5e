"""Micro-batches: gradients are means over them, against affine networks by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hsivi import train
from hsivi.nn.stacked import ReplicaStack
from hsivi.pretrain import Pretrainer
from hsivi.recipe import PretrainRecipe, Recipe
from hsivi.rng import generator
from hsivi.score_model import GaussianMixtureScoreModel, NetworkScoreModel
from hsivi.time_grid import time_grid
from hsivi.train import JointTrainer
from tests.oracles import AffineNoise, ddim_map
from tests.test_train import DATA, ETA, TOY, joint, mlps, run
from tests.tiny import tiny_unet

STILL = {"learning_rate": 1e-30, "critic_learning_rate": 1e-30}
"""Rates so low that no parameter moves: one is recovered exactly, and gradients of later updates are those at it."""


LEVELS = time_grid(TOY, "hsivi", 3)
LOG_VARIANCE = torch.tensor([[0.3, -0.2]], dtype=torch.float64)


def affine(seed: int) -> AffineNoise:
    """Nearly the exact noise model of the data, so that no loss vanishes."""
    rng, pair = np.random.default_rng(seed), DATA.noise_map(TOY.alpha_bar(LEVELS))
    gain, offset = (values[None] + torch.from_numpy(rng.uniform(0.1, 0.5, values.shape)) for values in pair)
    return AffineNoise(TOY.network_time(LEVELS), gain, offset)


def affine_trainer(log_variance: Tensor = LOG_VARIANCE, **changes: Any) -> JointTrainer:
    teacher = GaussianMixtureScoreModel(TOY, DATA.mean[None], DATA.var[:1], torch.ones(1))
    return joint(affine(1), affine(2), teacher, LEVELS, log_variance.clone(), (5,), **STILL | changes)


def by_hand(options: Recipe) -> tuple[Tensor, list[Tensor], Tensor, list[Tensor]]:
    """Loss and gradients of the layers, then those of the critic in its last update, of iteration 0 of seed 5.

    Each micro-batch is worked out alone, with random numbers of its own; what is returned is the mean over them.
    """
    alpha_bar, steps, parts = TOY.alpha_bar(LEVELS), len(LEVELS) - 1, options.microbatches
    shared, updates = options.rollout == "shared", options.critic_updates
    batch, critic_batch = options.batch // parts, options.critic_batch // parts
    first = 0 if shared else updates * critic_batch
    chains = max(updates * critic_batch, first + batch)
    layers, critic = affine(1), affine(2)
    log_variance = LOG_VARIANCE.clone().requires_grad_(True)
    target_mean, target_var = DATA.moments(alpha_bar)
    found = []
    for part in range(parts):

        def numbers(purpose: str, part: int = part) -> np.random.Generator:
            return generator(5, "train", 0, purpose, *([part] if parts > 1 else []))

        def normal(purpose: str, shape: tuple[int, ...], draws: Callable[..., Any] = numbers) -> Tensor:
            return torch.from_numpy(draws(purpose).standard_normal(shape, "float32")).double()

        noise = normal("rollout", (steps + 1, chains, 2))
        x: list[Tensor] = [noise[steps]]
        scores: list[Tensor] = []
        for t in reversed(range(steps)):
            slope, shift, std = ddim_map(alpha_bar, t, ETA, layers.gain[0, t + 1], layers.offset[0, t + 1])
            std = std * (0.5 * log_variance[0]).exp()
            x.insert(0, (slope * x[0] + shift + std * noise[t]).detach())
            scores.insert(0, (-noise[t] / std).detach())

        def estimate(values: Tensor, t: int) -> Tensor:
            return -(critic.gain[0, t] * values + critic.offset[0, t]) / (1 - alpha_bar[t]).sqrt()

        drawn = numbers("t").integers(0, steps, chains)
        column = drawn.argsort(kind="stable").argsort()  # the noise of a chain: chains are simulated in order of t

        def pairs(start: int, stop: int, drawn: Any = drawn, column: Any = column) -> list[tuple[int, int]]:
            chosen = range(start, stop)
            if shared:
                return [(t, i) for t in range(steps) for i in chosen]
            return [(int(drawn[i]), int(column[i])) for i in chosen]

        last = pairs((updates - 1) * critic_batch, updates * critic_batch)
        errors = [(1 - alpha_bar[t]) * (estimate(x[t][i], t) - scores[t][i]).square().sum() for t, i in last]
        own = pairs(first, first + batch)
        fresh = normal("layers", (len(own), 2))
        divergences = []
        for (t, i), eps in zip(own, fresh, strict=True):
            slope, shift, std = ddim_map(alpha_bar, t, ETA, layers.gain[0, t + 1], layers.offset[0, t + 1])
            std = std * (0.5 * log_variance[0]).exp()
            z = slope * x[t + 1][i] + shift + std * eps
            target, g = (target_mean[t] - z) / target_var[t], estimate(z, t)
            divergences.append((1 - alpha_bar[t]) * ((target - g) * (target + g + 2 * eps / std)).sum())
        found.append((torch.stack(divergences).mean(), torch.stack(errors).mean()))
    loss, critic_loss = (torch.stack(values).mean() for values in zip(*found, strict=True))
    moved = [layers.gain, layers.offset, log_variance]
    gradients = list(torch.autograd.grad(loss, moved, retain_graph=True))
    critics = list(torch.autograd.grad(critic_loss, [critic.gain, critic.offset]))
    return loss.detach(), gradients, critic_loss.detach(), critics


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("microbatches", [1, 2, 3])
@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_a_gradient_is_the_mean_over_micro_batches(rollout, microbatches):
    sizes = {"batch": 6, "critic_batch": 12, "critic_updates": 2}
    trainer = affine_trainer(rollout=rollout, microbatches=microbatches, **sizes)
    info = trainer.step()
    loss, gradients, critic_loss, critics = by_hand(trainer.recipe)
    network, critic = trainer.hierarchy.network, trainer.critic.network
    found = [network.gain.grad, network.offset.grad, trainer.hierarchy.log_variance.grad]
    for value, expected in zip(
        [info.variational_loss, info.critic_loss, *found, critic.gain.grad, critic.offset.grad],
        [loss[None], critic_loss[None], *gradients, *critics],
        strict=True,
    ):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)  # only the order of sums differs


@pytest.mark.usefixtures("float64")
def test_random_numbers_belong_to_a_micro_batch_where_there_are_several(monkeypatch):
    keys: list[tuple[int | str, ...]] = []
    monkeypatch.setattr(train, "generator", lambda *key: keys.append(key) or generator(*key))
    purposes = ("rollout", "t", "layers")
    run(mlps((3,), rollout="independent"), 2)
    # A single one has no number, so that what was trained before there were micro-batches is trained again to the bit.
    assert sorted(keys) == sorted((3, "train", i, purpose) for i in range(2) for purpose in purposes)
    keys.clear()
    run(mlps((3,), rollout="independent", microbatches=2), 2)
    assert sorted(keys) == sorted((3, "train", i, p, part) for i in range(2) for p in purposes for part in range(2))


POINTS = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SMALL = {"iterations": 10, "batch": 12, "learning_rate": 1e-2}


def pretrainer(points: Tensor = POINTS, network: ReplicaStack | None = None, **changes: Any) -> Pretrainer:
    return Pretrainer(NetworkScoreModel(network or affine(1), TOY), points, PretrainRecipe(**SMALL | changes), 7)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("microbatches", [1, 3])
@pytest.mark.parametrize("samples_per_time", [1, 2])
def test_pre_training_descends_the_mean_over_micro_batches(samples_per_time, microbatches):
    """||eps - eps_theta(u_s, s)||^2 with u_s = sqrt(alpha_bar) u_0 + sigma eps, worked out a part at a time."""
    trainer = pretrainer(samples_per_time=samples_per_time, microbatches=microbatches, learning_rate=1e-30)
    loss, network = trainer.step(), affine(1)
    rng, times = generator(7, "pretrain", 0), 12 // samples_per_time
    u = torch.from_numpy((rng.random(times) + np.arange(times)) / times)  # stratified
    s = TOY.training_times(u).repeat_interleave(samples_per_time)
    clean = POINTS[torch.from_numpy(rng.integers(0, len(POINTS), 12))]
    noise = torch.from_numpy(rng.standard_normal((12, 2), "float32")).double()
    alpha_bar = TOY.alpha_bar(s)[:, None]
    noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
    errors = (noise - network(noisy[None], TOY.network_time(s))[0]).square().sum(-1)
    expected = torch.stack([part.mean() for part in errors.chunk(microbatches)]).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    wanted = torch.autograd.grad(expected, [network.gain, network.offset])
    found = trainer.score_model.network
    torch.testing.assert_close([found.gain.grad, found.offset.grad], list(wanted), rtol=1e-11, atol=1e-13)


def test_pre_training_with_micro_batches_is_pre_training():
    """Its random numbers are drawn for the whole batch; pixels, mirroring and averages included."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8))

    def trained(microbatches: int) -> dict[str, Tensor]:
        trainer = pretrainer(pixels, tiny_unet((0,)), flip=True, ema=0.5, microbatches=microbatches, learning_rate=1e-3)
        for _ in range(3):
            trainer.step()
        return trainer.average.parameters()

    whole, parts = trained(1), trained(4)
    for name, value in whole.items():
        # Float32 sums in another order: 1e-7 of a gradient.  Adam divides by the gradient, so where it is nearly zero
        # a parameter may differ by a small part of its three steps of 1e-3.
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=2e-5)
