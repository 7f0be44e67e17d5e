"""Standard normal noise as a function of what it is for, never of what was drawn before.

Every draw is keyed by a tuple of integers and strings (a seed, a purpose, a step, a block) through a
counter-based generator (Philox; Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3").  Samples
therefore depend neither on the batch size nor on the device, nor on whether a run was interrupted and resumed,
and the noise of one replica does not depend on the replicas it is stacked with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hsivi.rng import generator

CPU = torch.device("cpu")
BLOCK = 256
"""Samples whose noise comes from one generator; a batch of any size is cut out of whole blocks."""


def standard_normal(shape: Sequence[int], *key: int | str) -> Tensor:
    """Draw float32 standard normal noise of the given shape that depends on ``key`` alone."""
    return torch.from_numpy(generator(*key).standard_normal(tuple(shape), dtype=np.float32))


@dataclass(frozen=True)
class SampleNoise:
    """Noise of the samples ``start, ..., stop - 1`` of one sampling run.

    Sample number 17 receives the same noise at step t whatever the batch it is drawn in.

    Attributes:
        seed: seed of the run; every sampler that is compared uses the same one.
        start: number of the first sample.
        stop: number behind the last sample.
        event_shape: shape of one sample.
        dtype: type of the returned tensors.
        device: device of the returned tensors.
    """

    seed: int
    start: int
    stop: int
    event_shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    device: torch.device = CPU

    def prior(self) -> Tensor:
        """Return x_T ~ N(0, I) with shape (n, \\*event), common to all samplers of a seed."""
        return self._draw("prior", 0)

    def step(self, t: int) -> Tensor:
        """Return the noise of the transition to x_t with shape (n, \\*event)."""
        return self._draw("step", t)

    def rows(self, draw_block: Callable[[int], Tensor]) -> Tensor:
        """Return the rows of samples ``start`` to ``stop - 1``, cut out of blocks of `BLOCK` rows each."""
        first, last = self.start // BLOCK, -(-self.stop // BLOCK)
        rows = torch.cat([draw_block(block) for block in range(first, last)])
        return rows[self.start - first * BLOCK : self.stop - first * BLOCK].to(device=self.device, dtype=self.dtype)

    def _draw(self, purpose: str, t: int) -> Tensor:
        shape = (BLOCK, *self.event_shape)
        return self.rows(lambda block: standard_normal(shape, self.seed, "sample", purpose, t, block))


@dataclass(frozen=True)
class FanNoise(SampleNoise):
    """Noise of samples of which ``members`` neighbours start from one x_T: what a sampler makes of one start.

    Attributes:
        members: samples that share x_T.
    """

    members: int = 1

    def prior(self) -> Tensor:
        """Return x_T with shape (n, \\*event): that of sample number i // members for sample i."""
        own = SampleNoise(
            self.seed,
            self.start // self.members,
            -(-self.stop // self.members),
            self.event_shape,
            self.dtype,
            self.device,
        ).prior()
        numbers = torch.arange(self.start, self.stop) // self.members - self.start // self.members
        return own[numbers.to(own.device)]
