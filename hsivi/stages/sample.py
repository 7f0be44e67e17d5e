"""Stage ``sample``: draw the samples of one cell for every seed, and count function evaluations.

Several processes share the samples out; the first of them draws what figures and bounds need, and writes.
"""

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsivi import methods, parallel
from hsivi.arrays import save_arrays
from hsivi.checkpoint import Progress
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.noise import FanNoise, SampleNoise
from hsivi.nonfinite import NonFinite
from hsivi.pixels import Rounding, quantise
from hsivi.problem import Problem, compute_device, device_name
from hsivi.sampler import State, draw, skip_reason
from hsivi.stages.cell import OpenCell, open_cell, stored_states
from hsivi.stages.common import Stopwatch
from hsivi.summary import Kind, summarise

TRAJECTORY = 2_000
"""Samples of the first seed whose whole path is kept."""
LONGEST_TRAJECTORY = 50
LARGEST_EVENT = 100
"""Numbers a sample may have for its path to be kept."""
ELBO_SAMPLES = 2_000
"""Samples of each seed that a lower bound on the log evidence is averaged over."""
FIELD_POINTS = 21
FIELD_EXTENT = 2.5
FAN_PRIORS, FAN_MEMBERS = 4, 8
"""Starting points, and samples from each, of which the paths are kept for images (Figure 6)."""
ILLUSTRATED = 12
"""Samples of the first seed whose noise a method may use for illustrations."""


def run(experiment: Experiment, cell: Cell) -> None:
    """Write samples of shape (seeds, sets, n, \\*event), a trajectory, and the note."""
    watch, opened = Stopwatch(), open_cell(experiment, cell)
    reason = skip_reason(opened.baseline, opened.problem, opened.config)
    if reason is not None:
        if parallel.is_first():
            save_arrays(opened.files.samples, {}, {"declined": reason})
            watch.note(opened.files.samples, cell.command("sample"), declined=reason)
        return
    arrays, facts = _draw(experiment, opened)
    if not parallel.is_first():
        return
    save_arrays(opened.files.samples, arrays)
    watch.note(
        opened.files.samples,
        cell.command("sample"),
        seeds=list(experiment.seeds),
        config=_plain(opened.config),
        levels=_levels(opened),
        device=device_name(),
        dtype="float32",
        threads=torch.get_num_threads(),
        processes=parallel.processes(),
        **facts,
    )


def _draw(experiment: Experiment, opened: OpenCell) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays to store, and the evaluations a sample and the seconds that drawing took.

    Both are empty in a process that is not the first.

    Raises:
        NonFinite: a pixel is not finite.
    """
    states, nfe, seconds = _states(experiment, opened), 0, 0.0
    data = experiment.data
    kind: Kind = "moments" if data.kind == "posterior" else "all"
    store = Pixels(data.quantise) if data.kind == "images" else torch.Tensor.float
    arrays: dict[str, NDArray[Any]] = {}
    parts: dict[str, list[NDArray[Any]]] = defaultdict(list)
    sets = methods.sample_sets(experiment, opened.cell.label, opened.cell.nfe)
    progress = Progress(f"sample {opened.title}")
    for done, (seed, state) in enumerate(zip(experiment.seeds, states, strict=True)):
        wanted = experiment.num_samples * sets
        short = opened.cell.nfe <= LONGEST_TRAJECTORY and math.prod(opened.problem.event_shape) <= LARGEST_EVENT
        kept = TRAJECTORY if done == 0 and short else 0
        begin = time.perf_counter()
        baseline, device = opened.baseline, compute_device()
        run_ = draw(
            baseline,
            opened.problem,
            opened.config,
            seed,
            wanted,
            state,
            trajectory=kept,
            device=device,
            store=store,
        )
        if isinstance(store, Pixels):
            store.refuse_non_finite(opened.title)
        seconds += time.perf_counter() - begin
        if not parallel.is_first():
            continue
        nfe = max(nfe, run_.nfe)
        drawn = run_.x.numpy().reshape(1, sets, experiment.num_samples, *run_.x.shape[1:])
        summary = summarise(kind, drawn) | _elbo(opened, seed, state)
        for name, part in summary.items():
            parts[name].append(part)
        if kept:
            arrays["trajectory"] = run_.trajectory.numpy()
        progress.update(done + 1, len(experiment.seeds))
    if not parallel.is_first():
        return {}, {}
    arrays |= {name: np.concatenate(of_seeds) for name, of_seeds in parts.items()}
    if data.kind == "images":
        arrays |= _fan(opened, experiment.seeds[0], states[0])
    arrays |= _estimated_scores(opened, states[0])
    arrays |= _illustrations(opened, experiment.seeds[0], states[0], set(arrays))
    return arrays, {"nfe": nfe, "sampling_seconds": round(seconds, 3)}


@dataclass
class Pixels:
    """Keeps batches of images as image files would hold them, and whether all were finite: a whole number cannot say.

    Attributes:
        rounding: see `hsivi.pixels.quantise`.
        finite: whether all pixels have been so far.
    """

    rounding: Rounding
    finite: bool = True

    def __call__(self, images: Tensor) -> Tensor:
        """Return a batch as whole numbers."""
        self.finite = self.finite and bool(images.isfinite().all())
        return quantise(images, self.rounding)

    def refuse_non_finite(self, title: str) -> None:
        """End the sampling of a cell in all processes where a pixel of one was not finite.

        Raises:
            NonFinite: one was not.
        """
        problem = (
            f"samples of {title}: got non-finite pixels, expected finite images; change the row's settings, its time "
            f"grid or its training"
        )
        if (found := parallel.first_problem(None if self.finite else problem)) is not None:
            raise NonFinite(found)


def _states(experiment: Experiment, opened: OpenCell) -> list[State]:
    """Return what the method learned, for every seed of sampling."""
    if not opened.info.needs_fit:
        return [{} for _ in experiment.seeds]
    states = stored_states(opened.files.fit, experiment.training_seeds)
    return states * len(experiment.seeds) if experiment.train_once else states


@torch.no_grad()
def _fan(opened: OpenCell, seed: int, state: State) -> dict[str, NDArray[Any]]:
    """Return paths x_T, ..., x_0 of samples from each of a few x_T, shape (T + 1, priors, members, \\*event)."""
    problem = opened.problem
    if problem.nfe > LONGEST_TRAJECTORY:
        return {}
    count = FAN_PRIORS * FAN_MEMBERS
    noise = FanNoise(seed, 0, count, problem.event_shape, device=compute_device(), members=FAN_MEMBERS)
    problem.counter.count = 0
    path = [noise.prior(), *opened.baseline.sample(problem, opened.config, noise, state)]
    paths = torch.stack([x.half().cpu() for x in path])
    return {"fan": paths.reshape(len(path), FAN_PRIORS, FAN_MEMBERS, *problem.event_shape).numpy()[None]}


@torch.no_grad()
def _elbo(opened: OpenCell, seed: int, state: State) -> dict[str, NDArray[Any]]:
    """Return, for a method with ``elbo``, the integrand of its lower bounds at its first samples, shape (1, n)."""
    bounds = getattr(opened.baseline, "elbo", None)
    if bounds is None:
        return {}
    noise = SampleNoise(seed, 0, ELBO_SAMPLES, opened.problem.event_shape, device=compute_device())
    found = bounds(opened.problem, opened.config, noise, state)
    if wrong := [name for name in found if not name.startswith("elbo")]:
        raise ConfigError(
            f"{opened.baseline.TITLE}: got a lower bound named {wrong[0]!r}, expected 'elbo' or 'elbo_k<K>'; rename it"
        )
    return {name: integrand.cpu().numpy()[None] for name, integrand in found.items()}


def _estimated_scores(opened: OpenCell, state: State) -> dict[str, NDArray[Any]]:
    """Return, for a method with ``estimated_score`` on 2-D data, that field of every layer on a grid of points."""
    estimate = getattr(opened.baseline, "estimated_score", None)
    problem = opened.problem
    if estimate is None or not isinstance(problem, Problem) or problem.event_shape != (2,):
        return {}
    axis = np.linspace(-FIELD_EXTENT, FIELD_EXTENT, FIELD_POINTS, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    x = torch.from_numpy(points).to(compute_device())
    with torch.no_grad():
        estimates = [estimate(problem, opened.config, state, x, t) for t in range(problem.nfe)]
        targets = [problem.teacher.score(x[None], problem.grid[t].to(x))[0] for t in range(problem.nfe)]
    return {"field_points": points, "field_estimate": _stack(estimates), "field_target": _stack(targets)}


@torch.no_grad()
def _illustrations(opened: OpenCell, seed: int, state: State, taken: set[str]) -> dict[str, NDArray[Any]]:
    """Return, for a method with ``illustrate``, its arrays for figures; evaluations are not counted."""
    illustrate = getattr(opened.baseline, "illustrate", None)
    if illustrate is None:
        return {}
    noise = SampleNoise(seed, 0, ILLUSTRATED, opened.problem.event_shape, device=compute_device())
    drawn = illustrate(opened.problem, opened.config, noise, state)
    if common := sorted(taken & set(drawn)):
        raise ConfigError(
            f"{opened.baseline.TITLE}: got an illustration named {common[0]!r}, expected a name that nothing else of "
            f"the cell has; rename it"
        )
    return {name: values.cpu().numpy() for name, values in drawn.items()}


def _stack(values: list[Tensor]) -> NDArray[Any]:
    array: NDArray[Any] = torch.stack(values).cpu().numpy()
    return array


def _levels(opened: OpenCell) -> list[float]:
    levels = opened.problem.levels if isinstance(opened.problem, Problem) else None
    return [] if levels is None else levels.tolist()


def _plain(config: Any) -> dict[str, Any]:
    from pydantic import TypeAdapter

    plain: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return plain
