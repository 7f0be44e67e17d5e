"""What every training loop here shares: Adam, a learning-rate schedule, a moving average, and one way to fail."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Decay = Literal["constant", "cosine"]


class NonFiniteLoss(ValueError):
    """Training produced an infinite or undefined loss."""


class Optimiser:
    """Adam with a decaying learning rate.

    Arguments:
        parameters: what is trained.
        learning_rate: initial rate.
        betas: Adam's decay rates.
        decay: ``constant``, or ``cosine`` to zero over ``horizon`` steps of the schedule.
        horizon: number of calls of `advance` a training makes.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        betas: tuple[float, float],
        decay: Decay,
        horizon: int,
    ) -> None:
        self.adam = torch.optim.Adam(parameters, learning_rate, betas=betas, fused=True)
        factor = {
            "constant": lambda step: 1.0,
            "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * min(step / horizon, 1.0))),
        }[decay]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adam, factor)

    def descend(self, loss: Tensor) -> None:
        """Take one step down the gradient of a scalar loss."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()

    def advance(self) -> None:
        """Move the learning rate on by one step of its schedule."""
        self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {"adam": self.adam.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.adam.load_state_dict(state["adam"])
        self.schedule.load_state_dict(state["schedule"])


class Average:
    """Exponential moving average of parameters; without a decay it is the parameters themselves.

    Arguments:
        live: the parameters that are averaged, by name.
        decay: weight of the old average, or None.
    """

    def __init__(self, live: Mapping[str, nn.Parameter], decay: float | None) -> None:
        self.live = dict(live)
        self.values = {name: p.detach().clone() for name, p in self.live.items()} if decay is not None else {}
        self._update = get_ema_multi_avg_fn(decay) if decay is not None else None

    @torch.no_grad()
    def update(self) -> None:
        """Take the current parameters into the average."""
        if self._update is not None:
            self._update(list(self.values.values()), [p.detach() for p in self.live.values()], None)

    def parameters(self) -> dict[str, Tensor]:
        """Return the averaged parameters by name, or the current ones where no average is kept."""
        return self.values or {name: p.detach().clone() for name, p in self.live.items()}

    def load(self, values: dict[str, Tensor]) -> None:
        """Continue from stored averages."""
        for name, value in self.values.items():
            value.copy_(values[name])
