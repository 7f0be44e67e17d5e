"""Hierarchical semi-implicit variational inference with score matching, trained jointly (the paper's method).

T Gaussian layers share one network, initialised at the DDIM-eta step of the score model; the critic g of
Proposition 1 starts at the score model too; Algorithm 2 trains both (eq. (18)-(21)).  Sampling takes T evaluations of
the layers' network.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hsivi.bridge import DiffusionBridge
from hsivi.checkpoint import Session
from hsivi.hierarchy import DDIMHierarchy
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
    if not isinstance(problem.teacher, NetworkScoreModel):
        return "its layers and its critic start from the score model's network, and here the score is a formula"
    if problem.schedule.sigma(problem.grid[0]) == 0:
        return "the time grid ends at clean data, where the last layer has no density; take one that does not, as hsivi"
    return None


def fit(problem: Problem, config: Recipe, seeds: tuple[int, ...], session: Session) -> list[dict[str, Tensor]]:
    """Train one replica a seed and return the layers' and the critic's parameters of each."""
    copies = [problem.copies(len(seeds)).accelerated(config) for _ in ("layers", "critic")]
    hierarchy, critic = _hierarchy(problem, copies[0], config), copies[1]
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
    hierarchy = _hierarchy(problem, problem.copies(1), config)
    return {name: parameter.detach() for name, parameter in hierarchy.named_parameters()}


def sample(problem: Problem, config: Recipe, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    layers = problem.network.with_parameters(_part(state, "network."))
    hierarchy = DDIMHierarchy(layers, problem.grid, config.eta, state["log_variance"])
    hierarchy.score_model = problem.counted(hierarchy.score_model)

    def step_noise(t: int) -> Tensor:
        drawn = noise.step(t)[None]
        return drawn if t > 0 or config.final_noise else torch.zeros_like(drawn)

    for x in hierarchy.propagate(noise.prior()[None], problem.nfe, 0, step_noise):
        yield x[0]


def estimated_score(problem: Problem, config: Recipe, state: dict[str, Tensor], x: Tensor, t: int) -> Tensor:
    """Return the critic's estimate of grad log q_t at ``x`` of shape (n, \\*event)."""
    critic = problem.network.with_parameters(_part(state, "critic."))
    return critic.score(x[None], problem.grid[t].to(x))[0]


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _hierarchy(problem: Problem, score_model: NetworkScoreModel, config: Recipe) -> DDIMHierarchy:
    first = next(score_model.network.parameters())
    shape = problem.event_shape if config.variance != "isotropic" else (1,) * len(problem.event_shape)
    log_variance = torch.zeros(score_model.network.replicas, *shape, dtype=first.dtype, device=first.device)
    return DDIMHierarchy(score_model, problem.grid, config.eta, log_variance)


@torch.no_grad()
def _start(problem: Problem, hierarchy: DDIMHierarchy, critic: NetworkScoreModel) -> None:
    """Set layers and critic to an earlier training of the row, where there is one."""
    for replica, state in enumerate(problem.earlier):
        hierarchy.network.fill(replica, _part(state, "network."))
        critic.network.fill(replica, _part(state, "critic."))
        hierarchy.log_variance[replica] = state["log_variance"][0]


def _detail(info: TrainInfo) -> str:
    fisher, critic = info.variational_loss.mean().item(), info.critic_loss.mean().item()
    return f", loss {fisher:.4f}, critic {critic:.4f}"
