"""Two result sets compared number by number, with significance.  No torch here.

A number is the mean over seeds of one key: experiment, data set, method, NFE and metric.  Where both sets have the
same seeds, and are not known to have other settings, the test is paired, since a seed draws the same x_T in both;
elsewhere it is Welch's.  Both are two-sided t tests.  Holm's correction (1979) over all keys compared keeps the chance
of a single false difference at `LEVEL`, whatever the keys have to do with one another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from hsivi.config import ConfigError
from hsivi.record import read_record
from hsivi.significance import LEVEL, ROUNDING, holm
from hsivi.tidy import tidy
from hsivi.writing import write_text

KEY = ["experiment", "dataset", "method", "nfe", "metric"]
COLUMNS = [*KEY, "seed", "value", "settings"]
DIFFERENT, SIMILAR, SINGLE, EQUAL = "different", "not told apart", "not comparable", "equal to the bit"
ONLY_A, ONLY_B = "only in A", "only in B"
OUTCOMES = (DIFFERENT, SIMILAR, SINGLE, EQUAL, ONLY_A, ONLY_B)
"""In the order in which they are listed."""
SHOWN = 10
"""Keys of an outcome that are printed where nothing differs."""


def read(path: Path) -> pd.DataFrame:
    """Return the measurements of a result set, one a row, with the columns `COLUMNS`.

    Arguments:
        path: a folder of records such as results/quick or results/reference/quick, or a metrics.csv.

    Raises:
        ConfigError: there is no such set, it cannot be used, or it has two values of a key and seed.
    """
    if path.is_dir():
        table = _records(path)
    elif path.is_file():
        table = _metrics(path)
    else:
        raise ConfigError(
            f"{path}: got no such file or folder, expected a folder of records or a metrics.csv; correct it"
        )
    twice = table[table.duplicated([*KEY, "seed"])]
    if len(twice):
        key = "/".join(map(str, twice.iloc[0][KEY]))
        raise ConfigError(f"{path}: got several values of {key}, seed {twice.iloc[0].seed}, expected one; remove one")
    return table[COLUMNS]


def _records(folder: Path) -> pd.DataFrame:
    records = [read_record(path) for path in sorted(folder.glob("*/*/*/nfe*/record.json"))]
    if not records:
        raise ConfigError(
            f"{folder}: got no records, expected <experiment>/<data set>/<method>/nfe<n>/record.json in it; name the "
            f"folder of a scale, such as results/quick"
        )
    tables = [tidy([record]).assign(settings=record.digests.get("settings", "")) for record in records]
    return pd.concat([table for table in tables if len(table)] or tables[:1])


def _metrics(path: Path) -> pd.DataFrame:
    try:
        # Values too: pandas before 3.1 reads floating-point numbers with an error in the last digit.
        table = pd.read_csv(path, dtype=dict.fromkeys(("experiment", "dataset", "method", "metric", "value"), str))
        known = table[[column for column in COLUMNS if column != "settings"]]
        values = known.value.to_numpy(float)
        table = known.assign(nfe=known.nfe.astype(int), seed=known.seed.astype(int), value=values, settings="")
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: got no table of measurements ({' '.join(str(error).split())[:120]}), expected the columns "
            f"{', '.join(COLUMNS[:-1])}; name a metrics.csv or a folder of records"
        ) from error
    if table.isna().any(axis=None) or not np.isfinite(values).all():
        raise ConfigError(f"{path}: got empty places or values that are not finite, expected numbers; collect again")
    return table


def compare(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return one row a key: outcome, means, their difference with its interval, and p, sorted by outcome and p.

    Arguments:
        a: measurements as `read` returns them.
        b: the other ones; differences are b less a.
    """
    return adjusted(tested(a, b))


def tested(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return one row a key with its test: as `compare`, but for outcomes that need the correction."""
    both = a.merge(b, on=[*KEY, "seed"], how="outer", suffixes=("_a", "_b"))
    both["apart"] = both.value_b - both.value_a
    both["same"] = (both.value_a == both.value_b) & (both.settings_a.notna() & both.settings_b.notna())
    both["other"] = (both.settings_a != both.settings_b) & (both.settings_a.str.len() * both.settings_b.str.len() > 0)
    table = both.groupby(KEY, sort=True).agg(
        seeds_a=("value_a", "count"),
        seeds_b=("value_b", "count"),
        shared=("apart", "count"),
        mean_a=("value_a", "mean"),
        mean_b=("value_b", "mean"),
        mean=("apart", "mean"),
        var_a=("value_a", "var"),
        var_b=("value_b", "var"),
        var=("apart", "var"),
        same=("same", "all"),
        other=("other", "any"),
    )
    return _t_tests(table.reset_index())


def _t_tests(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns paired, difference, low, high and p; see `scipy.stats.ttest_rel` and ``ttest_ind``."""
    n, m = table.seeds_a, table.seeds_b
    one_to_one = (table.shared == n) & (table.shared == m)
    paired = one_to_one & ~table.other
    a, b = table.var_a / n, table.var_b / m
    with np.errstate(invalid="ignore", divide="ignore"):
        welch = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))  # Welch and Satterthwaite's degrees of freedom
        freedom = np.where(paired, table.shared - 1, np.where(a + b > 0, welch, n + m - 2))
        error = np.sqrt(np.where(paired, table["var"] / table.shared, a + b))
        difference = np.where(paired, table["mean"], table.mean_b - table.mean_a)
        enough = np.where(paired, table.shared > 1, (n > 1) & (m > 1))
        # Rounding differs between machines, often in the same way for all seeds; it is no sign of anything.
        rounding = np.abs(difference) <= ROUNDING * np.abs(table.mean_a)
        # Without any spread a difference is one of numbers that nothing random touches.
        t = np.where(rounding, 0.0, np.where(error > 0, np.abs(difference) / error, np.inf))
        p = np.where(enough, 2 * stats.t.sf(t, freedom), np.nan)
        half = np.where(enough, stats.t.ppf(0.975, freedom) * error, np.nan)
    equal = one_to_one & table.same
    p = np.where(equal, 1.0, p)
    return table.assign(
        paired=paired, equal=equal, difference=difference, low=difference - half, high=difference + half, p=p
    )


def corrected(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values after Holm's correction over those that are there; the others stay NaN."""
    known = ~np.isnan(p)
    found = np.full(p.shape, np.nan)
    found[known] = holm(p[known].tolist())
    return found


def adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """Add the outcome and the corrected p over all keys that were compared, equal ones included, and sort."""
    p_holm = corrected(table.p.to_numpy(float))
    outcome = np.select(
        [table.seeds_b == 0, table.seeds_a == 0, table.equal, np.isnan(p_holm), p_holm <= LEVEL],
        [ONLY_A, ONLY_B, EQUAL, SINGLE, DIFFERENT],
        SIMILAR,
    )
    rank = {name: place for place, name in enumerate(OUTCOMES)}
    result = table.assign(outcome=outcome, p_holm=p_holm, rank=[rank[name] for name in outcome])
    result["test"] = np.where(result.p.isna() | result.equal, "", np.where(result.paired, "paired t", "Welch"))
    result = result.sort_values(["rank", "p", *KEY], kind="stable", ignore_index=True)
    shown = ["mean_a", "mean_b", "difference", "low", "high", "test", "p", "p_holm"]
    return result[[*KEY, "outcome", "seeds_a", "seeds_b", *shown]]


def differs(table: pd.DataFrame) -> bool:
    """Return whether any key is different, or is in one set only."""
    return bool(table.outcome.isin([DIFFERENT, ONLY_A, ONLY_B]).any())


def write(table: pd.DataFrame, path: Path) -> None:
    """Write every comparison as CSV."""
    write_text(path, table.to_csv(index=False))


def lines(table: pd.DataFrame) -> list[str]:
    """Return what is printed: the counts, what differs, and a few keys of every other outcome."""
    count = table.outcome.value_counts()
    said = [f"{len(table):,} keys: " + "; ".join(f"{count[name]:,} {name}" for name in OUTCOMES if name in count)]
    tests = int(table.p.notna().sum())
    said.append(f"differences are B less A; two-sided, family-wise level {LEVEL:g} over {tests:,} keys (Holm)")
    for name in OUTCOMES:
        own = table[table.outcome == name]
        shown = own if name == DIFFERENT else own.head(0 if name == EQUAL else SHOWN)
        said += [f"{name}: {line}" for line in map(_line, shown.to_dict("records"))]
        if 0 < len(shown) < len(own):
            said.append(f"{name}: and {len(own) - len(shown):,} more (--csv FILE has all)")
    return said


def _line(row: dict[Any, Any]) -> str:
    return "  ".join(["/".join(str(row[name]) for name in KEY), *_words(row)])


def _words(row: dict[Any, Any]) -> Iterator[str]:
    if row["outcome"] in (ONLY_A, ONLY_B):
        return
    yield f"A {row['mean_a']:.6g}  B {row['mean_b']:.6g}  difference {row['difference']:+.3g}"
    if row["outcome"] == SINGLE:
        yield f"seeds {row['seeds_a']} and {row['seeds_b']}, a test needs two in each"
    else:
        yield f"[{row['low']:+.3g}, {row['high']:+.3g}]"
        yield f"p {row['p']:.2g}, corrected {row['p_holm']:.2g} ({row['test']})"
