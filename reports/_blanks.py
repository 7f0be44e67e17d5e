"""Cells that may have no number, and why: no data, no device, not run, not measured, declined or failed."""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hsivi import layout, methods
from hsivi.config import load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.record import Record, read_record

CODES = ("no data", "no device", "not run", "not measured", "declined", "failed")


@dataclass(frozen=True)
class Blank:
    """An empty place.

    Attributes:
        code: one of `CODES`, to stand in the place.
        reason: the whole reason and what to do, to stand beside.
    """

    code: str
    reason: str

    @property
    def words(self) -> str:
        """Code and reason."""
        return f"{self.code}: {self.reason}"


@dataclass
class Results:
    """Records of experiments that may be run in part, or not at all.

    Attributes:
        scale: scale of the run.
        experiments: those that are run, by name.
        found: records of the cells of these that are there, by experiment, row and budget.
    """

    scale: str
    experiments: dict[str, Experiment]
    found: dict[tuple[str, str, int], Record] = field(default_factory=dict)

    @classmethod
    def read(cls, scale: str, experiments: Sequence[Experiment]) -> "Results":
        """Read the records that are there."""
        found = {}
        for experiment in experiments:
            for cell in methods.cells(experiment):
                path = layout.CellFiles(cell).record
                if path.exists():
                    found[experiment.name, cell.label, cell.nfe] = read_record(path)
        return cls(scale, {e.name: e for e in experiments}, found)

    def of(self, name: str) -> list[Record]:
        """Return the records of an experiment."""
        return [record for (experiment, _, _), record in self.found.items() if experiment == name]

    def cell(self, name: str, label: str, nfe: int) -> Cell:
        """Return a cell of an experiment whose data set has the experiment's name."""
        return Cell(self.scale, name, name, label, nfe)

    def why(self, name: str, label: str, nfe: int) -> Blank:
        """Return why a cell has no numbers."""
        record = self.found.get((name, label, nfe))
        if record is not None and record.status != "ok":
            return Blank(record.status, record.reason or "it gave no reason")
        if record is not None:
            return Blank("not measured", f"its record lacks the metric; {record.command} writes it again")
        data = layout.DatasetFiles(self.scale, name, name).data
        run = f"make reproduce SCALE={self.scale} SCOPE=full EXPERIMENTS={name}"
        if not data.exists():
            return Blank("no data", f"{layout.input_name(data)} is not there; {run} makes it from the data set's files")
        if not self._planned(name, label, nfe):
            elsewhere = run.replace(self.scale, "paper", 1)
            return Blank("not run", f"scale {self.scale} does not have it; {elsewhere} runs it")
        # Trials are small enough for any processor.
        if self.scale != "smoke" and not has_device():
            return Blank("no device", f"the data are there, a GPU and a record are not; with a GPU, {run} runs it")
        if name not in self.experiments:
            return Blank("not run", f"it is not part of this run; {run} runs it")
        return Blank("not run", f"{run} runs it")

    def _planned(self, name: str, label: str, nfe: int) -> bool:
        """Return whether the scale has a cell in any scope."""
        known = self.experiments.get(name) or load_experiment(name, self.scale)
        return self.cell(name, label, nfe) in methods.cells(known.model_copy(update={"scope": "full"}))


def has_device() -> bool:
    """Return whether this machine has a GPU that can be used, as far as one can tell without torch."""
    return shutil.which("nvidia-smi") is not None


def say(panel: Any, blank: Blank, wide: int) -> None:
    """Say in an empty panel why it is empty, in lines of at most about ``wide`` characters."""
    words = textwrap.fill(blank.words, wide, break_on_hyphens=False, break_long_words=False)
    panel.text(0.5, 0.5, words, fontsize=6, ha="center", va="center", transform=panel.transAxes)
    panel.set(xticks=[], yticks=[], box_aspect=1)


def note(blanks: Sequence[tuple[str, Blank]], said: set[str]) -> str:
    """Return the reasons of a row's blanks, each with what it is about; what is in ``said`` is not said again."""
    words = dict.fromkeys(f"{what}: {blank.words}" for what, blank in blanks)
    new = [text for text in words if text not in said]
    said |= set(new)
    before = ["the rest as above"] if new and len(new) < len(words) else ["as above"] if words and not new else []
    return "; ".join([*new, *before]) or "–"
