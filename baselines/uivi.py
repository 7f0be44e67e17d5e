"""Unbiased implicit variational inference: the exact ELBO's gradient, with Hamiltonian Monte Carlo inside.

One Gaussian layer x = mu(z) + std eps with z ~ N(0, I).  The entropy's gradient needs the marginal's score at x, which
is the mean of grad_x log q(x | z') over the reverse conditional q(z' | x); that mean is taken over the last states of
a short chain that starts at the z that x came from (Titsias and Ruiz, 2019; HSIVI, Appendix B, eq. (16)).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from hsivi.checkpoint import Session
from hsivi.evidence import lower_bound
from hsivi.hierarchy import IndependentHierarchy
from hsivi.mcmc import hmc_step
from hsivi.noise import SampleNoise
from hsivi.objective import from_score
from hsivi.optimise import NonFiniteLoss, Optimiser
from hsivi.problem import InferenceProblem
from hsivi.rng import generator
from hsivi.target import Target

TITLE = "UIVI"
CITATION = "titsias2019unbiased"
NFE = (1,)
TASKS = ("inference",)
_TINY = {"hidden": [6], "iterations": 4, "batch": 6, "learning_rate": 1e-2, "states": 2}
CONTRACT = {"raw": {**_TINY, "burn_in": 1}, "base": {**_TINY, "coordinates": "base"}}


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        coordinates: ``raw``, or ``base`` for u = (x - mean) / std of the bridge's base distribution.
        hidden: hidden widths of the mean's network.
        residual: whether the mean is z + network(z).
        log_variance: initial log-variance.
        iterations: number of updates.
        batch: samples an update uses.
        learning_rate: Adam's initial rate.
        schedule: decay of the learning rate.
        burn_in: states of each chain that are not used.
        states: states of each chain that are used.
        leapfrogs: leapfrog steps between two states.
        acceptance: probability of acceptance that the step size is adapted to.
    """

    coordinates: Literal["raw", "base"] = "raw"
    hidden: tuple[int, ...] = (50, 50)
    residual: bool = True
    log_variance: float = 0.0
    iterations: int = 80_000
    batch: int = 64
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    burn_in: int = 5
    states: int = 5
    leapfrogs: int = 5
    acceptance: float = 0.9


@dataclass
class Trainer:
    """See `hsivi.checkpoint.Resumable`.

    Attributes:
        hierarchy: one layer.
        target: in the layer's coordinates.
        config: settings.
        seeds: one a replica.
        iteration: iterations done.
        step_size: of the leapfrog steps, shape (R,).
    """

    hierarchy: IndependentHierarchy
    target: Target
    config: Config
    seeds: tuple[int, ...]
    iteration: int = 0
    step_size: Tensor = field(init=False)

    def __post_init__(self) -> None:
        config, parameters = self.config, list(self.hierarchy.parameters())
        self._optimiser = Optimiser(parameters, config.learning_rate, (0.9, 0.99), config.schedule, config.iterations)
        self.step_size = torch.full((len(self.seeds),), 0.1).to(parameters[0])

    def step(self) -> Tensor:
        """Update the layer once and return the loss: surrogates of log q less log p, mean over the batch, shape (R,).

        Raises:
            NonFiniteLoss: the loss is infinite or undefined.
        """
        dim = self.hierarchy.log_variances[0].shape[1]
        chain = self.config.burn_in + self.config.states
        normals, uniforms = self._noise(chain, dim)
        z, x = normals[0], self.hierarchy.conditional(normals[0], 0).rsample(normals[1])
        score = self.marginal_score(x.detach(), z, normals[2:], uniforms)
        loss = from_score(lambda _: score)(x) - from_score(self.target.score)(x)
        value = loss.mean(1)
        if not value.isfinite().all():
            raise NonFiniteLoss(
                f"UIVI loss: got a non-finite value at iteration {self.iteration}, expected finite losses; lower the "
                f"learning rate in the recipe"
            )
        self._optimiser.descend(value.sum())
        self._optimiser.advance()
        self.iteration += 1
        return value.detach()

    def marginal_score(self, x: Tensor, z: Tensor, momenta: Tensor, uniforms: Tensor) -> Tensor:
        """Return an estimate of grad_x log q(x), shape of ``x`` (R, B, d), from chains over z that start at ``z``.

        Arguments:
            x: samples of the layer.
            z: the mixing draws they came from.
            momenta: standard normal, shape (states, R, B, d).
            uniforms: uniform on [0, 1), shape (states, R, B).
        """

        def log_joint(z: Tensor) -> Tensor:
            return self.hierarchy.conditional(z, 0).log_prob(x) - 0.5 * z.square().sum(-1)

        def gradient(z: Tensor) -> Tensor:
            with torch.enable_grad():
                z = z.detach().requires_grad_(True)
                return torch.autograd.grad(log_joint(z).sum(), z)[0]

        total = torch.zeros_like(x)
        with torch.no_grad():
            for i, (momentum, uniform) in enumerate(zip(momenta, uniforms, strict=True)):
                z, accepted = hmc_step(
                    z, log_joint, gradient, momentum, uniform, self.step_size[:, None], self.config.leapfrogs
                )
                self.step_size = self.step_size * (1 + 0.05 * (accepted.mean(1) - self.config.acceptance))
                if i >= self.config.burn_in:
                    total += self.hierarchy.conditional(z, 0).score(x)
        return total / self.config.states

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {
            "iteration": self.iteration,
            "hierarchy": self.hierarchy.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step_size": self.step_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.iteration = state["iteration"]
        self.hierarchy.load_state_dict(state["hierarchy"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step_size = state["step_size"].to(self.step_size)

    def _noise(self, chain: int, dim: int) -> tuple[Tensor, Tensor]:
        """Return normals of shape (2 + chain, R, B, d) and uniforms of shape (chain, R, B)."""
        normals, uniforms, batch = [], [], self.config.batch
        for seed in self.seeds:
            rng = generator(seed, "uivi", self.iteration)
            normals.append(torch.from_numpy(rng.standard_normal((2 + chain, batch, dim), "float32")))
            uniforms.append(torch.from_numpy(rng.random((chain, batch), "float32")))
        return torch.stack(normals, 1).to(self.step_size), torch.stack(uniforms, 1).to(self.step_size)


def fit(problem: InferenceProblem, config: Config, seeds: tuple[int, ...], session: Session) -> list[dict[str, Tensor]]:
    """Train one replica a seed and return the layer of each."""
    target, _, _ = problem.in_coordinates(config.coordinates)
    trainer = Trainer(_layer(problem, config, seeds), target, config, seeds)
    session.train(trainer, config.iterations)
    return [trainer.hierarchy.select(replica) for replica in range(len(seeds))]


def sample(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_0."""
    layer = _layer(problem, config, (0,))
    layer.load_state_dict(state)
    problem.counted_network(layer.networks[0])
    _, _, restore = problem.in_coordinates(config.coordinates)
    yield restore(layer.conditional(noise.prior()[None], 0).rsample(noise.step(0)[None])[0])


def elbo(problem: InferenceProblem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the integrand of the lower bound at the method's own samples, shape (n,)."""
    layer = _layer(problem, config, (0,))
    layer.load_state_dict(state)
    target, _, _ = problem.in_coordinates(config.coordinates)
    return lower_bound(layer, target, noise)


def _layer(problem: InferenceProblem, config: Config, seeds: tuple[int, ...]) -> IndependentHierarchy:
    (dim,) = problem.event_shape
    layer = IndependentHierarchy(seeds, dim, config.hidden, [config.residual], config.log_variance)
    return layer.to(problem.base.mean.device)
