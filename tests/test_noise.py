"""Noise is a function of what it is for: batch independence is bitwise, moments are those of N(0, 1)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsivi.noise import BLOCK, FanNoise, SampleNoise, standard_normal
from hsivi.rng import generator
from tests.oracles import assert_mean

TOTAL = 150  # no multiple of the block size


def noise(start: int, stop: int, seed: int = 3) -> SampleNoise:
    return SampleNoise(seed, start, stop, (2,))


@pytest.mark.parametrize("size", [1, 7, 64, TOTAL])
@pytest.mark.parametrize("draw", ["prior", "step"])
def test_batch_size_does_not_change_a_sample(size, draw):
    def rows(start, stop):
        source = noise(start, stop)
        return source.prior() if draw == "prior" else source.step(2)

    batches = [rows(start, min(start + size, TOTAL)) for start in range(0, TOTAL, size)]
    assert torch.equal(torch.cat(batches), rows(0, TOTAL))


@given(st.integers(0, 300), st.integers(1, 200), st.integers(0, 100), st.integers(0, 100))
def test_any_window_is_a_slice_of_a_wider_one(start, length, before, after):
    wide_start = max(start - before, 0)
    wide = noise(wide_start, start + length + after).step(0)
    offset = start - wide_start
    assert torch.equal(noise(start, start + length).step(0), wide[offset : offset + length])


def test_different_keys_give_different_noise():
    draws = [
        noise(0, 64).prior(),
        noise(0, 64).step(0),
        noise(0, 64).step(1),
        noise(64, 128).step(0),
        noise(0, 64, seed=4).step(0),
        standard_normal((64, 2), 1, 23),
        standard_normal((64, 2), 12, 3),
        standard_normal((64, 2), "1", 23),
    ]
    values = torch.stack(draws).flatten(1)
    assert len(values.unique(dim=0)) == len(draws)
    # Independent, not merely different: products of two standard normals have mean 0.
    for i in range(len(draws)):
        for j in range(i):
            assert_mean(values[i].double() * values[j].double(), 0.0, what=f"correlation of draws {i} and {j}")


def test_same_key_gives_the_same_noise():
    assert torch.equal(standard_normal((5,), 1, "a"), standard_normal((5,), 1, "a"))
    assert generator(1, "a").random() == generator(1, "a").random()


def test_moments_are_standard_normal():
    x = SampleNoise(0, 0, 100_000, (2,), dtype=torch.float64).step(1)
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert_mean(x**power, moment, what=f"moment {power}")
    assert_mean(x[:, 0] * x[:, 1], 0.0, what="covariance within a sample")


def test_type_follows_the_request_and_not_the_values():
    double = SampleNoise(0, 0, 70, (3,), dtype=torch.float64).prior()
    assert double.dtype == torch.float64
    assert double.shape == (70, 3)
    assert torch.equal(double.float(), SampleNoise(0, 0, 70, (3,)).prior())


def fan(start: int, stop: int, members: int = 5) -> FanNoise:
    return FanNoise(3, start, stop, (2,), members=members)


def test_members_of_a_fan_share_the_start_and_nothing_else():
    starts, steps = fan(0, 40).prior().view(8, 5, 2), fan(0, 40).step(1)
    assert torch.equal(starts, noise(0, 8).prior()[:, None].expand(8, 5, 2))  # the starts of every other sampler
    assert len(starts[:, 0].unique(dim=0)) == 8
    assert torch.equal(steps, noise(0, 40).step(1)) and len(steps.unique(dim=0)) == 40


@given(st.integers(0, 4 * BLOCK), st.integers(1, 60), st.integers(1, 9))
def test_a_fan_may_be_cut_anywhere(start, length, members):
    whole = noise(0, 4 * BLOCK + 60).prior()[torch.arange(start, start + length) // members]
    assert torch.equal(fan(start, start + length, members).prior(), whole)


def test_a_fan_of_one_is_any_other_noise():
    assert torch.equal(fan(3, 300, members=1).prior(), noise(3, 300).prior())
    double = FanNoise(3, 1, 7, (2,), dtype=torch.float64, members=3).prior()
    assert double.dtype == torch.float64 and double.shape == (6, 2)
