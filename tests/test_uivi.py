"""UIVI: its estimate of the marginal's score, its gradient against the exact ELBO's, its chains, and resumption.

On a layer x = z + shift + s eps with a network of zeros, q(x) = N(shift, 1 + s^2) and everything has a closed form.
A chain starts at the z that x came from, which is already a draw of q(z | x), so the estimate of the score is unbiased
for any length.  The gradient is not: while the chain remembers z, the estimate correlates with dx / dphi.
"""

import math

import pytest
import torch

from baselines import uivi
from baselines.uivi import Config, Trainer
from hsivi.hierarchy import IndependentHierarchy
from hsivi.noise import SampleNoise
from hsivi.optimise import NonFiniteLoss
from hsivi.rng import generator
from tests.oracles import Gaussian, GaussianTarget, assert_mean, gaussian_kl

pytestmark = pytest.mark.usefixtures("float64")
SHIFT, LOG_VARIANCE = torch.tensor([0.4, -0.7]).double(), torch.tensor([0.2, -0.5]).double()
STD = (LOG_VARIANCE / 2).exp()
TARGET = GaussianTarget(
    torch.tensor([-0.3, 0.5]).double(), torch.tensor([[1.1, -0.3], [-0.3, 1.6]]).double(), log_evidence=2.0
)


def config(**changes) -> Config:
    return Config(**{"hidden": (4,), "iterations": 20, "batch": 16, "learning_rate": 1e-2, "leapfrogs": 3} | changes)


def trainer(seeds=(3, 8), device="cpu", target=TARGET, **changes) -> Trainer:
    options = config(**changes)
    hierarchy = IndependentHierarchy(tuple(seeds), 2, options.hidden, [options.residual], options.log_variance)
    return Trainer(hierarchy.double().to(device), target, options, tuple(seeds))


def gaussian(seeds, step_size: float = 0.33, **changes) -> Trainer:
    """The layer whose law is N(SHIFT, 1 + STD^2), with steps that a trajectory of three makes a quarter turn of."""
    run = trainer(seeds, **changes)
    with torch.no_grad():
        for parameter in run.hierarchy.networks[0].parameters():
            parameter.zero_()
        run.hierarchy.networks[0].maps[-1].bias[:] = SHIFT
        run.hierarchy.log_variances[0][:] = LOG_VARIANCE
    run.step_size = torch.full_like(run.step_size, step_size)
    return run


def parameters(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.hierarchy.named_parameters()}


# ------------------------------------------------------------------------------------------------- the marginal's score
@pytest.mark.parametrize(("burn_in", "states"), [(0, 1), (0, 4), (5, 1), (3, 3)])
def test_the_estimate_of_the_marginal_score_is_unbiased(burn_in, states):
    """Of any length, with large steps too, as Hamiltonian Monte Carlo is exact; as a regression on x."""
    n, rng = 20_000, torch.Generator().manual_seed(0)
    run = gaussian((0,), step_size=0.9, burn_in=burn_in, states=states, leapfrogs=2)
    z, eps = torch.randn(2, 1, n, 2, generator=rng)
    x = z + SHIFT + STD * eps
    momenta = torch.randn(burn_in + states, 1, n, 2, generator=rng)
    uniforms = torch.rand(burn_in + states, 1, n, generator=rng)
    estimate = run.marginal_score(x, z, momenta, uniforms)
    error = (estimate - (SHIFT - x) / (1 + STD**2))[0]
    centred = (x - SHIFT)[0]
    assert_mean(error, 0.0, what="score")
    assert_mean(error[:, :, None] * centred[:, None], 0.0, what="slope of the score")
    assert_mean(error * (centred**2 - 1 - STD**2), 0.0, what="curvature of the score")


def test_more_states_make_the_estimate_more_certain():
    n, errors = 4_000, []
    for states in (1, 10):
        run, rng = gaussian((0,), states=states), torch.Generator().manual_seed(0)
        z, eps = torch.randn(2, 1, n, 2, generator=rng)
        x, chain = z + SHIFT + STD * eps, run.config.burn_in + states
        noise = torch.randn(chain, 1, n, 2, generator=rng), torch.rand(chain, 1, n, generator=rng)
        errors.append((run.marginal_score(x, z, *noise) - (SHIFT - x) / (1 + STD**2)).square().mean())
    assert errors[1] < 0.2 * errors[0]


def test_a_chain_that_does_not_move_gives_the_conditional_score():
    run = gaussian((0,), step_size=1e-9, burn_in=2, states=3)
    z, eps = torch.randn(2, 1, 10, 2, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(5, 1, 10, 2), torch.rand(5, 1, 10)
    estimate = run.marginal_score(z + SHIFT + STD * eps, z, *noise)
    torch.testing.assert_close(estimate, -eps / STD, rtol=0, atol=1e-6)


def test_states_of_the_burn_in_are_not_used():
    run = gaussian((0,), burn_in=4, states=2)
    rng, seen = torch.Generator().manual_seed(0), []
    z, eps = torch.randn(2, 1, 10, 2, generator=rng)
    x, noise = z + SHIFT + STD * eps, (torch.randn(6, 1, 10, 2, generator=rng), torch.rand(6, 1, 10, generator=rng))
    original = uivi.hmc_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uivi, "hmc_step", lambda *a: seen.append(original(*a)) or seen[-1])
        estimate = run.marginal_score(x, z, *noise)
    assert len(seen) == 6
    wanted = torch.stack([(state + SHIFT - x) / STD**2 for state, _ in seen[4:]]).mean(0)
    torch.testing.assert_close(estimate, wanted, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------- the gradient
def gradients(run: Trainer, steps: int) -> dict[str, torch.Tensor]:
    """Gradients, one row a replica and step, at parameters that do not move."""
    found: dict[str, list[torch.Tensor]] = {"shift": [], "log_variance": []}
    step_size = run.step_size
    for _ in range(steps):
        run.step_size = step_size  # adaptation would soon make half turns, which never forget where they started
        run.step()
        found["shift"].append(run.hierarchy.networks[0].maps[-1].bias.grad[:, 0].clone())
        found["log_variance"].append(run.hierarchy.log_variances[0].grad.clone())
    return {name: torch.cat(values) for name, values in found.items()}


def exact_gradients() -> tuple[torch.Tensor, torch.Tensor]:
    shift, log_variance = SHIFT.clone().requires_grad_(True), LOG_VARIANCE.clone().requires_grad_(True)
    loss = gaussian_kl(Gaussian(shift, torch.diag(1 + log_variance.exp())), TARGET)
    return torch.autograd.grad(loss, (shift, log_variance))


def test_the_gradient_is_that_of_the_elbo():
    """Quarter turns of the leapfrog forget z; five states of burn-in leave 1e-3 of the bias of no chain at all."""
    run = gaussian(range(100), learning_rate=1e-30, burn_in=5, states=2, batch=64)
    got, (shift, log_variance) = gradients(run, 8), exact_gradients()
    assert_mean(got["shift"], shift, what="gradient in the mean")
    assert_mean(got["log_variance"], log_variance, what="gradient in the log-variance")


def test_the_gradient_of_a_short_chain_has_a_known_bias():
    """A chain that does not move scores x by q(x | z): the entropy's share of d / d log s^2 is -1/2 for all s.

    The exact share is -(1/2) s^2 / (1 + s^2); this is why UIVI needs burn-in although its chains start in equilibrium.
    """
    run = gaussian(range(100), step_size=1e-9, learning_rate=1e-30, burn_in=0, states=1, batch=64)
    got, (shift, log_variance) = gradients(run, 8), exact_gradients()
    bias = -0.5 / (1 + STD**2)
    assert_mean(got["shift"], shift, what="gradient in the mean")
    assert_mean(got["log_variance"], log_variance + bias, what="gradient in the log-variance")


# --------------------------------------------------------------------------------------------------- chains, one by one
@pytest.mark.parametrize(("wanted", "start"), [(0.6, 0.1), (0.6, 4.0), (0.9, 4.0)])
def test_the_step_size_adapts_to_the_wanted_acceptance(wanted, start, monkeypatch):
    run = gaussian((0, 1), step_size=start, learning_rate=1e-30, acceptance=wanted, batch=64, leapfrogs=1, states=15)
    accepted, original = [], uivi.hmc_step
    monkeypatch.setattr(uivi, "hmc_step", lambda *a: accepted.append(original(*a)) or accepted[-1])
    for _ in range(25):
        run.step()
    rates = torch.stack([rate.mean(1) for _, rate in accepted])
    assert ((rates[-200:].mean(0) - wanted).abs() < 0.05).all()
    assert ((rates[:20].mean(0) - wanted) * (1 if start < 1 else -1) > 0).all()  # it came from the other side


def test_one_step_of_adaptation():
    """h (1 + 0.05 (acceptance - wanted)), after every state and for each replica by its own chains."""
    run = gaussian((0, 1), step_size=0.7, burn_in=0, states=1, leapfrogs=3)
    accepted, original = [], uivi.hmc_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uivi, "hmc_step", lambda *a: accepted.append(original(*a)) or accepted[-1])
        run.step()
    rate = accepted[0][1].mean(1)
    torch.testing.assert_close(run.step_size, 0.7 * (1 + 0.05 * (rate - 0.9)), rtol=1e-12, atol=0)
    assert rate[0] != rate[1]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_follows_the_settings(schedule):
    run, rates = trainer(schedule=schedule, iterations=4, burn_in=0, states=1), []
    for _ in range(4):
        rates.append(run._optimiser.adam.param_groups[0]["lr"])
        run.step()
    cosine = [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]
    assert rates == pytest.approx([1e-2 * (c if schedule == "cosine" else 1) for c in cosine])


# ------------------------------------------------------------------------------------- replicas, repetition, resumption
@pytest.mark.parametrize("stop", [0, 5])
def test_an_interrupted_run_ends_where_a_whole_one_does(stop, tmp_path, device):
    straight, first, second = (trainer(device=device, schedule="cosine") for _ in range(3))
    for _ in range(8):
        straight.step()
    for _ in range(stop):
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True))
    for _ in range(8 - stop):
        second.step()
    expected, resumed = parameters(straight), parameters(second)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert torch.equal(straight.step_size, second.step_size)
    assert second.iteration == 8


def test_a_replica_in_a_stack_is_the_replica_alone(device):
    together, alone = trainer((3, 8), device), trainer((8,), device)
    for _ in range(10):
        together.step()
        alone.step()
    for name, value in parameters(alone).items():
        # Only the order of sums differs: 1e-16 an operation; a proposal within that of being refused is not met.
        torch.testing.assert_close(parameters(together)[name][1:], value, rtol=1e-8, atol=1e-8)
        assert not torch.allclose(parameters(together)[name][:1], value, rtol=1e-3)
    torch.testing.assert_close(together.step_size[1:], alone.step_size, rtol=1e-8, atol=0)


def test_nothing_depends_on_the_global_generator():
    torch.manual_seed(1)
    before, first, again = torch.get_rng_state(), trainer(), trainer()
    for _ in range(5):
        first.step()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for _ in range(5):
        again.step()
    assert all(torch.equal(value, parameters(again)[name]) for name, value in parameters(first).items())


def test_no_random_number_is_used_twice(monkeypatch):
    keys = []
    monkeypatch.setattr(uivi, "generator", lambda *key: keys.append(key) or generator(*key))
    run = trainer()
    for _ in range(4):
        run.step()
    assert len(set(keys)) == len(keys) == 2 * 4
    normals, uniforms = run._noise(10, 2)
    assert normals.shape == (12, 2, 16, 2)
    assert uniforms.shape == (10, 2, 16)
    assert len(normals.unique()) == normals.numel()


# ------------------------------------------------------------------------------------------------ that it fits, errors
def test_training_fits_a_gaussian():
    """The moments of 20 000 samples alone give a divergence of 1e-4; the bound is loose."""
    run = trainer(
        (0,), hidden=(8,), iterations=120, batch=64, learning_rate=3e-2, schedule="cosine", burn_in=1, states=2,
        target=GaussianTarget(torch.tensor([1.5, 0.5]), 0.7 * TARGET.cov),
    )  # fmt: skip
    noise = SampleNoise(99, 0, 20_000, (2,), torch.float64)

    def divergence() -> float:
        with torch.no_grad():
            x = run.hierarchy.conditional(noise.prior()[None], 0).rsample(noise.step(0)[None])[0]
        return gaussian_kl(Gaussian(x.mean(0), torch.cov(x.T)), run.target).item()

    before = divergence()
    for _ in range(120):
        run.step()
    after = divergence()
    assert before > 1
    assert after < 0.1 * before, f"KL {before:.3f} -> {after:.3f}"


def test_a_non_finite_loss_is_one_line_with_its_iteration():
    class Broken:
        event_shape = (2,)

        def log_prob(self, x):
            return x.sum(-1)

        def score(self, x):
            return torch.full_like(x, math.nan)

    run = trainer()
    run.step()
    run.target, before = Broken(), parameters(run)
    with pytest.raises(NonFiniteLoss, match=r"UIVI loss: got a non-finite value at iteration 1, expected") as caught:
        run.step()
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in parameters(run).items())


def test_the_returned_value_is_the_loss_of_each_replica():
    """The surrogate's value: the mean of (score of q - score of p) x."""
    run, kept = gaussian((0, 1)), []
    estimate = run.marginal_score
    run.marginal_score = lambda x, *rest: kept.append((x, estimate(x, *rest))) or kept[-1][1]
    value = run.step()
    x, score = kept[0]
    torch.testing.assert_close(value, ((score - TARGET.score(x)) * x).sum(-1).mean(1), rtol=1e-12, atol=1e-12)
    assert value.shape == (2,)
