"""Hierarchical semi-implicit variational inference, trained layer by layer (the paper's method for inference).

T Gaussian layers with networks of their own each match one distribution of a bridge from a simple base to the target
(Algorithm 1), with score matching (SIVI-SM) or the lower bound (SIVI-LB).  With T = 1 this is SIVI.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from hsivi.bridge import Bridge, DiffusionBridge, GeometricBridge, geometric_weights
from hsivi.checkpoint import Session
from hsivi.evidence import lower_bound
from hsivi.hierarchy import IndependentHierarchy
from hsivi.noise import SampleNoise
from hsivi.problem import InferenceProblem
from hsivi.recipe import SequentialRecipe
from hsivi.sequential import LayerInfo, SequentialTrainer

TITLE = "HSIVI (sequential)"
CITATION = "yu2023hierarchical"
TASKS = ("inference",)
Config = SequentialRecipe
_TINY = {"hidden": [6], "iterations": 4, "batch": 6, "learning_rate": 1e-2}
_SM = {**_TINY, "objective": "sm", "critic_hidden": [6], "critic_learning_rate": 1e-2}
_LB = {**_TINY, "objective": "lb"}
CONTRACT = {
    "sm": _SM,
    "lb": _LB,
    "sm-f": {**_SM, "critic": "f", "critic_warm_start": True, "ema": 0.9, "coordinates": "base"},
    "lb-score": {**_LB, "target": "score", "auxiliaries": 8, "coordinates": "base", "residual": "all_but_first"},
    "lb-ends-at-base": {**_LB, "ends_at_base": True},
    "sm-diffusion": {**_SM, "bridge": "diffusion"},
    "lb-diffusion": {**_LB, "bridge": "diffusion", "target": "score"},
}


def skip(problem: InferenceProblem, config: SequentialRecipe) -> str | None:
    """Decline a diffusion bridge where the target's diffused scores are not known."""
    if config.bridge == "diffusion" and problem.diffused is None:
        return "the scores of the diffused target are not known"
    return None


def fit(
    problem: InferenceProblem, config: SequentialRecipe, seeds: tuple[int, ...], session: Session
) -> list[dict[str, Tensor]]:
    """Train one replica a seed and return the layers of each."""
    trainer = SequentialTrainer(_hierarchy(problem, config, seeds), _bridge(problem, config), config, seeds)
    session.train(trainer, trainer.iterations, _detail)
    return [trainer.hierarchy.select(replica) for replica in range(len(seeds))]


def sample(
    problem: InferenceProblem, config: SequentialRecipe, noise: SampleNoise, state: dict[str, Tensor]
) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    hierarchy = _trained(problem, config, state)
    for network in hierarchy.networks:
        problem.counted_network(network)
    _, _, restore = problem.in_coordinates(config.coordinates)
    for x in hierarchy.propagate(noise.prior()[None], problem.nfe, 0, lambda t: noise.step(t)[None]):
        yield restore(x[0])


def elbo(
    problem: InferenceProblem, config: SequentialRecipe, noise: SampleNoise, state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the integrand of the lower bound at the method's own samples, shape (n,)."""
    target, _, _ = problem.in_coordinates(config.coordinates)
    return lower_bound(_trained(problem, config, state), target, noise)


def _hierarchy(problem: InferenceProblem, config: SequentialRecipe, seeds: tuple[int, ...]) -> IndependentHierarchy:
    first = problem.nfe - 1
    residual = [
        config.residual == "all" or (config.residual == "all_but_first" and t < first) for t in range(first + 1)
    ]
    (dim,) = problem.event_shape
    hierarchy = IndependentHierarchy(seeds, dim, config.hidden, residual, config.log_variance)
    return hierarchy.to(problem.base.mean.device)


def _trained(problem: InferenceProblem, config: SequentialRecipe, state: dict[str, Tensor]) -> IndependentHierarchy:
    hierarchy = _hierarchy(problem, config, (0,))
    hierarchy.load_state_dict(state)
    return hierarchy


def _bridge(problem: InferenceProblem, config: SequentialRecipe) -> Bridge:
    if config.bridge == "diffusion":
        assert problem.diffused is not None
        # alpha_bar(s_t) = 1 - t / T with alpha_bar(s) = 1 - s^2 (HSIVI, D.1)
        levels = (torch.arange(problem.nfe + 1, dtype=torch.float64) / problem.nfe).sqrt()
        return DiffusionBridge(problem.diffused, levels.to(problem.base.mean))
    target, base, _ = problem.in_coordinates(config.coordinates)
    return GeometricBridge(target, base, geometric_weights(problem.nfe, config.ends_at_base))


def _detail(info: LayerInfo) -> str:
    return f", layer {info.layer}, loss {info.loss.mean().item():.4f}"
