"""Stage ``data``: prepare one data set."""

from hsivi.arrays import save_arrays
from hsivi.data import prepare
from hsivi.experiment import Experiment
from hsivi.stages.common import Stopwatch, dataset_command, files


def run(experiment: Experiment, dataset: str) -> None:
    """Write the data and its note."""
    watch, output = Stopwatch(), files(experiment, dataset).data
    prepared = prepare(experiment.data, dataset)
    save_arrays(output, prepared.arrays())
    watch.note(output, dataset_command("data", experiment, dataset), seed=experiment.data.seed)
