"""The paper's network for 2-D data: S(x, s) = Dec(EmbX(x) + EmbT(1 - alpha_bar(s)))  (HSIVI, E.2.1)."""

import math

import torch
from torch import Tensor, nn

from hsivi.nn.stacked import LinearStack, StackedLinear


def sinusoidal_embedding(time: Tensor, width: int) -> Tensor:
    """Embed ``time`` in ``width`` sines and cosines of geometrically spaced frequencies (Vaswani et al., 2017).

    Returns:
        Tensor of shape (\\*time.shape, width).
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, device=time.device) / half).to(time.dtype)
    angles = time[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


class ScoreMLP(LinearStack):
    """Widths: EmbX [d, w], EmbT [e, w, w], Dec [w, w, w, d], GELU between linear maps and before Dec.

    Arguments:
        seeds: one seed a replica.
        dim: dimension d of the data.
        width: w, 128 in the paper.
        embedding_width: e, 256 in the paper.
    """

    event_ndim = 1

    def __init__(self, seeds: tuple[int, ...], dim: int = 2, width: int = 128, embedding_width: int = 256) -> None:
        super().__init__()
        self.embedding_width = embedding_width
        self.embed_x = StackedLinear(seeds, "embed_x", dim, width)
        self.embed_t = nn.Sequential(
            StackedLinear(seeds, "embed_t.0", embedding_width, width),
            nn.GELU(),
            StackedLinear(seeds, "embed_t.2", width, width),
        )
        self.decode = nn.Sequential(
            nn.GELU(),
            StackedLinear(seeds, "decode.1", width, width),
            nn.GELU(),
            StackedLinear(seeds, "decode.3", width, width),
            nn.GELU(),
            StackedLinear(seeds, "decode.5", width, dim),
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Evaluate the network.

        Arguments:
            x: shape (R, \\*batch, d).
            time: shape broadcastable to \\*batch, or (R, \\*batch) after broadcasting where replicas differ.  One
                embedding is computed per entry, so pass (L, 1) rather than (L, B) for L levels of B samples.

        Returns:
            Tensor with the shape of ``x``.
        """
        if time.ndim < x.ndim - 1:  # one time for all replicas: (*batch) -> (1, ..., *batch)
            time = time.reshape(*(1,) * (x.ndim - 1 - time.ndim), *time.shape)
        features = sinusoidal_embedding(time, self.embedding_width)
        if len(features) == 1:
            features = features.expand(len(self.embed_x.weight), *features.shape[1:])
        embedded = self.embed_t(features)
        output: Tensor = self.decode(self.embed_x(x) + embedded)
        return output
