"""The replica axis: independent copies of a small network that run as one program.

Among layers only `StackedLinear` knows about it.  Its parameters carry a leading axis R, its input has shape
(R, ..., in), and one batched matrix product serves all copies; everything else broadcasts.  A stack of one also
serves inputs with any leading axis, which is how one frozen score model teaches all replicas.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from hsivi.rng import generator


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
        if len(self.weight) == 1:
            return nn.functional.linear(x, self.weight[0].T, self.bias[0, 0])
        rows = x.reshape(len(x), -1, x.shape[-1])
        return torch.baddbmm(self.bias, rows, self.weight).reshape(*x.shape[:-1], -1)
