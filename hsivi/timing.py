"""How long sampling takes, on any device, next to one forward pass of the network.

HSIVI's Figure 13 gives seconds on one GPU.  Seconds say little on another, so a single forward pass of the same batch
is timed in the same loop: a pass after each sampling run, so that a machine that slows down slows both.  The ratio of
the two medians is the cost of a sampler in forward passes.  It is at least its number of function evaluations; what
exceeds that is the sampler's own arithmetic.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hsivi.noise import SampleNoise

Begin = Callable[[], None]
"""What a sampling run calls when its preparations are over and sampling begins."""


class Clock(Protocol):
    """Measures one thing at a time."""

    def start(self) -> None:
        """Begin to measure, after everything before is finished."""
        ...

    def stop(self) -> float:
        """Return the seconds since `start`, once everything since is finished."""
        ...


class HostClock:
    """The time of the processor, for work that is finished when its call returns."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._started = now()

    def start(self) -> None:
        """Begin to measure."""
        self._started = self._now()

    def stop(self) -> float:
        """Return the seconds since `start`."""
        return self._now() - self._started


class DeviceClock:
    """Events on a GPU's own stream: its calls return before their work is done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = torch.cuda.Event(enable_timing=True)

    def start(self) -> None:
        """Wait for the device, and begin to measure."""
        torch.cuda.synchronize(self._device)
        self._started.record(torch.cuda.current_stream(self._device))

    def stop(self) -> float:
        """Wait for the device, and return the seconds since `start`."""
        stopped = torch.cuda.Event(enable_timing=True)
        stopped.record(torch.cuda.current_stream(self._device))
        stopped.synchronize()
        return float(self._started.elapsed_time(stopped)) / 1000  # from milliseconds


@dataclass(frozen=True)
class Durations:
    """What `time_sampling` found; all in seconds.

    Attributes:
        median: of the sampling runs.
        mean: of the sampling runs.
        p95: their 95th percentile.
        std: their standard deviation.
        setup: median of what came before sampling began; in none of the above.
        forward: median of one forward pass.
        peak_memory: bytes.
        peak_memory_kind: what they are: ``device_allocated``, the most that tensors held on the GPU during the timed
            runs, or ``process_resident``, the most that the process held since its start.
    """

    median: float
    mean: float
    p95: float
    std: float
    setup: float
    forward: float
    peak_memory: int
    peak_memory_kind: str

    @property
    def forward_equivalents(self) -> float:
        """Cost of sampling in forward passes of the same batch: the number of evaluations, and what is added to it."""
        return self.median / self.forward


def time_sampling(
    run: Callable[[Begin], object],
    forward: Callable[[], object],
    device: torch.device,
    warm_up: int,
    runs: int,
    clock: Clock | None = None,
) -> Durations:
    """Time pairs of one sampling run and one forward pass.

    Arguments:
        run: draws a batch; calls its argument when sampling begins.  Only the first call counts; without one, the
            whole run is sampling.
        forward: one forward pass of the network for the same batch.
        device: where both work.
        warm_up: pairs before the clock starts: memory is allocated and algorithms are chosen there.
        runs: timed pairs, at least two.
        clock: measures; by default what fits the device.
    """
    gpu = device.type == "cuda"
    clock = clock or (DeviceClock(device) if gpu else HostClock())
    for _ in range(warm_up):
        run(lambda: None)
        forward()
    if gpu:
        torch.cuda.reset_peak_memory_stats(device)
    sampling, setups, forwards = [], [], []
    for _ in range(runs):
        setup, seconds = _time_run(clock, run)
        setups.append(setup)
        sampling.append(seconds)
        clock.start()
        forward()
        forwards.append(clock.stop())
    return Durations(
        median=statistics.median(sampling),
        mean=statistics.fmean(sampling),
        p95=float(np.percentile(sampling, 95)),
        std=statistics.stdev(sampling),
        setup=statistics.median(setups),
        forward=statistics.median(forwards),
        peak_memory=torch.cuda.max_memory_allocated(device) if gpu else _peak_resident(),
        peak_memory_kind="device_allocated" if gpu else "process_resident",
    )


def _time_run(clock: Clock, run: Callable[[Begin], object]) -> tuple[float, float]:
    """Return the seconds before sampling began, and those of sampling."""
    setup: list[float] = []

    def begin() -> None:
        if not setup:
            setup.append(clock.stop())
            clock.start()

    clock.start()
    run(begin)
    seconds = clock.stop()
    return (setup[0] if setup else 0.0), seconds


def _peak_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kibibytes


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class StoredNoise(SampleNoise):
    """Noise that is drawn once and kept on the device, so that the clock never sees it made.

    The suite draws noise on the processor, equal on all devices.  On a GPU that takes longer than the network, and it
    says nothing about a sampler, so a warm-up run draws it all.

    Attributes:
        asked: called whenever x_T is asked for, which is when sampling begins: what a method does before, such as
            putting its weights in place, it does once and not for every batch.
        stored: the tensors so far, by purpose and step.
    """

    asked: Begin = _nothing
    stored: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def prior(self) -> Tensor:
        """Return x_T with shape (n, \\*event)."""
        drawn = super().prior()
        self.asked()
        return drawn

    def _draw(self, purpose: str, t: int) -> Tensor:
        if (purpose, t) not in self.stored:
            self.stored[purpose, t] = super()._draw(purpose, t)
        return self.stored[purpose, t]
