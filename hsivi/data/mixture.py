"""Mixtures of isotropic Gaussians in the plane with known density: the ring of section 5.1.

What needs torch is imported where it is asked for: measuring a sample and drawing figures need numpy only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from hsivi.rng import generator

if TYPE_CHECKING:
    from torch import Tensor

    from hsivi.gaussian import DiagonalGaussian
    from hsivi.schedule import Schedule
    from hsivi.score_model import GaussianMixtureScoreModel
    from hsivi.target import GaussianMixture

Array = NDArray[np.float64]
MODES = 8
RADIUS = 10.0


@dataclass(frozen=True)
class Mixture:
    """A mixture of K isotropic Gaussians in R^2; see `hsivi.data.Dataset`.

    Attributes:
        means: centres, shape (K, 2).
        variances: per axis, shape (K,).
        weights: positive, summing to one, shape (K,).
        name: what the random numbers of its draws are keyed by.
    """

    means: Array
    variances: Array
    weights: Array
    name: str = "ring"
    event_shape: tuple[int, ...] = (2,)

    def __post_init__(self) -> None:
        modes = len(self.weights)
        shapes = (self.means.shape, self.variances.shape, self.weights.shape)
        if shapes != ((modes, 2), (modes,), (modes,)):
            raise ValueError(
                f"mixture: got means, variances and weights of shapes {', '.join(map(str, shapes))}, expected (K, 2), "
                f"(K,) and (K,); give one of each for every mode"
            )
        if not ((self.variances > 0).all() and (self.weights > 0).all() and np.isclose(self.weights.sum(), 1)):
            raise ValueError(
                f"mixture: got variances {self.variances.tolist()} and weights {self.weights.tolist()}, expected "
                f"positive numbers and weights that sum to one; leave out modes without weight"
            )

    @classmethod
    def ring(cls) -> "Mixture":
        """Return eight equal unit-variance Gaussians at radius 10 and angles i pi / 4, i = 1..8  (HSIVI, 5.1)."""
        angle = np.pi / 4 * np.arange(1, MODES + 1)
        means = RADIUS * np.stack([np.cos(angle), np.sin(angle)], 1)
        return cls(means, np.ones(MODES), np.full(MODES, 1 / MODES))

    @classmethod
    def unit_ring(cls) -> "Mixture":
        """Return the ring in units in which each axis has variance one, as data of a diffusion are."""
        ring = cls.ring()
        variance = float(ring.variances.mean() + np.square(ring.means).mean())
        return cls(ring.means / np.sqrt(variance), ring.variances / variance, ring.weights)

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "Mixture":
        """Open what `arrays` returned."""
        means, variances, weights = (np.asarray(arrays[key], np.float64) for key in ("means", "variances", "weights"))
        return cls(means, variances, weights)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the parameters."""
        return {"means": self.means, "variances": self.variances, "weights": self.weights}

    def draw(self, n: int, *key: int | str) -> Array:
        """Return n points, shape (n, 2), that depend on ``key`` alone."""
        rng = generator(self.name, *key)
        mode = rng.choice(len(self.weights), n, p=self.weights)
        return self.means[mode] + np.sqrt(self.variances[mode])[:, None] * rng.standard_normal((n, 2))

    def log_density(self, x: Array) -> Array:
        """Return the normalised log-density in nats, shape (\\*batch); x has shape (\\*batch, 2)."""
        # One mode at a time: a grid or a large draw times eight modes would be the largest array by far.
        distance = np.stack([np.square(x - mean).sum(-1) for mean in self.means], -1)
        joint = np.log(self.weights) - np.log(2 * np.pi * self.variances) - 0.5 * distance / self.variances
        return np.asarray(logsumexp(joint, axis=-1))

    @property
    def target(self) -> "GaussianMixture":
        """The density that methods are given, float32."""
        from hsivi.target import GaussianMixture

        return GaussianMixture(*self._tensors())

    @property
    def base(self) -> "DiagonalGaussian":
        """N(0, I), where the geometric bridge starts  (HSIVI, section 5.1)."""
        import torch

        from hsivi.gaussian import DiagonalGaussian

        return DiagonalGaussian(torch.zeros(2), torch.ones(2))

    @property
    def diffused(self) -> "GaussianMixtureScoreModel":
        """The scores of the mixture under noise, alpha_bar(s) = 1 - s^2: the diffusion bridge  (HSIVI, D.1)."""
        from hsivi.schedule import QuadraticSchedule

        return self.exact_score_model(QuadraticSchedule())

    def exact_score_model(self, schedule: "Schedule") -> "GaussianMixtureScoreModel":
        """Return the scores of the mixture under the noise of a schedule."""
        from hsivi.score_model import GaussianMixtureScoreModel

        return GaussianMixtureScoreModel(schedule, *self._tensors())

    def _tensors(self) -> "tuple[Tensor, Tensor, Tensor]":
        import torch

        means, variances, weights = (torch.from_numpy(a).float() for a in (self.means, self.variances, self.weights))
        return means, variances, weights
