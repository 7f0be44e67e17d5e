"""A cell made ready to run: its problem, its method, its settings."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hsivi import layout, methods, provenance
from hsivi.arrays import load_arrays
from hsivi.config import Experiment
from hsivi.data import Dataset
from hsivi.methods import Cell, MethodInfo
from hsivi.problem import Problem, build_score_model, compute_device
from hsivi.sampler import Baseline, load_baseline, make_config
from hsivi.stages import settings
from hsivi.stages.common import files, open_dataset


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
    problem: Problem
    files: layout.CellFiles

    @property
    def title(self) -> str:
        """How progress lines name the cell."""
        return f"{self.cell.dataset} {self.cell.label} nfe={self.cell.nfe}"


def identity(experiment: Experiment, cell: Cell) -> str:
    """Return a digest of the settings, the code and the files that decide what a cell learns."""
    path = methods.info(experiment, cell.label).path
    shared = files(experiment, cell.dataset)
    return provenance.digest(
        [
            settings.of_fit(experiment, cell),
            provenance.code_digest(provenance.stage_file("fit"), path),
            provenance.file_digest(shared.data),
            provenance.file_digest(shared.score_model),
        ]
    )


def open_cell(experiment: Experiment, cell: Cell) -> OpenCell:
    """Load score model and method of a cell.

    Raises:
        ConfigError: a file is missing or a setting cannot be used.
    """
    info = methods.info(experiment, cell.label)
    baseline = load_baseline(info.name)
    values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    config = make_config(baseline, values, f"{experiment.name}.yaml: {cell.label}")
    grid = methods.time_grid_name(experiment, cell.label, cell.nfe) if cell.nfe else None
    problem = _problem(experiment, cell, open_dataset(experiment, cell.dataset), grid)
    return OpenCell(cell, info, baseline, config, problem, layout.CellFiles(cell))


def _problem(experiment: Experiment, cell: Cell, dataset: Dataset, grid: str | None) -> Problem:
    teacher = build_score_model(experiment, dataset.event_shape, experiment.data.seed)
    stored = load_arrays(files(experiment, cell.dataset).score_model)
    teacher.network.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
    teacher.network.requires_grad_(False)
    levels = teacher.schedule.time_grid(grid, cell.nfe) if grid is not None else None

    def draw(n: int, *key: int | str) -> Tensor:
        return torch.from_numpy(dataset.draw(n, *key)).float().to(compute_device())

    return Problem(teacher, levels, cell.nfe, dataset.event_shape, draw)
