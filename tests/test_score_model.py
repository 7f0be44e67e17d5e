"""Score models: three units for one function, the exact mixture, and the budget of evaluations."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule
from hsivi.score_model import (
    BudgetExceeded,
    Counted,
    EvaluationCounter,
    GaussianMixtureScoreModel,
    NetworkScoreModel,
    Single,
)
from tests.oracles import MEANS, VARIANCES, WEIGHTS, mixture

pytestmark = pytest.mark.usefixtures("float64")
TOY = QuadraticSchedule()


def exact(schedule=TOY) -> GaussianMixtureScoreModel:
    return GaussianMixtureScoreModel(schedule, MEANS, VARIANCES, WEIGHTS)


class Tanh(nn.Module):
    """Any nonlinear function of x and time."""

    event_ndim = 1

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x, time):
        return self.factor * torch.tanh(x + 0.01 * time[..., None])


def autograd_score(alpha_bar, x):
    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(mixture(alpha_bar).log_prob(x).sum(), x)[0]


@given(st.floats(0.01, 0.99), st.floats(-3, 3), st.floats(-3, 3))
def test_mixture_score_is_the_gradient_of_the_log_density(s, first, second):
    x = torch.tensor([[first, second]], dtype=torch.float64)
    time = torch.tensor(s, dtype=torch.float64)
    score = autograd_score(1 - time**2, x)
    torch.testing.assert_close(exact().score(x, time), score, rtol=1e-12, atol=1e-12)


def test_mixture_at_a_time_per_sample():
    x = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0.1, 0.4, 0.8])
    together = exact().score(x, times[:, None])
    for i, s in enumerate(times):
        torch.testing.assert_close(together[i], autograd_score(1 - s**2, x[i]), rtol=1e-12, atol=1e-12)


def test_mixture_at_clean_data_under_the_image_schedule():
    x, clean = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor(-1.0)
    score = exact(LinearBetaSchedule()).score(x, clean)
    torch.testing.assert_close(score, autograd_score(1.0, x), rtol=1e-12, atol=1e-12)


def test_posterior_mean_of_one_gaussian():
    # E[u_0 | u_s = x] = mu + sqrt(a) v / (a v + 1 - a) (x - sqrt(a) mu): conjugacy, without any score.
    model = GaussianMixtureScoreModel(TOY, MEANS[:1], VARIANCES[:1], torch.ones(1))
    x, s = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor(0.6)
    a, v = 1 - s**2, VARIANCES[0]
    expected = MEANS[0] + a.sqrt() * v / (a * v + 1 - a) * (x - a.sqrt() * MEANS[0])
    torch.testing.assert_close(model.denoised(x, s), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", [exact(), NetworkScoreModel(Tanh(), TOY)], ids=["mixture", "network"])
def test_units(model):
    x, s = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor(0.6)
    noise, score, clean = model.noise(x, s), model.score(x, s), model.denoised(x, s)
    torch.testing.assert_close(noise, -0.6 * score, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(0.8 * clean + 0.6 * noise, x, rtol=1e-13, atol=1e-13)  # alpha_bar = 0.64
    torch.testing.assert_close(clean, (x + 0.36 * score) / 0.8, rtol=1e-13, atol=1e-13)  # Tweedie


def test_noise_prediction_and_score_prediction_agree():
    x, s = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor(0.6)
    by_noise = NetworkScoreModel(Tanh(), TOY, "noise")
    by_score = NetworkScoreModel(Tanh(-1 / 0.6), TOY, "score")  # the same function in units of the score
    for unit in ("noise", "score", "denoised"):
        torch.testing.assert_close(getattr(by_noise, unit)(x, s), getattr(by_score, unit)(x, s), rtol=1e-13, atol=1e-13)
    assert torch.equal(by_noise.noise(x, s), Tanh()(x, torch.tensor(360.0)))  # fed 1000 (1 - alpha_bar)


def test_single_drops_the_replica_axis():
    x, s = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor(0.6)
    stack = NetworkScoreModel(Tanh(), TOY)
    assert torch.equal(Single(stack).noise(x, s), stack.noise(x[None], s)[0])


def test_every_unit_costs_one_evaluation_and_the_budget_holds():
    counter = EvaluationCounter(budget=3)
    model = Counted(exact(), counter)
    x, s = torch.zeros(4, 2), torch.tensor(0.5)
    torch.testing.assert_close(model.noise(x, s), exact().noise(x, s))
    torch.testing.assert_close(model.score(x, s), exact().score(x, s), rtol=1e-13, atol=1e-13)
    model.denoised(x, s)
    assert counter.count == 3
    with pytest.raises(BudgetExceeded, match="got more than 3, expected at most 3"):
        model.noise(x, s)
    assert counter.count == 3


def test_counting_without_a_budget():
    counter = EvaluationCounter()
    for _ in range(50):
        counter.add()
    assert counter.count == 50
