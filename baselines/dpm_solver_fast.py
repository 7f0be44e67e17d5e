"""DPM-Solver-fast: as many steps of order 3 as a budget allows, and steps of orders 2 and 1 for the rest.

The orders are `hsivi.time_grid.fast_orders`; on the grid ``fast_logsnr`` the steps are equally long in half log-SNR
(Lu et al., 2022, section 3.4; formulas in `hsivi.dpm_solver`).  At 5 evaluations that is a step of order 3 and one of
order 2 across the whole range, far outside of what the formulas are good for: the paper's tables begin at 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hsivi.dpm_solver import ExponentialIntegrator, Prediction, refusal
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.time_grid import fast_orders

TITLE = "DPM-Solver-fast"
CITATION = "lu2022dpm"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        prediction: ``noise`` for DPM-Solver, ``data`` for DPM-Solver++ (Lu et al., 2022b).
    """

    prediction: Prediction = "noise"


def skip(problem: Problem, config: Config) -> str | None:
    """Decline a grid that ends at clean data or repeats a level."""
    return refusal(problem.schedule, problem.grid)


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0, a state after each evaluation, at the levels of the grid."""
    solver = ExponentialIntegrator(problem.score_model, problem.grid, config.prediction)
    yield from solver.run(noise.prior(), solver.singlestep(fast_orders(problem.nfe), "dpmsolver"))
