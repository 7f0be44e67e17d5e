"""Multistep DPM-Solver++: each step of the probability-flow ODE takes one evaluation and remembers the last ones.

Data prediction is DPM-Solver++(2M) at order 2 (Lu et al., 2022b, Algorithm 2; formulas in `hsivi.dpm_solver`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hsivi.dpm_solver import Curvature, ExponentialIntegrator, Prediction, refusal
from hsivi.noise import SampleNoise
from hsivi.problem import Problem

TITLE = "DPM-Solver++ multistep"
CITATION = "lu2022dpmpp"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        order: number of outputs a step uses, as soon as there are that many; order 1 is DDIM without noise.
        prediction: ``data`` for DPM-Solver++, ``noise`` for a multistep DPM-Solver.
        lower_order_final: whether the last step has order 1, and the one before it at most 2.  The official code does
            so below 10 steps and diffusers below 15, for stability; here it never depends on the budget.
        curvature: at order 3, the weight of the parabola's second derivative.  ``released``: half of it, as in the
            official code and in diffusers, which makes the method one of order 2; ``exact``: all of it.
    """

    order: Literal[1, 2, 3] = 2
    prediction: Prediction = "data"
    lower_order_final: bool = True
    curvature: Curvature = "released"

    def __post_init__(self) -> None:
        """Refuse a curvature that would change nothing."""
        if self.order < 3 and self.curvature != "released":
            raise ValueError(f"curvature: got {self.curvature!r} at order {self.order}, expected it at order 3 only")


def skip(problem: Problem, config: Config) -> str | None:
    """Decline a grid that ends at clean data or repeats a level."""
    return refusal(problem.schedule, problem.grid)


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    solver = ExponentialIntegrator(problem.score_model, problem.grid, config.prediction)
    stages = solver.multistep(config.order, config.lower_order_final, config.curvature)
    yield from solver.run(noise.prior(), stages)
