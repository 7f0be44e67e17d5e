"""Ring of Gaussians: are all modes found, with the right weights and the right width?

Cells are mean ± standard deviation over seeds.  The first column counts the seeds whose samples show all modes with
every weight in [0.06, 0.19], where 0.125 is right.  The first row is what draws of the target themselves give (mean ±
standard deviation of one draw): nothing can be told apart that differs by less.  "declined": the method does not apply
here; "–": a number that does not exist, as the width of modes where none is found.  The lower bound is eq. (2) with
K = 1,000, exact for methods whose density is known; the target is normalised, so zero is best.  SIVI has as many
updates as all layers of HSIVI together; UIVI, each of whose updates runs Markov chains, has fewer (see the experiment's
file).
"""

from collections.abc import Mapping

import pandas as pd

from hsivi.experiment import Experiment
from hsivi.record import Record
from hsivi.tidy import tidy
from reports._records import labels, records, summary, title
from reports._tables import write_table

EXPERIMENT = "mixture"
OUTPUTS = ("tables/table_mixture.csv", "tables/table_mixture.md", "tables/table_mixture.tex")
METRICS = {
    "modes_found": ("modes found", 2),
    "mode_weight_tv": ("TV of weights", 4),
    "mode_weight_min": ("smallest weight", 4),
    "mode_weight_max": ("largest weight", 4),
    "within_mode_sd": ("sd within modes", 4),
    "off_mode": ("off all modes", 4),
    "js_cell": ("js_cell (nats)", 4),
    "log_density_gap": ("log-density gap (nats)", 4),
}
COMPLETE = "seeds with all modes at weights in [0.06, 0.19]"
BOUND = "lower bound on the ELBO (nats)"
WEIGHTS = (0.06, 0.19)
MODES = 8


def cells(experiment: Experiment) -> pd.DataFrame:
    """Return one row a method and T, one column a metric."""
    found = {(r.label, r.nfe): r for r in records([experiment])}
    table = tidy(list(found.values()))
    numbers = summary(table).set_index(["method", "nfe", "metric"])
    rows = {("draws of the target", ""): _floors(table)}
    for label in labels(experiment):
        budgets = [nfe for name, nfe in found if name == label]
        for nfe in budgets:
            key = (title(experiment, label), f"{nfe}" if nfe else "")
            if found[label, nfe].status == "declined":
                rows[key] = _everywhere("declined")
                continue
            rows[key] = {COMPLETE: complete(found[label, nfe])}
            for metric, (heading, digits) in METRICS.items():
                known = (label, nfe, metric) in numbers.index
                rows[key][heading] = _number(numbers.loc[(label, nfe, metric)], digits) if known else "–"
            bounds = [m for m in table.metric.unique() if m.startswith("elbo") and (label, nfe, m) in numbers.index]
            rows[key][BOUND] = _number(numbers.loc[(label, nfe, bounds[0])], 3) if bounds else "–"
    result = pd.DataFrame.from_dict(rows, orient="index", columns=[COMPLETE, *(h for h, _ in METRICS.values()), BOUND])
    result.index = pd.MultiIndex.from_tuples(rows, names=["method", "T"])
    result.columns = pd.MultiIndex.from_tuples([("", column) for column in result.columns])
    return result


def complete(record: Record) -> str:
    """Return in how many seeds all modes are found with weights that are about right, like "2/3"."""
    values: dict[int, dict[str, float]] = {}
    for measurement in record.measurements:
        values.setdefault(measurement.seed, {})[measurement.metric] = measurement.value
    low, high = WEIGHTS
    good = [
        v["modes_found"] == MODES and v["mode_weight_min"] >= low and v["mode_weight_max"] <= high
        for v in values.values()
    ]
    return f"{sum(good)}/{len(good)}"


def _floors(table: pd.DataFrame) -> dict[str, str]:
    row = {COMPLETE: "–", BOUND: "–"}
    for metric, (heading, digits) in METRICS.items():
        here = table[(table.metric == metric) & table.floor.notna()]
        row[heading] = "–" if here.empty else f"{here.floor.iloc[0]:.{digits}f} ± {here.floor_std.iloc[0]:.{digits}f}"
    return row


def _everywhere(word: str) -> dict[str, str]:
    return {COMPLETE: word, BOUND: word} | {heading: word for heading, _ in METRICS.values()}


def _number(row: Mapping[str, float], digits: int) -> str:
    mean = f"{row['mean']:.{digits}f}"
    return f"{mean} ± {row['sd']:.{digits}f}" if row["seeds"] > 1 else mean


def render(scale: str, experiment: Experiment) -> None:
    """Write the table as CSV, Markdown and LaTeX."""
    write_table(cells(experiment), scale, "table_mixture")
