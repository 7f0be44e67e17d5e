"""The diagonal Gaussian: what a conditional layer q_t(x_t | x_{t+1}) of the hierarchy is."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag(std^2)) with any number of leading batch dimensions.

    Attributes:
        mean: shape (\\*batch, \\*event).
        std: standard deviation, broadcastable to ``mean``.
    """

    mean: Tensor
    std: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        """Return mean + std * noise, differentiable in the parameters; the shape is that of ``mean``."""
        return self.mean + self.std * noise

    def score(self, x: Tensor) -> Tensor:
        """Return grad_x log q(x) = -(x - mean) / std^2 with the shape of ``x``."""
        return (self.mean - x) / self.std.square()

    def score_at(self, noise: Tensor) -> Tensor:
        """Return the score at ``rsample(noise)``, which is -noise / std.

        The mean cancels, so no digits are lost when std is small (eq. (17): -Sigma^{-1/2} eps).
        """
        return -noise / self.std

    def log_prob(self, x: Tensor, event_ndim: int = 1) -> Tensor:
        """Return the log-density of ``x`` with shape (\\*batch), summed over ``event_ndim`` trailing dimensions."""
        z = (x - self.mean) / self.std
        log_density = -0.5 * (z.square() + torch.log(2 * torch.pi * self.std.square()).expand_as(z))
        return log_density.flatten(-event_ndim).sum(-1)
