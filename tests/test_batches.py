"""Batches of samples: as many as fit, the same samples in any batch."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hsivi import sampler
from hsivi.config import ConfigError
from hsivi.noise import SampleNoise
from hsivi.nonfinite import NonFinite
from hsivi.pixels import quantise
from hsivi.problem import Problem
from hsivi.sampler import SMALLEST_BATCH, batch_size, draw
from hsivi.stages import sample


class Sampler:
    """A sampler of one step whose samples depend on all noise there is, and that may run out of memory."""

    TITLE, CITATION, Config = "Toy", "none", None

    def __init__(self, most: int = 10**9) -> None:
        self.most, self.sizes = most, []

    def sample(self, given: Problem, config: Any, noise: SampleNoise, state: Any) -> Iterator[Tensor]:
        x = noise.prior()
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        for t in reversed(range(given.nfe)):
            x = 0.5 * x + 0.5 * noise.step(t)
            given.counter.add()
            yield x


def samples(baseline: Sampler, n: int = 700, **changes: Any) -> sampler.Samples:
    given = SimpleNamespace(nfe=2, event_shape=(3,), counter=SimpleNamespace(count=0))
    given.counter.add = lambda: setattr(given.counter, "count", given.counter.count + 1)
    return draw(baseline, given, None, 3, n, {}, **changes)


@pytest.mark.parametrize("batch", [None, 16, 100, 256, 699, 10_000])
def test_samples_do_not_depend_on_the_batch(batch):
    noise = SampleNoise(3, 0, 700, (3,))
    expected = 0.25 * noise.prior() + 0.25 * noise.step(1) + 0.5 * noise.step(0)
    found = samples(baseline := Sampler(), batch=batch, trajectory=10)
    torch.testing.assert_close(found.x, expected, rtol=1e-6, atol=1e-6)  # float32
    assert torch.equal(found.x, samples(Sampler()).x)
    assert torch.equal(found.trajectory[0], noise.prior()[:10]) and torch.equal(found.trajectory[-1], found.x[:10])
    assert found.nfe == 2 and max(baseline.sizes) == min(batch or 700, 700)


@pytest.mark.parametrize("most", [16, 100, 400])
def test_a_batch_that_does_not_fit_is_halved(most):
    found = samples(baseline := Sampler(most), trajectory=10)
    whole = samples(Sampler(), trajectory=10)
    assert torch.equal(found.x, whole.x) and torch.equal(found.trajectory, whole.trajectory) and found.nfe == whole.nfe
    first = next(index for index, size in enumerate(baseline.sizes) if size <= most)
    assert all(size <= most for size in baseline.sizes[first:])  # what did not fit is not tried again


def test_too_little_memory_for_anything_is_one_line():
    with pytest.raises(ConfigError) as error:
        samples(baseline := Sampler(SMALLEST_BATCH - 1))
    assert f"Toy: got too little memory on the device for {SMALLEST_BATCH} samples at once" in str(error.value)
    assert "\n" not in str(error.value) and baseline.sizes[-1] == SMALLEST_BATCH


@pytest.mark.parametrize(
    ("shape", "size"), [((2,), 4000), ((1, 16, 16), 4000), ((1, 32, 32), 1792), ((3, 32, 32), 512), ((3, 64, 64), 256)]
)
def test_batches_are_whole_blocks_of_noise_that_fit(shape, size):
    assert batch_size(shape) == size  # two million numbers at most, but a block of 256 in any case


@pytest.mark.parametrize("most", [100, 10**9])
def test_images_are_stored_as_whole_numbers_batch_by_batch(most):
    seen: list[int] = []

    def store(x: Tensor) -> Tensor:
        seen.append(len(x))
        return quantise(x)

    found = samples(Sampler(most), batch=300, store=store)
    assert found.x.dtype == torch.uint8 and max(seen) == min(300, most - most % 75) and sum(seen) == 700
    assert torch.equal(found.x, quantise(samples(Sampler()).x))


def test_pixels_that_are_not_finite_are_refused(monkeypatch):
    """Images alone: a whole number cannot say that it is none, while the other metrics are given what was drawn."""
    for value in (math.nan, math.inf, -math.inf):
        store, images = sample.Pixels("round"), torch.zeros(3, 1, 2, 2)
        assert torch.equal(store(images), quantise(images))
        store.refuse_non_finite("mnist ddim nfe=5")
        images[1, 0, 1, 0] = value
        store(images)
        store(torch.zeros(3, 1, 2, 2))  # a later batch does not make up for it
        with pytest.raises(NonFinite, match="samples of mnist ddim nfe=5: got non-finite pixels, expected") as error:
            store.refuse_non_finite("mnist ddim nfe=5")
        assert "\n" not in str(error.value)
