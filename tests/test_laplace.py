"""The Laplace approximation: exact for Gaussians, a mode and its curvature elsewhere, or one line that says why not."""

import numpy as np
import pytest
import torch
from scipy import stats

from hsivi.data.conditioned_diffusion import ConditionedDiffusionData
from hsivi.data.mixture import Mixture
from hsivi.laplace import laplace
from tests.targets import NORMAL, moments_of_two_points


def test_exact_on_a_gaussian() -> None:
    found = laplace(NORMAL, torch.zeros(3))
    torch.testing.assert_close(found.mean, NORMAL.mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.covariance, NORMAL.covariance, rtol=1e-9, atol=1e-9)
    assert abs(found.log_evidence - NORMAL.log_evidence) < 1e-9
    assert found.mean.dtype == found.covariance.dtype == torch.float64


def test_samples_and_density_belong_together() -> None:
    found = laplace(NORMAL, torch.zeros(3))
    factor = found.sample_from(torch.eye(3, dtype=torch.float64)) - found.mean
    torch.testing.assert_close(factor.mT @ factor, found.covariance, rtol=1e-12, atol=1e-12)
    x = found.sample_from(torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    expected = stats.multivariate_normal(found.mean.numpy(), found.covariance.numpy()).logpdf(x.numpy())
    torch.testing.assert_close(found.log_prob(x), torch.from_numpy(expected), rtol=1e-11, atol=0)
    assert found.sample_from(torch.zeros(2, 3)).dtype == torch.float32


@pytest.mark.parametrize("seed", [0, 2022])
def test_the_mode_of_a_conditioned_diffusion_does_not_depend_on_the_start(seed: int) -> None:
    data = ConditionedDiffusionData.simulate(seed)
    target, found = data.target, data.laplace
    other = laplace(target, torch.from_numpy(data.path))
    torch.testing.assert_close(other.mean, found.mean, rtol=0, atol=1e-7)
    assert target.score(found.mean).norm() < 1e-5
    curvature = 1 / torch.linalg.eigvalsh(found.covariance)
    assert 95 < curvature.min() < 105 and 500 < curvature.max() < 570  # by independent code: 99.5 to 538
    assert 0.0912 < found.covariance.norm() < 0.0925  # by independent code on four data sets: 0.0915 to 0.0922
    assert found is data.laplace  # computed once


def test_close_to_the_exact_posterior_of_two_points() -> None:
    y = np.array([0.15, 0.4])
    data = ConditionedDiffusionData(y, y)
    evidence, mean, covariance = moments_of_two_points(y)
    assert abs(data.laplace.log_evidence - np.log(evidence)) < 0.01
    assert np.abs(data.laplace.mean.numpy() - mean).max() < 0.1 * np.sqrt(covariance[0, 0])
    np.testing.assert_allclose(data.laplace.covariance.numpy(), covariance, rtol=0.03, atol=1e-4)


def test_between_modes_there_is_none() -> None:
    with pytest.raises(ValueError, match="expected a mode, where all are positive") as caught:
        laplace(Mixture.ring().target, torch.zeros(2))
    assert "\n" not in str(caught.value)


def test_one_mode_of_a_mixture() -> None:
    found = laplace(Mixture.ring().target, torch.tensor([9.0, 0.5]))
    torch.testing.assert_close(found.mean, torch.tensor([10.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.covariance, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-2)
    assert abs(found.log_evidence + np.log(8)) < 1e-2  # an eighth of the mass
