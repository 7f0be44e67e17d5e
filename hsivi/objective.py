"""Objectives of one layer: what is minimised given a mixing sample z, q(. | z) and a target score.

Nothing here knows how many layers there are, where z came from, or what the target is.  Losses are unreduced:
they keep the batch's shape; weights and means are the trainer's business.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hsivi.gaussian import DiagonalGaussian

ScoreFunction = Callable[[Tensor], Tensor]
LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ScoreMatching:
    """SIVI-SM in the form of Proposition 1: f = S - g with g an estimate of the layer's marginal score.

    Attributes:
        event_ndim: number of trailing dimensions that make up one sample.
    """

    event_ndim: int = 1

    def variational_loss(
        self, layer: DiagonalGaussian, noise: Tensor, scores: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Return [S - g]^T [S + g - 2 grad log q(x | z)] at x = layer.rsample(noise)  (eq. (18)).

        The gradient reaches the layer's parameters through x inside S and g as well: neither is detached.

        Arguments:
            layer: q(. | z), batch shape \\*batch.
            noise: standard normal, shape (\\*batch, \\*event).
            scores: returns S and g at x.

        Returns:
            Tensor of shape (\\*batch).
        """
        x = layer.rsample(noise)
        target, critic = scores(x)
        return self._sum((target - critic) * (target + critic - 2 * layer.score_at(noise)))

    def critic_loss(self, critic: Tensor, conditional_score: Tensor) -> Tensor:
        """Return ||g(x) - grad log q(x | z)||^2  (eq. (19)) with shape (\\*batch)."""
        return self._sum((critic - conditional_score).square())

    def _sum(self, values: Tensor) -> Tensor:
        return values.flatten(-self.event_ndim).sum(-1)


@dataclass(frozen=True)
class LowerBound:
    """SIVI-LB with auxiliaries shared by the batch  (Yin and Zhou, 2018; HSIVI, eq. (2)).

    The mixing draws z_1, ..., z_M of a batch are independent, so the others may serve as the auxiliaries of each: draw
    i uses the K that follow it cyclically.  K = M - 1, all of them, is the default.

    Attributes:
        auxiliaries: K, or None for all others of the batch.
    """

    auxiliaries: int | None = None

    def variational_loss(self, layer: DiagonalGaussian, noise: Tensor, log_target: LogDensity) -> Tensor:
        """Return minus the integrand of eq. (2) at x = layer.rsample(noise).

        Arguments:
            layer: q(. | z_j) for the M mixing draws, mean of shape (\\*batch, M, d) and std of shape (\\*batch, 1, d).
            noise: standard normal for the first B draws, shape (\\*batch, B, d), B <= M.
            log_target: log p up to a constant; `from_score` makes one of a score alone.

        Returns:
            Tensor of shape (\\*batch, B).

        Raises:
            ValueError: there are fewer than K + 1 mixing draws.
        """
        x = DiagonalGaussian(layer.mean[..., : noise.shape[-2], :], layer.std).rsample(noise)
        return self.log_mixture(layer, x) - log_target(x)

    def log_mixture(self, layer: DiagonalGaussian, x: Tensor) -> Tensor:
        """Return log of the mean of q(x_i | z_j) over z_i and its K auxiliaries, shape (\\*batch, B), for x_i."""
        draws = layer.mean.shape[-2]
        auxiliaries = draws - 1 if self.auxiliaries is None else self.auxiliaries
        if auxiliaries > draws - 1:
            raise ValueError(
                f"SIVI-LB: got {draws} mixing draws, expected at least K + 1 = {auxiliaries + 1}; raise the batch or "
                f"lower K"
            )
        log_q = pairwise_log_density(layer, x)
        if auxiliaries < draws - 1:
            i, j = torch.arange(x.shape[-2], device=x.device), torch.arange(draws, device=x.device)
            log_q = log_q.masked_fill((j - i[:, None]) % draws > auxiliaries, -torch.inf)
        return torch.logsumexp(log_q, -1) - math.log(auxiliaries + 1)


def pairwise_log_density(layer: DiagonalGaussian, x: Tensor) -> Tensor:
    """Return log q(x_i | z_j) for all i and j, shape (\\*batch, B, M).

    Arguments:
        layer: q(. | z_j), mean of shape (\\*batch, M, d) and std of shape (\\*batch, 1, d).
        x: shape (\\*batch, B, d).
    """
    # Squared distances as |a|^2 + |b|^2 - 2ab, about a common centre so that few digits cancel.
    centre = layer.mean.detach().mean(-2, keepdim=True)
    a, b = (x - centre) / layer.std, (layer.mean - centre) / layer.std
    distance = a.square().sum(-1)[..., None] + b.square().sum(-1)[..., None, :] - 2 * a @ b.mT
    log_normaliser = torch.log(2 * torch.pi * layer.std.square()).sum(-1)[..., None]
    return -0.5 * (distance + log_normaliser)


def from_score(score: ScoreFunction) -> LogDensity:
    """Return a function with the gradient of a log-density of which only the score is known  (HSIVI, eq. (7)).

    Its value means nothing; it is the score at x, taken as a constant, times x.
    """
    return lambda x: (score(x.detach()).detach() * x).sum(-1)
