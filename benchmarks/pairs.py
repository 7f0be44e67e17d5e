"""What is compared: for problems of the paper one update written plainly, and one of the suite at equal settings."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from benchmarks import plain
from hsivi.bridge import DiffusionBridge, GeometricBridge, geometric_weights
from hsivi.data.conditioned_diffusion import ConditionedDiffusionData
from hsivi.gaussian import DiagonalGaussian
from hsivi.hierarchy import DDIMHierarchy, IndependentHierarchy
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.objective import ScoreMatching
from hsivi.recipe import Recipe, SequentialRecipe
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import NetworkScoreModel
from hsivi.sequential import SequentialTrainer
from hsivi.target import GaussianMixture, Target
from hsivi.time_grid import time_grid
from hsivi.train import JointTrainer

REPLICAS = 5
"""Seeds the suite trains as one program, as at scale paper."""
TOY = QuadraticSchedule()
ROLLOUTS: tuple[Literal["shared", "independent"], ...] = ("shared", "independent")
OBJECTIVES: tuple[Literal["sm", "lb"], ...] = ("sm", "lb")
Step = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """Two ways to do the same.

    Attributes:
        name: what is done.
        plain: one update, one seed.
        ours: one update of all replicas.
        replicas: R.
        goal: how many times as fast ours should be, a replica.
        compiled: whether ours is compiled, which takes a C++ compiler.
    """

    name: str
    plain: Step
    ours: Step
    replicas: int
    goal: float | None
    compiled: bool = False


def joint_pair(
    layers: int,
    rollout: Literal["shared", "independent"],
    replicas: int = REPLICAS,
    chains: int | None = None,
    compiled: bool = False,
) -> Pair:
    """Return joint training on 2-D data at the settings of E.2.1.

    Without a number of chains, shared rollouts simulate as many as give the 64 pairs (x_{t+1}, x_t) of the paper.
    """
    levels = time_grid(TOY, "hsivi", layers)
    chains = chains or (-(-64 // layers) if rollout == "shared" else 64)
    recipe = Recipe(
        iterations=25_000, batch=chains, critic_batch=chains, critic_updates=3, learning_rate=2e-4,
        critic_learning_rate=5e-4, eta=1.0, rollout=rollout, compile=compiled,
    )  # fmt: skip
    teacher = NetworkScoreModel(ScoreMLP((0,)), TOY, "noise", plain.FINEST_SCALE)
    hierarchy = DDIMHierarchy(teacher.copies(replicas), levels, recipe.eta, torch.zeros(replicas, 2))
    bridge, seeds = DiffusionBridge(teacher, levels.float()), tuple(range(replicas))
    ours = JointTrainer(hierarchy, teacher.copies(replicas), bridge, ScoreMatching(), recipe, seeds, (2,))
    theirs = plain.Joint(plain.ScoreNetwork(), levels)
    goal = {5: 8.0, 10: 10.0}.get(layers) if rollout == "shared" else None
    name = f"2-D data, T = {layers}, {rollout} rollouts" + (", compiled" if compiled else "")
    return Pair(name, theirs.step, ours.step, replicas, goal, compiled)


def sequential_pair(
    name: str, objective: Literal["sm", "lb"], t: int = 2, replicas: int = REPLICAS, compiled: bool = False
) -> Pair:
    """Return sequential training of layer t of five at the settings of E.1; t = 2 costs what layers cost on average."""
    problem = PROBLEMS[name]()
    base = DiagonalGaussian(torch.zeros(problem.target.event_shape), torch.ones(problem.target.event_shape))
    (dim,), layers = problem.target.event_shape, 5
    bridge = GeometricBridge(problem.target, base, geometric_weights(layers, problem.ends_at_base))
    critic = {"critic_hidden": problem.critic_hidden, "critic": "f", "critic_learning_rate": 2 * problem.learning_rate}
    recipe = SequentialRecipe(
        objective=objective, ends_at_base=problem.ends_at_base, hidden=problem.hidden, iterations=100_000,
        batch=problem.batch, learning_rate=problem.learning_rate, compile=compiled,
        **(critic if objective == "sm" else {}),
    )  # fmt: skip
    hierarchy = IndependentHierarchy(tuple(range(replicas)), dim, problem.hidden, [True] * layers, 0.0)
    first = (layers - 1 - t) * recipe.iterations
    ours = SequentialTrainer(hierarchy, bridge, recipe, tuple(range(replicas)), iteration=first)
    index = torch.tensor(t)
    theirs = plain.Sequential(
        above=[plain.perceptron(dim, *problem.hidden, dim) for _ in range(t + 1, layers)],
        score=lambda x: bridge.score(x, index),
        log_density=(lambda x: bridge.log_prob(x, index)) if objective == "lb" else None,
        dim=dim,
        hidden=problem.hidden,
        critic_hidden=problem.critic_hidden,
        batch=problem.batch,
        learning_rate=problem.learning_rate,
        critic_learning_rate=2 * problem.learning_rate,
    )
    name = f"{name}, {objective.upper()}, layer {t} of 5" + (", compiled" if compiled else "")
    return Pair(name, theirs.step, ours.step, replicas, problem.goal, compiled)


@dataclass(frozen=True)
class Problem:
    """A problem of Bayesian inference at the settings of Appendix E.1; fields as in `hsivi.recipe.SequentialRecipe`."""

    target: Target
    ends_at_base: bool
    hidden: tuple[int, ...]
    critic_hidden: tuple[int, ...]
    batch: int
    learning_rate: float
    goal: float


def ring() -> Problem:
    """Return the mixture of eight Gaussians on a ring of radius 10."""
    angles = torch.arange(8) * math.pi / 4
    target = GaussianMixture(10 * torch.stack([angles.cos(), angles.sin()], 1), torch.ones(8), torch.full((8,), 0.125))
    return Problem(target, False, (50, 50), (128, 128), 64, 1e-3, 4.0)


def conditioned_diffusion() -> Problem:
    """Return the posterior in 300 dimensions, with rates that leave an untrained network where it is."""
    return Problem(ConditionedDiffusionData.simulate(2022).target, True, (512, 512), (512, 512), 128, 1e-6, 1.5)


PROBLEMS = {"mixture": ring, "conditioned diffusion": conditioned_diffusion}


PAIRS: dict[str, Callable[[], Pair]] = {
    f"{name}{'-compiled' if compiled else ''}": partial(make, compiled=compiled)
    for compiled in (False, True)
    for name, make in {
        **{f"joint-{layers}-{way}": partial(joint_pair, layers, way) for layers in (5, 10) for way in ROLLOUTS},
        **{f"{name}-{kind}": partial(sequential_pair, name, kind) for name in PROBLEMS for kind in OBJECTIVES},
    }.items()
}
"""Functions that make each pair."""
