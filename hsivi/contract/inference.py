"""The contract of Bayesian inference beyond what every baseline keeps: a lower bound on the evidence is one."""

from typing import Any

import torch
from torch import Tensor

from hsivi.contract.case import Broken, Case, blamed
from hsivi.contract.problem import POSTERIOR
from hsivi.contract.subject import DoesNotApply
from hsivi.noise import SampleNoise
from hsivi.problem import InferenceProblem


def lower_bound(case: Case) -> str | None:
    """Return what is wrong with ``elbo``: its form, its value, or what samples it belongs to."""
    if not isinstance(case.problem, InferenceProblem):
        return None
    if not hasattr(case.baseline, "elbo"):
        raise DoesNotApply("it has no elbo")
    values, (name, part) = _bound(case, 0, 2_000)[1], _bound(case, 700, 720)
    if not values.isfinite().all():
        return f"elbo: got {name!r} with values that are not finite, expected finite ones; log q must be defined at x"
    # Samples share 1000 auxiliaries, whose own error is far below that of 2000 draws of log p.
    most = POSTERIOR.log_evidence + 5 * float(values.std()) / len(values) ** 0.5 + 1e-5
    if values.mean() > most:
        return (
            f"elbo: got a mean of {values.mean():.4f}, expected at most the log evidence {POSTERIOR.log_evidence} "
            f"within 5 standard errors; return log p - log q with all constants of log q"
        )
    if not torch.allclose(part, values[700:720], rtol=1e-4, atol=1e-4):
        return (
            "elbo: got other values for samples 700 to 720 alone than among 2000, expected the same; take everything "
            "from noise, whose rows belong to the samples"
        )
    # The bound at the very samples that are drawn: what is left of the target there is log q, highest at their centre.
    x = case.run(3, 2_000, 2_000).samples.double()
    log_q = POSTERIOR.log_prob(x) - values
    falls = float(torch.corrcoef(torch.stack([log_q, -(x - x.mean(0)).square().sum(-1)]))[0, 1])
    if not falls > 0.3:
        return (
            f"elbo: got a log q that does not fall away from the centre of the samples (correlation {falls:.2f}), "
            f"expected the bound at the very samples that sample yields; use the same noise in the same way"
        )
    return None


def _bound(case: Case, start: int, stop: int) -> tuple[str, Tensor]:
    """Return name and integrand of the lower bound at some samples of seed 3, in float64."""
    baseline: Any = case.baseline
    with blamed(case.path, "elbo"), torch.no_grad():
        found: Any = baseline.elbo(case.problem, case.config, SampleNoise(3, start, stop, (2,)), case.states[0])
    if not isinstance(found, dict) or len(found) != 1 or not str(next(iter(found))).startswith("elbo"):
        got = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise Broken(f"elbo: got {got}, expected a dict with one entry, 'elbo' or 'elbo_k<K>'; rename it")
    ((name, values),) = found.items()
    if not isinstance(values, Tensor) or values.shape != (stop - start,):
        form = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise Broken(f"elbo: got {form}, expected one value a sample, shape ({stop - start},); do not average")
    return name, values.double()
