"""Which settings of an experiment decide a stage's output.  No torch here: the Snakefile asks.

A stage runs again when the digest of its settings changes, and only then: a new learning rate of one method
touches nothing of another's, more samples train nothing, another data set leaves the others alone.
"""

from typing import Any

from hsivi import methods, provenance
from hsivi.data_config import image_shape
from hsivi.experiment import Experiment
from hsivi.methods import Cell

SOURCE = {
    "toy2d": {"kind", "seed", "reference_draws"},
    "digits": {"kind", "seed", "held_out_fraction"},
    "images": {"kind", "seed", "files", "size", "crop"},
    "mixture": {"kind"},
    "posterior": {"kind", "seed"},
}
"""The fields of ``data`` that decide the data; the others are about metrics, or name the data sets."""


def _source(experiment: Experiment) -> dict[str, Any]:
    return experiment.data.model_dump(mode="json", include=SOURCE[experiment.data.kind])


def of_data(experiment: Experiment) -> str:
    """Return the digest of what decides the data."""
    return provenance.digest(_source(experiment))


def of_score_model(experiment: Experiment) -> str:
    """Return the digest of what decides the data and the score model, if there is one; time grids are a cell's."""
    model = experiment.score_model
    return provenance.digest([_source(experiment), model and model.model_dump(mode="json", exclude={"time_grids"})])


def of_reference(experiment: Experiment) -> str:
    """Return the digest of what decides the metrics' reference."""
    data = experiment.data.model_dump(mode="json", exclude={"datasets"})
    return provenance.digest([data, experiment.num_samples])


def of_truth(experiment: Experiment) -> str:
    """Return the digest of what decides the long part of a reference, the chains of a posterior's ground truth."""
    return provenance.digest(
        experiment.data.model_dump(mode="json", exclude={"datasets", "check_draws", "floor_pairs"})
    )


def of_fit(experiment: Experiment, cell: Cell) -> str:
    """Return the digest of what decides what a cell learns."""
    grid = methods.time_grid_name(experiment, cell.label, cell.nfe)
    own = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    parts: list[Any] = [of_score_model(experiment), experiment.training_seeds, own, grid]
    return provenance.digest(parts + [of_fit(experiment, other) for other in methods.starts_from(experiment, cell)])


def of_sample(experiment: Experiment, cell: Cell) -> str:
    """Return the digest of what decides what a cell draws."""
    sets = methods.sample_sets(experiment, cell.label, cell.nfe)
    parts: list[Any] = [of_fit(experiment, cell), experiment.num_samples, sets]
    if experiment.train_once:
        parts.append(experiment.seeds)
    if experiment.data.kind == "images":
        parts.append(experiment.data.quantise)
    return provenance.digest(parts)


def of_time(experiment: Experiment, cell: Cell) -> str:
    """Return the digest of what decides a cell's timing: the architecture and the settings, no data and no training."""
    model = experiment.diffusion.model_dump(mode="json", include={"schedule", "network"})
    own = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    timing = experiment.timing and experiment.timing.model_dump(mode="json")
    shape = image_shape(experiment.data) if experiment.data.kind == "images" else None
    return provenance.digest([model, shape, own, methods.time_grid_name(experiment, cell.label, cell.nfe), timing])


def of_measure(experiment: Experiment) -> str:
    """Return the digest of what decides how samples are scored, beside the samples and the reference."""
    return provenance.digest([experiment.seeds])
