"""Stage ``reference``: prepare what the metrics know about one target."""

from hsivi import layout, provenance
from hsivi.arrays import save_arrays
from hsivi.checkpoint import Session
from hsivi.config import ROOT
from hsivi.experiment import Experiment
from hsivi.metrics import prepare
from hsivi.stages import settings
from hsivi.stages.common import Stopwatch, dataset_command, files, open_dataset

LONG = {
    "posterior": ("langevin.py",),
    "images": ("nn/image_classifier.py", "metrics/feature_statistics.py", "metrics/extractor.py"),
}
"""Code of what takes long and is resumed: chains, or a classifier's training and the features of all images."""


def run(experiment: Experiment, dataset: str, workers: int = 1) -> None:
    """Write the reference and its note; what can run in parallel uses up to ``workers`` threads."""
    watch, output = Stopwatch(), files(experiment, dataset).reference
    identity = [
        settings.of_truth(experiment),
        provenance.code_digest(*(ROOT / "hsivi" / name for name in LONG.get(experiment.data.kind, ()))),
        provenance.file_digest(files(experiment, dataset).data),
    ]
    session = Session(f"reference {dataset}", layout.scratch(output), provenance.digest(identity), workers=workers)
    reference = prepare(experiment.data, open_dataset(experiment, dataset), experiment.num_samples, session)
    metadata = reference.metadata()
    save_arrays(output, reference.arrays(), metadata)
    # The finished chains stay in the scratch folder: a new metric or sample size does not cost hours of chains.
    watch.note(output, dataset_command("reference", experiment, dataset), seed=experiment.data.seed, metadata=metadata)
