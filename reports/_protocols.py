"""What stands behind the numbers of sets of images: sizes, trainings, and the protocol of each fingerprint."""

from collections.abc import Sequence
from typing import Any

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.metrics.protocol import Protocol, split
from hsivi.record import Record, read_json
from reports._images import facts, is_images


def about(experiment: Experiment, made: Sequence[Record]) -> list[str]:
    """Return what the page says above the tables of an experiment; nothing where it is not of images."""
    if not is_images(experiment):
        return []
    said = [f"Images: {'; '.join(what)}." for what in [facts(experiment)] if what]
    if experiment.train_once:
        (seed,) = experiment.training_seeds
        said.append(f"Seeds are seeds of sampling: whatever is trained is trained once, with seed {seed}.")
    return [*said, *fingerprints(experiment, [r for r in made if r.experiment == experiment.name])]


def fingerprints(experiment: Experiment, made: Sequence[Record]) -> list[str]:
    """Return what each fingerprint in the names of an experiment's metrics stands for."""
    (dataset,) = experiment.data.datasets
    reference = layout.DatasetFiles(experiment.scale, experiment.name, dataset).reference
    stored = Protocol.restore(read_json(layout.note(reference))["metadata"]["protocol"])
    found: dict[str, set[int]] = {}
    for measurement in (m for record in made for m in record.measurements):
        fingerprint = split(measurement.metric)[1]
        if fingerprint:
            found.setdefault(fingerprint, set()).add(measurement.num_samples)
    return [f"{fingerprint} = {_words(stored, fingerprint, counts)}" for fingerprint, counts in sorted(found.items())]


def _words(stored: Protocol, fingerprint: str, counts: set[int]) -> str:
    """Return a protocol in words; the reference's own holds for one size of sample sets, a row may draw another."""
    for protocol in map(stored.of, sorted({stored.samples, *counts})):
        if protocol.fingerprint == fingerprint:
            return _described(protocol)
    return "of an earlier reference, which is not there any more; measure those cells again"


def _described(protocol: Protocol) -> str:
    images = f" ({protocol.real_images:,} images)" if protocol.real_images is not None else ""
    facts: list[Any] = [
        f"features of {protocol.extractor}, weights {protocol.weights}",
        f"real mean and covariance {protocol.statistics_origin}{images}, digest {protocol.statistics}",
        f"{protocol.samples:,} samples a set",
        f"KID, precision and recall on {protocol.rows:,} real images and at most as many samples",
        f"pixels {'rounded' if protocol.quantise == 'round' else 'truncated'} to whole numbers",
        f"{protocol.size}x{protocol.size} pixels" + ("" if protocol.crop == "none" else f", crop {protocol.crop}"),
    ]
    return "; ".join(facts)
