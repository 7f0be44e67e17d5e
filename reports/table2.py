"""Table 2: FID of every sampler on CIFAR-10, CelebA and ImageNet 64x64 with 5, 10 and 15 function evaluations.

Rows are methods and columns data sets and NFE as in the paper; "ours" stands above what the paper prints (N/A as
there).  Ours are mean ± standard deviation over seeds of sampling: there is one training, so the deviation says nothing
about another one.  The row "protocol" holds the fingerprint of how ours were computed, which the list above explains:
two FIDs compare only where extractor, real images, number of samples and rounding agree, and the paper does not state
all of these.  A place without a number says why: "no data", the data set is not there; "no device", there is no GPU
and no record; "not run"; "not measured"; "declined"; the note tells what to do.  The paper's DDPM fits the large
variance best, which is a row of its own where it is run.
"""

from collections.abc import Sequence

from hsivi import methods
from hsivi.experiment import Experiment
from reports._blanks import Results, note
from reports._fid import BUDGETS, DATASETS, OURS, PRINTED, PROTOCOL, ROWS, Numbers, printed
from reports._images import NAMES
from reports._tables import Row, Rows, Table

EXPERIMENT = ("cifar10", "celeba", "imagenet64")
INPUTS = ("claims/claims.csv",)
FURTHER = ("ddpm-large", "hsivi_sm-paper")
"""Rows shown below the paper's own where an experiment has them."""


def table(scale: str, experiments: Sequence[Experiment]) -> Table:
    """Return the table: rows (method, ours or printed), columns (data set, NFE) and a note."""
    numbers = Numbers(Results.read(scale, experiments))
    further = [label for label in FURTHER if any(label in methods.rows(e) for e in experiments)]
    own = [label for label in ROWS if label != "hsivi_sm-isotropic"]
    said: set[str] = set()
    rows: Rows = {}
    for label in [*own, *further]:
        found = {(name, nfe): numbers.cell(name, label, nfe) for name in DATASETS for nfe in BUDGETS}
        shown: Row = {(NAMES[name], f"NFE {nfe}"): cell for (name, nfe), (cell, _) in found.items()}
        blanks = [(NAMES[name], blank) for (name, _), (_, blank) in found.items() if blank]
        rows[numbers.title(label), OURS] = shown | {"note": note(blanks, said)}
        if label in own:
            paper: Row = {
                (NAMES[n], f"NFE {nfe}"): printed("table2", n, label, nfe) for n in DATASETS for nfe in BUDGETS
            }
            rows[numbers.title(label), PRINTED] = paper
    rows[PROTOCOL, OURS] = {(NAMES[name], f"NFE {nfe}"): numbers.protocol(name) for name in DATASETS for nfe in BUDGETS}
    return Table.of(("method", "numbers"), rows)
