"""The plain implementation does what the suite does, so that their times may be compared; and every pair runs."""

from functools import partial

import pytest
import torch

from benchmarks import plain
from benchmarks.pairs import PAIRS, TOY, joint_pair, sequential_pair
from benchmarks.results import Results
from hsivi.gaussian import DiagonalGaussian
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.rollout import all_layers, one_layer_a_chain
from hsivi.score_model import NetworkScoreModel
from hsivi.time_grid import time_grid

CHAINS = 40_000


def as_linear(stack: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """The parameters of a stack of one, whose names begin with a prefix, as `torch.nn.Linear` keeps them."""
    return {
        name.removeprefix(prefix): p[0].mT if name.endswith("weight") else p[0, 0]
        for name, p in stack.named_parameters()
    }


def same_network(seed: int = 3) -> tuple[ScoreMLP, plain.ScoreNetwork]:
    """One network in both forms."""
    ours, theirs = ScoreMLP((seed,)), plain.ScoreNetwork()
    theirs.load_state_dict(as_linear(ours))
    return ours, theirs


def test_networks_are_the_same():
    ours, theirs = same_network()
    x, s = torch.randn(1, 50, 2), torch.rand(50)
    model = NetworkScoreModel(ours, TOY, "noise", plain.FINEST_SCALE)
    method = plain.Joint(theirs, s)
    for mine, other in ((model.noise, method.noise), (model.score, method.score)):
        torch.testing.assert_close(mine(x, s)[0], other(theirs, x[0], torch.arange(50)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layers", [2, 5])
def test_layers_are_the_same(layers):
    ours, theirs = same_network()
    levels = time_grid(TOY, "hsivi", layers)
    trainer = joint_pair(layers, "shared", 1).ours.__self__
    hierarchy = trainer.hierarchy
    hierarchy.network.load_state_dict(ours.state_dict())
    with torch.no_grad():
        hierarchy.log_variance.copy_(torch.tensor([[0.3, -0.2]]))
    method = plain.Joint(theirs, levels)
    method.log_variance.data.copy_(hierarchy.log_variance[0])
    z = torch.randn(1, 20, 2)
    for t in range(layers):
        q = hierarchy.conditional(z, torch.tensor(t))
        mean, std = method.conditional(z[0], torch.full((20,), t))
        torch.testing.assert_close(q.mean[0], mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(q.std.expand_as(q.mean)[0], std, rtol=1e-5, atol=1e-6)


def test_mixing_draws_have_one_law():
    """x_{t+1} of the plain chains, of shared and of independent rollouts: first and second moments, each layer."""
    torch.manual_seed(5)
    layers = 4
    trainer = joint_pair(layers, "shared", 1).ours.__self__
    ours, theirs = same_network()
    trainer.hierarchy.network.load_state_dict(ours.state_dict())
    method = plain.Joint(theirs, time_grid(TOY, "hsivi", layers), batch=CHAINS)
    z, t = method.mixing()
    noise = torch.randn(2, 1, layers + 1, CHAINS, 2)
    shared = all_layers(trainer.hierarchy, noise[0], False)
    asked = torch.randint(layers, (1, CHAINS))
    one = one_layer_a_chain(trainer.hierarchy, noise[1], asked.numpy(), False)
    for layer in range(layers):
        groups = [z[t == layer], shared.mixing[0, layer], one.mixing[0, asked[0] == layer, 0]]
        for features in (groups, [g**2 for g in groups], [g.prod(1, keepdim=True) for g in groups]):
            first = features[0]
            for other in features[1:]:
                error = (first.var(0) / len(first) + other.var(0) / len(other)).sqrt()
                assert ((first.mean(0) - other.mean(0)).abs() < 4.5 * error).all()


@pytest.mark.parametrize("rollout", ["shared", "independent"])
def test_pairs_are_of_the_layer_they_name(rollout):
    """x_t lies std times the noise from the mean of q_t(. | x_{t+1}); the score there is minus the noise over std."""
    trainer = joint_pair(3, rollout, 2).ours.__self__
    hierarchy, noise = trainer.hierarchy, torch.randn(2, 4, 30, 2)
    asked = torch.randint(3, (2, 30))
    pairs = (
        all_layers(hierarchy, noise, True)
        if rollout == "shared"
        else one_layer_a_chain(hierarchy, noise, asked.numpy(), True)
    )
    q = hierarchy.conditional(pairs.mixing, pairs.t)
    both = DiagonalGaussian(q.mean.repeat_interleave(2, 2), q.std)
    torch.testing.assert_close((both.mean - pairs.x) / both.std**2, pairs.conditional_score, rtol=1e-3, atol=1e-3)
    assert torch.equal(pairs.conditional_score[:, :, ::2], -pairs.conditional_score[:, :, 1::2])


@pytest.mark.parametrize("objective", ["sm", "lb"])
def test_updates_of_a_layer_have_one_expected_gradient(objective, monkeypatch):
    """The mean gradient over many updates of the layer, which stays what it is, by coordinate."""
    torch.manual_seed(7)
    pair = sequential_pair("mixture", objective, t=4, replicas=1)
    trainer, method = pair.ours.__self__, pair.plain.__self__
    network = trainer.hierarchy.networks[4]
    method.mean.load_state_dict(as_linear(network, "maps."))
    if objective == "sm":
        method.critic.load_state_dict(as_linear(trainer.critic, "maps."))
    kept = [method.mean[-1].bias, method.log_variance]
    own = [network.maps[-1].bias, trainer.hierarchy.log_variances[4]]
    optimisers = [method.optimiser, trainer._optimiser]
    if objective == "sm":
        optimisers += [method.critic_optimiser, trainer._critic_optimiser]
    for optimiser in optimisers:
        monkeypatch.setattr(optimiser, "step", lambda: None)
    monkeypatch.setattr(trainer._optimiser, "advance", lambda: None)
    if objective == "sm":
        monkeypatch.setattr(trainer._critic_optimiser, "advance", lambda: None)
    gradients = {"plain": [], "ours": []}
    for _ in range(200):
        pair.plain()
        gradients["plain"].append(torch.cat([p.grad.flatten() for p in kept]))
        pair.ours()
        gradients["ours"].append(torch.cat([p.grad.flatten() for p in own]))
    theirs, ours = (torch.stack(g) for g in gradients.values())
    error = (theirs.var(0) / len(theirs) + ours.var(0) / len(ours)).sqrt()
    assert ((theirs.mean(0) - ours.mean(0)).abs() < 4.5 * error).all(), (theirs.mean(0), ours.mean(0), error)


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_every_pair_runs(make, monkeypatch):
    """What is compiled is by the tracer alone: the code generator wants a C++ compiler, and a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    pair = make()
    pair.plain()
    pair.ours()


def test_results_become_tables(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.results.PLACE", tmp_path / "results.md")
    results = Results()
    results.add("Throughput", what="a", measured="1")
    assert not results.is_complete
    for title in Results.TITLES:
        results.add(title, what="b", measured_ms="2")
    results.write()
    text = (tmp_path / "results.md").read_text()
    assert all(f"## {title}" in text for title in Results.TITLES)
    assert "measured ms" in text
