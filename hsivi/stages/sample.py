"""Stage ``sample``: draw the samples of one cell for every seed, and count function evaluations."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsivi import methods
from hsivi.arrays import load_arrays, save_arrays
from hsivi.checkpoint import Progress
from hsivi.config import Experiment
from hsivi.methods import Cell
from hsivi.problem import compute_device, device_name
from hsivi.sampler import State, draw, skip_reason
from hsivi.stages.cell import OpenCell, open_cell
from hsivi.stages.common import Stopwatch

TRAJECTORY = 2_000
"""Samples of the first seed whose whole path is kept."""
LONGEST_TRAJECTORY = 50
FIELD_POINTS = 21
FIELD_EXTENT = 2.5


def run(experiment: Experiment, cell: Cell) -> None:
    """Write samples of shape (seeds, sets, n, \\*event), a trajectory, and the note."""
    watch, opened = Stopwatch(), open_cell(experiment, cell)
    reason = skip_reason(opened.baseline, opened.problem)
    if reason is not None:
        save_arrays(opened.files.samples, {}, {"declined": reason})
        watch.note(opened.files.samples, cell.command("sample"), declined=reason)
        return
    arrays, facts = _draw(experiment, opened)
    save_arrays(opened.files.samples, arrays)
    watch.note(
        opened.files.samples,
        cell.command("sample"),
        seeds=list(experiment.seeds),
        config=_plain(opened.config),
        device=device_name(),
        dtype="float32",
        threads=torch.get_num_threads(),
        **facts,
    )


def _draw(experiment: Experiment, opened: OpenCell) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays to store, and the evaluations a sample and the seconds that drawing took."""
    states, nfe, drawn, seconds = _states(experiment, opened), 0, [], 0.0
    arrays: dict[str, NDArray[Any]] = {}
    sets = methods.sample_sets(experiment, opened.cell.label, opened.cell.nfe)
    progress = Progress(f"sample {opened.title}")
    for done, (seed, state) in enumerate(zip(experiment.seeds, states, strict=True)):
        wanted = experiment.num_samples * sets
        kept = TRAJECTORY if done == 0 and opened.cell.nfe <= LONGEST_TRAJECTORY else 0
        begin = time.perf_counter()
        baseline, device = opened.baseline, compute_device()
        run_ = draw(baseline, opened.problem, opened.config, seed, wanted, state, trajectory=kept, device=device)
        seconds += time.perf_counter() - begin
        nfe = max(nfe, run_.nfe)
        drawn.append(run_.x.reshape(sets, experiment.num_samples, *run_.x.shape[1:]))
        if kept:
            arrays["trajectory"] = run_.trajectory.numpy()
        progress.update(done + 1, len(experiment.seeds))
    arrays["samples"] = torch.stack(drawn).float().numpy()
    arrays |= _estimated_scores(opened, states[0])
    return arrays, {"nfe": nfe, "sampling_seconds": round(seconds, 3)}


def _states(experiment: Experiment, opened: OpenCell) -> list[State]:
    if not opened.info.needs_fit:
        return [{} for _ in experiment.seeds]
    stored = load_arrays(opened.files.fit)
    return [
        {
            name.removeprefix(f"{seed}/"): torch.from_numpy(array).to(compute_device())
            for name, array in stored.items()
            if name.startswith(f"{seed}/")
        }
        for seed in experiment.seeds
    ]


def _estimated_scores(opened: OpenCell, state: State) -> dict[str, NDArray[Any]]:
    """Return, for a method with ``estimated_score`` on 2-D data, that field of every layer on a grid of points."""
    estimate = getattr(opened.baseline, "estimated_score", None)
    if estimate is None or opened.problem.event_shape != (2,):
        return {}
    axis = np.linspace(-FIELD_EXTENT, FIELD_EXTENT, FIELD_POINTS, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    x = torch.from_numpy(points).to(compute_device())
    with torch.no_grad():
        estimates = [estimate(opened.problem, opened.config, state, x, t) for t in range(opened.problem.nfe)]
        targets = [
            opened.problem.teacher.score(x[None], opened.problem.grid[t].to(x))[0] for t in range(opened.cell.nfe)
        ]
    return {"field_points": points, "field_estimate": _stack(estimates), "field_target": _stack(targets)}


def _stack(values: list[Tensor]) -> NDArray[Any]:
    array: NDArray[Any] = torch.stack(values).cpu().numpy()
    return array


def _plain(config: Any) -> dict[str, Any]:
    from pydantic import TypeAdapter

    plain: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return plain
