"""Table 3: FID on CIFAR-10 of HSIVI-SM with one variance for all pixels and with one for each, next to DDPM and DDIM.

Rows are NFE as in the paper; "ours" stands above what the paper prints.  Ours are mean ± standard deviation over seeds
of sampling: there is one training, so the deviation says nothing about another one.  The row "protocol" holds the
fingerprint of how ours were computed, which the list above explains.  A place without a number says why: "no data",
the data set is not there; "no device", there is no GPU and no record; "not run"; "not measured"; "declined"; the note
tells what to do.
"""

from collections.abc import Sequence

from hsivi.experiment import Experiment
from reports._blanks import Results, note
from reports._fid import BUDGETS, OURS, PRINTED, PROTOCOL, Numbers, printed
from reports._images import NAMES
from reports._tables import Row, Rows, Table

EXPERIMENT = ("cifar10", "celeba", "imagenet64")
INPUTS = ("claims/claims.csv",)
SHOWN = "cifar10"
COLUMNS = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "hsivi_sm-isotropic": "HSIVI-SM, isotropic",
    "hsivi_sm": "HSIVI-SM, non-isotropic",
}


def table(scale: str, experiments: Sequence[Experiment]) -> Table:
    """Return the table: rows (NFE, ours or printed), columns methods and a note."""
    numbers = Numbers(Results.read(scale, [e for e in experiments if e.name == SHOWN]))
    said: set[str] = set()
    rows: Rows = {}
    for nfe in BUDGETS:
        found = {label: numbers.cell(SHOWN, label, nfe) for label in COLUMNS}
        blanks = [(NAMES[SHOWN], blank) for _, blank in found.values() if blank]
        ours: Row = {COLUMNS[label]: cell for label, (cell, _) in found.items()}
        rows[f"NFE {nfe}", OURS] = ours | {"note": note(blanks, said)}
        rows[f"NFE {nfe}", PRINTED] = {COLUMNS[label]: printed("table3", SHOWN, label, nfe) for label in COLUMNS}
    rows[PROTOCOL, OURS] = dict.fromkeys(COLUMNS.values(), numbers.protocol(SHOWN))
    return Table.of((NAMES[SHOWN], "numbers"), rows)
