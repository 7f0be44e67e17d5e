"""Objectives of one layer: what is minimised given a mixing sample z, q(. | z) and a target score.

Nothing here knows how many layers there are, where z came from, or what the target is.  Losses are unreduced:
they keep the batch's shape; weights and means are the trainer's business.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hsivi.gaussian import DiagonalGaussian

ScoreFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ScoreMatching:
    """SIVI-SM in the form of Proposition 1: f = S - g with g an estimate of the layer's marginal score.

    Attributes:
        event_ndim: number of trailing dimensions that make up one sample.
    """

    event_ndim: int = 1

    def variational_loss(
        self, layer: DiagonalGaussian, noise: Tensor, target_score: ScoreFunction, critic_score: ScoreFunction
    ) -> Tensor:
        """Return [S - g]^T [S + g - 2 grad log q(x | z)] at x = layer.rsample(noise)  (eq. (18)).

        The gradient reaches the layer's parameters through x inside S and g as well: neither is detached.

        Arguments:
            layer: q(. | z), batch shape \\*batch.
            noise: standard normal, shape (\\*batch, \\*event).
            target_score: S.
            critic_score: g.

        Returns:
            Tensor of shape (\\*batch).
        """
        x = layer.rsample(noise)
        target, critic = target_score(x), critic_score(x)
        return self._sum((target - critic) * (target + critic - 2 * layer.score_at(noise)))

    def critic_loss(self, critic: Tensor, conditional_score: Tensor) -> Tensor:
        """Return ||g(x) - grad log q(x | z)||^2  (eq. (19)) with shape (\\*batch)."""
        return self._sum((critic - conditional_score).square())

    def _sum(self, values: Tensor) -> Tensor:
        return values.flatten(-self.event_ndim).sum(-1)
