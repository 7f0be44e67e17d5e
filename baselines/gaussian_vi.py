"""Gaussian variational inference: the best diagonal or full Gaussian in the reverse Kullback-Leibler divergence.

The evidence lower bound is averaged over fixed standard normal draws and maximised by L-BFGS (Kucukelbir et al., 2017;
Giordano et al., 2024).  The draws come with both signs and are transformed to have exactly unit covariance, so the
average is exact for Gaussian targets.  Coordinates are those of the base distribution, u = (x - mean) / std.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from hsivi.checkpoint import Session
from hsivi.noise import SampleNoise, standard_normal
from hsivi.optimise import NonFiniteLoss
from hsivi.problem import InferenceProblem
from hsivi.target import Target, Whitened

TITLE = "Gaussian VI"
CITATION = "kucukelbir2017automatic"
NFE = (0,)
TASKS = ("inference",)
CONTRACT = {"diagonal": {"draws": 200}, "full": {"draws": 200, "covariance": "full"}}
UPDATES = 20
"""L-BFGS updates an iteration."""


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        covariance: ``diagonal`` (mean-field) or ``full``.
        iterations: of `UPDATES` L-BFGS updates each; those after convergence cost next to nothing.
        draws: normal draws that the lower bound is averaged over, even and at least twice the dimension.
    """

    covariance: Literal["diagonal", "full"] = "diagonal"
    iterations: Annotated[int, Field(ge=1)] = 5
    draws: Annotated[int, Field(ge=2, multiple_of=2)] = 2_000


def fit(problem: InferenceProblem, config: Config, seeds: Sequence[int], session: Session) -> list[dict[str, Tensor]]:
    """Return mean (d,) and scale of x = mean + scale z, shape (d,) or lower triangular (d, d), for every seed."""
    target = Whitened(problem.target, problem.base)
    trainer = Trainer([GaussianFit(target, config, seed) for seed in seeds])
    session.train(trainer, config.iterations)
    mean, std = problem.base.mean.cpu().to(torch.float64), problem.base.std.cpu().to(torch.float64)
    states = []
    for run in trainer.runs:
        scale = run.scale().detach()
        rows = std if scale.ndim == 1 else std[:, None]
        states.append({"mean": mean + std * run.mean.detach(), "scale": rows * scale})
    return states


def sample(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield samples of the Gaussian."""
    yield _place(state, noise.prior())


def elbo(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return log p(x) - log q(x) at the method's own samples, shape (n,), in float64."""
    z = noise.prior().to(torch.float64)
    scale = state["scale"].to(z)
    diagonal = scale if scale.ndim == 1 else scale.diagonal()
    log_q = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) - diagonal.log().sum()
    return {"elbo": problem.target.log_prob(_place(state, z)) - log_q}


def _place(state: dict[str, Tensor], z: Tensor) -> Tensor:
    """Return mean + scale z for z of shape (n, d)."""
    mean, scale = state["mean"].to(z), state["scale"].to(z)
    return mean + (scale * z if scale.ndim == 1 else z @ scale.mT)


class GaussianFit(nn.Module):
    """One Gaussian in the base's coordinates, float64, and the negative lower bound it minimises.

    Its mean starts at a draw of the base distribution, so that a symmetric target does not hold it at a saddle.
    """

    def __init__(self, target: Target, config: Config, seed: int) -> None:
        super().__init__()
        (dimension,) = target.event_shape
        self.target, self.draws = target, _unit_draws(config.draws, dimension, seed)
        self.mean = nn.Parameter(standard_normal((dimension,), seed, "gaussian_vi", "start").to(torch.float64))
        self.log_diagonal = nn.Parameter(torch.zeros(dimension, dtype=torch.float64))
        self.below = None
        if config.covariance == "full":
            self.below = nn.Parameter(torch.zeros(dimension, dimension, dtype=torch.float64))
        self.optimiser = torch.optim.LBFGS(
            self.parameters(), max_iter=UPDATES, tolerance_change=1e-12, line_search_fn="strong_wolfe"
        )

    def scale(self) -> Tensor:
        """Return the standard deviations (d,), or the covariance's Cholesky factor (d, d)."""
        diagonal = self.log_diagonal.exp()
        return diagonal if self.below is None else torch.diag(diagonal) + self.below.tril(-1)

    def loss(self) -> Tensor:
        """Return the negative lower bound, less the entropy of the standard normal."""
        u = _place({"mean": self.mean, "scale": self.scale()}, self.draws)
        return -self.target.log_prob(u).mean() - self.log_diagonal.sum()

    @torch.enable_grad()
    def improve(self) -> float:
        """Do `UPDATES` updates and return the loss before the first."""

        def closure() -> float:
            self.optimiser.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss.item()

        return float(self.optimiser.step(closure))


@dataclass
class Trainer:
    """Fits the Gaussians of all seeds; see `hsivi.checkpoint.Resumable`."""

    runs: list[GaussianFit]
    iteration: int = field(default=0)

    def step(self) -> list[float]:
        """Improve every fit and return the losses before.

        Raises:
            NonFiniteLoss: a loss is infinite or undefined.
        """
        losses = [run.improve() for run in self.runs]
        if not torch.tensor(losses).isfinite().all():
            raise NonFiniteLoss(
                f"Gaussian VI: got loss {losses} at iteration {self.iteration}, expected finite numbers; use more draws"
            )
        self.iteration += 1
        return losses

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is carried from one iteration to the next."""
        return {
            "iteration": self.iteration,
            "runs": [run.state_dict() for run in self.runs],
            "optimisers": [run.optimiser.state_dict() for run in self.runs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.iteration = state["iteration"]
        for run, parameters, optimiser in zip(self.runs, state["runs"], state["optimisers"], strict=True):
            run.load_state_dict(parameters)
            run.optimiser.load_state_dict(optimiser)


def _unit_draws(n: int, dimension: int, seed: int) -> Tensor:
    """Return n normal draws (n, d) with exactly zero mean and unit covariance.

    Raises:
        ValueError: there are too few to span all directions.
    """
    if n < 2 * dimension:
        raise ValueError(f"draws: got {n} in {dimension} dimensions, expected at least {2 * dimension}; raise it")
    half = standard_normal((n // 2, dimension), seed, "gaussian_vi", "draws").to(torch.float64)
    factor = torch.linalg.cholesky(half.mT @ half / len(half))
    unit = torch.linalg.solve_triangular(factor.mT, half, upper=True, left=False)
    return torch.cat([unit, -unit])
