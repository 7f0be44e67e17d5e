"""Hierarchical semi-implicit variational inference with score matching, trained jointly (the paper's method).

T Gaussian layers share one network, initialised at the DDIM-eta step of the score model; the critic g of
Proposition 1 starts at the score model too; Algorithm 2 trains both (eq. (18)-(21)).  Sampling takes T evaluations of
the layers' network.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from hsivi.bridge import DiffusionBridge
from hsivi.checkpoint import Session
from hsivi.hierarchy import DDIMHierarchy
from hsivi.joint_layers import initial_hierarchy, part, reason_to_decline, sample_layers, untrained_parameters
from hsivi.noise import SampleNoise
from hsivi.objective import ScoreMatching
from hsivi.problem import Problem
from hsivi.recipe import Recipe
from hsivi.score_model import NetworkScoreModel
from hsivi.train import JointTrainer, TrainInfo

TITLE = "HSIVI-SM"
CITATION = "yu2023hierarchical"
Config = Recipe
# So little training that the layers stay the DDIM step, which has the data's moments at many evaluations.
CONTRACT = {
    "tiny": {
        "iterations": 3,
        "batch": 8,
        "critic_batch": 8,
        "critic_updates": 2,
        "learning_rate": 1e-5,
        "critic_learning_rate": 1e-5,
        "ema": 0.9,
        "eta": 1.0,
        "rollout": "shared",
    },
}


def skip(problem: Problem, config: Recipe) -> str | None:
    """Decline a score that is a formula, and a last layer without noise."""
    return reason_to_decline(problem)


def fit(problem: Problem, config: Recipe, seeds: tuple[int, ...], session: Session) -> list[dict[str, Tensor]]:
    """Train one replica a seed and return the layers' and the critic's parameters of each."""
    copies = [problem.copies(len(seeds)).accelerated(config) for _ in ("layers", "critic")]
    hierarchy, critic = initial_hierarchy(problem, copies[0], config), copies[1]
    _start(problem, hierarchy, critic)
    trainer = JointTrainer(
        hierarchy=hierarchy,
        critic=critic,
        bridge=DiffusionBridge(problem.network.accelerated(config), problem.grid.to(hierarchy.std)),
        objective=ScoreMatching(event_ndim=len(problem.event_shape)),
        recipe=config,
        seeds=seeds,
        event_shape=problem.event_shape,
    )
    session.train(trainer, config.iterations, _detail)
    layers = trainer.average.parameters()
    critic_parameters = {name: parameter.detach() for name, parameter in critic.network.named_parameters()}
    return [
        hierarchy.select(layers, index)
        | {f"critic.{name}": value for name, value in critic.network.select(critic_parameters, index).items()}
        for index in range(len(seeds))
    ]


def untrained(problem: Problem, config: Recipe) -> dict[str, Tensor]:
    """Return the parameters before training, of which no duration depends."""
    return untrained_parameters(problem, config)


def sample(problem: Problem, config: Recipe, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    yield from sample_layers(problem, config, noise, state)


def estimated_score(problem: Problem, config: Recipe, state: dict[str, Tensor], x: Tensor, t: int) -> Tensor:
    """Return the critic's estimate of grad log q_t at ``x`` of shape (n, \\*event)."""
    critic = problem.network.with_parameters(part(state, "critic."))
    return critic.score(x[None], problem.grid[t].to(x))[0]


@torch.no_grad()
def _start(problem: Problem, hierarchy: DDIMHierarchy, critic: NetworkScoreModel) -> None:
    """Set layers and critic to an earlier training of the row, where there is one."""
    for replica, state in enumerate(problem.earlier):
        hierarchy.network.fill(replica, part(state, "network."))
        critic.network.fill(replica, part(state, "critic."))
        hierarchy.log_variance[replica] = state["log_variance"][0]


def _detail(info: TrainInfo) -> str:
    fisher, critic = info.variational_loss.mean().item(), info.critic_loss.mean().item()
    return f", loss {fisher:.4f}, critic {critic:.4f}"
