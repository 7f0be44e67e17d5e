"""What an experiment models, and what its metrics' references are made from: the section ``data``.  No torch here."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from hsivi.recipe import Count, Frozen, Positive

ToyName = Literal["checkerboard", "swissroll", "circles", "moons"]
DigitsName = Literal["digits"]
MixtureName = Literal["ring", "unit_ring"]
PosteriorName = Literal["conditioned_diffusion"]
KNOWN_DATASETS = {
    "toy2d": get_args(ToyName),
    "digits": get_args(DigitsName),
    "mixture": get_args(MixtureName),
    "posterior": get_args(PosteriorName),
}


class ToyData(Frozen):
    """2-D data that can be drawn at will.

    Attributes:
        datasets: names of the targets.
        seed: seed of the reference draw.
        reference_draws: size of the draw that fixes the transform and the metrics' references.
        floor_pairs: pairs of target samples that measure each metric's floor.
    """

    kind: Literal["toy2d"]
    datasets: tuple[ToyName, ...]
    seed: int
    reference_draws: Annotated[int, Field(ge=100_000)]
    floor_pairs: Count


class DigitsData(Frozen):
    """scikit-learn's handwritten digits.

    Attributes:
        datasets: one name.
        seed: seed of the split.
        held_out_fraction: share of the images that are never trained on.
        classifier_epochs: training length of the classifier whose features the metrics use.
    """

    kind: Literal["digits"]
    datasets: tuple[DigitsName, ...]
    seed: int
    held_out_fraction: Annotated[float, Field(gt=0, lt=1)]
    classifier_epochs: Count


class MixtureData(Frozen):
    """A 2-D mixture of Gaussians with known density (HSIVI, section 5.1).

    Attributes:
        datasets: names of the targets.
        seed: seed of the reference draw.
        reference_draws: size of the draw that the metrics' grid is made from.
        floor_pairs: sample sets of the target that measure each metric's floor.
    """

    kind: Literal["mixture"]
    datasets: tuple[MixtureName, ...]
    seed: int
    reference_draws: Annotated[int, Field(ge=100_000)]
    floor_pairs: Annotated[int, Field(ge=2)]


class PosteriorData(Frozen):
    """The posterior of a conditioned diffusion (HSIVI, section 5.1), and how its ground truth is found.

    Attributes:
        datasets: one name.
        seed: seed of the path, of its observations and of the chains.
        chains: independent Langevin chains.
        burn_in: iterations of each chain that are thrown away.
        snapshots: states of each chain that are used.
        thinning: iterations between two of them.
        step_size: h of the unadjusted Langevin step x + (h / 2) score + sqrt(h) noise.
        check_draws: Hamiltonian Monte Carlo draws that the chains are checked against.
        floor_pairs: sample sets of the posterior that measure each metric's floor.
    """

    kind: Literal["posterior"]
    datasets: tuple[PosteriorName, ...]
    seed: int
    chains: Count
    burn_in: Count
    snapshots: Count = 1
    thinning: Count = 1
    step_size: Positive
    check_draws: Annotated[int, Field(ge=1_000)]
    floor_pairs: Annotated[int, Field(ge=2)]


DataConfig = ToyData | DigitsData | MixtureData | PosteriorData
TARGETS = ("mixture", "posterior")
"""Kinds of data whose density is known."""
