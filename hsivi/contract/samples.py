"""The contract of ``sample``: budget, path, shape, and randomness, one case at a time."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hsivi.contract.case import SAMPLES, Broken, Case, blamed
from hsivi.contract.problem import VECTOR
from hsivi.contract.subject import DoesNotApply, Subject, accepted
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.score_model import BudgetExceeded

Find = Callable[[Case], str | None]
PARTS = {64: SAMPLES, 7: 70, 1: 10}
"""Samples that are drawn in batches of a size; few at a time are slow."""


def of_each(find: Find) -> Callable[[Subject], str | None]:
    """Return a check of the main cases, one by one, that stops at the first mistake."""
    return lambda subject: _first_mistake([find], subject.main)


def _first_mistake(finds: list[Find], cases: list[Case]) -> str | None:
    for case in cases:
        for find in finds:
            try:
                wrong = find(case)
            except Broken as error:
                wrong = str(error)
            if wrong is not None:
                return f"{wrong} ({case.label})"
    return None


def fit_of_one_seed(case: Case) -> str | None:
    """Find a training whose result for a seed depends on the seeds beside it, or on when it is run."""
    if not hasattr(case.baseline, "fit"):
        raise DoesNotApply("it has no fit")
    both, alone, again = case.states, case.fit((1,)), case.fit((1,))
    if not all(torch.equal(value, again[0][name]) for name, value in alone[0].items()):
        return "got another state for seed 1 the second time, expected the same bits; keep nothing between calls"
    for name, value in alone[0].items():
        other = both[1].get(name)
        if other is None or other.shape != value.shape or not torch.allclose(other, value, rtol=1e-4, atol=1e-5):
            return (
                f"got another {name!r} for seed 1 beside seed 0 than alone, expected the same; key all randomness by "
                f"the seed, as in hsivi.noise.standard_normal(shape, seed, 'my_method', iteration)"
            )
    return None


def running(case: Case) -> str | None:
    """Find an exception, or something else than a generator of tensors."""
    assert case.first is not None
    return None


def budget(case: Case) -> str | None:
    """Find another number of function evaluations than the budget."""
    run, nfe = case.first, case.problem.nfe
    endless = len(run.shapes) > 10 * nfe  # stopped before it was done, which `path` reports
    if endless or (run.evaluations == nfe and not run.too_many):
        return None
    return (
        f"got {'more than ' if run.too_many else ''}{run.evaluations} evaluations a sample{run.too_many}, expected "
        f"exactly {nfe}; ask once at each of the levels s_T, ..., s_1 = problem.grid[1:], and pass a network of your "
        f"own through problem.counted"
    )


def path(case: Case) -> str | None:
    """Find a path with states left out or added."""
    got, expected = len(case.first.shapes), max(case.problem.nfe, 1)
    if got == expected:
        return None
    return f"got {got} states yielded, expected {expected}: x_{{T-1}}, ..., x_0; yield once a step, and x_T never"


def shape(case: Case) -> str | None:
    """Find a state of another shape."""
    expected = (SAMPLES, *case.problem.event_shape)
    for i, got in enumerate(case.first.shapes, 1):
        if got != expected:
            return f"got shape {got} in yield number {i}, expected that of noise.prior(), {expected}; keep it"
    return None


def dtype(case: Case) -> str | None:
    """Find a state of another type."""
    for i, got in enumerate(case.first.dtypes, 1):
        if got != torch.float32:
            return (
                f"got {got} in yield number {i}, expected that of noise.prior(), torch.float32; problem.grid is "
                f"float64: take coefficients with .tolist(), or tensors with .to(x)"
            )
    return None


def finite(case: Case) -> str | None:
    """Find a number that is none."""
    for i, good in enumerate(case.first.finite, 1):
        if not good:
            return (
                f"got infinite or undefined numbers in yield number {i}, expected finite ones; look for a division by "
                f"sigma or a log of alpha_bar at the end of the grid"
            )
    return None


def start(case: Case) -> str | None:
    """Find a sampler that does not start from x_T."""
    if case.problem.nfe == 0:  # a control may draw from the target itself
        return None
    if not (case.run(other_start=True).samples == case.first.samples).all():
        return None
    return (
        "got the same samples for x_T and for -x_T, expected samples that depend on x_T = noise.prior(); start there, "
        "as all methods do that are compared"
    )


def global_randomness(case: Case) -> str | None:
    """Find the use of a generator that belongs to everybody."""
    before = _generators()
    case.fit((0,))
    case.run(n=10)
    for name, state in _generators().items():
        if state != before[name]:
            return (
                f"got numbers from the global generator of {name}, expected randomness from noise alone; use "
                f"noise.step(t) in sample, and hsivi.noise.standard_normal(shape, seed, 'my_method', ...) in fit"
            )
    return None


def _generators() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  (what is looked for)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (kind, np.asarray(keys).tobytes(), *rest),
        "random": random.getstate(),
    }


def repeating(case: Case) -> str | None:
    """Find samples that are others the second time."""
    again = case.run().samples
    if torch.equal(again, case.first.samples):
        return None
    return (
        "got other samples for the same seed the second time, expected the same bits; take randomness from noise, and "
        "keep nothing from one call to the next"
    )


def seeds(case: Case) -> str | None:
    """Find samples that do not depend on the seed."""
    other = case.run(seed=4).samples
    if not torch.equal(other, case.first.samples):
        return None
    return "got the same samples for two seeds, expected others; take randomness from noise, which has the seed"


def batches(case: Case) -> str | None:
    """Find samples that depend on those they are drawn with."""
    for batch, n in PARTS.items():
        part, whole = case.run(n=n, batch=batch).samples, case.first.samples[:n]
        if not torch.allclose(part, whole, rtol=1e-4, atol=1e-5):
            return (
                f"got samples that differ by {(part - whole).abs().max():.2g} between batches of {batch} and of "
                f"{SAMPLES}, expected the same up to rounding; no statistic over the batch, no noise but noise.step(t)"
            )
    return None


def figures(case: Case) -> str | None:
    """Find optional functions for figures whose results could not be stored."""
    baseline: Any = case.baseline
    if not hasattr(baseline, "estimated_score") and not hasattr(baseline, "illustrate"):
        raise DoesNotApply("it illustrates nothing")
    x = case.first.samples
    with torch.no_grad():
        if hasattr(baseline, "estimated_score") and isinstance(case.problem, Problem) and case.problem.nfe:
            with blamed(case.path, "estimated_score"):
                score: Any = baseline.estimated_score(case.problem, case.config, case.states[0], x, 0)
            if not isinstance(score, Tensor) or score.shape != x.shape:
                got = f"shape {tuple(score.shape)}" if isinstance(score, Tensor) else type(score).__name__
                return f"estimated_score: got {got}, expected a tensor with the shape of x, {tuple(x.shape)}; keep it"
        if hasattr(baseline, "illustrate"):
            noise = SampleNoise(3, 0, 12, case.problem.event_shape)
            try:
                with blamed(case.path, "illustrate"):
                    drawn: Any = baseline.illustrate(case.problem, case.config, noise, case.states[0])
            except BudgetExceeded:
                return "illustrate: got evaluations of problem.score_model, expected none; ask problem.teacher instead"
            if not isinstance(drawn, dict) or not all(isinstance(value, Tensor) for value in drawn.values()):
                return f"illustrate: got {type(drawn).__name__}, expected a dict of tensors by name; return that"
    return None


OF_A_CASE: list[Find] = [running, budget, path, shape, dtype, finite, repeating, batches, start]


def images(subject: Subject) -> str | None:
    """Find what goes wrong with images only."""
    cases = accepted(subject.images)
    if not cases:
        raise DoesNotApply(f"not checked, it declines them: {subject.images[-1].offer[1]}")
    return _first_mistake(OF_A_CASE, cases)


def limit(subject: Subject) -> str | None:
    """Find moments at many evaluations that are not the data's."""
    return _first_mistake([_moments], subject.many)


def _moments(case: Case) -> str | None:
    n, k = 20_000, 5
    x = case.run(0, n, n).samples
    error = VECTOR.variance.sqrt() / n**0.5
    # 200 steps leave a bias of order one per cent of the variance: allow it on top of k standard errors.
    away = {
        "mean": (x.mean(0), VECTOR.mean, k * error + 0.01),
        "variance": (x.var(0), VECTOR.variance, k * VECTOR.variance * (2 / n) ** 0.5 + 0.02),
        "correlation": (torch.corrcoef(x.T)[0, 1:], torch.zeros(1), torch.full((1,), k * n**-0.5)),
    }
    for what, (got, expected, allowed) in away.items():
        if not ((got - expected).abs() <= allowed).all():
            return (
                f"got {what} {_words(got)} at {case.problem.nfe} evaluations, expected the data's {_words(expected)} "
                f"(within {_words(allowed)}); check the coefficients of the step, or declare LIMIT = False and say why"
            )
    return None


def _words(values: Tensor) -> str:
    return ", ".join(f"{value:.3g}" for value in values.tolist())
