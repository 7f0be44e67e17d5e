"""Hierarchical semi-implicit variational inference with the lower bound, trained jointly (no numbers in the paper).

The layers of HSIVI-SM, trained together by SIVI-LB in place of SIVI-SM: no critic, the other chains of a batch are the
auxiliaries (eq. (2)), and the score model says the gradient of the target (eq. (7)).  The paper leaves this to future
work.  Sampling takes T evaluations of the layers' network.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from hsivi.bridge import DiffusionBridge
from hsivi.checkpoint import Session
from hsivi.hierarchy import DDIMHierarchy
from hsivi.joint_lower_bound import JointLowerBoundTrainer
from hsivi.lower_bound_recipe import LowerBoundRecipe
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.score_model import NetworkScoreModel

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
    if not isinstance(problem.teacher, NetworkScoreModel):
        return "its layers start from the score model's network, and here the score is a formula"
    if problem.schedule.sigma(problem.grid[0]) == 0:
        return "the time grid ends at clean data, where the last layer has no density; take one that does not, as hsivi"
    return None


def fit(
    problem: Problem, config: LowerBoundRecipe, seeds: tuple[int, ...], session: Session
) -> list[dict[str, Tensor]]:
    """Train one replica a seed and return the layers' parameters of each."""
    hierarchy = _hierarchy(problem, problem.copies(len(seeds)), config)
    bridge = DiffusionBridge(problem.network, problem.grid.to(hierarchy.std))
    trainer = JointLowerBoundTrainer(hierarchy, bridge, config, seeds, problem.event_shape)
    session.train(trainer, config.iterations)
    layers = trainer.average.parameters()
    return [hierarchy.select(layers, index) for index in range(len(seeds))]


def untrained(problem: Problem, config: LowerBoundRecipe) -> dict[str, Tensor]:
    """Return the parameters before training, of which no duration depends."""
    hierarchy = _hierarchy(problem, problem.copies(1), config)
    return {name: parameter.detach() for name, parameter in hierarchy.named_parameters()}


def sample(
    problem: Problem, config: LowerBoundRecipe, noise: SampleNoise, state: dict[str, Tensor]
) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    network = {name.removeprefix("network."): value for name, value in state.items() if name != "log_variance"}
    hierarchy = DDIMHierarchy(problem.network.with_parameters(network), problem.grid, config.eta, state["log_variance"])
    hierarchy.score_model = problem.counted(hierarchy.score_model)

    def step_noise(t: int) -> Tensor:
        drawn = noise.step(t)[None]
        return drawn if t > 0 or config.final_noise else torch.zeros_like(drawn)

    for x in hierarchy.propagate(noise.prior()[None], problem.nfe, 0, step_noise):
        yield x[0]


def _hierarchy(problem: Problem, score_model: NetworkScoreModel, config: LowerBoundRecipe) -> DDIMHierarchy:
    shape = problem.event_shape if config.variance != "isotropic" else (1,) * len(problem.event_shape)
    like = next(score_model.network.parameters())
    log_variance = torch.zeros(score_model.network.replicas, *shape, dtype=like.dtype, device=like.device)
    return DDIMHierarchy(score_model, problem.grid, config.eta, log_variance)
