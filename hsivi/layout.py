"""Where files lie.  The Snakefile, the stages and the reports all ask here, so no path is written twice.

Everything generated is relative to the working directory: ``results/<scale>/`` for data, models, samples and records,
``reports/<scale>/`` for what people read, ``results/<scale>/.scratch/`` for checkpoints that allow resuming.
"""

from dataclasses import dataclass
from pathlib import Path

from hsivi.methods import Cell


@dataclass(frozen=True)
class DatasetFiles:
    """Files that all cells of one data set share."""

    scale: str
    experiment: str
    dataset: str

    @property
    def folder(self) -> Path:
        """Folder of the data set."""
        return Path("results") / self.scale / self.experiment / self.dataset

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


def scratch(output: Path) -> Path:
    """Return the checkpoint that allows resuming the training of an output; Snakemake does not know of it."""
    scale, rest = output.parts[1], output.parts[2:]
    return Path("results", scale, ".scratch", *rest).with_suffix(".checkpoint")


def note(output: Path) -> Path:
    """Return the file beside an output that says how it was made."""
    return output.with_suffix(".json")


def metrics_table(scale: str) -> Path:
    """The tidy table of all measurements of a scale."""
    return Path("results") / scale / "metrics.csv"


def reports(scale: str) -> Path:
    """Folder of the rendered output of a scale."""
    return Path("reports") / scale
