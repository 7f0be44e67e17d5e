"""iDDIM's m: what the figures of the ring and of digits share."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from hsivi.experiment import Experiment
from hsivi.tidy import tidy
from reports import _style
from reports._records import claims, records

FILE = "iddim"
CHAINS = {"separate": "separate chain (Appendix B.2)", "mixed": "mixed chain (eq. 11)"}
BUDGETS = {4: ("#440154", "o"), 10: ("#31688E", "s"), 20: ("#35B779", "^"), 50: ("#E0A100", "D")}
"""Those of the paper's sweep, with colour and marker."""


def draw(scale: str, experiment: Experiment, metric: str, axis: str, name: str) -> None:
    """Draw one panel for each chain that was run and one for the paper's numbers."""
    _style.start()
    table = sweep(experiment, metric)
    chains = [chain for chain in CHAINS if chain in set(table.chain)]
    columns = max(len(chains), 1) + 1
    figure, axes = plt.subplots(1, columns, figsize=(3.5 * columns, 4.0), layout="constrained")
    for panel, chain in zip(axes, chains, strict=False):
        lines(panel, table[table.chain == chain])
        panel.set(title=CHAINS[chain], ylabel=axis if chain == chains[0] else "")
    if not chains:
        _style.absent(axes[0], experiment)
    lines(axes[-1], printed())
    axes[-1].set(title="printed in the paper (CIFAR-10)", ylabel="FID")
    _style.save(figure, scale, name)


def sweep(experiment: Experiment, metric: str) -> pd.DataFrame:
    """Return one row a measurement of the sweep: chain, m, nfe, value.  At m = 0 and 1 all chains are one."""
    made = [r for r in records([experiment]) if r.baseline == FILE and r.nfe in BUDGETS and r.measurements]
    table = tidy(made)
    table = table[table.metric == metric]
    parts = []
    for chain in CHAINS:
        mixes = {r.label: r.config["mix"] for r in made if r.config["chain"] == chain or r.config["mix"] in (0, 1)}
        own = table.assign(m=table.method.map(mixes), chain=chain).dropna(subset="m")
        if any(r.config["chain"] == chain for r in made):
            parts.append(own[["chain", "m", "nfe", "value"]])
    return pd.concat(parts) if parts else pd.DataFrame(columns=["chain", "m", "nfe", "value"])


def printed() -> pd.DataFrame:
    """Return the numbers of the paper's Table 1: m, nfe, value."""
    known = claims()
    known = known[(known.source == "gdim") & (known.table == "table1") & known.method.str.startswith("iddim_m")]
    known = known.assign(m=known.method.str.removeprefix("iddim_m").astype(float), nfe=known.nfe.astype(int))
    return known.loc[known.nfe.isin(list(BUDGETS)), ["m", "nfe", "value"]]


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each budget the m with the lowest mean: index nfe, columns m and value."""
    means = table.groupby(["nfe", "m"], as_index=False).value.mean()
    return means.loc[means.groupby("nfe").value.idxmin()].set_index("nfe")


def lines(panel: Any, table: pd.DataFrame) -> None:
    """Draw quality against m, a line a budget with a band of one standard deviation; the best m of each is ringed."""
    lowest = best(table)
    words = {nfe: f"NFE {nfe}: best m = {lowest.m[nfe]:g}" for nfe in BUDGETS if nfe in lowest.index}
    sns.lineplot(
        table.assign(budget=table.nfe.map(words)),
        x="m",
        y="value",
        hue="budget",
        style="budget",
        errorbar="sd",
        palette={words[nfe]: BUDGETS[nfe][0] for nfe in words},
        markers={words[nfe]: BUDGETS[nfe][1] for nfe in words},
        hue_order=list(words.values()),
        dashes=False,
        markersize=5,
        linewidth=1.3,
        ax=panel,
    )
    panel.scatter(lowest.m, lowest.value, s=90, facecolors="none", edgecolors="black", linewidths=1.0, zorder=5)
    panel.set(xlabel="m", yscale="log", xticks=sorted(table.m.unique()))
    panel.tick_params(left=True, bottom=True, length=2)
    panel.grid(visible=True, axis="y", color="0.93", linewidth=0.6)
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8, frameon=False)
