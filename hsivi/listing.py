"""What there is: experiments, data sets, methods, metrics and scales, for ``hsivi list``.  No torch here."""

from collections.abc import Iterator

from hsivi.config import SCALES, experiment_files, load_experiment
from hsivi.methods import describe, method_files, rows

METRICS = {
    "toy2d": (
        "js_cell",
        "js_cell_z",
        "js_cell_raw",
        "off_support",
        "swd_ref",
        "js_ite",
        "kl_target_model_ite",
        "kl_model_target_ite",
        "jdist_ite",
    ),
    "mixture": (
        "modes_found",
        "mode_weight_tv",
        "mode_weight_min",
        "mode_weight_max",
        "within_mode_sd",
        "off_mode",
        "js_cell",
        "log_density_gap",
        "elbo",
        "elbo_k1000",
    ),
    "posterior": (
        "covariance_frobenius",
        "covariance_frobenius_hmc",
        "mean_rmse",
        "variance_ratio",
        "elbo",
        "elbo_k1000",
    ),
    "images": (
        "fd_<set>_classifier@..., or with Inception fid_inception@...",
        "kid_...",
        "precision_...",
        "recall_...",
        "isc_inception@...",
        "spread_given_prior",
    ),
    "digits": (
        "fd_digits_classifier",
        "kid_digits_classifier",
        "precision_digits_classifier",
        "recall_digits_classifier",
    ),
}


def lines() -> Iterator[str]:
    """Yield what ``hsivi list`` prints."""
    yield "scales: " + ", ".join(SCALES)
    for name in experiment_files():
        experiment = load_experiment(name, "quick")
        yield f"experiment {name}: {experiment.title} ({experiment.source})"
        yield "  data sets: " + ", ".join(experiment.data.datasets)
        yield "  metrics: " + ", ".join(METRICS[experiment.data.kind])
        yield "  rows: " + ", ".join(rows(experiment))
    yield "methods (files in baselines/):"
    for name, path in method_files().items():
        yield f"  {name:20s} {describe(path).title}: {describe(path).summary}"
