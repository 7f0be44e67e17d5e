"""The README's numbers are those of the reference results."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsivi import layout
from hsivi.config import ROOT, load_experiment
from hsivi.experiment import Experiment
from hsivi.publishing.figures import as_published, published_experiments
from reports._published import published
from reports._verdicts import outcomes, verdict_counts

README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "results" / "reference"
UNCERTAIN = re.compile(r"\d+\.\d+ ± \d+\.\d+")


def texts() -> set[str]:
    """Return every cell of the published tables, without the mark of the best."""
    found = set()
    for path in REFERENCE.glob("*/*/tables/*.csv"):
        with path.open(newline="") as file:
            found |= {cell.removesuffix(" *") for row in csv.reader(file) for cell in row}
    return found


def test_numbers_with_a_deviation_stand_in_a_published_table() -> None:
    shown = UNCERTAIN.findall(README)
    assert len(shown) > 60
    assert not set(shown) - texts()


@pytest.fixture
def experiments(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Experiment]]:
    """What the README's run at a scale was: the experiments of the default run, as far as they are published."""
    with layout.folders(REFERENCE, tmp_path):
        known = [
            load_experiment(name, request.param, "core") for name in published_experiments(request.param, REFERENCE)
        ]
        yield [as_published(experiment)[0] for experiment in known if experiment.by_default]


@pytest.mark.parametrize("experiments", ["quick"], indirect=True)
def test_verdicts_are_those_of_the_published_records(experiments: list[Experiment]) -> None:
    found = outcomes("quick", experiments)
    said = ", ".join(f"{count} {verdict}" for verdict, count in verdict_counts(found).items())
    assert f"{said}." in " ".join(README.split())
    numbers = len(published())
    assert f"Of {numbers} published numbers and {len(found) - numbers} statements" in README


@pytest.mark.parametrize("experiments", ["paper"], indirect=True)
def test_so_are_those_at_the_papers_budget(experiments: list[Experiment]) -> None:
    count = {str(verdict): count for verdict, count in verdict_counts(outcomes("paper", experiments)).items()}
    said = "{REPRODUCED} are REPRODUCED, {BETTER} BETTER, {WORSE} WORSE and {INCONCLUSIVE} INCONCLUSIVE."
    assert said.format(**count) in " ".join(README.split())
