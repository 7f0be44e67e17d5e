"""What every training loop here shares: Adam, a learning-rate schedule, a moving average, and one way to fail."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hsivi import parallel
from hsivi.nonfinite import NonFinite

Decay = Literal["constant", "cosine", "exponential"]
Function = TypeVar("Function", bound=Callable[..., Any])
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


def with_gradients(
    losses: Callable[..., Tensor], parameters: Sequence[Tensor], parts: int = 1, compiled: bool = False
) -> Callable[..., tuple[Tensor, tuple[Tensor | None, ...]]]:
    """Return a function that returns losses and the gradients of every replica's mean loss.

    Arguments:
        losses: returns losses of shape (R, \\*batch), of which each replica's depend on its own parameters.
        parameters: by what is differentiated; where one has no part in the losses its gradient is None.
        parts: by how many the gradients are divided, for means over so many calls.
        compiled: whether losses and gradients become one program when they are first asked for.
    """

    def evaluate(*arguments: Any) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        found = losses(*arguments)
        total = found.flatten(1).mean(1).sum() / parts
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        return found.detach(), tuple(map(_laid_out_like, gradients, parameters))

    return whole(evaluate) if compiled else evaluate


def _laid_out_like(gradient: Tensor | None, parameter: Tensor) -> Tensor | None:
    """Return a gradient whose elements lie in memory as the parameter's do, which Adam takes for granted."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def whole(function: Function) -> Function:
    """Return a function that is compiled as a whole, derivatives included, when it is first called."""
    from torch._dynamo import config  # takes a second

    config.trace_autograd_ops = True
    return cast(Function, torch.compile(function, fullgraph=True, dynamic=False))


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

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [parameter for group in self.adam.param_groups for parameter in group["params"]]

    def descend(self, loss: Tensor) -> None:
        """Take one step down the gradient of a scalar loss."""
        self.clear()
        loss.backward()
        self.step()

    def clear(self) -> None:
        """Forget all gradients, before new ones are gathered."""
        for parameter in self.parameters:
            parameter.grad = None

    def gather(self, gradients: Sequence[Tensor | None]) -> None:
        """Add gradients, in the order of `parameters`, to those gathered since `clear`, as ``backward()`` does."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            elif gradient is not None:
                parameter.grad += gradient

    def step(self) -> None:
        """Take one step down the gradients gathered since `clear`, averaged over all processes."""
        trained = [parameter for parameter in self.parameters if parameter.grad is not None]
        parallel.average_([p.grad for p in trained if p.grad is not None])
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(trained, self.clip_norm)
        if all(parameter in self.adam.state for parameter in trained):
            self._step_quickly()
        else:
            self.adam.step()

    @torch.no_grad()
    def _step_quickly(self) -> None:
        """Do what ``Adam.step`` does when there are moments: small networks wait longer for its checks than for it."""
        for group in self.adam.param_groups:
            own = [parameter for parameter in group["params"] if parameter.grad is not None]
            states = [self.adam.state[parameter] for parameter in own]
            adam(
                own,
                [parameter.grad for parameter in own],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=group["amsgrad"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )

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
