"""Joint training: expected losses and gradients in closed form, replicas, resumption, and that it trains."""

import pytest
import torch

from hsivi import train
from hsivi.bridge import DiffusionBridge
from hsivi.hierarchy import DDIMHierarchy
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.objective import ScoreMatching
from hsivi.optimise import NonFiniteLoss
from hsivi.recipe import Recipe
from hsivi.rng import generator
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import GaussianMixtureScoreModel, NetworkScoreModel, ScoreModel
from hsivi.time_grid import time_grid
from hsivi.train import JointTrainer
from tests.oracles import (
    MEANS,
    VARIANCES,
    WEIGHTS,
    AffineNoise,
    NoisedGaussian,
    assert_mean,
    ddim_moments,
    expected_losses,
)

pytestmark = pytest.mark.usefixtures("float64")
TOY = QuadraticSchedule()
MIXTURE = GaussianMixtureScoreModel(TOY, MEANS, VARIANCES, WEIGHTS)
DATA = NoisedGaussian(torch.tensor([0.6, -0.2]).double(), torch.tensor([0.3, 0.3]).double())
ETA = 0.8


def recipe(**changes) -> Recipe:
    settings = {"iterations": 20, "batch": 8, "critic_batch": 6, "critic_updates": 2, "eta": ETA}
    return Recipe(**settings | {"learning_rate": 1e-3, "critic_learning_rate": 1e-3, "rollout": "shared"} | changes)


def joint(layers, critic, teacher: ScoreModel, levels, log_variance, seeds, device="cpu", **changes) -> JointTrainer:
    """A trainer of networks ``layers`` and ``critic``."""
    levels, options = levels.to(device), recipe(**changes)
    hierarchy = DDIMHierarchy(NetworkScoreModel(layers.to(device), TOY), levels, ETA, log_variance.to(device))
    critic_model = NetworkScoreModel(critic.to(device), TOY)
    return JointTrainer(
        hierarchy.to(device), critic_model, DiffusionBridge(teacher, levels), ScoreMatching(), options, seeds, (2,)
    )


def mlps(seeds, device="cpu", teacher: ScoreModel = MIXTURE, **changes) -> JointTrainer:
    layers, critic = (ScoreMLP(tuple(s + shift for s in seeds), 2, 8, 8).double() for shift in (0, 100))
    levels = time_grid(TOY, "hsivi", 3)
    return joint(layers, critic, teacher, levels, torch.zeros(len(seeds), 2), seeds, device, **changes)


def run(trainer: JointTrainer, steps: int) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        info = trainer.step()
    losses = {"variational": info.variational_loss, "critic": info.critic_loss}
    return {name: p.detach().clone() for name, p in trainer.hierarchy.named_parameters()} | losses


# ------------------------------------------------------------------ expectations, on Gaussian data with affine networks
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize(("rollout", "beta_power"), [("shared", 1), ("independent", 1), ("shared", 2)])
def test_losses_and_gradients_have_their_closed_form_mean(rollout, antithetic, beta_power):
    """Level, weight and network of every term, for each way to form pairs; the rates are too small to move."""
    replicas, steps, levels = 64, 10, time_grid(TOY, "hsivi", 3)
    alpha_bar, rng = TOY.alpha_bar(levels), torch.Generator().manual_seed(0)
    gain, offset = (values[None] for values in DATA.noise_map(alpha_bar))

    def off(values):  # neither the layers nor the critic are exact
        return values * (1 + 0.4 * torch.rand(values.shape, generator=rng)) + 0.1

    times, log_variance = TOY.network_time(levels), torch.tensor([[0.3, -0.2]])
    layers, critic = (AffineNoise(times, off(gain), off(offset)) for _ in range(2))
    single = (layers, critic, log_variance.clone().requires_grad_(True))
    exact = expected_losses(DATA, alpha_bar, ETA, (1 - alpha_bar) ** beta_power, *single)
    wanted = torch.autograd.grad(exact[0], [layers.gain, layers.offset, single[2]])
    wanted += torch.autograd.grad(exact[1], [critic.gain, critic.offset])

    copies = layers.copies(replicas), critic.copies(replicas)
    teacher = GaussianMixtureScoreModel(TOY, DATA.mean[None], DATA.var[:1], torch.ones(1))
    trainer = joint(
        *copies, teacher, levels, log_variance.repeat(replicas, 1), range(replicas),
        learning_rate=1e-30, critic_learning_rate=1e-30, rollout=rollout, antithetic=antithetic, beta_power=beta_power,
    )  # fmt: skip
    moving = [copies[0].gain, copies[0].offset, trainer.hierarchy.log_variance, copies[1].gain, copies[1].offset]
    draws: list[list[torch.Tensor]] = []
    for _ in range(steps):
        info = trainer.step()
        draws.append([info.variational_loss, info.critic_loss, *(p.grad.clone() for p in moving)])
    names = ("variational loss", "critic loss", "gain", "offset", "log-variance", "critic gain", "critic offset")
    for name, values, value in zip(names, zip(*draws, strict=True), [*exact, *wanted], strict=True):
        assert_mean(torch.cat(values), value.detach().squeeze(0), what=name)


@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_training_repairs_ddpm_on_gaussian_data(rollout):
    """DDPM with 4 steps underestimates the variance; HSIVI-SM brings every level's Fisher divergence down."""
    levels = time_grid(TOY, "hsivi", 4)
    alpha_bar = TOY.alpha_bar(levels)
    gain, offset = DATA.noise_map(alpha_bar)
    layers = AffineNoise(TOY.network_time(levels), gain[None], offset[None])
    teacher = GaussianMixtureScoreModel(TOY, DATA.mean[None], DATA.var[:1], torch.ones(1))
    chains = 64 if rollout == "shared" else 256  # as many pairs either way
    trainer = joint(
        layers.copies(2), layers.copies(2), teacher, levels, torch.zeros(2, 2), (0, 1), iterations=300, batch=chains,
        critic_batch=chains, critic_updates=5, learning_rate=0.02, critic_learning_rate=0.05, schedule="cosine",
        rollout=rollout, antithetic=True, adam_betas=(0.5, 0.9),
    )  # fmt: skip

    def state(replica: int) -> tuple[torch.Tensor, torch.Tensor]:
        p = {name: value.detach()[replica] for name, value in trainer.hierarchy.named_parameters()}
        factor = p["log_variance"].exp()
        mean, var = ddim_moments(alpha_bar, ETA, p["network.gain"], p["network.offset"], factor)
        weighted = (1 - alpha_bar) * DATA.fisher_divergence(mean, var, alpha_bar)
        return weighted[:-1].sum(), (var[0] / DATA.moments(alpha_bar)[1][0]).log().abs().max()

    before = state(0)
    assert before[1] > 0.3  # DDPM's variance is off by more than a third
    run(trainer, 300)
    for replica in range(2):
        after = state(replica)
        assert after[0] < 0.1 * before[0], f"Fisher divergence {before[0]:.4f} -> {after[0]:.4f}"
        assert after[1] < 0.25 * before[1], f"log-ratio of variances {before[1].item():.4f} -> {after[1].item():.4f}"


# ------------------------------------------------------------------------------------- replicas, repetition, resumption
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_a_replica_in_a_stack_is_the_replica_alone(rollout, antithetic, device):
    changes = {"rollout": rollout, "antithetic": antithetic, "iterations": 100, "ema": 0.9}
    seeds = (3, 8)
    together = run(mlps(seeds, device, **changes), 100)
    alone = run(mlps((seeds[1],), device, **changes), 100)
    for name, value in alone.items():
        # Only the order of sums differs: 1e-16 an operation, amplified over a hundred updates of Adam.
        torch.testing.assert_close(together[name][1:], value, rtol=1e-8, atol=1e-8, msg=lambda m, name=name: name + m)
        assert not torch.allclose(together[name][:1], value, rtol=1e-3)


@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_a_repeated_run_is_bitwise_the_same(rollout, device):
    first, again = (run(mlps((3, 8), device, rollout=rollout), 5) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_ten_steps_are_five_and_five_after_a_round_trip_through_a_file(tmp_path, device):
    changes = {"schedule": "cosine", "ema": 0.9, "critic_warmup": 4, "rollout": "independent"}
    straight, first, second = (mlps((3, 8), device, **changes) for _ in range(3))
    expected = run(straight, 10)
    run(first, 5)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True))
    resumed = run(second, 5)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    average = second.average.parameters()
    assert all(torch.equal(value, average[name]) for name, value in straight.average.parameters().items())
    assert any(not torch.equal(value, expected[name]) for name, value in average.items())


def test_no_random_number_is_used_twice(monkeypatch):
    keys = []
    monkeypatch.setattr(train, "generator", lambda *key: keys.append(key) or generator(*key))
    run(mlps((3, 8), rollout="independent"), 4)
    assert len(set(keys)) == len(keys) == 2 * 4 * 3  # chains, layers drawn and the layers' noise


class Spy(ScoreMatching):
    """Keeps what losses were asked for."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "asked", [])

    def variational_loss(self, layer, noise, scores):
        self.asked.append((layer.mean, noise))
        return super().variational_loss(layer, noise, scores)

    def critic_loss(self, critic, conditional_score):
        self.asked.append((critic,))
        return super().critic_loss(critic, conditional_score)


def test_updates_come_in_the_order_and_size_of_the_recipe():
    trainer = mlps((3,), critic_batch=2, critic_warmup=4)
    trainer.objective = Spy()
    run(trainer, 2)
    chains = [values[0].shape[2] for values in trainer.objective.asked]
    assert chains == [2, 2, 2, 2, 8, 2, 2, 8]  # four warm-up updates of the critic, once


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_batches_of_the_critic_partition_the_rollout(rollout, antithetic):
    independent = rollout == "independent"
    axis = 1 if independent else 2
    whole = mlps((3, 8), rollout=rollout, antithetic=antithetic)._rollout(6, 0)
    parts = [whole.batch(*window) for window in ((0, 2), (2, 6))]
    for name in ("mixing", "x", "conditional_score"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts], axis), getattr(whole, name))
    assert parts[0].x.shape[2] == parts[0].mixing.shape[2] * (1 + antithetic)


@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_antithetic_noise_comes_in_pairs(rollout):
    trainer = mlps((3, 8), rollout=rollout, antithetic=True)
    trainer.objective = Spy()
    trainer.step()
    mean, noise = trainer.objective.asked[-1]
    assert torch.equal(noise, -noise.roll(noise.shape[2] // 2, dims=2))
    assert torch.equal(*mean.chunk(2, dim=2))
    scores = trainer._rollout(5, 0).conditional_score
    pairs = scores.unflatten(2, (-1, 2)) if rollout == "shared" else scores[:, :, None]
    assert torch.equal(pairs[:, :, :, 0], -pairs[:, :, :, 1])


def test_average_follows_its_definition():
    trainer = mlps((3,), ema=0.8)
    expected = (live := trainer.hierarchy.log_variance).detach().clone()
    for _ in range(4):
        trainer.step()
        expected = 0.8 * expected + 0.2 * live.detach()
    torch.testing.assert_close(trainer.average.parameters()["log_variance"], expected, rtol=1e-12, atol=1e-15)


# ----------------------------------------------------------------------------- what training must not touch, and errors
@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_one_frozen_teacher_serves_all_replicas_and_receives_no_gradient(rollout):
    network = ScoreMLP((1,), 2, 8, 8).double().requires_grad_(False)
    before = [p.clone() for p in network.parameters()]
    run(mlps((3, 8), teacher=NetworkScoreModel(network, TOY), rollout=rollout), 2)
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), before, strict=True))
    assert all(p.grad is None for p in network.parameters())


class BrokenAt(ScoreModel):
    """Undefined at one level."""

    event_ndim, schedule = 1, TOY

    def __init__(self, level: torch.Tensor) -> None:
        self.level = level

    def noise(self, x, s):
        return MIXTURE.noise(x, s) + self.expand(torch.where(s == self.level, torch.nan, 0.0))


@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_a_non_finite_loss_names_term_iteration_and_layer(rollout):
    broken = BrokenAt(time_grid(TOY, "hsivi", 3)[1])
    with pytest.raises(NonFiniteLoss, match=r"variational loss.*iteration 0, layer \[1\].*lower the learning rates"):
        mlps((3, 8), teacher=broken, rollout=rollout).step()
    trainer = mlps((3, 8), rollout=rollout)
    run(trainer, 1)
    with torch.no_grad():
        next(trainer.critic.network.parameters()).fill_(torch.inf)
    with pytest.raises(NonFiniteLoss, match=r"critic loss.*iteration 1"):
        trainer.step()
