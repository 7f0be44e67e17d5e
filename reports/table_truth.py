"""Ground truth of the conditioned diffusion: how far it can be trusted.

The truth is what the paper calls stochastic gradient Langevin dynamics: independent unadjusted Langevin chains, whose
finite step makes variances slightly too large.  Hamiltonian Monte Carlo has no such bias; Laplace's approximation is a
third, independent look.  Distances between covariances are Frobenius distances.  The floor is the distance that as many
exact draws as a method is measured with have from the truth: differences far below it mean nothing.
"""

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.record import read_json
from reports._tables import Table

EXPERIMENT = "conditioned_diffusion"


def table(scale: str, experiment: Experiment) -> Table:
    """Return one row a fact."""
    (dataset,) = experiment.data.datasets
    note = read_json(layout.note(layout.DatasetFiles(scale, experiment.name, dataset).reference))
    truth = note["metadata"]
    norm, distance, (floor, _) = truth["norm"], truth["distance"], truth["floor"]["covariance_frobenius"]
    facts = {
        "norm of the covariance: Langevin": f"{norm['langevin']:.4f}",
        "norm of the covariance: Hamiltonian Monte Carlo": f"{norm['hmc']:.4f}",
        "norm of the covariance: Laplace": f"{norm['laplace']:.4f}",
        "distance Langevin to Hamiltonian Monte Carlo": f"{distance['langevin_hmc']:.4f}",
        "the same, expected from the noise of both alone": f"{truth['expected_distance_langevin_hmc']:.4f}",
        "bias of the Langevin step, expected from Laplace": f"{truth['step_bias']:.5f}",
        "distance Langevin to Laplace": f"{distance['langevin_laplace']:.4f}",
        "distance Hamiltonian Monte Carlo to Laplace": f"{distance['hmc_laplace']:.4f}",
        "Langevin states used, and independent ones they are worth at least": (
            f"{truth['langevin_states']:,}, {truth['langevin_effective_states']:,.0f}"
        ),
        "Hamiltonian Monte Carlo draws, and mean probability of acceptance": (
            f"{truth['hmc_draws']:,}, {truth['hmc_acceptance']:.2f}"
        ),
        "relaxation of the slowest direction (iterations)": f"{truth['relaxation_iterations']:.0f}",
        f"floor with {truth['num_samples']:,} samples: measured": f"{floor:.4f}",
        f"floor with {truth['num_samples']:,} samples: expected against an exact truth": (
            f"{truth['expected_floor']:.4f}"
        ),
    }
    return Table.of(("quantity",), {(quantity,): {"value": text} for quantity, text in facts.items()})
