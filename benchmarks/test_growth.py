"""How cost grows: measured at a few sizes, with the exponent of the power law through the largest of them."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.pairs import TOY, joint_pair
from benchmarks.results import Results
from hsivi.hierarchy import DDIMHierarchy
from hsivi.metrics.knn import jensen_shannon
from hsivi.metrics.sliced import SlicedReference
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.noise import SampleNoise
from hsivi.rng import generator
from hsivi.score_model import NetworkScoreModel
from hsivi.time_grid import time_grid

LARGEST = 3
"""Sizes the exponent is fitted to: below them a fixed cost hides the growth."""
TITLE = "Growth of cost"


def update(layers: int = 5, chains: int = 64, replicas: int = 5) -> Callable[[], object]:
    """Return one update of joint training with shared rollouts."""
    return joint_pair(layers, "shared", replicas, chains).ours


def sampling(nfe: int) -> Callable[[], object]:
    """Return the drawing of 10,000 samples."""
    model = NetworkScoreModel(ScoreMLP((0,)), TOY, "noise", 0.05)
    hierarchy = DDIMHierarchy(model, time_grid(TOY, "full", nfe), 1.0, torch.zeros(1, 2))
    noise = SampleNoise(0, 0, 10_000, (2,))

    @torch.no_grad()
    def draw() -> None:
        for _ in hierarchy.propagate(noise.prior()[None], nfe, 0, lambda t: noise.step(t)[None]):
            pass

    return draw


def nearest_neighbours(n: int) -> Callable[[], object]:
    """Return the estimate js_ite of two samples of n points."""
    x, y = (generator(side, "benchmark").standard_normal((n, 2)) for side in range(2))
    return lambda: jensen_shannon(x, y)


def projections(n: int) -> Callable[[], object]:
    """Return the metric swd_ref of n points."""
    rng = generator(0, "benchmark")
    sliced = SlicedReference.build(rng.standard_normal((200_000, 2)), [rng.standard_normal((n, 2))])
    x = rng.standard_normal((n, 2))
    return lambda: sliced.evaluate(x)


CURVES: dict[str, tuple[Callable[[int], Callable[[], object]], Sequence[int], str]] = {
    "an update against T": (lambda n: update(layers=n), (2, 5, 10, 20, 40), "1"),
    "an update against chains": (lambda n: update(chains=n), (8, 32, 128, 256, 512), "1"),
    "an update against replicas": (lambda n: update(chains=16, replicas=n), (1, 5, 10, 20, 40), "1"),
    "sampling against evaluations": (sampling, (5, 10, 20, 50, 100), "1"),
    "js_ite against points": (nearest_neighbours, (2_500, 10_000, 40_000, 160_000), "1, times log n"),
    "swd_ref against points": (projections, (2_500, 10_000, 40_000, 160_000), "1, times log n"),
}


@pytest.mark.parametrize("curve", CURVES)
def test_cost_grows_as_it_should(curve: str, benchmark: BenchmarkFixture, results: Results) -> None:
    """Record seconds at each size and the exponent; the largest size is what pytest-benchmark sees."""
    make, sizes, theory = CURVES[curve]
    seconds = [timed(make(n)) for n in sizes]
    benchmark.pedantic(make(sizes[-1]), rounds=1)
    exponent = float(np.polyfit(np.log(sizes[-LARGEST:]), np.log(seconds[-LARGEST:]), 1)[0])
    benchmark.extra_info |= {"sizes": list(sizes), "seconds": seconds, "exponent": exponent}
    results.add(
        TITLE,
        seconds_of=curve,
        sizes=", ".join(f"{n:,}" for n in sizes),
        measured=", ".join(f"{value:.3g}" for value in seconds),
        exponent=f"{exponent:.2f}",
        expected=theory,
    )
    assert 0.5 < exponent < 1.5


def timed(run: Callable[[], object]) -> float:
    """Return the least of a few CPU times of ``run``."""
    run()
    values = []
    for _ in range(5):
        start = time.process_time()
        run()
        values.append(time.process_time() - start)
    return min(values)
