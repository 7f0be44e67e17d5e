"""The paper's network for 2-D data: S(x, s) = Dec(EmbX(x) + EmbT(1 - alpha_bar(s)))  (HSIVI, E.2.1)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hsivi.nn.stacked import LinearStack, NetworkAtTimes, StackedLinear


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
        features = sinusoidal_embedding(_with_replicas(time, x), self.embedding_width)
        return self.output(x, self.embed(features))

    def at(self, times: Tensor) -> "ScoreMLPAtTimes":
        """Return the network at ``times`` of shape (L,)."""
        return ScoreMLPAtTimes(self, times)

    def embed(self, features: Tensor) -> Tensor:
        """Map features of shape (R or 1, \\*batch, e) to (R, \\*batch, w)."""
        if len(features) == 1:
            features = features.expand(len(self.embed_x.weight), *features.shape[1:])
        embedded: Tensor = self.embed_t(features)
        return embedded

    def output(self, x: Tensor, embedded: Tensor) -> Tensor:
        """Map x of shape (R, \\*batch, d) and embedded times (R, \\*batch, w) to the shape of ``x``."""
        features = self.embed_x(x) + embedded
        rows = features.reshape(len(self.embed_x.weight), -1, features.shape[-1])
        output: Tensor = self.decode(rows)
        return output.reshape(x.shape)


class ScoreMLPAtTimes(NetworkAtTimes):
    """The network at times that are embedded once for all samples.

    Arguments:
        network: the network.
        times: shape (L,).
    """

    network: ScoreMLP

    def __init__(self, network: ScoreMLP, times: Tensor) -> None:
        super().__init__(network, times)
        self._features = sinusoidal_embedding(times, network.embedding_width)[None]

    def __call__(self, x: Tensor, index: Tensor) -> Tensor:
        """Return the network's output, shape of ``x``; see `NetworkAtTimes`."""
        return self.now()(x, index)

    def now(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the same function with the times embedded by the present parameters."""
        embedded = self.network.embed(self._features)
        return lambda x, index: self.network.output(x, _pick(embedded, _with_replicas(index, x)))


def _with_replicas(values: Tensor, x: Tensor) -> Tensor:
    """Give values that are the same for all replicas, of shape \\*batch, the replica axis: (1, \\*batch)."""
    return values.reshape(*(1,) * (x.ndim - 1 - values.ndim), *values.shape)


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """Return rows of a table of shape (R, L, w): for an index of shape (R or 1, \\*batch), (R, \\*batch, w)."""
    if len(index) == 1 or len(table) == 1:
        return table.index_select(1, index.flatten()).reshape(max(len(table), len(index)), *index.shape[1:], -1)
    rows = index.flatten(1)[..., None].expand(-1, -1, table.shape[-1])
    return table.gather(1, rows).reshape(*index.shape, -1)
