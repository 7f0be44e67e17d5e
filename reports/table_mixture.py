"""Ring of Gaussians: are all modes found, with the right weights and the right width?

Cells are mean ± standard deviation over seeds.  The first column counts the seeds whose samples show all modes with
every weight in [0.06, 0.19], where 0.125 is right.  The first row is what draws of the target themselves give (mean ±
standard deviation of one draw): nothing can be told apart that differs by less.  "declined": the method does not apply
here; "–": a number that does not exist, as the width of modes where none is found.  The lower bound is eq. (2) with
K = 1,000, exact for methods whose density is known; the target is normalised, so zero is best.  SIVI has as many
updates as all layers of HSIVI together; UIVI, each of whose updates runs Markov chains, has fewer (see the experiment's
file).
"""

import pandas as pd

from hsivi.experiment import Experiment
from hsivi.record import Record
from hsivi.tidy import tidy
from reports._records import labels, records, summary, title
from reports._tables import Cell, Row, Rows, Source, Table, number, source

EXPERIMENT = "mixture"
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
COUNTED = ("modes_found", "mode_weight_min", "mode_weight_max")
COLUMNS = (COMPLETE, *(heading for heading, _ in METRICS.values()), BOUND)


def table(scale: str, experiment: Experiment) -> Table:
    """Return one row a method and T, one column a metric."""
    found = {(r.label, r.nfe): r for r in records([experiment])}
    measured = tidy(list(found.values()))
    numbers = summary(measured).set_index(["method", "nfe", "metric"], drop=False)
    bounds = [metric for metric in measured.metric.unique() if metric.startswith("elbo")]
    rows: Rows = {("draws of the target", ""): _floors(measured)}
    for label in labels(experiment):
        for nfe in [nfe for name, nfe in found if name == label]:
            key = (title(experiment, label), f"{nfe}" if nfe else "")
            if found[label, nfe].status != "ok":
                rows[key] = dict.fromkeys(COLUMNS, found[label, nfe].status)
                continue
            rows[key] = {COMPLETE: _complete(found[label, nfe])}
            for metric, (heading, digits) in METRICS.items():
                if (label, nfe, metric) in numbers.index:
                    rows[key][heading] = number(numbers.loc[(label, nfe, metric)], digits)
            for bound in [metric for metric in bounds if (label, nfe, metric) in numbers.index][:1]:
                rows[key][BOUND] = number(numbers.loc[(label, nfe, bound)], 3)
    return Table.of(("method", "T"), rows, COLUMNS)


def _complete(record: Record) -> Cell:
    """Return in how many seeds all modes are found, and what says so."""
    place = (record.experiment, record.dataset, record.label, record.nfe)
    return Cell(complete(record), tuple(Source(*place, metric) for metric in COUNTED))


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


def _floors(measured: pd.DataFrame) -> Row:
    row: Row = {}
    for metric, (heading, digits) in METRICS.items():
        for first in measured[(measured.metric == metric) & measured.floor.notna()].head(1).to_dict("records"):
            text = f"{first['floor']:.{digits}f} ± {first['floor_std']:.{digits}f}"
            row[heading] = Cell(text, (source(first),))
    return row
