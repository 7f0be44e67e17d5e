"""Joint training with the lower bound: gradients by a double loop, what it repairs, replicas, resumption, errors."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Independent, Normal

from hsivi.bridge import DiffusionBridge
from hsivi.config import load_experiment
from hsivi.hierarchy import DDIMHierarchy
from hsivi.joint_lower_bound import JointLowerBoundTrainer, layer_weights
from hsivi.lower_bound_recipe import LowerBoundRecipe
from hsivi.methods import describe, method_files, rows
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.noise import standard_normal
from hsivi.optimise import NonFiniteLoss
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import GaussianMixtureScoreModel, NetworkScoreModel, ScoreModel
from hsivi.time_grid import time_grid
from tests.oracles import MEANS, VARIANCES, WEIGHTS, AffineNoise, NoisedGaussian, ddim_map, ddim_moments

pytestmark = pytest.mark.usefixtures("float64")
TOY = QuadraticSchedule()
MIXTURE = GaussianMixtureScoreModel(TOY, MEANS, VARIANCES, WEIGHTS)
DATA = NoisedGaussian(torch.tensor([0.6, -0.2]).double(), torch.tensor([0.3, 0.3]).double())
TEACHER = GaussianMixtureScoreModel(TOY, DATA.mean[None], DATA.var[:1], torch.ones(1).double())
ETA = 0.8


def trainer(layers: Any, teacher: ScoreModel, levels: torch.Tensor, start: torch.Tensor, seeds: Any, **changes: Any):
    """A trainer of the network ``layers``, with log-variances ``start`` of shape (R, 2)."""
    settings = {"iterations": 20, "batch": 6, "learning_rate": 1e-3, "eta": ETA, "antithetic": True} | changes
    hierarchy = DDIMHierarchy(NetworkScoreModel(layers, TOY), levels, ETA, start)
    return JointLowerBoundTrainer(
        hierarchy, DiffusionBridge(teacher, levels), LowerBoundRecipe(**settings), seeds, (2,)
    )


def mlps(seeds: tuple[int, ...], teacher: ScoreModel = MIXTURE, **changes: Any) -> JointLowerBoundTrainer:
    levels = time_grid(TOY, "hsivi", 3)
    return trainer(ScoreMLP(seeds, 2, 8, 8).double(), teacher, levels, torch.zeros(len(seeds), 2), seeds, **changes)


def affine(steps: int, replicas: int, log_variance: float = 0.0, shift: float = 0.0, **changes: Any):
    """A trainer on Gaussian data whose layers start at the exact DDIM step, or ``shift`` away."""
    return affine_at(time_grid(TOY, "hsivi", steps), replicas, log_variance, shift, **changes)


def affine_at(levels: torch.Tensor, replicas: int, log_variance: float = 0.0, shift: float = 0.0, **changes: Any):
    """The same at given levels."""
    gain, offset = DATA.noise_map(TOY.alpha_bar(levels))
    layers = AffineNoise(TOY.network_time(levels), gain[None] + shift, offset[None] - shift)
    start = torch.full((replicas, 2), log_variance)
    return trainer(layers.copies(replicas), TEACHER, levels, start, range(replicas), **changes)


def run(joint: JointLowerBoundTrainer, steps: int) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        joint.step()
    return {name: p.detach().clone() for name, p in joint.hierarchy.named_parameters()}


# -------------------------------------------------------------------------------------------------------- the gradient
def looped(joint: JointLowerBoundTrainer, auxiliaries: int) -> torch.Tensor:
    """Return one replica's loss, chain by chain for affine layers on Gaussian data, from eq. (2) and (7)."""
    recipe, network = joint.recipe, joint.hierarchy.network
    alpha_bar = TOY.alpha_bar(time_grid(TOY, "hsivi", joint.hierarchy.num_layers))
    steps, chains = len(alpha_bar) - 1, recipe.batch
    noise = standard_normal((steps + 1, chains, 2), joint.seeds[0], "joint lower bound", joint.iteration).double()
    factor, above, total = joint.hierarchy.log_variance[0].exp().sqrt(), noise[-1], torch.zeros(())
    for t in reversed(range(steps)):
        gain, offset = network.gain[0, t + 1], network.offset[0, t + 1]
        slope, shift, std = ddim_map(alpha_bar, t, ETA, gain, offset)
        direction = (1 - alpha_bar[t] - std**2).sqrt()
        weight = (1 - alpha_bar[t]).sqrt() / (
            (1 - alpha_bar[t + 1]).sqrt() / (alpha_bar[t + 1] / alpha_bar[t]).sqrt() - direction
        )
        mean, var = DATA.moments(alpha_bar[t])
        layer = [Independent(Normal(slope * z + shift, std * factor), 1) for z in above]
        for sign in (1, -1) if recipe.antithetic else (1,):
            for i in range(chains):
                x = layer[i].base_dist.loc + layer[i].base_dist.scale * sign * noise[t, i]
                log_target = ((-(x - mean) / var).detach() * x).sum()
                every = [layer[(i + k) % chains].log_prob(x).exp() for k in range(auxiliaries + 1)]
                bound = log_target - (sum(every) / len(every)).log()
                total = total - weight.abs() * bound / (steps * chains * (2 if recipe.antithetic else 1))
        above = (slope * above + shift + std * factor * noise[t]).detach()
    return total


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("auxiliaries", [None, 2])
def test_loss_and_gradient_are_those_of_a_loop_over_chains(auxiliaries: int | None, antithetic: bool) -> None:
    settings = {"auxiliaries": auxiliaries, "antithetic": antithetic, "learning_rate": 1e-30}
    joint = affine(3, 1, 0.3, 0.2, **settings)
    joint.step()  # the second has noise of its own, and the rate is too small to move
    live = [joint.hierarchy.network.gain, joint.hierarchy.network.offset, joint.hierarchy.log_variance]
    expected = looped(joint, 5 if auxiliaries is None else auxiliaries)
    wanted = torch.autograd.grad(expected, live)
    torch.testing.assert_close(joint.step()[0], expected.detach(), rtol=1e-9, atol=1e-11)
    for parameter, gradient in zip(live, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-10)


def test_images_are_trained_as_the_vectors_they_flatten_to() -> None:
    """An event of shape (2, 1) is the vector of shape (2,), also with one variance for all coordinates."""
    flat = affine(3, 2, 0.3, 0.2)
    noise = flat._noise()
    expected = flat.losses(noise)

    class Tall(AffineNoise):
        """The network of vectors, for columns."""

        event_ndim = 2

        def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            return super().forward(x.squeeze(-1), time).unsqueeze(-1)

    class TallScore(ScoreModel):
        event_ndim, schedule = 2, TOY

        def noise(self, x, s):
            return TEACHER.noise(x.squeeze(-1), s).unsqueeze(-1)

    levels = time_grid(TOY, "hsivi", 3)
    own = flat.hierarchy.network
    tall = Tall(own.times, own.gain.detach(), own.offset.detach())
    hierarchy = DDIMHierarchy(NetworkScoreModel(tall, TOY), levels, ETA, torch.full((2, 1, 1), 0.3))
    image = JointLowerBoundTrainer(hierarchy, DiffusionBridge(TallScore(), levels), flat.recipe, range(2), (2, 1))
    torch.testing.assert_close(image.losses(noise[..., None]), expected, rtol=1e-12, atol=1e-12)


def test_a_network_that_does_nothing_at_a_layer_is_an_error() -> None:
    joint = affine(3, 1)
    joint.hierarchy.noise_scale[1] = 0
    with pytest.raises(ValueError, match="got a layer whose mean does not depend on the network"):
        layer_weights(joint.hierarchy, joint.bridge)


# ------------------------------------------------------------------------------------------------------- what it learns
def test_training_repairs_ddpm_on_gaussian_data() -> None:
    """DDPM underestimates the variance in large steps; the bound mends it where auxiliaries cover the last layer."""
    levels = torch.linspace(0.4, 0.9, 4).double()
    settings = {"iterations": 200, "batch": 48, "learning_rate": 0.02, "schedule": "cosine", "adam_betas": (0.5, 0.9)}
    joint = affine_at(levels, 1, ema=0.9, **settings)
    alpha_bar = TOY.alpha_bar(levels)

    def state() -> tuple[torch.Tensor, torch.Tensor]:
        p = {name: value.detach()[0] for name, value in joint.average.parameters().items()}
        mean, var = ddim_moments(alpha_bar, ETA, p["network.gain"], p["network.offset"], p["log_variance"].exp())
        weighted = (1 - alpha_bar) * DATA.fisher_divergence(mean, var, alpha_bar)
        return weighted[:-1].sum(), (var[0] / DATA.moments(alpha_bar)[1][0]).log().abs().max()

    before = state()
    run(joint, 200)
    after = state()
    assert before[1] > 0.15  # DDPM's variance is off by a seventh
    assert after[0] < 0.25 * before[0], f"Fisher divergence {before[0]:.4f} -> {after[0]:.4f}"
    assert after[1] < 0.4 * before[1], f"log-ratio of variances {before[1].item():.4f} -> {after[1].item():.4f}"


# ------------------------------------------------------------------------------------- replicas, repetition, resumption
def test_a_replica_in_a_stack_is_the_replica_alone() -> None:
    together, alone = run(mlps((3, 8), ema=0.9), 20), run(mlps((8,), ema=0.9), 20)
    for name, value in alone.items():
        torch.testing.assert_close(together[name][1:], value, rtol=1e-8, atol=1e-8, msg=lambda m, name=name: name + m)
        assert not torch.allclose(together[name][:1], value, rtol=1e-3)


def test_ten_steps_are_five_and_five_after_a_round_trip_through_a_file(tmp_path: Path) -> None:
    straight, first, second = (mlps((3, 8), schedule="cosine", ema=0.9) for _ in range(3))
    expected = run(straight, 10)
    run(first, 5)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True))
    resumed = run(second, 5)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    average = second.average.parameters()
    assert all(torch.equal(value, average[name]) for name, value in straight.average.parameters().items())
    assert any(not torch.equal(value, expected[name]) for name, value in average.items())


def test_the_learning_rate_follows_its_schedule() -> None:
    joint = mlps((3,), iterations=4, schedule="cosine", learning_rate=0.01)
    rates = []
    for _ in range(4):
        rates.append(joint._optimiser.adam.param_groups[0]["lr"])
        joint.step()
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)])


def test_a_fixed_variance_stays_and_the_teacher_receives_no_gradient() -> None:
    network = ScoreMLP((1,), 2, 8, 8).double()
    joint = mlps((3, 8), NetworkScoreModel(network, TOY), variance="fixed")
    before = [p.clone() for p in joint.hierarchy.network.parameters()]
    run(joint, 2)
    assert torch.equal(joint.hierarchy.log_variance, torch.zeros(2, 2))
    assert not any(torch.equal(*pair) for pair in zip(joint.hierarchy.network.parameters(), before, strict=True))
    assert all(p.grad is None for p in network.parameters())


# --------------------------------------------------------------------------------------------------------------- errors
class BrokenAt(ScoreModel):
    """Undefined at one level."""

    event_ndim, schedule = 1, TOY

    def __init__(self, level: torch.Tensor) -> None:
        self.level = level

    def noise(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return MIXTURE.noise(x, s) + self.expand(torch.where(s == self.level, math.nan, 0.0))


def test_a_non_finite_loss_names_iteration_and_layer() -> None:
    with pytest.raises(NonFiniteLoss, match=r"iteration 0, layer \[1\].*lower the learning rate") as error:
        mlps((3, 8), BrokenAt(time_grid(TOY, "hsivi", 3)[1])).step()
    assert "\n" not in str(error.value)


def test_more_auxiliaries_than_chains_are_an_error_of_the_recipe() -> None:
    settings = {"iterations": 1, "learning_rate": 1e-3, "eta": 1.0}
    with pytest.raises(ValidationError, match="auxiliaries: got 6 with batch 6, expected fewer than the batch"):
        LowerBoundRecipe(**settings, batch=6, auxiliaries=6)
    with pytest.raises(ValidationError, match="batch"):
        LowerBoundRecipe(**settings, batch=1)


# ------------------------------------------------------------------------------------------------- which rows there are
def test_it_runs_only_where_it_is_named() -> None:
    known = describe(method_files()["hsivi_lb"])
    assert not known.by_default and {"schedule", "final_rate", "warm_up", "auxiliaries"} <= set(known.config_fields)
    toys, ablations = load_experiment("toy2d", "quick"), load_experiment("toy2d_ablations", "quick")
    assert "hsivi_lb" not in rows(toys) and "hsivi_lb" in rows(ablations)
    assert set(rows(ablations)) == set(ablations.methods), "only the rows that the file names"
    assert set(rows(ablations.model_copy(update={"others": True}))) >= {"fastdpm", *ablations.methods}


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
def test_ablations_start_from_the_recipe_of_toy2d(scale: str) -> None:
    toys, ablations = load_experiment("toy2d", scale), load_experiment("toy2d_ablations", scale)
    assert ablations.recipes["recommended"].values == toys.recipes["recommended"].values
    assert ablations.diffusion.pretrain == toys.diffusion.pretrain
    assert ablations.seeds == toys.seeds
