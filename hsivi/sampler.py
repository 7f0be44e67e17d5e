"""Runs a baseline: loads its file, checks its settings, draws samples in batches, and counts evaluations."""

import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from hsivi import parallel
from hsivi.checkpoint import Session
from hsivi.config import ConfigError, check_choice, validate_config
from hsivi.noise import BLOCK, SampleNoise
from hsivi.problem import Budget

State = dict[str, Tensor]


class Baseline(Protocol):
    """What a file in baselines/ offers.  ``skip``, ``fit``, ``elbo``, ``estimated_score``, ``illustrate`` are optional.

    So is ``untrained(problem, config)`` beside ``fit``: a state of the right shapes without training, on the problem's
    random weights, with which the stage ``time`` measures how long sampling takes.

    Attributes:
        TITLE: name for people.
        CITATION: key of the reference.
        Config: frozen dataclass (or pydantic model) of the method's settings.
    """

    TITLE: str
    CITATION: str
    Config: type

    def sample(self, problem: Any, config: Any, noise: SampleNoise, state: State) -> Iterator[Tensor]:
        """Yield x_{T-1}, ..., x_0, each of shape (n, \\*event), from x_T = noise.prior()."""
        ...


def load_baseline(name: str) -> Baseline:
    """Import baselines/<name>.py."""
    return cast(Baseline, importlib.import_module(f"baselines.{name}"))


def make_config(baseline: Baseline, values: Mapping[str, Any], where: str) -> Any:
    """Build a baseline's Config from values.

    Raises:
        ConfigError: a key is not known or a value has the wrong type.
    """
    if dataclasses.is_dataclass(baseline.Config):
        known = tuple(field.name for field in dataclasses.fields(baseline.Config))
        for key in values:
            check_choice(f"{where}: config key", key, known)
    return validate_config(baseline.Config, values, where)


def skip_reason(baseline: Baseline, problem: Budget, config: Any) -> str | None:
    """Return why a baseline declines a problem, or None."""
    skip: Callable[[Any, Any], str | None] | None = getattr(baseline, "skip", None)
    return skip(problem, config) if skip is not None else None


def fit(baseline: Baseline, problem: Budget, config: Any, seeds: Sequence[int], session: Session) -> list[State]:
    """Train a baseline and return one state a seed; a baseline without ``fit`` learns nothing: empty states."""
    train = getattr(baseline, "fit", None)
    states: list[State] = train(problem, config, tuple(seeds), session) if train else [{} for _ in seeds]
    return states


@dataclass(frozen=True)
class Samples:
    """Samples of one run.

    Attributes:
        x: shape (n, \\*event); where several processes draw, all of them on the first, and on another its own.
        trajectory: x_T, ..., x_0 of the first samples, shape (T + 1, m, \\*event); empty where not asked for.
        nfe: function evaluations a sample, counted.
    """

    x: Tensor
    trajectory: Tensor
    nfe: int


NUMBERS_AT_ONCE = 2_000_000
"""Numbers that the samples of a batch may hold: the network's activations are many times that."""


def batch_size(event_shape: Sequence[int]) -> int:
    """Return how many samples are drawn at once: whole blocks of noise, as far as samples are small, 4,000 at most."""
    fitting = NUMBERS_AT_ONCE // max(math.prod(event_shape), 1)
    return min(4_000, max(BLOCK, fitting // BLOCK * BLOCK))


@torch.no_grad()
def draw(
    baseline: Baseline,
    problem: Budget,
    config: Any,
    seed: int,
    num_samples: int,
    state: State,
    batch: int | None = None,
    trajectory: int = 0,
    device: torch.device | None = None,
    store: Callable[[Tensor], Tensor] = lambda x: x,
) -> Samples:
    """Draw samples; neither they nor the count depend on ``batch``, or on the number of processes that share them out.

    Arguments:
        baseline: the method.
        problem: what it samples from.
        config: its settings.
        seed: seed of the run; the same for all methods that are compared.
        num_samples: n.
        state: what `fit` returned for this seed.
        batch: samples at a time, `batch_size` by default; halved where the device has too little memory.
        trajectory: keep the whole path of that many first samples (at most one batch).
        device: where noise is put.
        store: what is kept of a batch of samples.

    Raises:
        ConfigError: the method used another number of evaluations than its budget, left the shape, or ran out of
            memory with a single block of samples.
        BudgetExceeded: it asked for more evaluations than its budget.
    """
    batch = shared = batch or batch_size(problem.event_shape)
    own = parallel.own_rows(num_samples, shared)
    parts, kept, start = [torch.empty(0)] if not own else [], torch.empty(0), own.start
    while start < own.stop:
        stop = min(start + batch, own.stop)
        noise = SampleNoise(seed, start, stop, problem.event_shape, device=device or torch.device("cpu"))
        try:
            x, path = draw_batch(baseline, problem, config, noise, state, trajectory if start == 0 else 0)
        except torch.OutOfMemoryError as error:
            if batch <= SMALLEST_BATCH:
                raise ConfigError(
                    f"{baseline.TITLE}: got too little memory on the device for {batch} samples at once, expected "
                    f"enough; free it or use a larger device, what is finished stays"
                ) from error
            batch = max(batch // 2, SMALLEST_BATCH)
            continue
        if len(path):
            kept = path
        parts.append(store(x).cpu())
        start = stop
    x = parallel.gather_rows(torch.cat(parts), num_samples, shared)
    return Samples(x, kept.cpu(), problem.counter.count)


SMALLEST_BATCH = 16


def draw_batch(
    baseline: Baseline, problem: Budget, config: Any, noise: SampleNoise, state: State, trajectory: int = 0
) -> tuple[Tensor, Tensor]:
    """Return the samples of one batch, and the path of the first ``trajectory`` of them; errors as `draw`."""
    problem.counter.count = 0
    path = [noise.prior()[:trajectory]] if trajectory else []
    x = torch.empty(0)
    for x in baseline.sample(problem, config, noise, state):
        if path:
            path.append(x[:trajectory])
    wanted = (noise.stop - noise.start, *problem.event_shape)
    if x.shape != wanted:
        raise ConfigError(
            f"{baseline.TITLE}: got samples of shape {tuple(x.shape)}, expected {wanted}; yield one x_t of that "
            f"shape a step"
        )
    if problem.counter.count != problem.nfe:
        raise ConfigError(
            f"{baseline.TITLE}: got {problem.counter.count} function evaluations a sample, expected the budget "
            f"{problem.nfe}; use the whole grid once, and pass networks of your own through problem.counted"
        )
    return x, torch.stack(path) if path else torch.empty(0)
