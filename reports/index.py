"""The page: verdicts, tables, figures, plots and all numbers of a scale, in one self-contained file."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hsivi import layout
from hsivi.experiment import Experiment
from hsivi.reporting import selected
from hsivi.writing import write_text
from reports import _page_claims, _page_run, table1_question, verdicts
from reports._costs import headline
from reports._findings import findings
from reports._harmless import visible
from reports._page_files import FOLDER, code, libraries
from reports._page_numbers import Numbers, relative
from reports._page_parts import VERDICTS, Parts
from reports._verdicts import outcomes
from reports.break_even import rivalries

EXPERIMENT = None
INPUTS = (
    "claims/claims.csv",
    "claims/ledger.yaml",
    "reports/page/page.html.jinja",
    "reports/page/tables.html.jinja",
    "reports/page/page.css",
    "reports/page/data.js",
    "reports/page/address.js",
    "reports/page/filters.js",
    "reports/page/theme.js",
    "reports/page/download.js",
    "reports/page/sorting.js",
    "reports/page/tables.js",
    "reports/page/claims.js",
    "reports/page/explorer.js",
    "reports/page/number.js",
    "reports/page/axes.js",
    "reports/page/plots.js",
    "reports/page/start.js",
    "reports/page/vendor/vendor.yaml",
    "reports/page/vendor/dataTables.min.js",
    "reports/page/vendor/plotly-basic.min.js",
)
OUTPUTS = ("index.html",)
PAGE = True
TITLE = "Hierarchical semi-implicit variational inference against its rivals: measured, not quoted"


def render(scale: str, experiments: Sequence[Experiment]) -> None:
    """Write the page."""
    write_text(layout.reports(scale) / "index.html", page(**content(scale, experiments)))


def page(**values: Any) -> str:
    """Return the page; everything that is shown is escaped, and nothing in it turns round what is beside it."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(code=code(), libraries=libraries(), **visible(values))


def content(scale: str, experiments: Sequence[Experiment]) -> dict[str, Any]:
    """Return all that the template shows."""
    numbers = Numbers(scale, tuple(experiments))
    found = outcomes(scale, experiments)
    claims = _page_claims.claims(found, numbers.link)
    parts = Parts(numbers, claims)
    ledger = verdicts.listed(found)
    shown_ledger = parts.show(VERDICTS, ledger)
    every = parts.every()
    report = next(r for r in selected(experiments) if r.name == VERDICTS)
    toys = [e for e in experiments if e.name == table1_question.EXPERIMENT]
    counts = _page_claims.counts(found)
    choices = numbers.choices() | {"verdict": [{"value": c["verdict"], "title": c["word"]} for c in counts]}
    return {
        "scale": scale,
        "title": TITLE,
        "metrics": relative(scale, layout.metrics_table(scale)),
        "experiment_flag": " ".join(experiment.name for experiment in experiments),
        "counts": counts,
        "claims": claims,
        "ledger": shown_ledger,
        "ledger_report": {"files": report.files, "command": parts.command(report)},
        "ledger_columns": _page_claims.columns(ledger, claims),
        "findings": findings(experiments),
        "question": [sentence for e in toys for sentence in table1_question.sentences(scale, e)],
        "parts": every,
        "choices": choices,
        "training": _page_run.training(scale, experiments),
        "methods": _page_run.described(experiments),
        "run": _page_run.summed(scale, numbers.records, experiments),
        "data": {
            "scale": scale,
            "choices": choices,
            "numbers": numbers.embedded(),
            "files": parts.files,
            "headlines": {
                e.name: headline(e, [r for r in numbers.records if r.experiment == e.name]) for e in experiments
            },
            "rivalries": [_rivalry(e, r) for e in experiments for r in rivalries(e)],
        },
    }


def _rivalry(experiment: Experiment, found: Any) -> dict[str, Any]:
    """Return one rivalry as the plot of total times reads it; a number of samples that is never reached is null."""
    reached = found.equal is not None
    return {
        "experiment": experiment.name,
        "dataset": found.ours["dataset"],
        "label": found.ours["method"],
        "nfe": int(found.ours["nfe"]),
        "rival": found.rival,
        "rivalNfe": int(found.equal["nfe"]) if reached else None,
        "cost": [found.cost.training, found.cost.sample],
        "rivalCost": [found.equal_cost.training, found.equal_cost.sample] if reached else None,
        "samples": found.samples if found.samples is not None and found.samples < float("inf") else None,
    }
