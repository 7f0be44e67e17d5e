"""The sentences on the page follow from the records."""

import pandas as pd
import pytest
from scipy.stats import ttest_ind

from reports._findings import _compare, layers, modes
from tests.test_reports_inference import elsewhere, give, posterior, posterior_results, ring, ring_results  # noqa: F401


def row(values: list[float]) -> pd.Series:
    column = pd.Series(values)
    sd = column.std()
    return pd.Series({"mean": column.mean(), "sd": sd, "seeds": len(values), "se": sd / len(values) ** 0.5})


def test_modes_are_counted_by_seed():
    (sentence,) = modes(give(ring(), ring_results))
    assert "seeds with all 8 modes at weights in [0.06, 0.19]" in sentence
    assert "HSIVI-SM 3/3;" in sentence and "; SIVI-SM 0/3" in sentence
    assert "Laplace" not in sentence and "Gaussian" not in sentence


def test_layers_are_compared_from_the_first_to_the_last():
    *ours, controls = layers(give(posterior(), posterior_results))
    (sentence,) = [s for s in ours if ": HSIVI-SM has covariance error" in s]
    # 0.09, 0.08 and 0.05, each with a standard error of 0.003 / sqrt(3)
    assert "0.0900, 0.0800, 0.0500 at T = 1, 2, 5; the last is below (-16.3 s.e.) the first" in sentence
    assert "Full-rank Gaussian 0.1000" in controls


@pytest.mark.parametrize(
    ("last", "first", "word"),
    [
        ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9], "below"),
        ([2.0, 2.1, 1.9], [1.0, 1.1, 0.9], "ABOVE"),
        ([1.0, 1.1, 0.9], [1.1, 1.2, 1.05], "not clearly different from"),
        # More than two standard errors, but of three seeds: Welch's test does not call it.
        ([1.0, 1.0, 1.03], [1.0, 1.1, 1.14], "not clearly different from"),
        ([1.0], [2.0], "of one seed"),
        ([1.0, 1.0], [2.0, 2.0], "without spread"),
    ],
)
def test_words_follow_welchs_test(last, first, word):
    said = _compare(row(last), row(first))
    assert said.startswith(word)
    if len(last) > 2:
        assert (ttest_ind(last, first, equal_var=False).pvalue < 0.05) == said.startswith(("below", "ABOVE"))
