"""What reports on images share: the metric they compare by, and what their numbers and pictures are of."""

from collections.abc import Sequence

from hsivi.experiment import Experiment
from hsivi.metrics.protocol import only
from hsivi.record import Record
from reports._samplers import Block

NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "celeba": "CelebA",
    "imagenet64": "ImageNet 64x64",
}
PUBLISHED = {"mnist": 32, "fashion_mnist": 32, "cifar10": 32, "celeba": 64, "imagenet64": 64}
"""Height and width of the images that published models have."""
SPREAD = "spread_given_prior"


def is_images(experiment: Experiment) -> bool:
    """Return whether an experiment models a published set of images."""
    return experiment.data.kind == "images"


def frechet(experiment: Experiment) -> str:
    """Return the metric by which the samplers of an experiment are compared, without its fingerprint."""
    if experiment.data.kind != "images":
        return "fd_digits_classifier"
    if experiment.data.features.kind == "inception":
        return "fid_inception"
    return f"fd_{experiment.data.datasets[0]}_classifier"


def kid(experiment: Experiment) -> str:
    """Return the kernel distance on the same features, without its fingerprint."""
    return "kid_" + frechet(experiment).partition("_")[2]


def full_name(made: Sequence[Record], metric: str) -> str | None:
    """Return the one full name of a metric in records, or None where there is none.

    Raises:
        ConfigError: there are several protocols, whose values must not be compared.
    """
    return only({m.metric for record in made for m in record.measurements}, metric)


def blocks(experiment: Experiment, made: Sequence[Record]) -> list[Block]:
    """Return the blocks of a table of samplers: Frechet distance, kernel distance, and the spread given x_T."""
    (dataset,) = experiment.data.datasets
    found = [full_name(made, metric) or metric for metric in (frechet(experiment), kid(experiment))]
    what = [fact.partition(",")[0] for fact in facts(experiment)]  # the page says in full where images come from
    shown = [Block(", ".join([metric, *what]), dataset, metric) for metric in found]
    return [*shown, Block(SPREAD, dataset, SPREAD, best="none")]


def facts(experiment: Experiment) -> list[str]:
    """Return what sets the images of an experiment apart from the published ones, for captions; often nothing."""
    data = experiment.data
    if data.kind != "images":
        return []
    name = data.datasets[0]
    said = ["random images in the official format: a trial"] if data.files == "generated" else []
    if data.size == PUBLISHED[name]:
        return said
    before = "28x28 padded to 32x32" if name in ("mnist", "fashion_mnist") else f"{PUBLISHED[name]}x{PUBLISHED[name]}"
    return [*said, f"{data.size}x{data.size}, area-averaged from {before}"]
