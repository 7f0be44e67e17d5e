"""The problems of the contract are what they say, by the closed forms of the oracles."""

import pytest
import torch

from hsivi.contract.problem import IMAGE, LEVELS, POSTERIOR, VECTOR, GaussianData, NoisedPosterior, many_steps
from tests.oracles import GaussianTarget, NoisedGaussian, assert_mean


@pytest.mark.parametrize("data", [VECTOR, GaussianData(VECTOR.mean, VECTOR.variance, LEVELS)], ids=["time", "levels"])
def test_the_score_of_the_data_is_exact(data: GaussianData) -> None:
    problem, x = data.problem(6, "hsivi"), data.draw(50, "x").double()
    oracle = NoisedGaussian(data.mean.double(), data.variance.double())
    for level in problem.grid[1:]:
        gain, offset = oracle.noise_map(data.schedule.alpha_bar(level)[None])
        found = problem.teacher.noise(x[None].float(), level)[0].double()
        torch.testing.assert_close(found, gain[0] * x + offset[0], rtol=1e-5, atol=1e-5)


def test_many_steps_begin_at_pure_noise() -> None:
    tops = [float(problem.schedule.alpha_bar(problem.grid[-1])) for problem in many_steps(200)]
    assert len(tops) > 5 and max(tops) < 0.0021


def test_the_data_and_the_posterior_are_drawn_as_they_say() -> None:
    x = IMAGE.draw(20_000, "x").double()
    assert_mean(x, IMAGE.mean.double())
    assert_mean((x - IMAGE.mean).square(), IMAGE.variance.double())
    x = POSTERIOR.draw(20_000, "x").double() - POSTERIOR.mean
    assert_mean(x[:, :, None] * x[:, None], POSTERIOR.cov)


def test_the_posterior_is_its_oracle() -> None:
    oracle, x = GaussianTarget(POSTERIOR.mean, POSTERIOR.cov, POSTERIOR.log_evidence), POSTERIOR.draw(20, "x").double()
    torch.testing.assert_close(POSTERIOR.log_prob(x), oracle.log_prob(x))
    torch.testing.assert_close(POSTERIOR.score(x), oracle.score(x))
    s = torch.tensor(0.6, dtype=torch.float64)
    noised = GaussianTarget(0.8 * oracle.mean, 0.64 * oracle.cov + 0.36 * torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(NoisedPosterior(POSTERIOR).score(x, s), noised.score(x))
    torch.testing.assert_close(NoisedPosterior(POSTERIOR).noise(x, s), -0.6 * noised.score(x))
