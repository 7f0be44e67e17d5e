"""What bounds an evening beside training: Langevin chains and metrics."""

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.results import Results
from hsivi.data.conditioned_diffusion import ConditionedDiffusionData
from hsivi.langevin import BLOCK, LangevinBlock
from hsivi.mcmc import langevin_step
from hsivi.metrics.cells import CellReference
from hsivi.metrics.knn import jensen_shannon, kullback_leibler
from hsivi.metrics.sliced import SlicedReference
from hsivi.moments import Moments
from hsivi.rng import generator

Array = NDArray[np.float64]
STEP = 1e-4
SAMPLES = 10_000
METRIC_GOAL = 0.2
"""Seconds."""
LANGEVIN_GOAL = 0.75e8
"""Coordinates moved a second and core: 1.5e8 on two."""
TITLE = "Throughput"


def median_seconds(run: Callable[[], object], benchmark: BenchmarkFixture) -> float:
    """Return the median of a few timings of ``run``."""
    benchmark.pedantic(run, rounds=9, warmup_rounds=1)
    return float(benchmark.stats.stats.median)


def plain_rate(data: ConditionedDiffusionData, steps: int = 10) -> float:
    """Return coordinates a second of the same chains as one would first write them in torch."""
    x = data.target.observations.expand(BLOCK, -1).clone()
    start = time.process_time()
    for _ in range(steps):
        x = langevin_step(x, data.target.score, torch.randn_like(x), STEP)
    return x.numel() * steps / (time.process_time() - start)


def test_langevin_chains(benchmark: BenchmarkFixture, results: Results) -> None:
    """Move one block of chains; a core has one."""
    data = ConditionedDiffusionData.simulate(2022)
    block, source = LangevinBlock(data.target, BLOCK, STEP), torch.Generator().manual_seed(0)
    noise = torch.from_numpy(block.noise)
    block.x[:] = data.observations[:, None]

    def run() -> None:
        for _ in range(50):
            noise.normal_(generator=source)
            block.advance()

    rate = 50 * block.x.size / median_seconds(run, benchmark)
    note(results, "Langevin, coordinates a second and core", f"{rate:.2e}", f"{LANGEVIN_GOAL:.1e}")
    note(results, "the same, plainly in torch", f"{plain_rate(data):.2e}", "")
    assert rate > plain_rate(data)


def samples() -> tuple[Array, Array]:
    """Return two samples of a standard Gaussian in the plane, shape (SAMPLES, 2)."""
    rng = generator(0, "benchmark")
    return rng.standard_normal((SAMPLES, 2)), rng.standard_normal((SAMPLES, 2))


def metrics() -> dict[str, Callable[[Array, Array], object]]:
    """Return metrics of two samples, with what is prepared once a data set prepared."""
    rng = generator(1, "benchmark")
    reference = rng.standard_normal((2_000_000, 2))
    cells = CellReference.build(reference, SAMPLES, rng)
    sliced = SlicedReference.build(reference, [rng.standard_normal((SAMPLES, 2))])
    return {
        "js_cell": lambda _, y: cells.evaluate(y),
        "swd_ref": lambda _, y: sliced.evaluate(y),
        "js_ite": jensen_shannon,
        "kl_target_model_ite": kullback_leibler,
    }


@pytest.mark.parametrize("name", ["js_cell", "swd_ref", "js_ite", "kl_target_model_ite"])
def test_metrics_of_points(name: str, benchmark: BenchmarkFixture, results: Results) -> None:
    """Measure one sample set of the paper's size."""
    metric, (x, y) = metrics()[name], samples()
    seconds = median_seconds(lambda: metric(x, y), benchmark)
    note(results, f"{name}, {SAMPLES:,} points, seconds", f"{seconds:.3f}", f"{METRIC_GOAL:g}")


def test_covariance_of_streamed_states(benchmark: BenchmarkFixture, results: Results) -> None:
    """Take 100,000 states of 300 coordinates into mean and covariance in one pass of blocks."""
    blocks = [generator(2, "benchmark", i).standard_normal((10_000, 300), "float32") for i in range(10)]

    def run() -> Moments:
        total = Moments.of(np.empty((0, 300)))
        for block in blocks:
            total = total.merge(Moments.of(block))
        return total

    seconds = median_seconds(run, benchmark)
    note(results, "covariance of 100,000 states in 300 dimensions, seconds", f"{seconds:.2f}", "")
    assert math.isclose(run().covariance[0, 0], np.concatenate(blocks)[:, 0].var(ddof=1), rel_tol=1e-3)


def note(results: Results, what: str, measured: str, goal: str) -> None:
    """Add a row."""
    results.add(TITLE, what=what, measured=measured, goal=goal)
