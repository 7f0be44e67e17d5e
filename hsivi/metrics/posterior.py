"""Metrics of samples of the conditioned diffusion's posterior: how far their moments are from the truth's.

covariance_frobenius: Frobenius distance of the covariance to that of Langevin chains, as in Table 4.
covariance_frobenius_hmc: the same with Hamiltonian Monte Carlo draws as the truth, which have no bias of a step size.
mean_rmse: root mean square over coordinates of the difference of means, in units of the truth's marginal standard
    deviation; the truth is the Langevin chains here and below.
variance_ratio: mean over coordinates of the marginal variance over the truth's; one for the target, but for the bias
    of unadjusted Langevin chains, which the floor shows.

Distances have the unit of x squared.  They grow as samples get fewer, so all samples compared have the same number.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsivi.data import Arrays
from hsivi.data_config import PosteriorData
from hsivi.metrics.statistics import averages, floors
from hsivi.moments import Moments
from hsivi.record import Measurement

if TYPE_CHECKING:  # measuring needs no torch
    from hsivi.checkpoint import Session
    from hsivi.data.conditioned_diffusion import ConditionedDiffusionData
    from hsivi.langevin import Langevin

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PosteriorReference:
    """See `hsivi.metrics.Reference`.

    Attributes:
        mean: of the Langevin chains, shape (d,).
        covariance: of the Langevin chains, shape (d, d).
        hmc_mean: of the Hamiltonian Monte Carlo draws, shape (d,).
        hmc_covariance: of the Hamiltonian Monte Carlo draws, shape (d, d).
        states: some Langevin states, shape (at most 2,000, d).
        facts: sample size and floors (mean and standard deviation by metric), and facts for people.
    """

    mean: Array
    covariance: Array
    hmc_mean: Array
    hmc_covariance: Array
    states: NDArray[np.float32]
    facts: Mapping[str, Any]

    @classmethod
    def build(
        cls, config: PosteriorData, dataset: "ConditionedDiffusionData", num_samples: int, session: "Session"
    ) -> "PosteriorReference":
        """Run the chains, check them, and measure the floors for sample sets of size ``num_samples``."""
        from hsivi.langevin import Langevin

        langevin = Langevin(dataset.target, config, session.workers)
        session.train(langevin, langevin.blocks)
        draws = _Draws(dataset, session, config.check_draws + config.floor_pairs * num_samples)
        check = draws.moments(config.check_draws, config.seed, "check")
        acceptance = draws.accepted / draws.done
        truth = (langevin.moments.mean, langevin.moments.covariance, check.mean, check.covariance, langevin.states)
        blank = cls(*truth, {"num_samples": num_samples})
        exact = [draws.moments(num_samples, config.seed, "floor", i) for i in range(config.floor_pairs)]
        floor = floors([blank._evaluate(moments.mean, moments.covariance) for moments in exact])
        facts = {"num_samples": num_samples, "floor": dict(floor), "hmc_acceptance": acceptance}
        return cls(*truth, facts | _facts(blank, langevin, dataset))

    @classmethod
    def restore(cls, arrays: Arrays, metadata: Mapping[str, Any]) -> "PosteriorReference":
        """Open a stored reference."""
        return cls(
            np.asarray(arrays["mean"], np.float64),
            np.asarray(arrays["covariance"], np.float64),
            np.asarray(arrays["hmc_mean"], np.float64),
            np.asarray(arrays["hmc_covariance"], np.float64),
            np.asarray(arrays["states"], np.float32),
            metadata,
        )

    def arrays(self) -> Arrays:
        """Return moments and states."""
        return {
            "mean": self.mean,
            "covariance": self.covariance,
            "hmc_mean": self.hmc_mean,
            "hmc_covariance": self.hmc_covariance,
            "states": self.states,
        }

    def metadata(self) -> dict[str, Any]:
        """Return sample size, floors and facts for people."""
        return dict(self.facts)

    def measure(self, stored: Mapping[str, NDArray[Any]], seed: int) -> list[Measurement]:
        """Average every metric over the sample sets of one seed.

        Arguments:
            stored: ``mean`` (sets, d) and ``covariance`` (sets, d, d) of `hsivi.summary.summarise`.
            seed: seed of the run.
        """
        values = [self._evaluate(*moments) for moments in zip(stored["mean"], stored["covariance"], strict=True)]
        return averages(values, seed, self.facts["num_samples"], self.facts["floor"])

    def _evaluate(self, mean: Array, covariance: Array) -> dict[str, float]:
        variance = np.diag(self.covariance)
        return {
            "covariance_frobenius": float(np.linalg.norm(covariance - self.covariance)),
            "covariance_frobenius_hmc": float(np.linalg.norm(covariance - self.hmc_covariance)),
            "mean_rmse": _rmse(mean, self.mean, variance),
            "variance_ratio": float(np.mean(np.diag(covariance) / variance)),
        }


class _Draws:
    """Moments of draws of the posterior, in bounded memory, with progress over all of them."""

    def __init__(self, dataset: "ConditionedDiffusionData", session: "Session", total: int) -> None:
        from hsivi.checkpoint import Progress

        self.dataset, self.workers, self.total = dataset, session.workers, total
        self.progress = Progress(f"{session.label}: Hamiltonian Monte Carlo")
        self.done, self.accepted = 0, 0.0

    def moments(self, n: int, *key: int | str) -> Moments:
        """Return the moments of n draws that depend on ``key``."""
        (dimension,) = self.dataset.event_shape
        moments = Moments.of(np.empty((0, dimension)))
        for x, acceptance in self.dataset.hamiltonian(n, *key, workers=self.workers):
            moments = moments.merge(Moments.of(x))
            self.done, self.accepted = self.done + len(x), self.accepted + float(acceptance.sum())
            self.progress.update(self.done, self.total)
        return moments


def _rmse(mean: Array, truth: Array, variance: Array) -> float:
    return float(np.sqrt(np.mean((mean - truth) ** 2 / variance)))


def _facts(reference: PosteriorReference, langevin: "Langevin", dataset: "ConditionedDiffusionData") -> dict[str, Any]:
    """Return facts for people: how the truths agree, how many draws they are worth, when burn-in was over."""
    config, laplace = langevin.config, dataset.laplace.covariance.numpy()
    precision = np.linalg.inv(laplace)
    slowest = float(np.linalg.eigvalsh(precision)[0])
    effective = effective_states(config, slowest)
    covariances = {"langevin": reference.covariance, "hmc": reference.hmc_covariance, "laplace": laplace}
    pairs = [("langevin", "hmc"), ("langevin", "laplace"), ("hmc", "laplace")]
    trace, norm = np.trace(reference.hmc_covariance), np.linalg.norm(reference.hmc_covariance)
    spread = float(np.sqrt(trace**2 + norm**2))
    means, variances = langevin.burn_in_curve()
    truth = np.diag(reference.hmc_covariance)
    biased = np.linalg.inv(precision - 0.25 * config.step_size * precision @ precision)
    return {
        "norm": {name: float(np.linalg.norm(covariance)) for name, covariance in covariances.items()},
        "distance": {f"{a}_{b}": float(np.linalg.norm(covariances[a] - covariances[b])) for a, b in pairs},
        "mean_rmse_langevin_hmc": _rmse(reference.hmc_mean, reference.mean, truth),
        # Frobenius distance between the covariance of n Gaussian draws and the truth, root mean square.
        "expected_floor": spread / math.sqrt(reference.facts["num_samples"]),
        "expected_distance_langevin_hmc": spread * math.sqrt(1 / effective + 1 / config.check_draws),
        # Of a Gaussian with Laplace's precision A: (A - (h / 4) A^2)^{-1} against A^{-1}.
        "step_bias": float(np.linalg.norm(biased - laplace)),
        "langevin_states": langevin.moments.count,
        "langevin_effective_states": effective,
        "hmc_draws": config.check_draws,
        "relaxation_iterations": 2 / (config.step_size * slowest),
        "burn_in": {
            "iterations": langevin.watched_iterations,
            "variance_ratio": [float(np.mean(variance / truth)) for variance in variances],
            "mean_rmse": [_rmse(mean, reference.hmc_mean, truth) for mean in means],
            "noise": _curve_noise(reference.hmc_covariance, config.chains, config.check_draws),
        },
    }


def _curve_noise(covariance: Array, chains: int, draws: int) -> dict[str, float]:
    """Return what both curves of the burn-in show if only noise is left, of as many chains and of the draws."""
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sd, sd)
    both = 1 / chains + 1 / draws
    # The variance of the mean over coordinates of squared deviations is twice the mean of squared correlations.
    return {
        "variance_ratio": math.sqrt(2 * both * float(np.mean(correlation**2))),
        "mean_rmse": math.sqrt(both),
    }


def effective_states(config: PosteriorData, slowest: float) -> float:
    """Return how many independent states the snapshots of all chains are worth for a covariance, at least.

    Along the direction of least curvature, ``slowest``, squares of a chain's deviations a snapshot apart correlate by
    (1 - h curvature / 2)^(2 thinning); along all others by less.
    """
    correlation = math.pow(1 - 0.5 * config.step_size * slowest, 2 * config.thinning)
    lags = np.arange(1, config.snapshots)
    excess = float(np.sum((1 - lags / config.snapshots) * correlation**lags))
    return config.chains * config.snapshots / (1 + 2 * excess)
