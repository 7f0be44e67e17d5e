"""Small trainings layer by layer, and what is known of them, for the tests of sequential training."""

import pytest
import torch

from hsivi.bridge import GeometricBridge, geometric_weights
from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import IndependentHierarchy
from hsivi.recipe import SequentialRecipe
from hsivi.sequential import SequentialTrainer
from tests.oracles import GaussianTarget

TARGET = GaussianTarget(
    torch.tensor([0.6, -0.9]).double(), torch.tensor([[0.5, 0.2], [0.2, 0.8]]).double(), log_evidence=1.3
)
BASE = DiagonalGaussian(torch.tensor([-0.4, 0.3]).double(), torch.tensor([1.2, 0.7]).double())
SM = {"objective": "sm", "critic_hidden": (6,), "critic_learning_rate": 2e-2}
LB = {"objective": "lb"}
BOTH = pytest.mark.parametrize("objective", [SM, LB], ids=["sm", "lb"])


def recipe(**changes) -> SequentialRecipe:
    settings = {"hidden": (5,), "iterations": 5, "batch": 8, "learning_rate": 1e-2, "log_variance": -0.3}
    return SequentialRecipe(**settings | changes)


def trainer(seeds=(3, 8), layers: int = 3, bridge=None, device="cpu", **changes) -> SequentialTrainer:
    options = recipe(**changes)
    hierarchy = IndependentHierarchy(tuple(seeds), 2, options.hidden, [True] * layers, options.log_variance)
    bridge = bridge or GeometricBridge(TARGET, BASE, geometric_weights(layers, options.ends_at_base))
    return SequentialTrainer(hierarchy.double().to(device), bridge, options, tuple(seeds))


def parameters(run: SequentialTrainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.hierarchy.named_parameters()}


def owner(name: str) -> int:
    return int(name.split(".")[1])


def advance(run: SequentialTrainer, steps: int) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        run.step()
    return parameters(run)


class Recorded:
    """The noise that a trainer asks for, and the gradients it descends along."""

    def __init__(self, run: SequentialTrainer) -> None:
        self.noise: dict[str, torch.Tensor] = {}
        self.keys: list[tuple[str | int, ...]] = []
        draw = run._noise

        def recording(key, *shape):
            self.keys.append(key)
            self.noise[key[0]] = draw(key, *shape)
            return self.noise[key[0]]

        run._noise = recording


def explicit_mixing(run: SequentialTrainer, t: int, noise: torch.Tensor) -> torch.Tensor:
    """x_{t+1}: the prior is the last noise, layer i uses noise i - t - 1."""
    x = noise[-1]
    for i in reversed(range(t + 1, run.hierarchy.num_layers)):
        x = x + run.hierarchy.networks[i](x) + (run.hierarchy.log_variances[i] / 2).exp()[:, None] * noise[i - t - 1]
    return x.detach()


def layer_of(run: SequentialTrainer, t: int, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return z + run.hierarchy.networks[t](z), (run.hierarchy.log_variances[t] / 2).exp()[:, None]


def to_layer(run: SequentialTrainer, t: int) -> None:
    while run.layer > t:
        run.step()
