"""What a run has: values over seeds of a cell and metric, or why there are none."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hsivi import layout, methods
from hsivi.config import experiment_files, load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.metrics.protocol import split
from hsivi.record import Record, read_record
from reports._blanks import Results
from reports._outcome import Verdict
from reports._records import title
from reports._tables import Source

PAPER = "paper"
"""Key of the cells that scale paper has in all; others are keyed by scope."""


@dataclass(frozen=True)
class Series:
    """Values of one cell and metric.

    Attributes:
        values: by seed.
        source: where they come from, with the metric's full name.
        trainings: independent trainings behind them; 0 where the method learns nothing.
    """

    values: dict[int, float]
    source: Source
    trainings: int


@dataclass(frozen=True)
class Missing:
    """Why there are no values.

    Attributes:
        verdict: ``NOT_RUN``, or ``NOT_COMPARABLE`` where no run has them.
        reason: the reason, and what to do.
        planned: whether the run includes what is missing.
    """

    verdict: Verdict
    reason: str
    planned: bool = False


class Run:
    """The results of a run, which may be incomplete.

    Arguments:
        scale: scale of the run.
        experiments: what it includes, in its scope.
    """

    def __init__(self, scale: str, experiments: Sequence[Experiment]) -> None:
        self.scale = scale
        self.experiments = {experiment.name: experiment for experiment in experiments}
        self._others: dict[str, Experiment] = {}
        self._planned: dict[tuple[str, str], frozenset[Cell]] = {}
        self._records: dict[Cell, Record | None] = {}

    def find(self, place: tuple[str, str], method: str, nfe: int, metric: str) -> Series | Missing:
        """Return the values of a metric.

        Arguments:
            place: experiment and data set.
            method: row.
            nfe: budget.
            metric: name without fingerprint.
        """
        cell = Cell(self.scale, *place, method, nfe)
        record = self.record(cell)
        if record is None or record.status != "ok":
            return self.why(cell)
        values = {m.seed: m.value for m in record.measurements if split(m.metric)[0] == metric}
        names = {m.metric for m in record.measurements if split(m.metric)[0] == metric}
        if not values:
            lacking = f"not measured: its record lacks {metric}; {record.command} writes it again"
            return Missing(Verdict.NOT_RUN, lacking, planned=True)
        (name,) = names if len(names) == 1 else (metric,)
        return Series(values, Source(*place, method, nfe, name), record.trainings or 0)

    def experiment(self, name: str) -> Experiment:
        """Return an experiment of the run, or as it would be run."""
        if name not in self.experiments and name not in self._others:
            self._others[name] = load_experiment(name, self.scale)
        return self.experiments.get(name) or self._others[name]

    def title(self, name: str, label: str) -> str:
        """Return how a row of an experiment is called."""
        return title(self.experiment(name), label)

    def record(self, cell: Cell) -> Record | None:
        """Return a record if the run includes it and it is there."""
        if cell not in self._records:
            path = layout.CellFiles(cell).record
            there = cell in self.cells(cell.experiment) and path.exists()
            self._records[cell] = read_record(path) if there else None
        return self._records[cell]

    def cells(self, name: str) -> frozenset[Cell]:
        """Return the cells of an experiment in this run; none where it is not part of it."""
        if name not in self.experiments:
            return frozenset()
        return self._known(self.experiments[name])

    def _known(self, experiment: Experiment) -> frozenset[Cell]:
        key = (experiment.name, experiment.scope)
        if key not in self._planned:
            self._planned[key] = frozenset(methods.cells(experiment))
        return self._planned[key]

    def why(self, cell: Cell) -> Missing:
        """Return why a cell has no values."""
        name = cell.experiment
        record = self.record(cell)
        if record is not None:
            return Missing(Verdict.NOT_RUN, f"{record.status}: {record.reason or 'it gave no reason'}", planned=True)
        if name not in experiment_files() and name not in self.experiments:
            return Missing(Verdict.NOT_COMPARABLE, f"there is no experiment {name}")
        own = self.experiment(name)
        if cell not in self._known(own.model_copy(update={"scope": "full"})):
            return self._elsewhere(cell)
        if own.data.kind == "images" and own.data.features.kind == "inception":
            # Its data have to be put there, and it needs a device.
            blank = Results(self.scale, {name: own}).why(name, cell.label, cell.nfe)
            return Missing(Verdict.NOT_RUN, blank.words, planned=cell in self.cells(name))
        scope = "" if cell in self._known(own.model_copy(update={"scope": "core"})) else " SCOPE=full"
        command = f"make reproduce SCALE={self.scale}{scope} EXPERIMENTS={name} runs it"
        if name not in self.experiments:
            return Missing(Verdict.NOT_RUN, f"{name} is not part of this run; {command}")
        if cell not in self.cells(name):
            return Missing(Verdict.NOT_RUN, f"scope {own.scope} does not include it; {command}")
        return Missing(Verdict.NOT_RUN, f"its record is not there; {command}", planned=True)

    def _elsewhere(self, cell: Cell) -> Missing:
        """Return which scale has a cell that this one has not."""
        other = Cell("paper", cell.experiment, cell.dataset, cell.label, cell.nfe)
        if self.scale != "paper" and cell.experiment in experiment_files() and other in self._paper(cell.experiment):
            run = f"make reproduce SCALE=paper SCOPE=full EXPERIMENTS={cell.experiment}"
            return Missing(Verdict.NOT_RUN, f"scale {self.scale} does not have it; {run} runs it")
        return Missing(
            Verdict.NOT_COMPARABLE, f"{cell.experiment} has no row {cell.label} with {cell.nfe} function evaluations"
        )

    def _paper(self, name: str) -> frozenset[Cell]:
        if (name, PAPER) not in self._planned:
            self._planned[name, PAPER] = frozenset(methods.cells(load_experiment(name, "paper")))
        return self._planned[name, PAPER]

    @cached_property
    def trial(self) -> bool:
        """Whether its numbers mean nothing."""
        return self.scale == "smoke"
