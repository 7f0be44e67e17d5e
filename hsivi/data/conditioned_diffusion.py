"""The conditioned diffusion of section 5.1: a Langevin path in a double well, observed with noise at all its points.

Its posterior is nearly Gaussian, so Hamiltonian Monte Carlo from the Laplace approximation gives exact draws after a
few steps.  What needs torch is imported where it is asked for: measuring samples needs numpy only.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsivi.rng import generator

if TYPE_CHECKING:
    from torch import Tensor

    from hsivi.gaussian import DiagonalGaussian
    from hsivi.laplace import Laplace
    from hsivi.target import ConditionedDiffusion

Array = NDArray[np.float64]
POINTS = 300
STEP = 0.01
NOISE_STD = 0.1
HMC_STEPS = 10
"""Steps of each chain.  One leaves at most 0.75 of a deviation from the mean, and chains start at a good guess."""
LEAPFROGS = 5
LEAPFROG_STEP = 0.02
"""The posterior's curvatures lie between 99 and 540, so a trajectory turns its directions by 1 to 2.4 radians."""
CHAINS = 256
"""Chains that run together."""


@dataclass(frozen=True)
class ConditionedDiffusionData:
    """One path and its observations; see `hsivi.data.Dataset`.

    Attributes:
        path: the true path x_1, ..., x_d, shape (d,).
        observations: y, shape (d,).
    """

    path: Array
    observations: Array

    @classmethod
    def simulate(cls, seed: int) -> "ConditionedDiffusionData":
        """Return a path of eq. (11) by Euler-Maruyama from x_0 = 0, and y ~ N(x, 0.1^2 I)."""
        increments = np.sqrt(STEP) * generator(seed, "conditioned_diffusion", "path").standard_normal(POINTS)
        path, x = np.empty(POINTS), 0.0
        for i, increment in enumerate(increments):
            x = path[i] = x + 10 * x * (1 - x**2) * STEP + increment
        noise = generator(seed, "conditioned_diffusion", "observations").standard_normal(POINTS)
        return cls(path, path + NOISE_STD * noise)

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "ConditionedDiffusionData":
        """Open what `arrays` returned."""
        return cls(np.asarray(arrays["path"], np.float64), np.asarray(arrays["observations"], np.float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return path and observations."""
        return {"path": self.path, "observations": self.observations}

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(d,)."""
        return self.observations.shape

    @property
    def target(self) -> "ConditionedDiffusion":
        """The posterior that methods are given, float32."""
        import torch

        from hsivi.target import ConditionedDiffusion

        return ConditionedDiffusion(torch.from_numpy(self.observations).float(), STEP, NOISE_STD)

    @property
    def base(self) -> "DiagonalGaussian":
        """N(y, 0.1^2 I), where the geometric bridge starts  (HSIVI, section 5.1)."""
        import torch

        from hsivi.gaussian import DiagonalGaussian

        mean = torch.from_numpy(self.observations).float()
        return DiagonalGaussian(mean, torch.full_like(mean, NOISE_STD))

    @property
    def diffused(self) -> None:
        """Nothing: the posterior under a diffusion has no closed form."""
        return

    @cached_property
    def laplace(self) -> "Laplace":
        """The posterior's Laplace approximation, float64."""
        from hsivi.laplace import laplace

        return laplace(self.target, self.base.mean)

    def draw(self, n: int, *key: int | str) -> Array:
        """Return n independent draws of the posterior, shape (n, d), that depend on ``key`` alone."""
        return np.concatenate([x for x, _ in self.hamiltonian(n, *key)])

    def hamiltonian(
        self, n: int, *key: int | str, steps: int = HMC_STEPS, workers: int = 1
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the last states of independent chains, n in all, in blocks of shape (at most CHAINS, d).

        With each block comes every chain's mean probability of acceptance, shape (at most CHAINS,).  Every chain starts
        at its own draw of the Laplace approximation.  States are float32, whose rounding moves a probability of
        acceptance by about 1e-4.

        Arguments:
            n: number of chains.
            key: what the draws depend on.
            steps: length of each chain.
            workers: blocks that run at the same time; draws do not depend on it.
        """
        assert self.laplace is not None  # found once, before threads ask for it
        starts = range(0, n, CHAINS)
        with ThreadPoolExecutor(workers) as pool:
            blocks = pool.map(lambda start: self._chains(steps, *key, start // CHAINS), starts)
            for start, (x, acceptance) in zip(starts, blocks, strict=True):
                yield x.numpy()[: n - start].astype(np.float64), acceptance.numpy()[: n - start].astype(np.float64)

    def _chains(self, steps: int, *key: int | str) -> "tuple[Tensor, Tensor]":
        """Return states (CHAINS, d) and each chain's mean probability of acceptance (CHAINS,)."""
        import torch

        from hsivi.mcmc import hmc_step

        target, rng = self.target, generator("conditioned_diffusion", *key)

        def normal() -> "Tensor":
            return torch.from_numpy(rng.standard_normal((CHAINS, *self.event_shape), dtype=np.float32))

        x, total = self.laplace.sample_from(normal()), torch.zeros(CHAINS)
        for _ in range(steps):
            uniform = torch.from_numpy(rng.random(CHAINS, dtype=np.float32))
            x, acceptance = hmc_step(x, target.log_prob, target.score, normal(), uniform, LEAPFROG_STEP, LEAPFROGS)
            total += acceptance / steps
        return x, total
