"""How many times as fast the suite trains as the plain implementation: a ratio taken in one run, in alternation."""

import math
import os
import shutil
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pairs import PAIRS, Pair
from benchmarks.results import Results
from hsivi.sequential import AHEAD

ROUNDS = 15
SECONDS = 0.25
"""CPU time of what runs between two alternations."""


def repeated(step: Callable[[], object]) -> tuple[Callable[[], None], int]:
    """Return a function that takes as many steps as fill `SECONDS`, and their number.

    The number is a multiple of `AHEAD`: sequential training draws for so many updates at once, which belongs to them.
    """
    step()
    start = time.process_time()
    for _ in range(AHEAD):
        step()
    count = AHEAD * math.ceil(SECONDS / (time.process_time() - start))

    def steps() -> None:
        for _ in range(count):
            step()

    return steps, count


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_training_is_faster_than_the_plain_one(
    make: Callable[[], Pair], benchmark: BenchmarkFixture, results: Results
) -> None:
    """Record both times an update and their ratio, a replica; the worst that is let pass is no gain at all."""
    pair = make()
    if pair.compiled and not shutil.which(compiler := os.environ.get("CXX", "g++")):
        pytest.skip(f"{compiler}: got no such program, expected a C++ compiler; set CXX")
    plain, plain_count = repeated(pair.plain)
    ours, count = repeated(pair.ours)
    plain_seconds = []

    def time_plain() -> None:
        start = time.process_time()
        plain()
        plain_seconds.append((time.process_time() - start) / plain_count)

    benchmark.pedantic(ours, setup=time_plain, rounds=ROUNDS)
    per_replica = np.array(benchmark.stats.stats.data) / count / pair.replicas
    ratios = np.array(plain_seconds) / per_replica
    low, ratio, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as flops:
        for _ in range(AHEAD):
            pair.ours()
    rate = flops.get_total_flops() / AHEAD / pair.replicas / np.median(per_replica)
    benchmark.extra_info |= {"pair": pair.name, "plain_seconds": plain_seconds, "ratio": ratio, "goal": pair.goal}
    results.add(
        "Training, against the plain implementation",
        update_of=pair.name,
        plain_ms=f"{1e3 * np.median(plain_seconds):.2f}",
        ours_ms_a_replica=f"{1e3 * np.median(per_replica):.2f}",
        ratio=f"{ratio:.1f} ({low:.1f} to {high:.1f})",
        goal=f"{pair.goal:g}" if pair.goal else "",
        share_of_peak_GEMM=f"{rate / peak_rate():.0%}",
    )
    assert ratio > 1


def peak_rate() -> float:
    """Return the floating-point operations a second of a large matrix product, the best of a few."""
    n = 1024
    a, b = torch.randn(n, n), torch.randn(n, n)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        a @ b
        seconds.append(time.process_time() - start)
    return 2 * n**3 / min(seconds)
