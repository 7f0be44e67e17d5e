"""Stage ``time``: measure how long one cell takes to draw a batch  (HSIVI, Figure 13).

The weights are random, because no duration depends on their values: nothing has to be downloaded or trained.
"""

import time
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from hsivi import layout, methods, provenance
from hsivi.config import ConfigError
from hsivi.data_config import ImageData, image_shape
from hsivi.experiment import Experiment, Timing
from hsivi.methods import Cell, MethodInfo
from hsivi.problem import Problem, build_score_model, compute_device, device_name
from hsivi.record import write_json
from hsivi.sampler import Baseline, State, draw_batch, skip_reason
from hsivi.stages import settings
from hsivi.stages.opening import open_method, time_levels
from hsivi.timing import Begin, Durations, StoredNoise, time_sampling
from hsivi.timing_record import TimingRecord

UNTRAINED = "it learns before it samples, and has no function untrained(problem, config) that returns a state to time"


def run(experiment: Experiment, cell: Cell) -> None:
    """Write the timing of a cell.

    Raises:
        ConfigError: the cell is not one that is timed, a setting cannot be used, or the batch does not fit the device.
    """
    begin = time.perf_counter()
    timing, data = _what_to_time(experiment, cell)
    info, baseline, config = open_method(experiment, cell)
    problem = _problem(experiment, cell, data)
    reason, state = _state(info, baseline, problem, config)
    found = None if reason is not None else _durations(experiment, timing, baseline, problem, config, state)
    record = TimingRecord(
        experiment=experiment.name,
        dataset=cell.dataset,
        label=cell.label,
        baseline=info.name,
        title=methods.title(experiment, cell.label),
        scale=experiment.scale,
        nfe=cell.nfe,
        **timing.model_dump(exclude={"nfe"}),
        status="declined" if found is None else "ok",
        reason=reason,
        **({} if found is None else _numbers(found, timing.batch)),
        parameters=sum(p.numel() for p in problem.network.network.parameters()),
        device=device_name(),
        threads=torch.get_num_threads(),
        stage_seconds=round(time.perf_counter() - begin, 3),
        environment=provenance.environment(),
        commit=provenance.git_commit(),
        digests={
            "settings": settings.of_time(experiment, cell),
            "code": provenance.code_digest(provenance.stage_file("time"), info.path),
        },
        command=cell.command("time"),
    )
    write_json(layout.CellFiles(cell).timing, record.model_dump(mode="json"))


def _what_to_time(experiment: Experiment, cell: Cell) -> tuple[Timing, ImageData]:
    if cell not in methods.timed_cells(experiment):
        asked = f"--method {cell.label} --nfe {cell.nfe}"
        if experiment.timing is None:
            raise ConfigError(
                f"{experiment.name}.yaml: timing: got no such section, expected one to time {asked}; add it with nfe, "
                f"batch, warm_up and runs"
            )
        raise ConfigError(
            f"time: got {asked}, expected a row and the budget {experiment.timing.nfe} at which sampling is timed; "
            f"change --nfe, or timing.nfe in {experiment.name}.yaml"
        )
    assert experiment.timing is not None and isinstance(experiment.data, ImageData)
    return experiment.timing, experiment.data


def _problem(experiment: Experiment, cell: Cell, data: ImageData) -> Problem:
    """Return the problem of a cell with random weights and without data."""
    shape = image_shape(data)
    score_model = build_score_model(experiment.diffusion, shape, data.seed)
    score_model.network.requires_grad_(False).eval()
    levels = time_levels(experiment, cell, score_model.schedule)

    def draw(n: int, *key: int | str) -> NoReturn:
        raise ConfigError(
            f"{cell.label}: got a request for data while sampling is timed, expected none; return a state that needs "
            f"none from untrained(problem, config)"
        )

    return Problem(cell.nfe, shape, draw, score_model, levels)


def _state(info: MethodInfo, baseline: Baseline, problem: Problem, config: Any) -> tuple[str | None, State]:
    """Return why a method is not timed, or None, and a state as if it had learned."""
    reason = skip_reason(baseline, problem, config)
    if reason is not None or not info.needs_fit:
        return reason, {}
    untrained = getattr(baseline, "untrained", None)
    if untrained is None:
        return UNTRAINED, {}
    state: dict[str, Tensor] = untrained(problem, config)
    return None, {name: value.detach().to(compute_device()) for name, value in state.items()}


@torch.no_grad()
def _durations(
    experiment: Experiment, timing: Timing, baseline: Baseline, problem: Problem, config: Any, state: State
) -> Durations:
    device, seed = compute_device(), experiment.seeds[0]
    noise = StoredNoise(seed, 0, timing.batch, problem.event_shape, device=device)
    network, x = problem.network.network, noise.prior()[None]
    when = problem.schedule.network_time(problem.grid[-1]).to(x)

    def sampling(begin: Begin) -> None:
        draw_batch(baseline, problem, config, replace(noise, asked=begin), state)

    try:
        return time_sampling(sampling, lambda: network(x, when), device, timing.warm_up, timing.runs)
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{experiment.name}.yaml: timing.batch: got {timing.batch}, for which the device has too little memory, "
            f"expected fewer images at once; lower it, or use a larger device"
        ) from error


def _numbers(found: Durations, batch: int) -> dict[str, Any]:
    return {
        "seconds": {"median": found.median, "mean": found.mean, "p95": found.p95, "std": found.std},
        "setup_seconds": found.setup,
        "images_per_second": batch / found.median,
        "forward_seconds": found.forward,
        "forward_equivalents": found.forward_equivalents,
        "peak_memory_bytes": found.peak_memory,
        "peak_memory_kind": found.peak_memory_kind,
    }
