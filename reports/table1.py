"""Table 1: divergence between target and samples on the four 2-D data sets.

Rows are data sets, columns are methods grouped by T as in the paper; cells are mean ± standard deviation over seeds.
Each block is one metric, followed by the block the paper prints.  The paper calls its numbers Jensen-Shannon
divergences of the ITE toolbox; several exceed what that estimator can return, so they are shown for comparison of
order and ratio, not of size (see DEVIATIONS).
"""

import pandas as pd

from hsivi.experiment import Experiment
from hsivi.tidy import tidy
from reports._records import claims, core, records, summary, title
from reports._tables import EMPTY, Cell, Row, Rows, Table, number, source

EXPERIMENT = "toy2d"
INPUTS = ("claims/claims.csv",)
BLOCKS = {
    "js_cell": "js_cell (calibrated, nats; the number to trust)",
    "jdist_ite": "J distance (symmetrised KL, k-NN, nats)",
    "kl_target_model_ite": "KL(target, model) (k-NN, nats)",
    "kl_model_target_ite": "KL(model, target) (k-NN, nats)",
    "js_ite": "Jensen-Shannon (k-NN as in ITE, nats)",
    "swd_ref": "sliced Wasserstein-1",
}
PRINTED = "printed in the paper (estimator not identified)"
ORDER = ("ddpm", "ddim", "hsivi_sm", "hsivi_sm-paper")
TABLE_BUDGETS = (5, 10, 100, 1000)


def table(scale: str, experiment: Experiment) -> Table:
    """Return the table: rows (block, data set), columns (T, method)."""
    experiment = core(experiment)
    made = records([experiment])
    numbers = summary(tidy(made))
    numbers = numbers[(numbers.nfe.isin(TABLE_BUDGETS)) & ~numbers.method.isin(["prior", "reference"])]
    failed = {(r.dataset, r.nfe, r.label) for r in made if r.status == "failed" and r.nfe in TABLE_BUDGETS}
    names = {label: title(experiment, label) for label in (*numbers.method.unique(), *(label for *_, label in failed))}
    rank = {label: ORDER.index(label) if label in ORDER else len(ORDER) for label in names}
    places = {(r.nfe, r.method) for r in numbers.itertuples()} | {place[1:] for place in failed}
    columns = sorted(places, key=lambda c: (c[0], rank[c[1]], c[1]))
    rows: Rows = {}
    for metric, heading in BLOCKS.items():
        for dataset in experiment.data.datasets:
            here = numbers[(numbers.metric == metric) & (numbers.dataset == dataset)].set_index(
                ["nfe", "method"], drop=False
            )
            row: Row = {}
            for nfe, label in columns:
                key = (f"T = {nfe}", names[label])
                missing = "failed" if (dataset, nfe, label) in failed else EMPTY
                row[key] = number(here.loc[(nfe, label)]) if (nfe, label) in here.index else missing
            row["target itself"] = Cell(f"{here.floor.iloc[0]:.4f}", (source(here.iloc[0]),))
            rows[heading, dataset] = row
    for dataset in experiment.data.datasets:
        rows[PRINTED, dataset] = {(f"T = {nfe}", names[label]): _printed(dataset, label, nfe) for nfe, label in columns}
    return Table.of(("metric", "data set"), rows)


def _printed(dataset: str, label: str, nfe: int) -> str:
    known = claims()
    base = label.partition("-")[0]
    hit = known[
        (known.source == "hsivi")
        & (known.table == "table1")
        & (known.dataset == dataset)
        & (known.method == base)
        & (known.nfe == nfe)
    ]
    if hit.empty:
        return EMPTY
    value, sd = hit.iloc[0].value, hit.iloc[0].sd
    return f"{value:.3f}" + (f" ± {sd:.3f}" if pd.notna(sd) else "")
