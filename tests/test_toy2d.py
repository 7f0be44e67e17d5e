"""The four 2-D targets: determinism, standardisation, and moments or supports known in closed form."""

import numpy as np
import pytest
import torch

from hsivi.data.toy2d import GENERATORS, Toy2D
from tests.oracles import assert_mean

NAMES = sorted(GENERATORS)
N = 40_000


@pytest.fixture(scope="module")
def targets() -> dict[str, Toy2D]:
    return {name: Toy2D.fit(name, 0, 100_000) for name in NAMES}


def raw(target: Toy2D, n: int = N) -> torch.Tensor:
    return torch.from_numpy(target.draw(n, "test") * target.std + target.mean)


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_depends_on_its_key_alone(targets, name):
    target = targets[name]
    first = target.draw(100, 1, "evaluate")
    target.draw(50, 2)  # whatever is drawn in between
    assert np.array_equal(first, target.draw(100, 1, "evaluate"))
    assert np.array_equal(first, Toy2D.fit(name, 0, 100_000).draw(100, 1, "evaluate"))
    for other in (target.draw(100, 2, "evaluate"), target.draw(100, 1, "train")):
        assert not np.isin(other, first).any()
    assert first.shape == (100, 2)
    assert first.dtype == np.float64


def test_targets_and_seeds_differ():
    means = [Toy2D.fit("moons", seed, 1000).mean for seed in range(3)]
    assert len(np.unique(means, axis=0)) == 3
    for a in NAMES:
        for b in NAMES:
            same = np.allclose(Toy2D.fit(a, 0, 1000).mean, Toy2D.fit(b, 0, 1000).mean, atol=1e-6)
            assert same == (a == b)


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_standardised_and_centred_on_every_axis(targets, name):
    x = torch.from_numpy(targets[name].draw(N, "test"))
    # The transform was measured on 100,000 points, which widens a standard error by sqrt(1 + 0.4) < 1.2.
    assert_mean(x, 0.0, k=6, what=f"mean of {name}")
    assert_mean(x**2, 1.0, k=6, what=f"variance of {name}")


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_draw_is_exactly_standardised_and_survives_storage(targets, name):
    target = targets[name]
    points = target.training_points()
    assert points.shape == (100_000, 2)
    assert points.dtype == np.float32
    assert np.abs(points.astype(float).mean(0)).max() < 1e-6  # rounding of float32
    assert np.abs(points.astype(float).std(0) - 1).max() < 1e-6
    stored = Toy2D.restore(name, target.arrays())
    assert np.array_equal(stored.draw(10, 3), target.draw(10, 3))
    assert np.array_equal(stored.training_points(), points)


def test_checkerboard_fills_eight_squares_evenly_and_nothing_else(targets):
    cell = torch.floor(raw(targets["checkerboard"]) / 2)
    assert (cell.sum(1) % 2 == 0).all()  # exact support: squares of one colour
    assert (cell.min(), cell.max()) == (-2, 1)
    squares = cell.unique(dim=0)
    assert len(squares) == 8
    for square in squares:
        assert_mean((cell == square).all(1).double(), 1 / 8, what=f"share of square {square.tolist()}")
    assert_mean(raw(targets["checkerboard"]) % 2, 1.0, what="position within a square")


def test_swissroll_axes_are_not_swapped(targets):
    """t (cos t, sin t) / 5 with t uniform on [1.5 pi, 4.5 pi] has the mean (2, 2 / (3 pi)) / 5."""
    x = raw(targets["swissroll"])
    assert_mean(x, torch.tensor([2, 2 / (3 * np.pi)]) / 5, what="mean of the roll")
    # Its noise has the standard deviation 1 / 5 on each axis, and E t^2 = (4.5^3 - 1.5^3) pi^2 / 9.
    assert_mean((x**2).sum(1), (4.5**3 - 1.5**3) * np.pi**2 / 9 / 25 + 2 / 25, what="squared radius")


def test_circles_have_two_radii(targets):
    x = raw(targets["circles"])
    noise = 0.08 * 3
    assert_mean(x, 0.0, what="centre")
    assert_mean((x**2).sum(1), (3**2 + 1.5**2) / 2 + 2 * noise**2, what="squared radius")
    assert_mean((x.norm(dim=1) < 2.25).double(), 0.5, what="inner share")  # three noise deviations on either side


def test_moons_have_the_upper_one_on_the_left(targets):
    """2 (cos, sin) and 2 (1 - cos, 1/2 - sin) of an angle in [0, pi], moved by (-1, -0.2): the mean is (0, 0.3)."""
    x = raw(targets["moons"])
    assert_mean(x, torch.tensor([0.0, 0.3]), what="mean of the moons")
    left = x[:, 0] < -1  # holds points of the upper moon only, up to noise
    assert (x[left, 1] > -1.2).all()
    assert x[left, 1].mean() > 0.3 > x[x[:, 0] > 1, 1].mean()


def test_noise_levels(targets):
    """Distances to the noiseless curve; they set the scale of every metric, so they are pinned.

    The mean square of a residual has the relative error sqrt(2 / n); curvature adds less than a further 2 %.
    """
    circles, moons, roll = raw(targets["circles"]), raw(targets["moons"]), 5 * raw(targets["swissroll"])
    radius = circles.norm(dim=1)
    moons = (moons - torch.tensor([-1.0, -0.2])) / 2
    angle, turn = torch.atan2(roll[:, 1], roll[:, 0]), 2 * np.pi
    residuals = {
        "circles": ((radius[radius > 2.25] - 3) / 3, 0.08),
        "moons": (moons[moons[:, 0] < -0.3].norm(dim=1) - 1, 0.1),  # the upper moon alone
        "swissroll": ((roll.norm(dim=1) - angle + turn / 2) % turn - turn / 2, 1.0),  # radius = angle, up to turns
    }
    for name, (residual, noise) in residuals.items():
        ratio = float(residual.square().mean() / noise**2)
        assert abs(ratio - 1) < 5 * (2 / len(residual)) ** 0.5 + 0.02, f"{name}: {ratio} with n={len(residual)}"


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="got 'spiral', expected one of checkerboard, swissroll, circles, moons"):
        Toy2D.fit("spiral", 0, 10)
