"""What opening a cell takes whether or not it has data: its method with the settings, and its time grid."""

from typing import Any

from torch import Tensor

from hsivi import methods
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.methods import Cell, MethodInfo
from hsivi.sampler import Baseline, load_baseline, make_config
from hsivi.schedule import Schedule
from hsivi.time_grid import time_grid


def open_method(experiment: Experiment, cell: Cell) -> tuple[MethodInfo, Baseline, Any]:
    """Return facts about a cell's baseline, its module, and its settings.

    Raises:
        ConfigError: a setting cannot be used.
    """
    info = methods.info(experiment, cell.label)
    baseline = load_baseline(info.name)
    values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    return info, baseline, make_config(baseline, values, f"{experiment.name}.yaml: {cell.label}")


def time_levels(experiment: Experiment, cell: Cell, schedule: Schedule) -> Tensor | None:
    """Return the times s_0 <= ... <= s_T of a cell's grid, float64; None where its budget is zero.

    Raises:
        ConfigError: the grid cannot be made for that budget.
    """
    grid = methods.time_grid_name(experiment, cell.label, cell.nfe)
    try:
        return time_grid(schedule, grid, cell.nfe) if grid is not None else None
    except ValueError as error:
        raise ConfigError(f"{experiment.name}.yaml: {cell.label}: {error}") from error
