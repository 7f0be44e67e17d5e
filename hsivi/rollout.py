"""Rollouts: chains x_T -> x_0 under the present layers of a hierarchy, and the pairs that training takes from them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import DDIMHierarchy


@dataclass(frozen=True)
class Pairs:
    """Samples (x_{t+1}, x_t) of the current layers.

    Attributes:
        mixing: x_{t+1}, shape (R, L, B, \\*event).
        x: x_t, shape (R, L, B', \\*event); B' = 2B where noise is antithetic.
        conditional_score: grad log q_t(x_t | x_{t+1}), shape of ``x``.
        t: layer indices, shape (L, 1) or (R, L, 1).
    """

    mixing: Tensor
    x: Tensor
    conditional_score: Tensor
    t: Tensor

    def batch(self, start: int, stop: int) -> "Pairs":
        """Return the pairs that come from chains ``start`` to ``stop - 1``."""
        if self.t.ndim == 3:  # one layer of every chain: L counts chains
            window = slice(start, stop)
            return Pairs(
                self.mixing[:, window], self.x[:, window], self.conditional_score[:, window], self.t[:, window]
            )
        ways = self.x.shape[2] // self.mixing.shape[2]
        window = slice(ways * start, ways * stop)
        return Pairs(self.mixing[:, :, start:stop], self.x[:, :, window], self.conditional_score[:, :, window], self.t)


@torch.no_grad()
def all_layers(hierarchy: DDIMHierarchy, noise: Tensor, antithetic: bool) -> Pairs:
    """Return every layer of every chain, with L = T.

    Arguments:
        hierarchy: the layers.
        noise: standard normal, shape (R, T + 1, chains, \\*event): of layers 0 to T - 1, and x_T.
        antithetic: whether x_t is also drawn with the opposite noise.
    """
    conditional, steps, x = hierarchy.layers(), torch.arange(hierarchy.num_layers, device=noise.device), noise[:, -1]
    mixing, means = [], []
    for t in reversed(range(hierarchy.num_layers)):
        layer = conditional(x, steps[t : t + 1])
        mixing.append(x)
        means.append(layer.mean)
        x = layer.rsample(noise[:, t])
    layers = DiagonalGaussian(torch.stack(means[::-1], 1), hierarchy.stds()[:, :, None])
    return _pairs(torch.stack(mixing[::-1], 1), layers, noise[:, :-1], steps[:, None], antithetic)


@torch.no_grad()
def one_layer_a_chain(hierarchy: DDIMHierarchy, noise: Tensor, t: NDArray[np.int64], antithetic: bool) -> Pairs:
    """Return one layer of every chain, with L = chains and B = 1.

    A chain is not simulated below the layer it is asked for.

    Arguments:
        hierarchy: the layers.
        noise: standard normal, shape (R, T + 1, chains, \\*event): of layers 0 to T - 1, and x_T.
        t: the layer each chain is asked for, shape (R, chains).
        antithetic: whether x_t is also drawn with the opposite noise.
    """
    conditional, steps, x = hierarchy.layers(), torch.arange(hierarchy.num_layers, device=noise.device), noise[:, -1]
    # Sorted by t, the chains that are still needed come first; replicas share the longest such beginning.
    order = t.argsort(1, kind="stable")
    ascending = torch.from_numpy(np.take_along_axis(t, order, 1)).to(x.device)
    mixing, mean = torch.empty_like(x), torch.empty_like(x)
    for layer in reversed(range(hierarchy.num_layers)):
        needed = int((t <= layer).sum(1).max())
        if needed == 0:
            break
        x = x[:, :needed]
        here = _over_event(ascending[:, :needed] == layer, x)
        q = conditional(x, steps[layer : layer + 1])
        for kept, value in ((mixing, x), (mean, q.mean)):
            kept[:, :needed] = torch.where(here, value, kept[:, :needed])
        x = q.rsample(noise[:, layer, :needed])
    own = _over_event(ascending, mixing)[:, None].expand(-1, 1, *mixing.shape[1:])
    back = _over_event(torch.from_numpy(order.argsort(1)).to(x.device), mixing).expand_as(mixing)
    mixing, mean, eps = (
        values.gather(1, back)[:, :, None] for values in (mixing, mean, noise.gather(1, own).squeeze(1))
    )
    asked = torch.from_numpy(t).to(x.device)
    stds = hierarchy.stds()
    std = stds.gather(1, _over_event(asked, stds).expand(-1, -1, *stds.shape[2:]))[:, :, None]
    return _pairs(mixing, DiagonalGaussian(mean, std), eps, asked[..., None], antithetic)


def _pairs(mixing: Tensor, layers: DiagonalGaussian, noise: Tensor, t: Tensor, antithetic: bool) -> Pairs:
    """Return pairs of x_{t+1} (R, L, B, \\*event), q_t(. | x_{t+1}) and the noise of x_t of the same shape."""
    if antithetic:
        noise = torch.stack([noise, -noise], 3).flatten(2, 3)
        layers = DiagonalGaussian(layers.mean.repeat_interleave(2, 2), layers.std)
    return Pairs(mixing, layers.rsample(noise), layers.score_at(noise), t)


def _over_event(values: Tensor, like: Tensor) -> Tensor:
    """Append axes to a tensor of shape (R, n) until it has as many as ``like``."""
    return values.reshape(*values.shape, *(1,) * (like.ndim - values.ndim))
