"""One update of sequential training, written out once more, and the random numbers it takes."""

import math

import pytest
import torch

from hsivi import sequential
from hsivi.rng import generator
from tests.sequential_runs import (
    BASE,
    BOTH,
    LB,
    SM,
    TARGET,
    Recorded,
    advance,
    explicit_mixing,
    layer_of,
    to_layer,
    trainer,
)

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("t", [2, 1, 0])
@pytest.mark.parametrize("changes", [{}, {"target": "score"}, {"auxiliaries": 3}, {"auxiliaries": 10}])
def test_an_update_of_sivi_lb_is_eq_2_at_the_layers_own_target(t, changes):
    """Gradient of log mean_j q(x_i | z_j) - log p_t(x_i), with the double loop over j and fixed layers above."""
    run = trainer(**LB, **changes, batch=6)
    to_layer(run, t)
    recorded = Recorded(run)
    before = {name: p.detach().clone() for name, p in run.hierarchy.layer_parameters(t).items()}
    run.step()
    (noise,) = recorded.noise["step"]
    own = list(run.hierarchy.layer_parameters(t).values())
    got = [p.grad.clone() for p in own]
    with torch.no_grad():  # back to where the gradient was taken
        for parameter, value in zip(own, before.values(), strict=True):
            parameter.copy_(value)
    draws = max(6, changes.get("auxiliaries", 0) + 1)
    z = explicit_mixing(run, t, recorded.noise["mixing"])[:, :draws]
    mean, std = layer_of(run, t, z)
    x = mean[:, :6] + std * noise[:, :6]
    log_q = -0.5 * (((x[:, :, None] - mean[:, None]) / std[:, None]) ** 2).sum(-1) - std.log().sum(-1, keepdim=True)
    count = changes.get("auxiliaries", draws - 1)
    used = torch.tensor([[(j - i) % draws <= count for j in range(draws)] for i in range(6)])
    log_q = torch.logsumexp(log_q.masked_fill(~used, -torch.inf), -1)
    weight = 1 - t / 3
    log_p = weight * TARGET.log_prob(x) + (1 - weight) * BASE.log_prob(x)
    wanted = torch.autograd.grad((log_q - log_p).mean(1).sum(), own)
    for ours, exact in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("t", [2, 1, 0])
@pytest.mark.parametrize("critic", ["g", "f"])
@pytest.mark.parametrize("updates", [1, 3])
def test_an_update_of_sivi_sm_is_eq_4_at_the_layers_own_target(t, critic, updates):
    """The critic's last descent and the layer's, with their own noise, f = S - g either way."""
    run = trainer(**SM, critic=critic, critic_updates=updates, batch=6)
    to_layer(run, t)
    recorded, index = Recorded(run), torch.tensor(t)
    before = {name: p.detach().clone() for name, p in run.hierarchy.layer_parameters(t).items()}
    states: list[list[torch.Tensor]] = []  # the critic before each of its descents
    hooked, descend = [], run._critic_optimiser.step

    def spy():
        states.append([p.detach().clone() for p in run.critic.parameters()])
        descend()
        hooked.append([p.grad.clone() for p in run.critic.parameters()])

    run._critic_optimiser.step = spy
    run.step()
    assert len(states) == updates
    for_layer, for_critic = recorded.noise["step"]
    own = list(run.hierarchy.layer_parameters(t).values())
    got = [p.grad.clone() for p in own]
    assert all(p.requires_grad for p in run.critic.parameters())

    def f(x):
        return run.critic(x) if critic == "f" else run.bridge.score(x, index) - run.critic(x)

    def eq4(x, conditional):
        return (2 * f(x) * (run.bridge.score(x, index) - conditional) - f(x) ** 2).sum(-1)

    with torch.no_grad():
        for parameter, value in zip(own, before.values(), strict=True):
            parameter.copy_(value)
    z = explicit_mixing(run, t, recorded.noise["mixing"])[:, : 6 * updates]
    mean, std = layer_of(run, t, z)
    wanted = torch.autograd.grad(eq4(mean[:, :6] + std * for_layer[:, :6], -for_layer[:, :6] / std).mean(1).sum(), own)
    for ours, exact in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-10)
    for k, (state, gradients) in enumerate(zip(states, hooked, strict=True)):
        with torch.no_grad():
            for parameter, value in zip(run.critic.parameters(), state, strict=True):
                parameter.copy_(value)
        rows = slice(6 * k, 6 * (k + 1))
        eps = for_critic[:, rows]
        x = (mean[:, rows] + std * eps).detach()
        value = eq4(x, (-eps / std).detach()).mean(1).sum()
        wanted = torch.autograd.grad(-value, list(run.critic.parameters()))
        for ours, exact in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-10)


@BOTH
def test_the_rates_follow_the_recipe(objective):
    run = trainer(**objective, schedule="cosine", iterations=4)
    rates = []
    for _ in range(8):
        groups = [run._optimiser] + ([run._critic_optimiser] if run.critic is not None else [])
        rates.append([group.adam.param_groups[0]["lr"] for group in groups])
        run.step()
    cosine = [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)] * 2  # anew for each layer
    assert [rate[0] for rate in rates] == pytest.approx([1e-2 * c for c in cosine])
    if run.critic is not None:
        assert [rate[1] for rate in rates] == pytest.approx([2e-2 * c for c in cosine])


# ------------------------------------------------------------------------------------------------- random numbers
@BOTH
def test_no_random_number_is_used_twice(objective, monkeypatch):
    keys = []
    monkeypatch.setattr(sequential, "generator", lambda *key: keys.append(key) or generator(*key))
    advance(trainer(**objective), 15)
    # For each replica and layer, which trains five iterations, one key for x_{t+1} and one for x_t.
    assert len(set(keys)) == len(keys) == 2 * 3 * 2


@pytest.mark.parametrize(
    ("changes", "kinds", "draws"),
    [(LB, 1, 8), ({**LB, "auxiliaries": 20}, 1, 21), (SM, 2, 8), ({**SM, "critic_updates": 3}, 2, 24)],
)
def test_each_iteration_draws_what_it_needs(changes, kinds, draws):
    """x_t once for the layer and once for the critic, and x_{t+1}, ..., x_T; for all iterations of a layer at once."""
    run = trainer(**changes)
    recorded = Recorded(run)
    run.step()
    assert recorded.noise["step"].shape == (kinds, 2, 5 * draws, 2)
    assert recorded.noise["mixing"].shape == (1, 2, 5 * draws, 2)
    flat = torch.cat([noise.flatten() for noise in recorded.noise.values()])
    assert len(flat.unique()) == len(flat)


@pytest.mark.parametrize(("changes", "rows"), [(LB, [8]), (SM, [8]), ({**SM, "critic_updates": 3}, [8, 8, 8])])
def test_an_iteration_evaluates_a_layer_once_a_draw(changes, rows):
    """The critic and the layer learn from the same x_{t+1}."""
    run, seen = trainer(**changes), []
    run.hierarchy.networks[2].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape[1]))
    run.step()
    assert seen == rows


def test_draws_are_made_ahead_and_used_once():
    """Twenty iterations are a block of sixteen and one of four; each takes rows of its own."""
    run = trainer(**LB, iterations=20)
    to_layer(run, 1)
    recorded, taken = Recorded(run), []
    for _ in range(20):
        taken.append([draws.clone() for draws in run._draws(1, 8)])
        run.step()
    assert recorded.keys == [("mixing", 1, 0), ("step", 1, 0), ("mixing", 1, 1), ("step", 1, 1)]
    for rows in (torch.cat([mixing for mixing, _ in taken], 1), torch.cat([noise[0] for _, noise in taken], 1)):
        assert rows.shape == (2, 160, 2)
        assert len(rows.flatten().unique()) == rows.numel()
