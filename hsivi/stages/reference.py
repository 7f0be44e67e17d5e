"""Stage ``reference``: prepare what the metrics know about one target."""

from hsivi.arrays import save_arrays
from hsivi.config import Experiment
from hsivi.metrics import prepare
from hsivi.stages.common import Stopwatch, dataset_command, files, open_dataset


def run(experiment: Experiment, dataset: str) -> None:
    """Write the reference and its note."""
    watch, output = Stopwatch(), files(experiment, dataset).reference
    reference = prepare(experiment.data, open_dataset(experiment, dataset), experiment.num_samples)
    metadata = reference.metadata()
    save_arrays(output, reference.arrays(), metadata)
    watch.note(output, dataset_command("reference", experiment, dataset), metadata=metadata)
