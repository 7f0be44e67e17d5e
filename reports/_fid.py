"""Cells of the tables of the paper on images: our numbers, or why there are none, next to the printed ones."""

from hsivi.metrics.protocol import split
from hsivi.tidy import tidy
from reports._blanks import Blank, Results
from reports._images import facts, frechet, full_name
from reports._records import claims, summary, title
from reports._tables import Cell, number

DATASETS = {"cifar10": "cifar10", "celeba": "celeba64", "imagenet64": "imagenet64"}
"""Names of the experiments, and of their data sets in claims/claims.csv."""
BUDGETS = (5, 10, 15)
ROWS = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "fastdpm": "FastDPM",
    "analytic_ddpm": "Analytic-DDPM",
    "analytic_ddim": "Analytic-DDIM",
    "dpm_solver_fast": "DPM-Solver-fast",
    "hsivi_sm-isotropic": "HSIVI-SM, isotropic variance",
    "hsivi_sm": "HSIVI-SM",
}
"""Rows of the paper's tables, and what they are called where no experiment says it."""
OURS, PRINTED, PROTOCOL = "ours", "printed", "protocol"
DIGITS = 2
NOT_PRINTED = "N/A"


class Numbers:
    """Means over seeds of the Frechet distances of a run.

    Arguments:
        results: what there is.

    Raises:
        ConfigError: an experiment has values of several protocols.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.metrics = {name: full_name(results.of(name), frechet(e)) for name, e in results.experiments.items()}
        table = tidy(list(results.found.values()))
        self._values = summary(table[table.metric.isin([m for m in self.metrics.values() if m])])
        self._values = self._values.set_index(["experiment", "method", "nfe"], drop=False)

    def cell(self, name: str, label: str, nfe: int) -> tuple[Cell, Blank | None]:
        """Return a number, or a code and what it stands for."""
        if (name, label, nfe) not in self._values.index:
            blank = self.results.why(name, label, nfe)
            return Cell(blank.code), blank
        return number(self._values.loc[(name, label, nfe)], DIGITS), None

    def protocol(self, name: str) -> str:
        """Return the fingerprint behind the numbers of an experiment, and what else sets its images apart."""
        metric = self.metrics.get(name)
        fingerprint = split(metric)[1] if metric else None
        count = {m.num_samples for r in self.results.of(name) for m in r.measurements if m.metric == metric}
        said = facts(self.results.experiments[name]) if name in self.results.experiments else []
        return ", ".join([fingerprint or "no numbers", *(f"{n:,} samples" for n in sorted(count)), *said])

    def title(self, label: str) -> str:
        """Return how a row is called."""
        for experiment in self.results.experiments.values():
            if (known := title(experiment, label)) != label:
                return known
        return ROWS.get(label, label)


def printed(table: str, name: str, label: str, nfe: int) -> str:
    """Return what the paper prints."""
    known = claims()
    method = label.replace("-", "_")
    known = known[(known.source == "hsivi") & (known.table == table) & (known.dataset == DATASETS[name])]
    value = known[(known.method == method) & (known.nfe == nfe)].value
    return f"{value.iloc[0]:.{DIGITS}f}" if len(value) else NOT_PRINTED
