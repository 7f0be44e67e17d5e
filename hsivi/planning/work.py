"""How much work the jobs of an experiment are, in units in which jobs of one stage can be compared.  No torch here.

A size has a meaning only beside another of the same stage: an estimate multiplies it by what a unit of it took before.
Small networks take as long for a small batch as for a large one, so their unit is an update of one layer and replica,
or a function evaluation of one sample.  Convolutions take as long as their multiplications, so those are counted; the
count follows the widths of a U-Net's levels and leaves attention out.
"""

from typing import NamedTuple

from hsivi import methods
from hsivi.data_config import DigitsData, ImageData, PosteriorData, image_shape
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.score_model_config import ScoreMLPConfig, UNetConfig

FLOAT = 4
"""Bytes of a number."""
TRAINING_PASSES = 3
"""An update against a forward pass: forward, and twice that backward."""
SIMULATED = 0.4
"""A layer that is only simulated, against one that is updated: a third of the passes, and calls of small operations.
Eight trainings of 2-D data at scale paper, four with either rollout, agree with this to 20 percent."""
COORDINATES = {"toy2d": 2, "mixture": 2, "digits": 64, "posterior": 300}
"""Numbers in a sample."""
DRAW_STEPS = 650
"""Steps of a Langevin chain that take as long as one draw by Hamiltonian Monte Carlo: it has 50 gradients in double
precision, each of which took as long as 13 steps when both were measured on one core."""
PUBLISHED_CHANNELS = 128
"""From this width on a U-Net has the size of the papers', 36 to 121 million parameters."""


class Unit(NamedTuple):
    """A network.

    Attributes:
        multiplications: of one forward pass of one sample; 1 where a network is too small for them to matter.
        parameters: roughly.
    """

    multiplications: float
    parameters: float


def network(experiment: Experiment) -> Unit:
    """Return what a network of an experiment costs."""
    model = experiment.score_model
    if model is None or not isinstance(model.network, UNetConfig):
        hidden = experiment.data.kind == "posterior"
        width = model.network.width if model is not None and isinstance(model.network, ScoreMLPConfig) else 50
        # The layers of inference: 300 -> 512 -> 512 -> 300, or two hidden layers of 50 for two coordinates.
        return Unit(1.0, 5.7e5 if hidden else 5.0 * width**2)
    size = experiment.data.size if isinstance(experiment.data, ImageData) else 8
    # Two 3 x 3 convolutions a block; blocks on the way up, one more a level, read half as much again from the skips.
    filters = 9 * (5 * model.network.layers_per_block + 3)
    widths = model.network.channels
    return Unit(
        filters * sum((width * size / 2**level) ** 2 for level, width in enumerate(widths)),
        filters * sum(width**2 for width in widths),
    )


def has_published_size(experiment: Experiment) -> bool:
    """Return whether the network is so large that training and sampling need a GPU."""
    model = experiment.score_model
    if model is None or not isinstance(model.network, UNetConfig):
        return False
    return max(model.network.channels) >= PUBLISHED_CHANNELS


def of_pretrain(experiment: Experiment) -> float:
    """Return the size of a pre-training; an imported checkpoint is no work."""
    recipe = experiment.diffusion.pretrain
    if recipe is None:
        return 0.0
    unit = network(experiment).multiplications
    return recipe.iterations * (recipe.batch * TRAINING_PASSES * unit if unit > 1 else 1.0)


def of_reference(experiment: Experiment) -> float:
    """Return the size of what prepares the metrics: steps of chains, epochs of a classifier, or sets for the floor."""
    data = experiment.data
    if isinstance(data, PosteriorData):
        draws = data.check_draws + data.floor_pairs * experiment.num_samples
        return data.chains * (data.burn_in + data.snapshots * data.thinning) + of_draws(draws)
    if isinstance(data, DigitsData):
        return float(data.classifier_epochs)
    if isinstance(data, ImageData):
        return float(data.features.epochs * data.features.width) if data.features.kind == "classifier" else 1.0
    return float(data.floor_pairs * experiment.num_samples)


def of_draws(count: int) -> float:
    """Return the size of independent draws of a posterior, in steps of Langevin chains."""
    return float(count * DRAW_STEPS)


def of_fit(experiment: Experiment, cell: Cell) -> float:
    """Return the size of a training: updates of layers and critic, times layers, times seeds that are trained."""
    values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    updates = float(values.get("iterations", 1)) * (1 + values.get("critic_updates", 0))
    unit = network(experiment).multiplications
    if unit > 1:
        updates *= values.get("batch", 1) * TRAINING_PASSES * unit
    elif experiment.data.kind == "posterior":  # 512 wide: matrix products take the time
        updates *= values.get("batch", 1)
    return float(updates * _layers(values.get("rollout"), max(cell.nfe, 1)) * len(experiment.training_seeds))


def _layers(rollout: str | None, layers: int) -> float:
    """Return how many layers' updates one update is.

    An independent rollout updates one layer of every chain and simulates half the others on average.
    """
    return 1 + layers / 2 * SIMULATED if rollout == "independent" else layers


def draws(experiment: Experiment, cell: Cell) -> int:
    """Return the number of samples of a cell."""
    sets = methods.sample_sets(experiment, cell.label, cell.nfe)
    return experiment.num_samples * sets * len(experiment.seeds)


def of_sample(experiment: Experiment, nfe: int, count: int) -> float:
    """Return the size of sampling: function evaluations of single samples, of which there are ``count``."""
    return count * max(nfe, 1) * network(experiment).multiplications


def of_time(experiment: Experiment, cell: Cell) -> float:
    """Return the size of a timing; errors where the experiment has none are the caller's."""
    timing = experiment.timing
    if timing is None:
        return 1.0
    return (timing.runs + timing.warm_up) * timing.batch * max(cell.nfe, 1) * network(experiment).multiplications


def fit_bytes(experiment: Experiment, cell: Cell) -> float:
    """Return roughly the size of what a method learned: a network for all layers and a critic, or one a layer."""
    values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    if "batch" not in values:  # it learns a few numbers
        return 0.0
    networks = max(cell.nfe, 1) if experiment.task == "inference" else 2
    return networks * len(experiment.training_seeds) * network(experiment).parameters * FLOAT


def sample_bytes(experiment: Experiment, count: int) -> float:
    """Return roughly the size of ``count`` samples; of images they are bytes."""
    if isinstance(experiment.data, ImageData):
        channels, height, width = image_shape(experiment.data)
        return float(count * channels * height * width)
    return float(count * COORDINATES[experiment.data.kind] * FLOAT)
