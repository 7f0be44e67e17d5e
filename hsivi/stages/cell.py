"""A cell made ready to run: its problem, its method, its settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from hsivi import layout, methods, provenance
from hsivi.arrays import load_arrays
from hsivi.data import Dataset, ScoredDataset, TargetDataset, TrainingDataset, in_units
from hsivi.experiment import Experiment
from hsivi.gaussian import DiagonalGaussian
from hsivi.methods import Cell, MethodInfo
from hsivi.problem import InferenceProblem, Problem, build_schedule, build_score_model, compute_device
from hsivi.rng import generator
from hsivi.sampler import Baseline
from hsivi.score_model import ScoreModel
from hsivi.stages import settings
from hsivi.stages.common import files, needed, open_dataset, untouched
from hsivi.stages.opening import open_method, time_levels


@dataclass(frozen=True)
class OpenCell:
    """What the stages ``fit`` and ``sample`` work with.

    Attributes:
        cell: which cell.
        info: facts about the baseline.
        baseline: its module.
        config: its settings.
        problem: what it is given.
        files: its files.
    """

    cell: Cell
    info: MethodInfo
    baseline: Baseline
    config: Any
    problem: Problem | InferenceProblem
    files: layout.CellFiles

    @property
    def title(self) -> str:
        """How progress lines name the cell."""
        return f"{self.cell.dataset} {self.cell.label} nfe={self.cell.nfe}"


def identity(experiment: Experiment, cell: Cell) -> str:
    """Return a digest of the settings, the code and the files that decide what a cell learns."""
    path = methods.info(experiment, cell.label).path
    return provenance.digest(
        [
            settings.of_fit(experiment, cell),
            provenance.code_digest(provenance.stage_file("fit"), path),
            *[provenance.file_digest(file) for file in needed(experiment, cell.dataset)],
            *[provenance.file_digest(layout.CellFiles(other).fit) for other in methods.starts_from(experiment, cell)],
        ]
    )


def open_cell(experiment: Experiment, cell: Cell) -> OpenCell:
    """Load score model and method of a cell.

    Raises:
        ConfigError: a file is missing or a setting cannot be used.
    """
    info, baseline, config = open_method(experiment, cell)
    dataset = open_dataset(experiment, cell.dataset)
    problem = (
        _inference_problem(cell, cast(TargetDataset, dataset))
        if experiment.task == "inference"
        else _problem(experiment, cell, dataset)
    )
    return OpenCell(cell, info, baseline, config, problem, layout.CellFiles(cell))


def _problem(experiment: Experiment, cell: Cell, dataset: Dataset) -> Problem:
    teacher = _teacher(experiment, cell, dataset)
    levels = time_levels(experiment, cell, teacher.schedule)
    training, earlier = _training(dataset), _earlier(experiment, cell)
    return Problem(cell.nfe, dataset.event_shape, _drawing(dataset), teacher, levels, training, earlier)


def _earlier(experiment: Experiment, cell: Cell) -> list[dict[str, Tensor]]:
    return [
        state
        for other in methods.starts_from(experiment, cell)
        for state in stored_states(layout.CellFiles(other).fit, experiment.training_seeds)
    ]


def stored_states(path: Path, seeds: Sequence[int]) -> list[dict[str, Tensor]]:
    """Return what a method learned, a state a seed; errors as `hsivi.stages.common.untouched`."""
    stored = load_arrays(untouched(path))
    return [
        {
            name.removeprefix(f"{seed}/"): torch.from_numpy(array).to(compute_device())
            for name, array in stored.items()
            if name.startswith(f"{seed}/")
        }
        for seed in seeds
    ]


def _teacher(experiment: Experiment, cell: Cell, dataset: Dataset) -> ScoreModel:
    if experiment.diffusion.exact:
        return cast(ScoredDataset, dataset).exact_score_model(build_schedule(experiment.diffusion.schedule))
    score_model = build_score_model(experiment.diffusion, dataset.event_shape, experiment.data.seed)
    stored = load_arrays(untouched(files(experiment, cell.dataset).score_model))
    score_model.network.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
    score_model.network.requires_grad_(False).eval()
    return score_model


def _training(dataset: Dataset) -> Callable[..., Tensor] | None:
    """Return a function that draws from the training points, with replacement; None where there are none."""
    if not hasattr(dataset, "training_points"):
        return None

    def draw(n: int, *key: int | str) -> Tensor:
        points = cast(TrainingDataset, dataset).training_points()
        rows = generator("training points", *key).integers(0, len(points), n)
        return in_units(torch.from_numpy(points[rows])).float().to(compute_device())

    return draw


def _inference_problem(cell: Cell, dataset: TargetDataset) -> InferenceProblem:
    device, base = compute_device(), dataset.base
    return InferenceProblem(
        cell.nfe,
        dataset.event_shape,
        _drawing(dataset),
        target=dataset.target,
        base=DiagonalGaussian(base.mean.to(device), base.std.to(device)),
        diffused=dataset.diffused,
    )


def _drawing(dataset: Dataset) -> Callable[..., Tensor]:
    return lambda n, *key: torch.from_numpy(dataset.draw(n, *key)).float().to(compute_device())
