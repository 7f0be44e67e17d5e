"""Training at scale: micro-batches, clipping, learning rates, averages, reduced precision, what a training starts from.

Networks here are affine, or tiny, so that what they should learn in a step can be computed by hand.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines import hsivi_sm
from hsivi import layout, methods, sampler, train
from hsivi.arrays import load_arrays
from hsivi.checkpoint import Session
from hsivi.config import ConfigError, load_experiment
from hsivi.experiment import Experiment, Override
from hsivi.methods import Cell
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.nn.stacked import ReplicaStack
from hsivi.nn.unet import StackedUNet
from hsivi.noise import SampleNoise
from hsivi.nonfinite import NonFinite
from hsivi.optimise import Optimiser
from hsivi.pixels import quantise
from hsivi.pretrain import Pretrainer
from hsivi.problem import Problem, compute_device
from hsivi.recipe import Hardware, PretrainRecipe, Recipe
from hsivi.record import read_record
from hsivi.rng import generator
from hsivi.sampler import SMALLEST_BATCH, batch_size, draw
from hsivi.schedule import LinearBetaSchedule
from hsivi.score_model import GaussianMixtureScoreModel, NetworkScoreModel
from hsivi.stages import cell as cell_stage
from hsivi.stages import data, fit, measure, reference, sample, settings
from hsivi.stages import pretrain as pretrain_stage
from hsivi.time_grid import time_grid
from hsivi.train import JointTrainer
from tests.oracles import AffineNoise, ddim_map
from tests.test_train import DATA, ETA, TOY, joint, mlps, recipe, run
from tests.test_workflow import Checkout

STILL = {"learning_rate": 1e-30, "critic_learning_rate": 1e-30}
"""Rates so low that no parameter moves: one is recovered exactly, and gradients of later updates are those at it."""


# Micro-batches, on affine networks by hand
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


def tiny_unet(seeds: tuple[int, ...]) -> StackedUNet:
    return StackedUNet(seeds, image_size=8, image_channels=1, channels=(8, 16), layers_per_block=1, norm_groups=4)


# How an update is made
def norm(gradients: list[Tensor]) -> float:
    return math.sqrt(sum(float(g.square().sum()) for g in gradients))


@pytest.mark.usefixtures("float64")
def test_the_gradient_of_each_network_is_clipped():
    def gradients(clip_norm: float | None) -> list[list[Tensor]]:
        trainer = affine_trainer(clip_norm=clip_norm)
        trainer.step()
        return [
            [p.grad.clone() for p in trained.parameters()] for trained in (trainer.hierarchy, trainer.critic.network)
        ]

    free, clipped, loose = gradients(None), gradients(0.125), gradients(1e9)
    for whole, cut, same in zip(free, clipped, loose, strict=True):
        assert norm(whole) > 0.25
        assert norm(cut) == pytest.approx(0.125, rel=1e-4)  # torch adds 1e-6 to the norm it divides by
        torch.testing.assert_close(cut, [g * 0.125 / norm(whole) for g in whole], rtol=1e-4, atol=0)  # the direction
        assert all(torch.equal(*pair) for pair in zip(same, whole, strict=True))


@pytest.mark.usefixtures("float64")
def test_pre_training_clips_its_gradient():
    trainer = pretrainer(clip_norm=0.125)
    trainer.step()
    assert norm([p.grad for p in trainer.score_model.network.parameters()]) == pytest.approx(0.125, rel=1e-5)


def test_clipping_is_refused_for_several_replicas():
    with pytest.raises(ValueError, match=r"clip_norm: got 0\.5 with 2 replicas.*expected one; set train_once") as error:
        mlps((3, 8), clip_norm=0.5)
    assert "\n" not in str(error.value)


RATES = [
    # decay, final rate, warm-up, and the factor after 0, 1, 2, ... of 8 steps, by hand
    ("constant", 0.0, 0, {0: 1.0, 4: 1.0, 8: 1.0}),
    ("cosine", 0.0, 0, {0: 1.0, 2: (1 + math.sqrt(0.5)) / 2, 4: 0.5, 8: 0.0, 9: 0.0}),
    ("cosine", 0.2, 0, {0: 1.0, 4: 0.6, 8: 0.2, 9: 0.2}),
    ("exponential", 0.01, 0, {0: 1.0, 2: 0.1**0.5, 4: 0.1, 8: 0.01, 9: 0.01}),
    ("constant", 0.0, 4, {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 4: 1.0}),
    ("cosine", 0.2, 5, {0: 0.2, 4: 0.6, 8: 0.2}),
    ("exponential", 0.01, 8, {0: 0.125, 4: 0.0625, 8: 0.01}),
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("decay", "final", "warm_up", "factors"), RATES)
def test_learning_rates_follow_their_formula(decay, final, warm_up, factors):
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = Optimiser([parameter], 0.1, (0.5, 0.9), decay, 8, final, warm_up)
    steps = []
    for _ in range(10):
        before = parameter.item()
        optimiser.descend(parameter.sum())  # of a constant gradient Adam's steps are the learning rate
        optimiser.advance()
        steps.append(before - parameter.item())
    for step, factor in factors.items():
        assert steps[step] == pytest.approx(0.1 * factor, rel=1e-6, abs=1e-15), f"step {step}"  # Adam's epsilon is 1e-8


@pytest.mark.usefixtures("float64")
def test_recipes_decide_learning_rates():
    """After four of twenty iterations: rising over five, halving five times over the training, for every network."""
    factor = 1.0 * 0.03125 ** (4 / 20)
    changes = {"schedule": "exponential", "final_rate": 0.03125, "warm_up": 5, "critic_learning_rate": 0.02}
    trainer = mlps((3,), learning_rate=0.01, variance_learning_rate=0.03, **changes)
    assert rates(trainer) == pytest.approx([0.01 / 5, 0.03 / 5, 0.02 / 5])
    run(trainer, 4)
    assert rates(trainer) == pytest.approx([0.01 * factor, 0.03 * factor, 0.02 * factor])
    assert rates(mlps((3,), learning_rate=0.01)) == [0.01, 0.01, 1e-3]  # by default the variance learns as the layers
    alone = pretrainer(schedule="cosine", final_rate=0.5, warm_up=2, learning_rate=0.04)
    alone.step()
    cosine = 0.5 + 0.5 * (1 + math.cos(math.pi / 10)) / 2
    assert alone._optimiser.adam.param_groups[0]["lr"] == pytest.approx(0.04 * cosine)


def rates(trainer: JointTrainer) -> list[float]:
    groups = [*trainer._optimiser.adam.param_groups, *trainer._critic_optimiser.adam.param_groups]
    return [group["lr"] for group in groups]


@pytest.mark.usefixtures("float64")
def test_the_variance_learns_at_its_own_rate():
    trainer = affine_trainer(variance_learning_rate=0.05)
    before = {name: p.detach().clone() for name, p in trainer.hierarchy.named_parameters()}
    trainer.step()
    for name, p in trainer.hierarchy.named_parameters():
        moved = (p.detach() - before[name]).abs()
        expected = 0.05 if name == "log_variance" else 0.0  # the first step of Adam has the size of the rate
        torch.testing.assert_close(moved, torch.full_like(moved, expected), rtol=1e-6, atol=1e-20)


@pytest.mark.usefixtures("float64")
def test_amsgrad_divides_by_the_largest_second_moment():
    """Reddi et al. (2018), Algorithm 2, with Adam's bias correction, on gradients that fall from ten to one."""
    beta, gradients = (0.5, 0.9), [10.0, 1.0, 1.0, 1.0]
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = Optimiser([parameter], 0.1, beta, "constant", 4, amsgrad=True)
    x, mean, square, largest = 0.0, 0.0, 0.0, 0.0
    for k, g in enumerate(gradients, 1):
        optimiser.descend(g * parameter.sum())
        mean, square = beta[0] * mean + (1 - beta[0]) * g, beta[1] * square + (1 - beta[1]) * g**2
        largest = max(largest, square)
        x -= 0.1 * mean / (1 - beta[0] ** k) / (math.sqrt(largest / (1 - beta[1] ** k)) + 1e-8)
    assert square < largest
    assert parameter.item() == pytest.approx(x, rel=1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("amsgrad", [False, True])
def test_a_recipe_decides_amsgrad_for_both_networks(amsgrad):
    trainer = mlps((3,), amsgrad=amsgrad)
    trainer.step()
    for optimiser in (trainer._optimiser, trainer._critic_optimiser):
        kept = [("max_exp_avg_sq" in state) for state in optimiser.adam.state.values()]
        assert kept and set(kept) == {amsgrad}


# The layers' variance
@pytest.mark.usefixtures("float64")
def test_an_isotropic_variance_has_the_sum_of_the_gradients():
    one, each = (affine_trainer(torch.full((1, width), 0.3), rollout="independent") for width in (1, 2))
    for trainer in (one, each):
        trainer.step()
    found, parts = (trainer.hierarchy.log_variance.grad for trainer in (one, each))
    assert found.shape == (1, 1) and not torch.allclose(parts[:, 0], parts[:, 1])
    torch.testing.assert_close(found, parts.sum(1, keepdim=True), rtol=1e-12, atol=0)


def problem(nfe: int = 5, network: ReplicaStack | None = None, earlier: tuple[Any, ...] = ()) -> Problem:
    network = (network or ScoreMLP((0,), 2, 8, 8)).requires_grad_(False)
    schedule = TOY if network.event_ndim == 1 else LinearBetaSchedule()
    shape = (2,) if network.event_ndim == 1 else (1, 8, 8)
    levels = time_grid(schedule, "hsivi", nfe)
    return Problem(nfe, shape, lambda n, *_: torch.zeros(n, *shape), NetworkScoreModel(network, schedule), levels,
                   earlier=earlier)  # fmt: skip


class Watched(Session):
    """Keeps the trainer, and the layers' parameters at every iteration."""

    def train(self, trainer: Any, iterations: int, detail: Any = str) -> Any:
        self.trainer, self.path = trainer, [self._layers(trainer)]
        self.infos = []
        while trainer.iteration < iterations:
            self.infos.append(trainer.step())
            self.path.append(self._layers(trainer))

    @staticmethod
    def _layers(trainer: JointTrainer) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in trainer.hierarchy.named_parameters()}


def fitted(given: Problem, seeds: tuple[int, ...] = (4,), **changes: Any) -> tuple[list[dict[str, Tensor]], Watched]:
    session = Watched("test")
    return hsivi_sm.fit(given, recipe(**{"iterations": 4, "learning_rate": 0.01} | changes), seeds, session), session


def drawn(given: Problem, state: dict[str, Tensor], **changes: Any) -> Tensor:
    return draw(hsivi_sm, given, recipe(**changes), 9, 8, state).x


@pytest.mark.parametrize("images", [False, True])
def test_both_variances_of_table_3_train_and_sample(images):
    def given() -> Problem:
        return problem(network=tiny_unet((0,)) if images else None)

    changes = {"variance_learning_rate": 0.2, "batch": 2, "critic_batch": 2, "iterations": 2}
    (one,), _ = fitted(given(), variance="isotropic", **changes)
    (each,), _ = fitted(given(), **changes)
    shape = given().event_shape
    assert one["log_variance"].shape == (1, *(1,) * len(shape)) and each["log_variance"].shape == (1, *shape)
    assert one["log_variance"].abs() > 0.02 and each["log_variance"].std() > 0.01
    samples = drawn(given(), one, variance="isotropic")
    spread = one | {"log_variance": one["log_variance"].expand(1, *shape)}
    assert torch.equal(samples, drawn(given(), spread))
    assert (samples - drawn(given(), each)).abs().max() > 1e-3


# The average is sampled
def test_what_fit_returns_is_the_average_of_the_layers():
    seeds = (4, 9)
    states, session = fitted(problem(), seeds, ema=0.8, iterations=6)
    expected = session.path[0]
    for parameters in session.path[1:]:
        expected = {name: 0.8 * value + 0.2 * parameters[name] for name, value in expected.items()}
    critic = dict(session.trainer.critic.network.named_parameters())
    for replica, state in enumerate(states):
        own = session.trainer.hierarchy.select(expected, replica)
        last = session.trainer.hierarchy.select(session.path[-1], replica)
        assert {n for n in state if not n.startswith("critic.")} == set(own)
        for name, value in own.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)  # float32, six averages
        assert any((state[name] - last[name]).abs().max() > 1e-3 for name in own)
        for name, value in session.trainer.critic.network.select(critic, replica).items():
            assert torch.equal(state[f"critic.{name}"], value)  # an estimate at the last layers, so not averaged
        samples = drawn(problem(), state)
        torch.testing.assert_close(samples, drawn(problem(), own), rtol=1e-4, atol=1e-4)
        assert (samples - drawn(problem(), last)).abs().max() > 1e-3


def test_without_an_average_fit_returns_the_last_iterate():
    (state,), session = fitted(problem())
    last = session.trainer.hierarchy.select(session.path[-1], 0)
    assert all(torch.equal(state[name], value) for name, value in last.items())


# Reduced precision
BFLOAT16 = Hardware(precision="bfloat16")


@torch.no_grad()
def outputs(network: ReplicaStack, hardware: Hardware) -> Tensor:
    schedule = LinearBetaSchedule() if network.event_ndim == 3 else TOY
    shape = (1, 8, 8) if network.event_ndim == 3 else (2,)
    x = torch.randn(1, 16, *shape, generator=torch.Generator().manual_seed(0))
    s = schedule.training_times(torch.linspace(0.05, 0.95, 16, dtype=torch.float64))
    return NetworkScoreModel(network, schedule).accelerated(hardware).noise(x, s)


@pytest.mark.parametrize("network", [lambda: tiny_unet((0,)), lambda: ScoreMLP((0,), 2, 32, 32)], ids=["unet", "mlp"])
def test_bfloat16_changes_outputs_a_little(network):
    exact, rounded = outputs(network(), Hardware()), outputs(network(), BFLOAT16)
    assert rounded.dtype == torch.float32
    off = float((rounded - exact).norm() / exact.norm())
    assert 5e-4 < off < 2e-2  # a product of bfloat16 numbers is off by 2^-8 = 4e-3


def test_all_three_networks_train_in_bfloat16_and_nothing_samples_in_it(monkeypatch):
    calls: dict[int, set[bool]] = {}
    output = ScoreMLP.output

    def spy(self: ScoreMLP, *inputs: Tensor) -> Tensor:
        calls.setdefault(id(self), set()).add(torch.is_autocast_enabled("cpu"))
        return output(self, *inputs)

    monkeypatch.setattr(ScoreMLP, "output", spy)
    given = problem()
    (state,), session = fitted(given, precision="bfloat16", ema=0.9)
    trainer = session.trainer
    trained = [given.network.network, trainer.hierarchy.network, trainer.critic.network]
    assert calls == {id(network): {True} for network in trained}
    kept = [*trainer.state_dict()["hierarchy"].values(), *state.values(), *trainer.average.values.values()]
    for optimiser in (trainer._optimiser, trainer._critic_optimiser):
        kept += [value for entry in optimiser.adam.state.values() for value in entry.values()]
    for info in session.infos:
        kept += [info.variational_loss, info.critic_loss]
    assert {value.dtype for value in kept} == {torch.float32}
    calls.clear()
    drawn(problem(), state, precision="bfloat16")
    assert set(map(frozenset, calls.values())) == {frozenset({False})}
    (exact,), _ = fitted(problem(), ema=0.9)
    assert any(not torch.equal(value, exact[name]) for name, value in state.items())


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


def test_channels_last_changes_where_numbers_lie_and_not_what_they_are():
    network = tiny_unet((0,))
    expected = outputs(network, Hardware())
    found = outputs(network, Hardware(channels_last=True))
    images = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert images and all(p.is_contiguous(memory_format=torch.channels_last) for p in images)
    # Float32 sums of a few hundred terms in another order.
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_a_training_in_channels_last_learns_what_others_learn():
    changes = {"batch": 4, "critic_batch": 4, "iterations": 2, "learning_rate": 1e-4, "critic_learning_rate": 1e-4}
    (expected,), _ = fitted(problem(network=tiny_unet((0,))), **changes)
    (found,), _ = fitted(problem(network=tiny_unet((0,))), channels_last=True, **changes)
    apart = torch.cat([(found[name] - value).abs().flatten() for name, value in expected.items()])
    # Adam's two steps of 1e-4 go by the sign of a gradient, which is rounding where it nearly vanishes: single
    # parameters may be any part of both steps apart, on some processors more than on others.  A wrong layout moves all.
    assert (apart > 1e-5).double().mean() < 1e-3
    assert apart.max() < 4e-4


@pytest.mark.slow
def test_a_compiled_network_computes_the_same(monkeypatch):
    """Of the compiler the tracer alone is used: its code generator takes minutes and wants a C++ compiler."""
    compiled = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled(self, backend="eager", fullgraph=True))
    network = ScoreMLP((0,), 2, 8, 8)
    expected = outputs(network, Hardware())
    assert network._compiled_call_impl is None
    found = outputs(network, Hardware(compile=True))
    assert network._compiled_call_impl is not None
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert NetworkScoreModel(network, TOY).copies(2).network._compiled_call_impl is None  # sampling compiles nothing


# Where a training starts from
@pytest.mark.parametrize("images", [False, True])
def test_a_training_starts_from_an_earlier_one(images):
    network = tiny_unet((0,)) if images else None
    sizes = {"batch": 4, "critic_batch": 4, "ema": 0.9}
    seeds = (4, 9)
    first, _ = fitted(problem(5, network), seeds, **sizes, iterations=2, variance_learning_rate=0.1)
    again, _ = fitted(problem(3, network, tuple(first)), seeds, **sizes, **STILL, iterations=1)
    for before, after in zip(first, again, strict=True):
        assert set(before) == set(after)
        assert all(torch.equal(value, after[name]) for name, value in before.items())
    teacher = problem(5, network).network.network.state_dict()
    for own, other in (first, first[::-1]):  # neither of them started where the score model is, or where the other is
        for elsewhere in (
            {f"{part}.{name}": value for name, value in teacher.items()} for part in ("network", "critic")
        ):
            assert any(not torch.equal(own[name], value) for name, value in elsewhere.items())
        assert own["log_variance"].abs().min() > 0.01
        for part in ("network", "critic", "log_variance"):
            assert any(not torch.equal(own[name], other[name]) for name in own if name.startswith(part))


@pytest.mark.parametrize("stack", [tiny_unet((0, 1)), ScoreMLP((0, 1), 2, 8, 8)], ids=["unet", "mlp"])
def test_fill_is_the_reverse_of_select(stack):
    def selected(replica: int) -> dict[str, Tensor]:
        return stack.select({name: p.detach() for name, p in stack.named_parameters()}, replica)

    other, own = selected(0), selected(1)
    new = {name: value + 1 for name, value in own.items()}
    stack.fill(1, new)
    assert all(torch.equal(value, new[name]) for name, value in selected(1).items())
    assert all(torch.equal(value, other[name]) for name, value in selected(0).items())
    name, value = next(iter(new.items()))
    for wrong in ({**new, "more": value}, {n: v for n, v in new.items() if n != name}, {**new, name: value[..., :1]}):
        with pytest.raises(ValueError, match=r"parameters: got others than the network's .*, expected the same; fit"):
            stack.fill(1, wrong)


def images(*overrides: Override) -> Experiment:
    """CIFAR-10 at scale smoke, with further overrides of HSIVI's recipe."""
    whole = load_experiment("cifar10", "smoke")
    used = whole.recipes["scripts"]
    changed = used.model_copy(update={"overrides": (*used.overrides, *overrides)})
    return whole.model_copy(update={"recipes": {**whole.recipes, "scripts": changed}})


def at(nfe: int) -> Cell:
    return Cell("smoke", "cifar10", "cifar10", "hsivi_sm", nfe)


def test_an_earlier_training_decides_a_later_one():
    plain = images()
    assert methods.starts_from(plain, at(5)) == [at(10)] and methods.starts_from(plain, at(10)) == []
    earlier = images(Override(nfe=(10,), values={"beta_power": 3}))
    later = images(Override(nfe=(5,), values={"beta_power": 3}))
    assert earlier.recipe_values("hsivi_sm", "cifar10", 5) == plain.recipe_values("hsivi_sm", "cifar10", 5)
    for stage in (settings.of_fit, settings.of_sample):
        assert stage(earlier, at(5)) != stage(plain, at(5))
        assert stage(later, at(10)) == stage(plain, at(10))
    apart = images(Override(nfe=(5,), values={"start_from": None}))
    assert settings.of_fit(apart, at(5)) != settings.of_fit(plain, at(5))


@pytest.mark.parametrize(
    ("nfe", "start", "words"),
    [
        (5, 7, "got start_from 7 at NFE 5, expected another budget of that row (it has 10)"),
        (5, 5, "got start_from 5 at NFE 5, expected another budget"),
        (10, 5, "got start_from in a circle, NFE 5, 10, 5, expected a first training"),
    ],
)
def test_a_start_that_is_not_there_is_one_line(nfe, start, words):
    experiment = images(Override(nfe=(nfe,), values={"start_from": start}))
    with pytest.raises(ConfigError) as error:
        methods.check(experiment)
    assert f"cifar10.yaml: hsivi_sm: {words}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_the_graph_trains_the_earlier_one_first(tmp_path):
    target = str(layout.CellFiles(at(5)).fit)
    done = Checkout(tmp_path).snakemake("--dry-run", "--config", "scale=smoke", "experiments=cifar10", "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    planned = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert planned == {"data": "1", "pretrain": "1", "fit": "2", "total": "4"}


# One training, many sampling seeds
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


# Batches of samples
class Sampler:
    """A sampler of one step whose samples depend on all noise there is, and that may run out of memory."""

    TITLE, CITATION, Config = "Toy", "none", None

    def __init__(self, most: int = 10**9) -> None:
        self.most, self.sizes = most, []

    def sample(self, given: Problem, config: Any, noise: SampleNoise, state: Any) -> Iterator[Tensor]:
        x = noise.prior()
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        for t in reversed(range(given.nfe)):
            x = 0.5 * x + 0.5 * noise.step(t)
            given.counter.add()
            yield x


def samples(baseline: Sampler, n: int = 700, **changes: Any) -> sampler.Samples:
    given = SimpleNamespace(nfe=2, event_shape=(3,), counter=SimpleNamespace(count=0))
    given.counter.add = lambda: setattr(given.counter, "count", given.counter.count + 1)
    return draw(baseline, given, None, 3, n, {}, **changes)


@pytest.mark.parametrize("batch", [None, 16, 100, 256, 699, 10_000])
def test_samples_do_not_depend_on_the_batch(batch):
    noise = SampleNoise(3, 0, 700, (3,))
    expected = 0.25 * noise.prior() + 0.25 * noise.step(1) + 0.5 * noise.step(0)
    found = samples(baseline := Sampler(), batch=batch, trajectory=10)
    torch.testing.assert_close(found.x, expected, rtol=1e-6, atol=1e-6)  # float32
    assert torch.equal(found.x, samples(Sampler()).x)
    assert torch.equal(found.trajectory[0], noise.prior()[:10]) and torch.equal(found.trajectory[-1], found.x[:10])
    assert found.nfe == 2 and max(baseline.sizes) == min(batch or 700, 700)


@pytest.mark.parametrize("most", [16, 100, 400])
def test_a_batch_that_does_not_fit_is_halved(most):
    found = samples(baseline := Sampler(most), trajectory=10)
    whole = samples(Sampler(), trajectory=10)
    assert torch.equal(found.x, whole.x) and torch.equal(found.trajectory, whole.trajectory) and found.nfe == whole.nfe
    first = next(index for index, size in enumerate(baseline.sizes) if size <= most)
    assert all(size <= most for size in baseline.sizes[first:])  # what did not fit is not tried again


def test_too_little_memory_for_anything_is_one_line():
    with pytest.raises(ConfigError) as error:
        samples(baseline := Sampler(SMALLEST_BATCH - 1))
    assert f"Toy: got too little memory on the device for {SMALLEST_BATCH} samples at once" in str(error.value)
    assert "\n" not in str(error.value) and baseline.sizes[-1] == SMALLEST_BATCH


@pytest.mark.parametrize(
    ("shape", "size"), [((2,), 4000), ((1, 16, 16), 4000), ((1, 32, 32), 1792), ((3, 32, 32), 512), ((3, 64, 64), 256)]
)
def test_batches_are_whole_blocks_of_noise_that_fit(shape, size):
    assert batch_size(shape) == size  # two million numbers at most, but a block of 256 in any case


@pytest.mark.parametrize("most", [100, 10**9])
def test_images_are_stored_as_whole_numbers_batch_by_batch(most):
    seen: list[int] = []

    def store(x: Tensor) -> Tensor:
        seen.append(len(x))
        return quantise(x)

    found = samples(Sampler(most), batch=300, store=store)
    assert found.x.dtype == torch.uint8 and max(seen) == min(300, most - most % 75) and sum(seen) == 700
    assert torch.equal(found.x, quantise(samples(Sampler()).x))


def test_pixels_that_are_not_finite_are_refused(monkeypatch):
    """Images alone: a whole number cannot say that it is none, while the other metrics are given what was drawn."""
    for value in (math.nan, math.inf, -math.inf):
        store, images = sample.Pixels("round"), torch.zeros(3, 1, 2, 2)
        assert torch.equal(store(images), quantise(images))
        store.refuse_non_finite("mnist ddim nfe=5")
        images[1, 0, 1, 0] = value
        store(images)
        store(torch.zeros(3, 1, 2, 2))  # a later batch does not make up for it
        with pytest.raises(NonFinite, match="samples of mnist ddim nfe=5: got non-finite pixels, expected") as error:
            store.refuse_non_finite("mnist ddim nfe=5")
        assert "\n" not in str(error.value)
