"""DPM-Solver: exponential integrators of the probability-flow ODE with inner evaluations, all steps of one order.

A budget of K evaluations is K // order steps of that order, then one step of order K % order unless that is zero.  The
levels of the grid are the ends of the steps and, between them, the inner evaluations; the grids ``order2_logsnr`` and
``order3_logsnr`` have steps of equal length  (Lu et al., 2022, Algorithms 1 and 2; formulas in `hsivi.dpm_solver`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hsivi.dpm_solver import Correction, ExponentialIntegrator, Prediction, refusal
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.time_grid import equal_orders

TITLE = "DPM-Solver"
CITATION = "lu2022dpm"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        order: order of the steps; order 1 is DDIM without noise.
        prediction: ``noise`` for DPM-Solver, ``data`` for DPM-Solver++ (Lu et al., 2022b).
        correction: how a step of order 3 ends.  ``dpmsolver``: a line through the first and the last of its three
            outputs, of order 3 where the last lies at two thirds of the step; ``taylor``: a parabola through all three.
    """

    order: Literal[1, 2, 3] = 2
    prediction: Prediction = "noise"
    correction: Correction = "dpmsolver"

    def __post_init__(self) -> None:
        """Refuse a correction that would change nothing."""
        if self.order < 3 and self.correction != "dpmsolver":
            raise ValueError(f"correction: got {self.correction!r} at order {self.order}, expected it at order 3 only")


def skip(problem: Problem, config: Config) -> str | None:
    """Decline a grid that ends at clean data or repeats a level."""
    return refusal(problem.schedule, problem.grid)


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0, a state after each evaluation, at the levels of the grid."""
    solver = ExponentialIntegrator(problem.score_model, problem.grid, config.prediction)
    stages = solver.singlestep(equal_orders(config.order, problem.nfe), config.correction)
    yield from solver.run(noise.prior(), stages)
