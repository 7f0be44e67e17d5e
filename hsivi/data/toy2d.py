"""The four 2-D targets of section 5.2: checkerboard, swissroll, circles, moons.

The paper names the data sets and cites scikit-learn, but states neither noise nor scale.  These are the
definitions in wide use since FFJORD (Grathwohl et al., 2019), then standardised to zero mean and unit variance
per axis, which makes N(0, I) the right second-order stand-in for the last level of the bridge.  scikit-learn takes
longer to import than most stages take to run, so it is imported where points are drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsivi.rng import generator

Array = NDArray[np.float64]


def _checkerboard(n: int, rng: np.random.Generator) -> Array:
    """Eight squares of side 2 in [-4, 4]^2."""
    x = rng.uniform(-2, 2, n)
    y = rng.uniform(0, 1, n) - 2 * rng.integers(0, 2, n) + np.floor(x) % 2
    return 2 * np.stack([x, y], 1)


def _swissroll(n: int, rng: np.random.Generator) -> Array:
    from sklearn import datasets

    points, _ = datasets.make_swiss_roll(n, noise=1.0, random_state=_legacy(rng))
    return np.asarray(points[:, [0, 2]] / 5)


def _circles(n: int, rng: np.random.Generator) -> Array:
    from sklearn import datasets

    return np.asarray(3 * datasets.make_circles(n, factor=0.5, noise=0.08, random_state=_legacy(rng))[0])


def _moons(n: int, rng: np.random.Generator) -> Array:
    from sklearn import datasets

    return np.asarray(2 * datasets.make_moons(n, noise=0.1, random_state=_legacy(rng))[0] + [-1.0, -0.2])


def _legacy(rng: np.random.Generator) -> np.random.RandomState:
    """scikit-learn takes numpy's legacy generator; its bit generator may be any of numpy's."""
    return np.random.RandomState(rng.bit_generator)


GENERATORS: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "checkerboard": _checkerboard,
    "swissroll": _swissroll,
    "circles": _circles,
    "moons": _moons,
}


@dataclass(frozen=True)
class Toy2D:
    """One standardised 2-D target; see `hsivi.data.Dataset`.

    Attributes:
        name: key of `GENERATORS`.
        mean: per-axis mean of the raw reference draw, shape (2,).
        std: per-axis standard deviation of the raw reference draw, shape (2,).
        reference: the standardised reference draw, shape (N, 2).
    """

    name: str
    mean: Array
    std: Array
    reference: NDArray[np.float32]
    event_shape: tuple[int, ...] = (2,)

    @classmethod
    def fit(cls, name: str, seed: int, num_draws: int) -> "Toy2D":
        """Draw the reference and measure the transform on it.

        Raises:
            ValueError: there is no target of that name.
        """
        if name not in GENERATORS:
            raise ValueError(f"data set: got {name!r}, expected one of {', '.join(GENERATORS)}; choose a listed name")
        raw = GENERATORS[name](num_draws, generator(seed, name, "reference"))
        mean, std = raw.mean(0), raw.std(0)
        return cls(name, mean, std, ((raw - mean) / std).astype(np.float32))

    @classmethod
    def restore(cls, name: str, arrays: Mapping[str, NDArray[Any]]) -> "Toy2D":
        """Open what `arrays` returned."""
        return cls(name, arrays["mean"], arrays["std"], arrays["reference"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return transform and reference draw."""
        return {"mean": self.mean, "std": self.std, "reference": self.reference}

    def training_points(self) -> NDArray[np.float32]:
        """Return the reference draw."""
        return self.reference

    def draw(self, n: int, *key: int | str) -> Array:
        """Return n fresh standardised points, shape (n, 2), that depend on ``key`` alone."""
        return (GENERATORS[self.name](n, generator(self.name, *key)) - self.mean) / self.std
