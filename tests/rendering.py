"""Running a script of reports/ as ``hsivi report`` does, on experiments made up by a test."""

import importlib
from pathlib import Path

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.reporting import reports

REPORTS = {report.name: report for report in reports()}


def render(name: str, scale: str, *shown: Experiment) -> list[Path]:
    """Write a report, and return its files."""
    report, script = REPORTS[name], importlib.import_module(f"reports.{name}")
    given = list(shown) if report.several else shown[0]
    if report.table:
        script.table(scale, given).write(scale, name)
    else:
        script.render(scale, given)
    return [layout.reports(scale) / file for file in report.files]
