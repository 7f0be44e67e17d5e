"""The replica axis: independent copies of a small network that run as one program.

Among layers only `StackedLinear` knows about it.  Its parameters carry a leading axis R, its input has shape
(R, ..., in), and one batched matrix product serves all copies; everything else broadcasts.  A stack of one also
serves inputs with any leading axis, which is how one frozen score model teaches all replicas.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hsivi.rng import generator

NARROW = 16
"""Widths of outputs below which matrix libraries are two to five times as fast on the transposed product."""


class ReplicaStack(nn.Module, ABC):
    """A network in R independent copies, called with x of shape (R, \\*batch, \\*event) and times.

    Attributes:
        event_ndim: number of dimensions of one sample.
    """

    event_ndim: int

    @property
    @abstractmethod
    def replicas(self) -> int:
        """R."""

    @abstractmethod
    def copies(self, replicas: int) -> Self:
        """Return a trainable stack of equal copies of a stack of one."""

    def at(self, times: Tensor) -> "NetworkAtTimes":
        """Return the network as a function of x and of indices into ``times`` of shape (L,)."""
        return NetworkAtTimes(self, times)

    def with_parameters(self, parameters: Mapping[str, Tensor]) -> Self:
        """Return this stack with other parameters of the same names, frozen; they are shared, not copied.

        Raises:
            ValueError: a parameter is missing, or is none of the stack's.
        """
        own = dict(self.named_parameters())
        if set(parameters) != set(own):
            odd = sorted(set(parameters) ^ set(own))[0]
            raise ValueError(f"parameters: got another set than the network's ({odd!r}), expected the same; fit again")
        memo = {id(old): nn.Parameter(parameters[name], requires_grad=False) for name, old in own.items()}
        return copy.deepcopy(self, memo)

    @abstractmethod
    def select(self, parameters: Mapping[str, Tensor], replica: int) -> dict[str, Tensor]:
        """Return, of a stack's parameters by name, those of one replica as the parameters of a stack of one."""

    @torch.no_grad()
    def fill(self, replica: int, parameters: Mapping[str, Tensor]) -> None:
        """Set one replica to the parameters of a stack of one: the reverse of `select`.

        Raises:
            ValueError: a parameter is missing, is none of the stack's, or has another shape.
        """
        places = self.places(replica)
        odd = sorted(set(parameters) ^ set(places))
        odd += [name for name in places if name in parameters and places[name].shape != parameters[name].shape]
        if odd:
            raise ValueError(f"parameters: got others than the network's ({odd[0]!r}), expected the same; fit again")
        for name, place in places.items():
            place.copy_(parameters[name])

    def places(self, replica: int) -> dict[str, Tensor]:
        """Return views of one replica's parameters, by their names in a stack of one."""
        return {name: p[replica : replica + 1] for name, p in self.named_parameters()}


class NetworkAtTimes:
    """A network at given times, for one that embeds them to override: what belongs to a time is computed once.

    Arguments:
        network: the network.
        times: shape (L,).
    """

    def __init__(self, network: ReplicaStack, times: Tensor) -> None:
        self.network, self.times = network, times

    def __call__(self, x: Tensor, index: Tensor) -> Tensor:
        """Return the network's output for x of shape (R, \\*batch, \\*event), shape of ``x``.

        Arguments:
            x: where.
            index: of the times; it broadcasts against \\*batch or (R, \\*batch), as times do.
        """
        output: Tensor = self.network(x, self.times[index])
        return output

    def now(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the same function for many calls while the parameters do not change."""
        return self


class LinearStack(ReplicaStack):
    """A stack all of whose parameters carry the replica axis in front."""

    @property
    def replicas(self) -> int:
        """R."""
        return len(next(self.parameters()))

    def copies(self, replicas: int) -> Self:
        """Return a trainable stack of equal copies of a stack of one."""
        stack = copy.deepcopy(self)
        for module in stack.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                repeated = parameter.detach().repeat(replicas, *(1,) * (parameter.ndim - 1))
                setattr(module, name, nn.Parameter(repeated))
        return stack

    def select(self, parameters: Mapping[str, Tensor], replica: int) -> dict[str, Tensor]:
        """Return one replica's parameters as those of a stack of one."""
        return {name: value[replica : replica + 1].clone() for name, value in parameters.items()}


class StackedLinear(nn.Module):
    """R affine maps y_r = x_r W_r + b_r, initialised like `torch.nn.Linear` from one seed a replica.

    Arguments:
        seeds: one seed a replica; a replica's weights depend on its own seed only.
        name: tells layers of one network apart in the initialisation.
        in_features: width of the input.
        out_features: width of the output.
    """

    def __init__(self, seeds: tuple[int, ...], name: str, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        drawn = [
            generator(seed, "init", name).uniform(-bound, bound, (in_features + 1, out_features)) for seed in seeds
        ]
        stacked = torch.stack([torch.from_numpy(d).float() for d in drawn])
        self.weight = nn.Parameter(stacked[:, :-1].contiguous())
        self.bias = nn.Parameter(stacked[:, -1:].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (R, \\*batch, in) to (R, \\*batch, out)."""
        if x.ndim == 3 and len(x) == len(self.weight):
            return affine(x, self.weight, self.bias)
        rows = x.reshape(len(self.weight), -1, x.shape[-1])
        return affine(rows, self.weight, self.bias).reshape(*x.shape[:-1], -1)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x W + b for x of shape (R, n, in), weights of shape (R, in, out) and biases of shape (R, 1, out)."""
    if len(weight) == 1:
        # Not weight[0]: the gradient of a choice is a new tensor of zeros that is filled, that of a view is one.
        return nn.functional.linear(x, weight.squeeze(0).T, bias.view(-1))
    if weight.shape[-1] < NARROW:
        narrow: Tensor = _NarrowAffine.apply(x, weight, bias)
        return narrow
    return torch.baddbmm(bias, x, weight)


class _NarrowAffine(torch.autograd.Function):
    """`affine` for few outputs, the slow products of which are taken of transposes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.mT, weight.mT, x.mT).mT.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight.mT) if wanted[0] else None,
            torch.bmm(gradient.mT, x).mT if wanted[1] else None,
            gradient.sum(1, keepdim=True) if wanted[2] else None,
        )
