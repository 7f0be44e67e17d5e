"""Lower bounds on the log evidence of a target, estimated at a hierarchy's own samples."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hsivi.hierarchy import IndependentHierarchy
from hsivi.noise import SampleNoise, standard_normal
from hsivi.objective import pairwise_log_density
from hsivi.target import Target

AUXILIARIES = 1_000
"""K of the reported bound."""


def lower_bound(hierarchy: IndependentHierarchy, target: Target, noise: SampleNoise) -> dict[str, Tensor]:
    """Return the integrand of eq. (2) at the hierarchy's samples, shape (n,), under a name that carries K.

    Its mean is below the log evidence, and below the ELBO by less the larger K is.  The K auxiliaries are further
    draws of the layers above, the same ones for all n samples.

    Arguments:
        hierarchy: a stack of one.
        target: in the hierarchy's coordinates.
        noise: of the samples, as in sampling.
    """
    layers = hierarchy.num_layers

    def further(t: int) -> Tensor:
        drawn = standard_normal((1, AUXILIARIES, *noise.event_shape), noise.seed, "evidence", t)
        return drawn.to(device=noise.device, dtype=noise.dtype)

    own = _mixing(hierarchy, lambda t: (noise.prior() if t == layers else noise.step(t))[None])
    layer, others = hierarchy.conditional(own, 0), hierarchy.conditional(_mixing(hierarchy, further), 0)
    x = layer.rsample(noise.step(0)[None])
    log_q = torch.cat([layer.log_prob(x)[..., None], pairwise_log_density(others, x)], -1)
    integrand = target.log_prob(x) - torch.logsumexp(log_q, -1) + math.log(AUXILIARIES + 1)
    return {f"elbo_k{AUXILIARIES}": integrand[0]}


def _mixing(hierarchy: IndependentHierarchy, noise: Callable[[int], Tensor]) -> Tensor:
    """Return x_1; ``noise(T)`` is x_T."""
    prior = noise(hierarchy.num_layers)
    return (prior, *hierarchy.propagate(prior, hierarchy.num_layers, 1, noise))[-1]
