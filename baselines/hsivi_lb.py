"""Hierarchical semi-implicit variational inference with the lower bound, trained jointly (no numbers in the paper).

The layers of HSIVI-SM, trained together by SIVI-LB in place of SIVI-SM: no critic, the other chains of a batch are the
auxiliaries (eq. (2)), and the score model says the gradient of the target (eq. (7)).  The paper leaves this to future
work.  Sampling takes T evaluations of the layers' network.
"""

from collections.abc import Iterator

from torch import Tensor

from hsivi.bridge import DiffusionBridge
from hsivi.checkpoint import Session
from hsivi.joint_layers import initial_hierarchy, reason_to_decline, sample_layers, untrained_parameters
from hsivi.joint_lower_bound import JointLowerBoundTrainer
from hsivi.lower_bound_recipe import LowerBoundRecipe
from hsivi.noise import SampleNoise
from hsivi.problem import Problem

TITLE = "HSIVI-LB, joint"
CITATION = "yu2023hierarchical"
BY_DEFAULT = False
Config = LowerBoundRecipe
# So little training that the layers stay the DDIM step, which has the data's moments at many evaluations.
CONTRACT = {
    "tiny": {"iterations": 3, "batch": 8, "learning_rate": 1e-5, "ema": 0.9, "eta": 1.0, "antithetic": True},
    "few auxiliaries": {
        "iterations": 2,
        "batch": 6,
        "auxiliaries": 3,
        "learning_rate": 1e-5,
        "eta": 1.0,
        "variance": "isotropic",
    },
}


def skip(problem: Problem, config: LowerBoundRecipe) -> str | None:
    """Decline a score that is a formula, and a last layer without noise."""
    return reason_to_decline(problem)


def fit(
    problem: Problem, config: LowerBoundRecipe, seeds: tuple[int, ...], session: Session
) -> list[dict[str, Tensor]]:
    """Train one replica a seed and return the layers' parameters of each."""
    hierarchy = initial_hierarchy(problem, problem.copies(len(seeds)), config)
    bridge = DiffusionBridge(problem.network, problem.grid.to(hierarchy.std))
    trainer = JointLowerBoundTrainer(hierarchy, bridge, config, seeds, problem.event_shape)
    session.train(trainer, config.iterations)
    layers = trainer.average.parameters()
    return [hierarchy.select(layers, index) for index in range(len(seeds))]


def untrained(problem: Problem, config: LowerBoundRecipe) -> dict[str, Tensor]:
    """Return the parameters before training, of which no duration depends."""
    return untrained_parameters(problem, config)


def sample(
    problem: Problem, config: LowerBoundRecipe, noise: SampleNoise, state: dict[str, Tensor]
) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    yield from sample_layers(problem, config, noise, state)
