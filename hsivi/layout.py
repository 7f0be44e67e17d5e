"""Where files lie.  The Snakefile, the stages and the reports all ask here, so no path is written twice.

Everything generated is relative to the working directory: ``results/<scale>/`` for data, models, samples and records,
``reports/<scale>/`` for what people read, ``results/<scale>/.scratch/`` for checkpoints that allow resuming.  The
environment variables HSIVI_RESULTS and HSIVI_REPORTS name other folders for ``results`` and ``reports``.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hsivi.methods import Cell

RESULTS, REPORTS = "HSIVI_RESULTS", "HSIVI_REPORTS"
"""Environment variables: jobs and worker processes inherit them."""


def results_folder() -> Path:
    """Return the folder of the results of all scales."""
    return Path(os.environ.get(RESULTS) or "results")


def reports_folder() -> Path:
    """Return the folder of the rendered output of all scales."""
    return Path(os.environ.get(REPORTS) or "reports")


@contextlib.contextmanager
def folders(results: Path, reports: Path) -> Iterator[None]:
    """Use other folders for the length of a block, also in processes that are started in it."""
    before = {name: os.environ.get(name) for name in (RESULTS, REPORTS)}
    os.environ |= {RESULTS: str(results), REPORTS: str(reports)}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def inside_results(path: Path) -> Path:
    """Return a path relative to the folder of results, wherever that lies."""
    return path.relative_to(results_folder())


def input_name(path: Path) -> str:
    """Return how records name a result that they were made from: as if the folder of results were ``results``."""
    return str(Path("results") / inside_results(path))


@dataclass(frozen=True)
class DatasetFiles:
    """Files that all cells of one data set share."""

    scale: str
    experiment: str
    dataset: str

    @property
    def folder(self) -> Path:
        """Folder of the data set."""
        return results_folder() / self.scale / self.experiment / self.dataset

    @property
    def data(self) -> Path:
        """The data: training points or images, and what is needed to draw more."""
        return self.folder / "data.safetensors"

    @property
    def score_model(self) -> Path:
        """The pre-trained network."""
        return self.folder / "score_model.safetensors"

    @property
    def reference(self) -> Path:
        """What the metrics know about the target."""
        return self.folder / "reference.safetensors"


@dataclass(frozen=True)
class CellFiles:
    """Files of one cell."""

    cell: Cell

    @property
    def folder(self) -> Path:
        """Folder of the cell."""
        shared = DatasetFiles(self.cell.scale, self.cell.experiment, self.cell.dataset)
        return shared.folder / self.cell.label / f"nfe{self.cell.nfe}"

    @property
    def fit(self) -> Path:
        """What the method learned, for every seed."""
        return self.folder / "fit.safetensors"

    @property
    def samples(self) -> Path:
        """Samples of every seed, and a trajectory of the first."""
        return self.folder / "samples.safetensors"

    @property
    def record(self) -> Path:
        """The measured cell."""
        return self.folder / "record.json"

    @property
    def timing(self) -> Path:
        """How long the cell takes to draw a batch."""
        return self.folder / "timing.json"


def run_lock(scale: str) -> Path:
    """Return the file that a run of a scale holds locked; see `hsivi.run_lock`."""
    return results_folder() / scale / ".run.lock"


def jobs_lock(scale: str) -> Path:
    """Return the file on which every job of a scale holds a share of a lock."""
    return results_folder() / scale / ".jobs.lock"


def scratch(output: Path) -> Path:
    """Return the checkpoint that allows resuming the training of an output; Snakemake does not know of it."""
    scale, *rest = inside_results(output).parts
    return results_folder().joinpath(scale, ".scratch", *rest).with_suffix(".checkpoint")


def note(output: Path) -> Path:
    """Return the file beside an output that says how it was made."""
    return output.with_suffix(".json")


def logs(scale: str) -> Path:
    """Folder of the logs of all jobs of a scale."""
    return results_folder() / scale / ".logs"


def metrics_table(scale: str) -> Path:
    """The tidy table of all measurements of a scale."""
    return results_folder() / scale / "metrics.csv"


def reports(scale: str) -> Path:
    """Folder of the rendered output of a scale."""
    return reports_folder() / scale
