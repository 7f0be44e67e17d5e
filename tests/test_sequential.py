"""Sequential training: every update written out once more, what stays fixed, resumption, replicas, and that it fits."""

import math

import pytest
import torch

from hsivi import sequential
from hsivi.bridge import DiffusionBridge, GeometricBridge, geometric_weights
from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import IndependentHierarchy
from hsivi.noise import SampleNoise
from hsivi.optimise import NonFiniteLoss
from hsivi.recipe import SequentialRecipe
from hsivi.rng import generator
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import GaussianMixtureScoreModel
from hsivi.sequential import SequentialTrainer
from tests.oracles import MEANS, VARIANCES, WEIGHTS, Gaussian, GaussianTarget, gaussian_kl

pytestmark = pytest.mark.usefixtures("float64")
TARGET = GaussianTarget(
    torch.tensor([0.6, -0.9]).double(), torch.tensor([[0.5, 0.2], [0.2, 0.8]]).double(), log_evidence=1.3
)
BASE = DiagonalGaussian(torch.tensor([-0.4, 0.3]).double(), torch.tensor([1.2, 0.7]).double())
SM = {"objective": "sm", "critic_hidden": (6,), "critic_learning_rate": 2e-2}
LB = {"objective": "lb"}
BOTH = pytest.mark.parametrize("objective", [SM, LB], ids=["sm", "lb"])


def recipe(**changes) -> SequentialRecipe:
    settings = {"hidden": (5,), "iterations": 5, "batch": 8, "learning_rate": 1e-2, "log_variance": -0.3}
    return SequentialRecipe(**settings | changes)


def trainer(seeds=(3, 8), layers: int = 3, bridge=None, device="cpu", **changes) -> SequentialTrainer:
    options = recipe(**changes)
    hierarchy = IndependentHierarchy(tuple(seeds), 2, options.hidden, [True] * layers, options.log_variance)
    bridge = bridge or GeometricBridge(TARGET, BASE, geometric_weights(layers, options.ends_at_base))
    return SequentialTrainer(hierarchy.double().to(device), bridge, options, tuple(seeds))


def parameters(run: SequentialTrainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.hierarchy.named_parameters()}


def owner(name: str) -> int:
    return int(name.split(".")[1])


def advance(run: SequentialTrainer, steps: int) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        run.step()
    return parameters(run)


# ------------------------------------------------------------------------------------------- one update, written out
class Recorded:
    """The noise that a trainer asks for, and the gradients it descends along."""

    def __init__(self, run: SequentialTrainer) -> None:
        self.noise: dict[str, torch.Tensor] = {}
        self.keys: list[tuple[str | int, ...]] = []
        draw = run._noise

        def recording(key, *shape):
            self.keys.append(key)
            self.noise[key[0]] = draw(key, *shape)
            return self.noise[key[0]]

        run._noise = recording


def explicit_mixing(run: SequentialTrainer, t: int, noise: torch.Tensor) -> torch.Tensor:
    """x_{t+1}: the prior is the last noise, layer i uses noise i - t - 1."""
    x = noise[-1]
    for i in reversed(range(t + 1, run.hierarchy.num_layers)):
        x = x + run.hierarchy.networks[i](x) + (run.hierarchy.log_variances[i] / 2).exp()[:, None] * noise[i - t - 1]
    return x.detach()


def layer_of(run: SequentialTrainer, t: int, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return z + run.hierarchy.networks[t](z), (run.hierarchy.log_variances[t] / 2).exp()[:, None]


def to_layer(run: SequentialTrainer, t: int) -> None:
    while run.layer > t:
        run.step()


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


# ------------------------------------------------------------------------------------------------------- the hierarchy
def test_layers_have_their_own_start_residual_and_variance():
    hierarchy = IndependentHierarchy((3, 8), 2, (5,), (False, True, False), -0.3).double()
    z = torch.randn(2, 7, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for t in range(3):
            hierarchy.log_variances[t] += t * torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    for t in range(3):
        layer, network = hierarchy.conditional(z, t), hierarchy.networks[t]
        assert torch.equal(layer.mean, z + network(z) if t == 1 else network(z))
        std = torch.exp(-0.15 + t * torch.tensor([[0.05, 0.1], [0.15, 0.2]]))[:, None]
        torch.testing.assert_close(layer.std, std, rtol=1e-7, atol=0)
        own = hierarchy.layer_parameters(t)
        assert set(own) == {name for name, _ in hierarchy.named_parameters() if owner(name) == t}
    weights = [hierarchy.networks[t].maps[0].weight for t in range(3)]
    assert not any(torch.isclose(weights[i], weights[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
    one = IndependentHierarchy((0,), 2, (5,), (False, True, False), 0.0).double()
    for replica in range(2):
        one.load_state_dict(hierarchy.select(replica))
        for t in range(3):
            alone, together = one.conditional(z[replica : replica + 1], t), hierarchy.conditional(z, t)
            torch.testing.assert_close(alone.mean[0], together.mean[replica], rtol=1e-12, atol=1e-12)
            assert torch.equal(alone.std[0], together.std[replica])


def test_a_stack_with_eleven_layers_keeps_them_apart():
    """networks.1 and networks.10 begin alike."""
    hierarchy = IndependentHierarchy((0,), 2, (3,), (True,) * 11, 0.0)
    assert {owner(name) for name in hierarchy.layer_parameters(1)} == {1}


# ----------------------------------------------------------------------------------------- which layer is trained when
@BOTH
def test_layers_are_trained_from_the_prior_down_while_all_others_stay_fixed(objective):
    run = trainer(**objective, iterations=4)
    assert run.iterations == 12
    trained = []
    for i in range(12):
        before, t = parameters(run), run.layer
        info = run.step()
        assert (info.layer, run.iteration) == (t, i + 1)
        assert info.loss.shape == (2,)
        trained.append(t)
        for name, value in parameters(run).items():
            assert torch.equal(value, before[name]) == (owner(name) != t), f"{name} while layer {t} is trained"
    assert trained == [2] * 4 + [1] * 4 + [0] * 4
    assert run.layer == 0  # stays there at the end


@BOTH
def test_no_gradient_reaches_a_fixed_layer(objective):
    run = trainer(**objective, iterations=4)
    for _ in range(12):
        t = run.layer
        run.hierarchy.zero_grad()
        run._optimiser.advance = lambda: None
        wanting = {name for name, p in run.hierarchy.named_parameters() if p.requires_grad}
        assert {owner(name) for name in wanting} == {t}
        run.step()
        for name, p in run.hierarchy.named_parameters():
            if owner(name) != t:
                assert p.grad is None or not p.grad.any(), name


@BOTH
def test_layers_get_parameters_of_their_own(objective):
    final = advance(trainer(**objective), 15)
    for name, value in final.items():
        for t in range(owner(name)):
            other = final[name.replace(f".{owner(name)}", f".{t}", 1)]
            assert not torch.allclose(value, other, rtol=1e-3), f"{name} is that of layer {t}"


@pytest.mark.parametrize("ema", [None, 0.8])
def test_a_layer_ends_at_the_average_of_its_iterates(ema):
    run = trainer(**LB, ema=ema)
    name, iterates = "log_variances.2", [parameters(run)["log_variances.2"]]
    for _ in range(4):
        iterates.append(advance(run, 1)[name])
    average, update = run._average.values.get(name), run._optimiser.step
    final = []
    run._optimiser.step = lambda: update() or final.append(parameters(run)[name])
    run.step()
    if ema is None:
        assert torch.equal(parameters(run)[name], final[0])
        return
    expected = iterates[0]
    for value in (*iterates[1:], final[0]):
        expected = ema * expected + (1 - ema) * value
    torch.testing.assert_close(parameters(run)[name], expected, rtol=1e-12, atol=1e-14)
    assert average is not None and not torch.allclose(expected, final[0])


@pytest.mark.parametrize("warm", [False, True])
def test_a_critic_starts_afresh_or_where_the_last_one_ended(warm):
    run = trainer(**SM, critic_warm_start=warm)
    advance(run, 4)
    kept = []
    update = run._update_critic
    run._update_critic = lambda *arguments: (
        update(*arguments) or kept.append([p.detach().clone() for p in run.critic.parameters()])
    )
    run.step()
    now = [p.detach().clone() for p in run.critic.parameters()]
    assert all(torch.equal(*pair) == warm for pair in zip(now, kept[-1], strict=True))
    if not warm:
        fresh = run._new_critic(1)
        assert all(torch.equal(*pair) for pair in zip(now, fresh.parameters(), strict=True))
        assert not torch.equal(next(run._new_critic(0).parameters()), now[0])
    assert run._critic_optimiser.adam.state_dict()["state"] == {}  # either way its moments start anew


# ------------------------------------------------------------------------------------- replicas, repetition, resumption
@BOTH
@pytest.mark.parametrize("stop", [0, 5, 7, 10, 14, 15])
@pytest.mark.parametrize("warm", [False, True])
def test_an_interrupted_run_ends_where_a_whole_one_does(objective, stop, warm, tmp_path, device):
    """Bit for bit, in the middle of a layer and between two, through a file."""
    critic = {"critic_updates": 2, "critic_warm_start": warm} if objective is SM else {}
    changes = {**objective, **critic, "ema": 0.9, "schedule": "cosine"}
    expected = advance(trainer(device=device, **changes), 15)
    first, second = (trainer(device=device, **changes) for _ in range(2))
    advance(first, stop)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True))
    assert second.iteration == stop
    resumed = advance(second, 15 - stop)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


@BOTH
@pytest.mark.parametrize("more", [False, True])
def test_a_replica_in_a_stack_is_the_replica_alone(objective, more, device):
    critic = {"critic_warm_start": True, "critic_updates": 2} if more and objective is SM else {}
    settings = {**objective, **critic, "iterations": 20, **({"ema": 0.9} if more else {})}
    together = advance(trainer((3, 8), device=device, **settings), 60)
    alone = advance(trainer((8,), device=device, **settings), 60)
    for name, value in alone.items():
        # Only the order of sums differs: 1e-16 an operation, amplified over sixty updates of Adam.
        torch.testing.assert_close(together[name][1:], value, rtol=1e-8, atol=1e-8)
        assert not torch.allclose(together[name][:1], value, rtol=1e-3)


@BOTH
def test_nothing_depends_on_the_global_generator(objective):
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), advance(trainer(**objective), 15)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = advance(trainer(**objective), 15)
    assert all(torch.equal(first[name], again[name]) for name in first)


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


# ------------------------------------------------------------------------------------------------------- that it fits
def samples(run: SequentialTrainer, n: int = 20_000) -> torch.Tensor:
    noise, layers = SampleNoise(99, 0, n, (2,), torch.float64), run.hierarchy.num_layers
    with torch.no_grad():
        *_, x = run.hierarchy.propagate(noise.prior()[None], layers, 0, lambda t: noise.step(t)[None])
    return x[0]


def divergence(run: SequentialTrainer) -> float:
    """KL to the target of the Gaussian with the samples' moments; 20 000 of them alone give about 1e-4."""
    x = samples(run)
    return gaussian_kl(Gaussian(x.mean(0), torch.cov(x.T)), TARGET).item()


FITS = {"hidden": (16,), "batch": 64, "schedule": "cosine", "ema": 0.9, "learning_rate": 3e-2}
CRITIC = {**SM, "critic_hidden": (16,), "critic_learning_rate": 3e-2, "critic_updates": 2}


@pytest.mark.parametrize("changes", [LB, {**LB, "target": "score"}, CRITIC, {**CRITIC, "critic": "f"}])
def test_one_layer_fits_a_gaussian(changes):
    """That is SIVI.  The loose bound allows for the noise in the gradients of a few hundred updates."""
    run = trainer((0,), 1, **FITS, **changes, iterations=300)
    before = divergence(run)
    advance(run, run.iterations)
    after = divergence(run)
    assert before > 2
    assert after < 0.1 * before, f"KL {before:.3f} -> {after:.3f}"


@pytest.mark.parametrize("changes", [LB, CRITIC], ids=["lb", "sm"])
def test_layers_reach_the_bridge_one_after_another(changes):
    """x_t of a trained hierarchy has the moments of p_t, here of the Gaussians between base and target."""
    run = trainer((0,), 3, **FITS, **changes, iterations=150)
    advance(run, run.iterations)
    noise = SampleNoise(99, 0, 20_000, (2,), torch.float64)
    with torch.no_grad():
        path = list(run.hierarchy.propagate(noise.prior()[None], 3, 0, lambda t: noise.step(t)[None]))
    base, target = torch.diag(1 / BASE.std**2), TARGET.cov.inverse()
    for t, x in zip((2, 1, 0), path, strict=True):
        weight = 1 - t / 3
        cov = (weight * target + (1 - weight) * base).inverse()
        between = Gaussian(cov @ (weight * target @ TARGET.mean + (1 - weight) * base @ BASE.mean), cov)
        fitted = Gaussian(x[0].mean(0), torch.cov(x[0].T))
        assert gaussian_kl(fitted, between) < 0.1, f"layer {t}"
        assert t == 0 or gaussian_kl(fitted, TARGET) > 0.15, f"layer {t} is at the target already"


# ------------------------------------------------------------------------------------------- other bridges, and errors
@pytest.mark.parametrize("changes", [{**LB, "target": "score"}, SM], ids=["lb", "sm"])
def test_a_diffusion_bridge_serves_both_objectives(changes):
    teacher = GaussianMixtureScoreModel(QuadraticSchedule(), MEANS, VARIANCES, WEIGHTS)
    bridge = DiffusionBridge(teacher, (torch.arange(4) / 3).sqrt())
    run = trainer(bridge=bridge, **changes)
    start = parameters(run)
    final = advance(run, 15)
    assert all(value.isfinite().all() and not torch.equal(value, start[name]) for name, value in final.items())


class Broken:
    """A bridge whose score is undefined at one layer."""

    num_layers = 3

    def __init__(self, layer: int) -> None:
        self.layer = layer

    def score(self, x, t):
        return -x * (math.nan if int(t) == self.layer else 1.0)


@pytest.mark.parametrize("changes", [{**LB, "target": "score"}, SM], ids=["lb", "sm"])
def test_a_non_finite_loss_is_one_line_with_layer_and_iteration(changes):
    run = trainer(bridge=Broken(1), **changes)
    advance(run, 5)
    before = parameters(run)
    words = r"variational loss of layer 1: got a non-finite value at iteration 5, expected finite losses; lower the"
    with pytest.raises(NonFiniteLoss, match=words) as caught:
        run.step()
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in parameters(run).items())


def test_a_non_finite_critic_is_named():
    run = trainer(**SM)
    run.step()
    with torch.no_grad():
        next(run.critic.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteLoss, match=r"critic loss of layer 2: got a non-finite value at iteration 1"):
        run.step()


def test_one_bad_replica_is_enough():
    run = trainer(**LB)
    with torch.no_grad():
        run.hierarchy.log_variances[2][1] = torch.inf
    with pytest.raises(NonFiniteLoss, match="layer 2"):
        run.step()
