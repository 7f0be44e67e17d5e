"""Sequential training: what stays fixed, resumption, replicas, and that it fits."""

import math

import pytest
import torch

from hsivi.bridge import DiffusionBridge
from hsivi.hierarchy import IndependentHierarchy
from hsivi.noise import SampleNoise
from hsivi.optimise import NonFiniteLoss
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import GaussianMixtureScoreModel
from hsivi.sequential import SequentialTrainer
from tests.oracles import MEANS, VARIANCES, WEIGHTS, Gaussian, gaussian_kl
from tests.sequential_runs import (
    BASE,
    BOTH,
    LB,
    SM,
    TARGET,
    advance,
    owner,
    parameters,
    trainer,
)

pytestmark = pytest.mark.usefixtures("float64")


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
