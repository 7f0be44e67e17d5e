"""Which settings of an experiment decide a stage's output.  No torch here: the Snakefile asks.

A stage runs again when the digest of its settings changes, and only then: a new learning rate of one method
touches nothing of another's.
"""

from typing import Any

from hsivi import methods, provenance
from hsivi.config import Experiment
from hsivi.methods import Cell


def _part(experiment: Experiment, *names: str) -> dict[str, Any]:
    return experiment.model_dump(include=set(names), mode="json")


def of_data(experiment: Experiment) -> str:
    """Return the digest of what decides the data."""
    return provenance.digest(_part(experiment, "data"))


def of_score_model(experiment: Experiment) -> str:
    """Return the digest of what decides the score model."""
    return provenance.digest(_part(experiment, "data", "schedule", "network", "pretrain"))


def of_reference(experiment: Experiment) -> str:
    """Return the digest of what decides the metrics' reference."""
    return provenance.digest(_part(experiment, "data", "num_samples"))


def of_measure(experiment: Experiment) -> str:
    """Return the digest of what decides how samples are scored."""
    return provenance.digest(_part(experiment, "data", "num_samples", "sample_sets", "seeds"))


def of_cell(experiment: Experiment, cell: Cell) -> str:
    """Return the digest of what decides what a cell learns and draws."""
    return provenance.digest(
        [
            _part(experiment, "data", "schedule", "network", "pretrain", "seeds", "num_samples", "sample_sets"),
            experiment.recipe_values(cell.label, cell.dataset, cell.nfe),
            methods.time_grid_name(experiment, cell.label, cell.nfe) if cell.nfe else None,
        ]
    )
