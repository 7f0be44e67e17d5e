"""Closed forms the tests compare with, and the assertion that a Monte Carlo mean agrees with one.

Everything is float64.  Formulas are written down here from the definitions and share no code with the package: a
variance-preserving diffusion is given by numbers ``alpha_bar``, never by a schedule object.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from hsivi.nn.stacked import LinearStack


def assert_mean(draws: Tensor, expected: Tensor | float, k: float = 5.0, what: str = "mean") -> None:
    """Assert that the mean of independent draws (first axis) is within k standard errors of ``expected``.

    Five standard errors leave a chance below 1e-6 a component; seeds are fixed, so nothing fails now and then.
    """
    n = len(draws)
    mean, error = draws.mean(0), draws.std(0) / math.sqrt(n)
    expected = torch.as_tensor(expected, dtype=draws.dtype)
    distance = (mean - expected).abs() / error.clamp_min(1e-300)
    assert (distance <= k).all(), (
        f"{what}: {distance.max():.1f} standard errors off, allowed k={k} with n={n}; "
        f"got {mean.tolist()}, expected {expected.tolist()}"
    )


@dataclass(frozen=True)
class Gaussian:
    """N(mean, cov) in R^d; mean (d,), cov (d, d)."""

    mean: Tensor
    cov: Tensor

    def score(self, x: Tensor) -> Tensor:
        return torch.linalg.solve(self.cov, (self.mean - x).unsqueeze(-1)).squeeze(-1)

    def layer(self, a: Tensor, b: Tensor, std: Tensor) -> "Gaussian":
        """The law of A z + b + diag(std) eps with z from this one."""
        return Gaussian(a @ self.mean + b, a @ self.cov @ a.mT + torch.diag(std**2))

    def fisher_divergence(self, target: "Gaussian") -> Tensor:
        """E_q ||grad log p - grad log q||^2 = tr(D C_q D^T) + ||P_p (m_q - m_p)||^2, D = P_p - P_q."""
        difference = target.cov.inverse() - self.cov.inverse()
        shift = target.cov.inverse() @ (self.mean - target.mean)
        return torch.trace(difference @ self.cov @ difference.mT) + shift.square().sum()


# ------------------------------------------------------------------ Gaussian data under a variance-preserving diffusion
@dataclass(frozen=True)
class NoisedGaussian:
    """u_0 ~ N(mean, diag(var)), so u_s ~ N(sqrt(alpha_bar) mean, alpha_bar var + 1 - alpha_bar); mean, var (d,)."""

    mean: Tensor
    var: Tensor

    def moments(self, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of u_s, each with shape (\\*alpha_bar.shape, d)."""
        a = alpha_bar[..., None]
        return a.sqrt() * self.mean, a * self.var + 1 - a

    def noise_map(self, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and offset of E[eps | u_s = x] = gain x + offset."""
        mean, var = self.moments(alpha_bar)
        gain = (1 - alpha_bar).sqrt()[..., None] / var
        return gain, -gain * mean

    def fisher_divergence(self, mean: Tensor, var: Tensor, alpha_bar: Tensor) -> Tensor:
        """E_q ||S_s - grad log q||^2 for q = N(mean, diag(var)) against the law of u_s, summed over d."""
        target_mean, target_var = self.moments(alpha_bar)
        return (var * (1 / target_var - 1 / var) ** 2 + ((mean - target_mean) / target_var) ** 2).sum(-1)


def ddim_std(alpha_bar: Tensor, t: int, eta: float) -> Tensor:
    """c_t, DDIM eq. (16)."""
    now, before = alpha_bar[t], alpha_bar[t + 1]
    return eta * ((1 - now) / (1 - before) * (1 - before / now)).sqrt()


def ddim_map(alpha_bar: Tensor, t: int, eta: float, gain: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DDIM eq. (12) for eps = gain x + offset: x_t = slope x_{t+1} + shift + std noise."""
    now, before, std = alpha_bar[t], alpha_bar[t + 1], ddim_std(alpha_bar, t, eta)
    direction = (1 - now - std**2).sqrt()
    slope = now.sqrt() * (1 - (1 - before).sqrt() * gain) / before.sqrt() + direction * gain
    shift = (direction - (now / before * (1 - before)).sqrt()) * offset
    return slope, shift, std


def ddim_moments(
    alpha_bar: Tensor, eta: float, gain: Tensor, offset: Tensor, variance_factor: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mean and variance of x_0..x_T started at N(0, I), each (T + 1, d); gain and offset (T + 1, d).

    ``variance_factor`` multiplies c_t^2.
    """
    steps = len(alpha_bar) - 1
    mean, var = torch.zeros_like(gain[0]), torch.ones_like(gain[0])
    means, variances = [mean], [var]
    for t in reversed(range(steps)):
        slope, shift, std = ddim_map(alpha_bar, t, eta, gain[t + 1], offset[t + 1])
        mean, var = slope * mean + shift, slope**2 * var + std**2 * variance_factor
        means.insert(0, mean)
        variances.insert(0, var)
    return torch.stack(means), torch.stack(variances)


class AffineNoise(LinearStack):
    """A network that predicts gain_j x + offset_j at level j: the smallest that is exact on Gaussian data.

    Arguments:
        times: network times of the levels, shape (J,).
        gain: shape (R, J, d).
        offset: shape (R, J, d).
    """

    event_ndim = 1

    def __init__(self, times: Tensor, gain: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("times", times)
        self.gain, self.offset = nn.Parameter(gain.clone()), nn.Parameter(offset.clone())

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        if time.ndim < x.ndim - 1:
            time = time.reshape(*(1,) * (x.ndim - 1 - time.ndim), *time.shape)
        level = nn.functional.one_hot((time[..., None] - self.times).abs().argmin(-1), len(self.times)).to(x)
        rows = level.reshape(len(level), -1, len(self.times))

        def select(parameter: Tensor) -> Tensor:
            chosen = rows @ parameter
            return chosen.reshape(len(chosen), *level.shape[1:-1], -1)

        return select(self.gain) * x + select(self.offset)


def affine_square(slope: Tensor, shift: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """E (slope x + shift)^2 for x ~ N(mean, var)."""
    return slope**2 * var + (slope * mean + shift) ** 2


def expected_losses(
    data: NoisedGaussian,
    alpha_bar: Tensor,
    eta: float,
    weight: Tensor,
    layers: AffineNoise,
    critic: AffineNoise,
    log_variance: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean of both losses over t, exactly; their gradients are those of training, where x_{t+1} is detached.

    E h(x) grad log q(x | z) = -E h'(x) (Stein), so the integrand of eq. (18) has the mean
    E [S^2 - g^2] + 2 (S' - g') and that of eq. (19) has E g^2 + 2 g' + 1 / std^2.
    """
    gain, offset, factor, steps = layers.gain[0], layers.offset[0], log_variance[0].exp(), len(alpha_bar) - 1
    means, variances = (m.detach() for m in ddim_moments(alpha_bar, eta, gain, offset, factor))
    target_mean, target_var = data.moments(alpha_bar)
    variational = critic_loss = torch.zeros(())
    for t in range(steps):
        slope, shift, std = ddim_map(alpha_bar, t, eta, gain[t + 1], offset[t + 1])
        mean, var = slope * means[t + 1] + shift, slope**2 * variances[t + 1] + std**2 * factor
        noise_std = (1 - alpha_bar[t]).sqrt()
        g = (-critic.gain[0, t] / noise_std, -critic.offset[0, t] / noise_std)
        s = (-1 / target_var[t], target_mean[t] / target_var[t])
        fit = affine_square(*s, mean, var) - affine_square(*g, mean, var) + 2 * (s[0] - g[0])
        variational = variational + weight[t] * fit.sum() / steps
        mean, var = mean.detach(), var.detach()
        error = affine_square(*g, mean, var) + 2 * g[0] + 1 / (std**2 * factor.detach())
        critic_loss = critic_loss + weight[t] * error.sum() / steps
    return variational, critic_loss


# ------------------------------------------------------------------------------------------------ an asymmetric mixture
MEANS = torch.tensor([[-1.5, 0.4], [0.7, 1.1], [1.3, -2.0]], dtype=torch.float64)
VARIANCES = torch.tensor([0.09, 0.4, 0.16], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
"""No symmetry of the plane maps this mixture to itself, so a sign or an axis error shows."""


def mixture(alpha_bar: Tensor | float) -> MixtureSameFamily:
    """The asymmetric mixture under noise: means sqrt(alpha_bar) mu, variances alpha_bar var + 1 - alpha_bar."""
    a = torch.as_tensor(alpha_bar, dtype=torch.float64)
    scale = (a * VARIANCES + 1 - a).sqrt()[:, None].expand_as(MEANS)
    return MixtureSameFamily(Categorical(WEIGHTS), Independent(Normal(a.sqrt() * MEANS, scale), 1))


# ------------------------------------------------------------------------- Gaussian targets that are not normalised
@dataclass(frozen=True)
class GaussianTarget:
    """A `Target` with the log-density log_evidence + log N(x; mean, cov), in the dtype of x; mean (d,), cov (d, d)."""

    mean: Tensor
    cov: Tensor
    log_evidence: float = 0.0

    @property
    def event_shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_evidence + MultivariateNormal(self.mean.to(x), self.cov.to(x), validate_args=False).log_prob(x)

    def score(self, x: Tensor) -> Tensor:
        return (self.mean.to(x) - x) @ self.cov.inverse().to(x)


def gaussian_kl(q: "Gaussian | GaussianTarget", p: "Gaussian | GaussianTarget") -> Tensor:
    """KL(q || p) = (tr(P_p C_q) - d + (m_p - m_q)^T P_p (m_p - m_q) + log |C_p| / |C_q|) / 2 of the normalised laws."""
    precision, shift = p.cov.inverse(), p.mean - q.mean
    logdet = torch.logdet(p.cov) - torch.logdet(q.cov)
    return 0.5 * (torch.trace(precision @ q.cov) - len(shift) + shift @ precision @ shift + logdet)


def gauss_hermite(nodes: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """Nodes (nodes^dimensions, dimensions) and weights that sum to one, for means over standard normals."""
    points, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(nodes))
    weights = weights / weights.sum()
    grid = torch.cartesian_prod(*[points] * dimensions).reshape(-1, dimensions)
    return grid, torch.cartesian_prod(*[weights] * dimensions).reshape(-1, dimensions).prod(-1)
