"""What an experiment models, and what its metrics' references are made from: the section ``data``.  No torch here."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from hsivi.recipe import Count, Frozen, Positive

ToyName = Literal["checkerboard", "swissroll", "circles", "moons"]
DigitsName = Literal["digits"]
MixtureName = Literal["ring", "unit_ring"]
PosteriorName = Literal["conditioned_diffusion"]
ImagesName = Literal["mnist", "fashion_mnist", "cifar10", "celeba", "imagenet64"]
KNOWN_DATASETS = {
    "toy2d": get_args(ToyName),
    "digits": get_args(DigitsName),
    "mixture": get_args(MixtureName),
    "posterior": get_args(PosteriorName),
    "images": get_args(ImagesName),
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


class ClassifierFeatures(Frozen):
    """Features of a classifier that is trained on the data set itself; never comparable with a published FID.

    Attributes:
        epochs: passes over the training images.
        width: channels of the classifier's first convolutions.
    """

    kind: Literal["classifier"]
    epochs: Count
    width: Annotated[int, Field(ge=4, multiple_of=4)] = 16


class InceptionFeatures(Frozen):
    """Features of the Inception network that published FIDs are computed on, as torch-fidelity has it.

    Attributes:
        weights: ``official``, downloaded or taken from the folder of offline files, or ``generated``, random ones in
            the official file's layout, for trials only.
        statistics: path of a file with mean and covariance of the real images' features (npz with ``mu`` and
            ``sigma``), or None to compute them from the training images.
        statistics_origin: where that file comes from, for the protocol.
    """

    kind: Literal["inception"]
    weights: Literal["official", "generated"] = "official"
    statistics: str | None = None
    statistics_origin: str | None = None

    @model_validator(mode="after")
    def _origin_is_known(self) -> "InceptionFeatures":
        if (self.statistics is None) != (self.statistics_origin is None):
            raise ValueError(
                "statistics: got it without statistics_origin or the reverse, expected both; add the other"
            )
        return self


class ImageData(Frozen):
    """A published set of images.

    Attributes:
        datasets: one name.
        seed: seed of the score model, of classifiers and of generated files.
        files: ``official``, or ``generated``: few random images in files of the official format, for trials only.
        size: height and width of the images that are modelled; 28 pixels are padded to 32, larger images reduced by
            averaging blocks (but see ``crop``).
        crop: which part of a CelebA photograph is used, and must be chosen: DDIM's 128 pixels, or those 148 of
            ddpm-torch, which a bilinear filter reduces.  Training images and the metrics' reference have the same one.
        quantise: how samples become whole numbers in 0..255.
        rows: real images that KID, precision and recall compare with, the first of the training set.
        features: what the metrics see of an image.
    """

    kind: Literal["images"]
    datasets: Annotated[tuple[ImagesName, ...], Field(min_length=1, max_length=1)]
    seed: int
    files: Literal["official", "generated"]
    size: Literal[8, 16, 32, 64]
    crop: Literal["none", "ddim_128", "ddpm_torch_148"] = "none"
    quantise: Literal["round", "truncate"] = "round"
    rows: Annotated[int, Field(ge=10)] = 10_000
    features: Annotated[ClassifierFeatures | InceptionFeatures, Field(discriminator="kind")]


def image_shape(config: ImageData) -> tuple[int, int, int]:
    """Return the shape (C, size, size) of one image: a grey value for digits and clothes, else red, green and blue."""
    (dataset,) = config.datasets
    channels = 1 if dataset in ("mnist", "fashion_mnist") else 3
    return channels, config.size, config.size


DataConfig = ToyData | ImageData | DigitsData | MixtureData | PosteriorData
TARGETS = ("mixture", "posterior")
"""Kinds of data whose density is known."""
