"""How an update is made: clipping, learning rates, AMSGrad, the gradient of the variance."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hsivi.nn.stacked import StackedLinear
from hsivi.optimise import Optimiser, with_gradients
from hsivi.train import JointTrainer
from tests.test_micro_batches import affine_trainer, pretrainer
from tests.test_train import mlps, run


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


@pytest.mark.parametrize("amsgrad", [False, True])
def test_updates_are_those_of_adam_to_the_bit(amsgrad):
    """Two groups, one with a rate of its own and a parameter that is not always used; resumed on the way."""

    def groups() -> list[dict[str, Any]]:
        shapes, draws = [(3, 4), (40,), (2, 5, 7)], torch.Generator().manual_seed(1)
        a, b, c = (nn.Parameter(torch.randn(shape, generator=draws)) for shape in shapes)
        return [{"params": [a, b]}, {"params": [c], "lr": 0.3}]

    def made() -> Optimiser:
        return Optimiser(groups(), 0.1, (0.8, 0.95), "cosine", 9, 0.1, amsgrad=amsgrad)

    expected = torch.optim.Adam(groups(), 0.1, (0.8, 0.95), amsgrad=amsgrad, fused=True)
    theirs, found = [p for group in expected.param_groups for p in group["params"]], made()
    draws = torch.Generator().manual_seed(2)
    for k in range(9):
        assert [group["lr"] for group in found.adam.param_groups] == pytest.approx(
            [initial * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * k / 9))) for initial in (0.1, 0.3)]
        )
        gradients = [None if i == k % 4 else torch.randn(p.shape, generator=draws) for i, p in enumerate(theirs)]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        for group, own in zip(expected.param_groups, found.adam.param_groups, strict=True):
            group["lr"] = own["lr"]
        expected.step()
        found.clear()
        found.gather(gradients)
        found.step()
        found.advance()
        for ours, other in zip(found.parameters, theirs, strict=True):
            assert torch.equal(ours, other)
        if k == 4:
            again = made()
            for new, old in zip(again.parameters, found.parameters, strict=True):
                new.data.copy_(old)
            again.load_state_dict(found.state_dict())
            found = again


def test_gradients_come_with_losses_and_lie_as_parameters_do():
    """Of each replica's mean, divided by the number of parts; of narrow maps the product is that of transposes."""
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    maps, unused = StackedLinear((0, 1), "a", 3, 2), nn.Parameter(torch.ones(2))
    evaluate = with_gradients(lambda x: maps(x).square().sum(-1), [maps.weight, unused, maps.bias], parts=4)
    losses, (weight, nothing, bias) = evaluate(x)
    expected = maps(x).square().sum(-1)
    assert torch.equal(losses, expected) and not losses.requires_grad
    wanted = torch.autograd.grad(expected.mean() / 2, [maps.weight, maps.bias])  # 2 replicas of 4 parts
    torch.testing.assert_close([weight, bias], list(wanted), rtol=1e-6, atol=1e-7)
    assert wanted[0].stride() != maps.weight.stride() == weight.stride()
    assert nothing is None and not any(p.grad is not None for p in maps.parameters())


# The layers' variance
@pytest.mark.usefixtures("float64")
def test_an_isotropic_variance_has_the_sum_of_the_gradients():
    one, each = (affine_trainer(torch.full((1, width), 0.3), rollout="independent") for width in (1, 2))
    for trainer in (one, each):
        trainer.step()
    found, parts = (trainer.hierarchy.log_variance.grad for trainer in (one, each))
    assert found.shape == (1, 1) and not torch.allclose(parts[:, 0], parts[:, 1])
    torch.testing.assert_close(found, parts.sum(1, keepdim=True), rtol=1e-12, atol=0)
