"""What every training loop here shares: Adam, a learning-rate schedule, a moving average, and one way to fail."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hsivi import parallel
from hsivi.nonfinite import NonFinite

Decay = Literal["constant", "cosine", "exponential"]
Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]


class NonFiniteLoss(NonFinite):
    """Training produced an infinite or undefined loss."""


def stop_where_not_finite(problem: str | None) -> None:
    """End a training in all processes where the loss of one is not finite, so that none waits for the others.

    Arguments:
        problem: what is wrong with this process's own loss, or None.

    Raises:
        NonFiniteLoss: with the ``problem`` of the first process that has one.
    """
    if (found := parallel.first_problem(problem)) is not None:
        raise NonFiniteLoss(found)


class Optimiser:
    """Adam with a learning rate that changes.

    Arguments:
        parameters: what is trained, or groups of it with rates of their own.
        learning_rate: highest rate.
        betas: Adam's decay rates.
        decay: ``constant``, or ``cosine`` or ``exponential`` to ``final_rate`` times it over ``horizon`` steps.
        horizon: number of calls of `advance` a training makes.
        final_rate: factor on the rate at the horizon.
        warm_up: steps of the schedule over which the rate rises linearly.
        clip_norm: largest norm of the gradient of all parameters together, or None for any.
        amsgrad: whether Adam divides by the largest second moment so far.
    """

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: float,
        betas: tuple[float, float],
        decay: Decay,
        horizon: int,
        final_rate: float = 0.0,
        warm_up: int = 0,
        clip_norm: float | None = None,
        amsgrad: bool = False,
    ) -> None:
        self.adam = torch.optim.Adam(parameters, learning_rate, betas=betas, amsgrad=amsgrad, fused=True)
        self.clip_norm = clip_norm

        def factor(step: int) -> float:
            done = min(step / horizon, 1.0)
            rising = min((step + 1) / warm_up, 1.0) if warm_up else 1.0
            decays: dict[Decay, float] = {
                "constant": 1.0,
                "cosine": final_rate + (1 - final_rate) * 0.5 * (1 + math.cos(math.pi * done)),
                "exponential": final_rate**done,
            }
            return rising * decays[decay]

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adam, factor)

    def descend(self, loss: Tensor) -> None:
        """Take one step down the gradient of a scalar loss."""
        self.clear()
        loss.backward()
        self.step()

    def clear(self) -> None:
        """Forget all gradients, before new ones are gathered."""
        for group in self.adam.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        """Take one step down the gradients gathered since `clear`, averaged over all processes."""
        trained = [p for group in self.adam.param_groups for p in group["params"] if p.grad is not None]
        parallel.average_([p.grad for p in trained if p.grad is not None])
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(trained, self.clip_norm)
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
