"""Bridges: the auxiliary distributions p_0 (target), ..., p_{T-1} that the layers are trained to match."""

from dataclasses import dataclass

from torch import Tensor

from hsivi.schedule import sigma
from hsivi.score_model import ScoreModel


@dataclass(frozen=True)
class DiffusionBridge:
    """p_t is the distribution of u_{s_t}, known through a score model  (HSIVI, Example 2 and eq. (9)).

    Attributes:
        score_model: the teacher S*; its inputs have shape (R, \\*batch, \\*event).
        levels: the T + 1 times s_0 < ... < s_T; the last one has no target, it is the level of the prior.
    """

    score_model: ScoreModel
    levels: Tensor

    @property
    def num_layers(self) -> int:
        """T."""
        return len(self.levels) - 1

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return S_t(x), shape of ``x``; ``t`` holds layer indices and broadcasts against the batch."""
        return self.score_model.score(x, self.levels[t])

    def noise_variance(self) -> Tensor:
        """Return 1 - alpha_bar(s_t) for t = 0..T-1, shape (T,): the weight beta(t) of eq. (10) at power one."""
        return sigma(self.score_model.schedule, self.levels[:-1]).square()
