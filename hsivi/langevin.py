"""Ground truth of section 5.1: moments of many independent unadjusted Langevin chains, in bounded memory.

Chains run in blocks that fit in a core's cache, several blocks at a time in threads, and leave only their moments
behind.  A block's noise depends on its number and blocks are merged in order, so the result depends neither on the
number of threads nor on interruptions.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsivi.data_config import PosteriorData
from hsivi.moments import Moments
from hsivi.rng import generator
from hsivi.target import ConditionedDiffusion

Array = NDArray[np.float64]
BLOCK = 200
"""Chains that run together: four arrays of 300 coordinates by 200 chains are 1 MB."""
KEPT = 2_000
"""Chains whose last states are kept."""
WATCHED = 25
"""Iterations, evenly spaced in their logarithm, at which moments are taken so that burn-in can be seen."""


class LangevinBlock:
    """Chains of a conditioned diffusion that move together; `hsivi.mcmc.langevin_step` without temporaries.

    With m(x) = x + step b(x) and r_i = x_i - m(x_{i-1}), the score is (r_{i+1} m'(x_i) - r_i) / step plus that of the
    likelihood.  A row holds one coordinate of all chains, so that neighbouring points of a path are whole rows apart
    and every operation runs through memory in order.

    Attributes:
        x: states, shape (d, n), float32.
        noise: standard normal, shape (d, n); filled by the caller before each step, used up by it.
    """

    def __init__(self, target: ConditionedDiffusion, chains: int, step_size: float) -> None:
        shape = (*target.event_shape, chains)
        self.x, self.noise = np.empty(shape, np.float32), np.empty(shape, np.float32)
        padded = (shape[0] + 1, chains)
        # m(x_0) = 0 in the first row of one, and no increment behind the last point in the other: both stay zero.
        self._moved, self._residual = np.zeros(padded, np.float32), np.zeros(padded, np.float32)
        self._step, self._noise_scale = target.step, math.sqrt(step_size)
        self._prior_weight = 0.5 * step_size / target.step
        likelihood_weight = 0.5 * step_size / target.noise_std**2
        self._keep, self._pull = 1 - likelihood_weight, likelihood_weight * target.observations.numpy()[:, None]

    def advance(self) -> None:
        """Move all chains by one step."""
        x, slope, moved, residual = self.x, np.square(self.x), self._moved, self._residual
        np.multiply(slope, -10 * self._step, out=moved[1:])
        moved[1:] += 1 + 10 * self._step
        moved[1:] *= x
        np.subtract(x, moved[:-1], out=residual[:-1])
        slope *= -30 * self._step
        slope += 1 + 10 * self._step
        slope *= residual[1:]
        slope -= residual[:-1]
        slope *= self._prior_weight
        self.noise *= self._noise_scale
        x *= self._keep
        x += slope
        x += self._pull
        x += self.noise


@dataclass(frozen=True)
class BlockResult:
    """What a block leaves behind.

    Attributes:
        moments: of all snapshots.
        last: last states, shape (n, d), float32.
        watched: moments without off-diagonals at the watched iterations: sums of x - y and of (x - y)^2 over chains,
            shape (2, iterations, d).
    """

    moments: Moments
    last: NDArray[np.float32]
    watched: Array


@dataclass
class Langevin:
    """Runs the chains, a few blocks a step; see `hsivi.checkpoint.Resumable`.

    Chains start at N(y, noise_std^2 I).  After ``burn_in`` iterations and then every ``thinning`` iterations a
    snapshot is taken, ``snapshots`` in all.

    Attributes:
        target: the posterior.
        config: numbers of chains and iterations, step size and seed.
        threads: blocks that run at the same time.
        iteration: blocks done.
        moments: of the snapshots of these blocks.
    """

    target: ConditionedDiffusion
    config: PosteriorData
    threads: int = 1
    iteration: int = 0
    moments: Moments = field(init=False)

    def __post_init__(self) -> None:
        (dimension,) = self.target.event_shape
        self.moments = Moments.of(np.empty((0, dimension)))
        self._states = np.empty((0, dimension), np.float32)
        self._watched = np.zeros((2, len(self.watched_iterations), dimension))

    @property
    def blocks(self) -> int:
        """Number of blocks, for `hsivi.checkpoint.Session.train`."""
        return -(-self.config.chains // BLOCK)

    @property
    def watched_iterations(self) -> list[int]:
        """Iterations at which moments are taken, up to the last snapshot's."""
        last = self.config.burn_in + (self.config.snapshots - 1) * self.config.thinning
        return sorted({round(i) for i in np.geomspace(1, last, WATCHED)})

    @property
    def states(self) -> NDArray[np.float32]:
        """Last states of the first chains, shape (at most KEPT, d)."""
        return self._states

    def burn_in_curve(self) -> tuple[Array, Array]:
        """Return mean and variance over the chains done at the watched iterations, both (iterations, d)."""
        chains = self._chains_before(self.iteration)
        first, second = self._watched / chains
        return first + self.target.observations.double().numpy(), (second - first**2) * chains / (chains - 1)

    def step(self) -> None:
        """Run as many blocks as there are threads."""
        todo = range(self.iteration, min(self.iteration + self.threads, self.blocks))
        with ThreadPoolExecutor(self.threads) as pool:
            for result in pool.map(self._run, todo):
                self.moments = self.moments.merge(result.moments)
                self._states = np.concatenate([self._states, result.last[: KEPT - len(self._states)]])
                self._watched += result.watched
        self.iteration = todo.stop

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is carried from one step to the next."""
        return {
            "iteration": self.iteration,
            "count": self.moments.count,
            "mean": torch.from_numpy(self.moments.mean),
            "scatter": torch.from_numpy(self.moments.scatter),
            "states": torch.from_numpy(self._states),
            "watched": torch.from_numpy(self._watched),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.iteration = state["iteration"]
        self.moments = Moments(state["count"], state["mean"].numpy(), state["scatter"].numpy())
        self._states, self._watched = state["states"].numpy(), state["watched"].numpy()

    def _chains_before(self, block: int) -> int:
        return min(block * BLOCK, self.config.chains)

    def _run(self, number: int) -> BlockResult:
        """Run one block of chains.

        Raises:
            ValueError: a chain left the finite numbers.
        """
        config, target = self.config, self.target
        chains = self._chains_before(number + 1) - self._chains_before(number)
        block = LangevinBlock(target, chains, config.step_size)
        # torch's normal numbers are three times as fast as numpy's; its generator takes 32 bits of a seed.
        source = torch.Generator().manual_seed(int(generator(config.seed, "langevin", number).integers(2**32)))
        noise, observations = torch.from_numpy(block.noise), target.observations.numpy()[:, None]
        np.copyto(block.x, observations + target.noise_std * noise.normal_(generator=source).numpy())
        moments, watched, watch = Moments.of(np.empty((0, len(block.x)))), [], self.watched_iterations
        for iteration in range(1, watch[-1] + 1):
            noise.normal_(generator=source)
            block.advance()
            if iteration in watch:
                deviation = block.x.astype(np.float64) - observations
                watched.append(np.stack([deviation.sum(1), np.square(deviation).sum(1)]))
            if iteration >= config.burn_in and (iteration - config.burn_in) % config.thinning == 0:
                moments = moments.merge(Moments.of(block.x.T))
        if not np.isfinite(moments.scatter).all():
            raise ValueError(
                f"Langevin chains: got a state that is not finite, expected step_size {config.step_size} to be small "
                f"enough; lower it"
            )
        return BlockResult(moments, block.x.T.copy(), np.stack(watched, 1))
