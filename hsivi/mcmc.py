"""Steps of Markov chains for many chains at once; pure functions, the noise is an argument."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]


def langevin_step(x: Tensor, score: Field, noise: Tensor, step_size: float) -> Tensor:
    """Return x + (h / 2) score(x) + sqrt(h) noise: unadjusted Langevin, shape of ``x``.

    HSIVI calls this stochastic gradient Langevin dynamics although its gradient is exact, and does not say whether a
    step size is h or h / 2; this is the convention of Welling & Teh (2011).  On N(m, A^{-1}) the stationary covariance
    is (A - (h / 4) A^2)^{-1}, so variances come out too large by a share of about h / 4 times the curvature.

    Arguments:
        x: states, shape (\\*batch, d).
        score: returns grad log p, shape of its argument.
        noise: standard normal, shape of ``x``.
        step_size: h; stable below 4 over the largest curvature.
    """
    return x + 0.5 * step_size * score(x) + math.sqrt(step_size) * noise


def hmc_step(
    x: Tensor,
    log_prob: Field,
    score: Field,
    momentum: Tensor,
    uniform: Tensor,
    step_size: float | Tensor,
    leapfrogs: int,
) -> tuple[Tensor, Tensor]:
    """Return the next states and the probabilities of acceptance: Hamiltonian Monte Carlo  (Neal, 2011, figure 2).

    Leaves p invariant whatever the step size.  A proposal at which density or momentum is not finite is rejected.

    Arguments:
        x: states, shape (\\*batch, d).
        log_prob: returns log p up to a constant, shape (\\*batch).
        score: returns grad log p, shape of its argument.
        momentum: standard normal, shape of ``x``.
        uniform: uniform on [0, 1), shape (\\*batch).
        step_size: of the leapfrog steps, a number or a tensor that broadcasts to (\\*batch).
        leapfrogs: number of leapfrog steps, at least one.

    Returns:
        States, shape of ``x``, and probabilities, shape (\\*batch).
    """
    step = step_size[..., None] if isinstance(step_size, Tensor) else step_size
    proposal, speed = x, momentum + 0.5 * step * score(x)
    for _ in range(leapfrogs - 1):
        proposal = proposal + step * speed
        speed = speed + step * score(proposal)
    proposal = proposal + step * speed
    speed = speed + 0.5 * step * score(proposal)
    reached, kinetic = log_prob(proposal), 0.5 * speed.square().sum(-1)
    gain = reached - log_prob(x) + 0.5 * momentum.square().sum(-1) - kinetic
    valid = reached.isfinite() & kinetic.isfinite()
    acceptance = torch.where(valid, gain.clamp(max=0).exp(), 0.0)
    return torch.where((uniform < acceptance)[..., None], proposal, x), acceptance
