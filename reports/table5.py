"""Table 5: number of parameters of the score model.

"network" is counted from the score model of this run, whatever its scale; "with HSIVI-SM's variances" adds one
log-variance for every pixel and colour, shared by all layers.  "stated in the paper, counted" is the network that the
paper and its code describe, "printed" what its Table 5 says.  A place without a number says why, as in Table 2.
"""

from collections.abc import Sequence

from hsivi import layout
from hsivi.config import ConfigError
from hsivi.experiment import Experiment
from hsivi.record import read_json
from reports._blanks import Blank, Results, note
from reports._fid import DATASETS, NOT_PRINTED
from reports._images import NAMES, PUBLISHED
from reports._records import claims
from reports._tables import Rows, Table

EXPERIMENT = ("cifar10", "celeba", "imagenet64")
INPUTS = ("claims/claims.csv",)
STATED = {"cifar10": 35_746_307, "celeba": 78_700_803, "imagenet64": 121_063_942}
"""Parameters of the networks of HSIVI, E.2.3, and of its published settings; ImageNet's has six output channels."""
COLOURS = 3
REMARKS = {
    "cifar10": "38.72 is probably a transposition: the stated network has 35.7 million",
    "celeba": "the stated network has 78.70 million; 0.04 million less are printed",
    "imagenet64": "the paper's Table 5 does not have it",
}


def table(scale: str, experiments: Sequence[Experiment]) -> Table:
    """Return the table: rows data sets, columns counts, printed numbers and a note."""
    results = Results.read(scale, experiments)
    rows: Rows = {}
    for name in DATASETS:
        experiment = results.experiments.get(name)
        size = experiment.data.size if experiment and experiment.data.kind == "images" else PUBLISHED[name]
        entries = COLOURS * size**2
        counted, blank = _parameters(results, name), results.why(name, "hsivi_sm", 5)
        if counted is None and blank.code in ("declined", "failed", "not measured"):
            blank = Blank("not run", "the note beside the score model is not there")
        remark = REMARKS[name]
        if counted is None:
            remark += "; " + note([(NAMES[name], blank)], set())
        elif counted != STATED[name]:
            remark += f"; scale {scale} has another network than the paper"
        rows[NAMES[name], f"{size}x{size}"] = {
            "network": f"{counted:,}" if counted is not None else blank.code,
            "with HSIVI-SM's variances": f"{counted + entries:,}" if counted is not None else blank.code,
            "variances": f"{entries:,}",
            "stated in the paper, counted": f"{STATED[name]:,}",
            "printed": _printed(name),
            "note": remark,
        }
    return Table.of(("data set", "images"), rows)


def _parameters(results: Results, name: str) -> int | None:
    """Return the parameters of the score model of a run, or None where it is not there."""
    if name not in results.experiments:
        return None
    try:
        return int(read_json(layout.note(layout.DatasetFiles(results.scale, name, name).score_model))["parameters"])
    except (ConfigError, KeyError):
        return None


def _printed(name: str) -> str:
    known = claims()
    known = known[(known.source == "hsivi") & (known.table == "table5") & (known.dataset == DATASETS[name])]
    return f"{known.value.iloc[0]:.2f} million" if len(known) else NOT_PRINTED
