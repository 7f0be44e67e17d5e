"""Stage ``reference``: prepare what the metrics know about one target."""

from hsivi import layout, provenance
from hsivi.arrays import save_arrays
from hsivi.checkpoint import Session
from hsivi.experiment import Experiment
from hsivi.metrics import prepare
from hsivi.stages import settings
from hsivi.stages.common import Stopwatch, dataset_command, files, open_dataset


def run(experiment: Experiment, dataset: str) -> None:
    """Write the reference and its note."""
    watch, output = Stopwatch(), files(experiment, dataset).reference
    identity = [settings.of_reference(experiment), provenance.code_digest(provenance.stage_file("reference"))]
    session = Session(f"reference {dataset}", layout.scratch(output), provenance.digest(identity))
    reference = prepare(experiment.data, open_dataset(experiment, dataset), experiment.num_samples, session)
    metadata = reference.metadata()
    save_arrays(output, reference.arrays(), metadata)
    watch.note(output, dataset_command("reference", experiment, dataset), metadata=metadata)
    session.close()
