"""Products: what one job leaves in the folder of results, and what it was made from.  No torch here."""

from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from hsivi import layout, methods
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.stages.common import needed


@dataclass(frozen=True)
class Product:
    """The files of one job.

    Attributes:
        stage: the stage that makes it.
        experiment: the experiment it belongs to, in scope full.
        dataset: its data set.
        cell: its cell; None where all cells of the data set share it.
        files: what the job writes, its output first, relative to the folder of results of the scale.
        inputs: outputs of other jobs that it is made from, likewise.
    """

    stage: str
    experiment: Experiment
    dataset: str
    cell: Cell | None
    files: tuple[Path, ...]
    inputs: tuple[Path, ...]

    @property
    def output(self) -> Path:
        """The file that the job is about."""
        return self.files[0]

    @property
    def log(self) -> Path:
        """The log of the job, relative likewise; it may be lost without harm."""
        name = f"{self.dataset}/{self.cell.label}-nfe{self.cell.nfe}" if self.cell else self.dataset
        return Path(".logs") / self.stage / self.experiment.name / f"{name}.log"

    @property
    def key(self) -> str:
        """Its name for people: cell and stage."""
        own = f"/{self.cell.label}/nfe{self.cell.nfe}" if self.cell else ""
        return f"{self.experiment.name}/{self.dataset}{own} {self.stage}"


def products(experiment: Experiment) -> list[Product]:
    """Return what the jobs of an experiment leave, each after what it is made from; tables and pages aside."""
    found = [one for dataset in experiment.data.datasets for one in _shared(experiment, dataset)]
    found += [one for cell in methods.cells(experiment) for one in _own(experiment, cell)]
    found += [
        _product("time", experiment, cell.dataset, cell, layout.CellFiles(cell).timing)
        for cell in methods.timed_cells(experiment)
    ]
    by_output = {one.output: one for one in found}
    # Where trainings start from one another, the order of the cells is not that of the jobs.
    order = TopologicalSorter({one.output: one.inputs for one in found}).static_order()
    return [by_output[output] for output in order]


def _product(
    stage: str, experiment: Experiment, dataset: str, cell: Cell | None, output: Path, *inputs: Path
) -> Product:
    files = (output,) if output.suffix == ".json" else (output, layout.note(output))

    def inside(path: Path) -> Path:
        return layout.inside_results(path).relative_to(experiment.scale)

    return Product(stage, experiment, dataset, cell, tuple(map(inside, files)), tuple(map(inside, inputs)))


def _shared(experiment: Experiment, dataset: str) -> list[Product]:
    files = layout.DatasetFiles(experiment.scale, experiment.name, dataset)
    found = [
        _product("data", experiment, dataset, None, files.data),
        _product("reference", experiment, dataset, None, files.reference, files.data),
    ]
    if experiment.pretrains:
        found.append(_product("pretrain", experiment, dataset, None, files.score_model, files.data))
    return found


def _own(experiment: Experiment, cell: Cell) -> list[Product]:
    own, shared = layout.CellFiles(cell), needed(experiment, cell.dataset)
    reference = layout.DatasetFiles(cell.scale, cell.experiment, cell.dataset).reference
    found, fit = [], [own.fit] if methods.info(experiment, cell.label).needs_fit else []
    if fit:
        earlier = [layout.CellFiles(other).fit for other in methods.starts_from(experiment, cell)]
        found.append(_product("fit", experiment, cell.dataset, cell, own.fit, *shared, *earlier))
    found.append(_product("sample", experiment, cell.dataset, cell, own.samples, *shared, *fit))
    measured = (*shared, reference, own.samples, *fit)
    return [*found, _product("measure", experiment, cell.dataset, cell, own.record, *measured)]
