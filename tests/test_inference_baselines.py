"""The contract: every method of inference in baselines/ is run on a Gaussian posterior, found by its path alone."""

from itertools import product
from typing import Any

import pytest
import torch

from hsivi.checkpoint import Session
from hsivi.config import ROOT
from hsivi.data.mixture import Mixture
from hsivi.gaussian import DiagonalGaussian
from hsivi.methods import describe, method_files
from hsivi.noise import SampleNoise, standard_normal
from hsivi.problem import InferenceProblem
from hsivi.sampler import draw, fit, load_baseline, make_config, skip_reason
from tests.oracles import Gaussian, GaussianTarget, assert_mean, gaussian_kl

METHODS = [name for name, path in method_files().items() if "inference" in describe(path).tasks]
TARGET = GaussianTarget(torch.tensor([0.8, -0.5]).double(), torch.tensor([[0.7, 0.3], [0.3, 0.4]]).double(), 1.7)
BASE = DiagonalGaussian(torch.tensor([0.2, 0.3]), torch.tensor([1.3, 0.8]))
TINY = {"hidden": [6], "iterations": 4, "batch": 6, "learning_rate": 1e-2}
SM = {**TINY, "objective": "sm", "critic_hidden": [6], "critic_learning_rate": 1e-2}
LB = {**TINY, "objective": "lb"}
SEQUENTIAL = {
    "sm": SM,
    "lb": LB,
    "sm-f": {**SM, "critic": "f", "critic_warm_start": True, "ema": 0.9, "coordinates": "base"},
    "lb-score": {**LB, "target": "score", "auxiliaries": 8, "coordinates": "base", "residual": "all_but_first"},
    "lb-ends-at-base": {**LB, "ends_at_base": True},
    "sm-diffusion": {**SM, "bridge": "diffusion"},
    "lb-diffusion": {**LB, "bridge": "diffusion", "target": "score"},
}
VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "hsivi_sequential": SEQUENTIAL,
    "uivi": {"raw": {**TINY, "burn_in": 1, "states": 2}, "base": {**TINY, "states": 2, "coordinates": "base"}},
    "gaussian_vi": {"diagonal": {"draws": 200}, "full": {"draws": 200, "covariance": "full"}},
}
"""Settings by method; a method that is not named runs with its defaults."""


class Diffused:
    """The Gaussian target under noise, alpha_bar(s) = 1 - s^2."""

    def score(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        alpha_bar = 1 - s.square().to(x)
        cov = alpha_bar * TARGET.cov.to(x) + (1 - alpha_bar) * torch.eye(2)
        return (alpha_bar.sqrt() * TARGET.mean.to(x) - x) @ cov.inverse()


def exact_draw(n: int, *key: int | str) -> torch.Tensor:
    return (TARGET.mean + standard_normal((n, 2), *key).double() @ torch.linalg.cholesky(TARGET.cov).mT).float()


def problem(nfe: int) -> InferenceProblem:
    return InferenceProblem(nfe, (2,), exact_draw, target=TARGET, base=BASE, diffused=Diffused())


def cases(*optional: str) -> list[Any]:
    """All methods that offer the optional functions, with their settings and budgets."""
    found = []
    for name in METHODS:
        if not all(hasattr(load_baseline(name), function) for function in optional):
            continue
        fixed = describe(method_files()[name]).nfe
        for label, nfe in product(VALUES.get(name, {"": {}}), (1, 3) if fixed is None else fixed):
            found.append(pytest.param(name, label, nfe, id="-".join(filter(None, (name, label, f"T{nfe}")))))
    return found


CASES = pytest.mark.parametrize(("name", "label", "nfe"), cases())
BOUNDED = pytest.mark.parametrize(("name", "label", "nfe"), cases("elbo"))


def ready(name: str, label: str, nfe: int, seeds: tuple[int, ...] = (0,)) -> tuple[Any, Any, Any, list[Any]]:
    baseline, asked = load_baseline(name), problem(nfe)
    config = make_config(baseline, VALUES.get(name, {"": {}})[label], name)
    assert skip_reason(baseline, asked, config) is None
    return baseline, asked, config, fit(baseline, asked, config, seeds, Session("contract"))


def bounds(baseline: Any, asked: InferenceProblem, config: Any, state: Any, noise: SampleNoise) -> torch.Tensor:
    with torch.no_grad():
        found = baseline.elbo(asked, config, noise, state)
    assert len(found) == 1
    ((name, values),) = found.items()
    assert name.startswith("elbo")
    assert values.shape == (noise.stop - noise.start,)
    return values.double()


def test_there_are_methods_of_both_kinds():
    assert {"hsivi_sequential", "uivi", "gaussian_vi", "laplace", "base"} <= {case.values[0] for case in cases("elbo")}
    assert not {"ddpm", "ddim", "hsivi_sm", "prior"} & set(METHODS)


@CASES
def test_contract(name: str, label: str, nfe: int) -> None:
    torch.manual_seed(1)
    untouched = torch.get_rng_state()
    baseline, asked, config, (state,) = ready(name, label, nfe)
    sizes = {150: 150, 64: 150, 7: 150, 1: 20}  # batch: samples; one at a time is slow
    runs = [draw(baseline, asked, config, 3, n, state, batch=batch) for batch, n in sizes.items()]
    assert runs[0].x.shape == (150, 2)
    assert runs[0].x.dtype == torch.float32
    assert runs[0].x.isfinite().all()
    assert all(run.nfe == nfe for run in runs), "the budget is used up exactly"
    for run in runs[1:]:
        torch.testing.assert_close(run.x, runs[0].x[: len(run.x)], msg="samples depend on the batch size")
    assert torch.equal(draw(baseline, asked, config, 3, 150, state, batch=150).x, runs[0].x), "same seed, same bits"
    assert not torch.equal(draw(baseline, asked, config, 4, 150, state, batch=150).x, runs[0].x), "another seed"
    path = draw(baseline, asked, config, 3, 150, state, trajectory=20).trajectory
    assert len(path) == max(nfe, 1) + 1
    torch.testing.assert_close(path[-1], runs[0].x[:20])
    assert torch.equal(torch.get_rng_state(), untouched), "global randomness was used"


@CASES
def test_a_fit_is_repeatable_and_its_seeds_are_separate(name: str, label: str, nfe: int) -> None:
    (first,), (again,), both = (ready(name, label, nfe, seeds)[3] for seeds in ((1,), (1,), (0, 1)))
    assert len(both) == 2
    for key, value in first.items():
        assert torch.equal(value, again[key])
        torch.testing.assert_close(both[1][key], value, rtol=1e-4, atol=1e-5)  # float32, a few updates of Adam
    if name != "gaussian_vi":  # every seed reaches the same optimum
        assert not first or any(not torch.allclose(both[0][key], first[key], rtol=1e-3) for key in first)


@BOUNDED
def test_the_lower_bound_is_below_the_evidence_and_belongs_to_the_samples(name: str, label: str, nfe: int) -> None:
    baseline, asked, config, (state,) = ready(name, label, nfe)
    values = bounds(baseline, asked, config, state, SampleNoise(3, 0, 2_000, (2,)))
    assert values.isfinite().all()
    # Samples share 1000 auxiliaries, whose own error is far below that of 2000 draws of log p.
    assert values.mean() <= TARGET.log_evidence + 5 * values.std() / len(values) ** 0.5 + 1e-5
    part = bounds(baseline, asked, config, state, SampleNoise(3, 700, 720, (2,)))
    torch.testing.assert_close(part, values[700:720], rtol=1e-4, atol=1e-4)
    # The bound at the very samples that are drawn: what is left of the target there is log q, highest at their centre.
    x = draw(baseline, asked, config, 3, 2_000, state).x.double()
    log_q = TARGET.log_prob(x) - values
    falls = torch.corrcoef(torch.stack([log_q, -(x - x.mean(0)).square().sum(-1)]))[0, 1]
    assert falls > 0.3, "log q does not fall away from the centre of the samples"


@pytest.mark.parametrize(("name", "label"), [("laplace", ""), ("gaussian_vi", "full")])
def test_exact_families_reach_the_evidence(name: str, label: str) -> None:
    """log p - log q is log p(y) at every sample where q is the posterior."""
    baseline, asked, config, (state,) = ready(name, label, 0)
    values = bounds(baseline, asked, config, state, SampleNoise(3, 0, 500, (2,)))
    torch.testing.assert_close(values, torch.full_like(values, TARGET.log_evidence), rtol=0, atol=1e-4)
    x = draw(baseline, asked, config, 3, 20_000, state).x.double()
    assert_mean(x, TARGET.mean, what="mean")
    offset = x - TARGET.mean
    assert_mean(offset[:, :, None] * offset[:, None], TARGET.cov, what="covariance")


@pytest.mark.parametrize(("name", "label"), [("base", ""), ("gaussian_vi", "diagonal")])
def test_diagonal_gaussians_have_their_closed_form(name: str, label: str) -> None:
    """The best diagonal Gaussian has the target's mean and the inverses of its precisions."""
    baseline, asked, config, (state,) = ready(name, label, 0)
    best = Gaussian(TARGET.mean, torch.diag(1 / TARGET.cov.inverse().diagonal()))
    q = best if name == "gaussian_vi" else Gaussian(BASE.mean.double(), torch.diag(BASE.std.double() ** 2))
    values = bounds(baseline, asked, config, state, SampleNoise(3, 0, 20_000, (2,)))
    assert_mean(values, TARGET.log_evidence - gaussian_kl(q, TARGET), what="lower bound")
    x = draw(baseline, asked, config, 3, 20_000, state).x.double()
    assert_mean(x, q.mean, what="mean")
    assert_mean((x - q.mean).square(), q.cov.diagonal(), what="variance")


# -------------------------------------------------------------------------------------------- HSIVI and SIVI that train
LONG = {"hidden": [16], "iterations": 200, "batch": 64, "learning_rate": 3e-2, "schedule": "cosine", "ema": 0.9}
CRITIC = {"critic_hidden": [16], "critic_learning_rate": 3e-2, "critic_updates": 2}


@pytest.mark.parametrize(
    ("values", "nfe"),
    [
        ({**LB, **LONG}, 1),
        ({**LB, **LONG, "coordinates": "base", "target": "score", "residual": "all_but_first", "iterations": 120}, 3),
        ({**SM, **LONG, **CRITIC, "coordinates": "base"}, 1),
        ({**LB, **LONG, "bridge": "diffusion", "target": "score", "iterations": 120}, 3),
    ],
    ids=["lb-raw-T1", "lb-base-score-T3", "sm-base-T1", "lb-diffusion-T3"],
)
def test_a_trained_hierarchy_samples_the_posterior_in_raw_coordinates(values: dict[str, Any], nfe: int) -> None:
    baseline, asked = load_baseline("hsivi_sequential"), problem(nfe)
    config = make_config(baseline, values, "")
    (state,) = fit(baseline, asked, config, (0,), Session("long"))
    x = draw(baseline, asked, config, 3, 20_000, state).x.double()
    found = Gaussian(x.mean(0), torch.cov(x.T))
    assert gaussian_kl(found, TARGET) < 0.1  # N(0, I), the prior, is at 1.7
    values = bounds(baseline, asked, config, state, SampleNoise(3, 0, 4_000, (2,)))
    assert TARGET.log_evidence - 0.2 < values.mean() < TARGET.log_evidence + 5 * values.std() / 4_000**0.5


def test_only_the_layer_next_to_the_prior_may_be_without_a_residual() -> None:
    for residual, wanted in (("all", (True,) * 3), ("all_but_first", (True, True, False))):
        baseline = load_baseline("hsivi_sequential")
        config = make_config(baseline, {**LB, "residual": residual}, "")
        assert baseline._hierarchy(problem(3), config, (0,)).residual == wanted


def test_log_variance_is_where_a_layer_starts() -> None:
    for name, values in (("hsivi_sequential", {**LB, "log_variance": -1.5}), ("uivi", {**TINY, "log_variance": -1.5})):
        baseline = load_baseline(name)
        config = make_config(baseline, {**values, "learning_rate": 1e-12}, "")
        (state,) = fit(baseline, problem(1), config, (0,), Session("start"))
        torch.testing.assert_close(state["log_variances.0"], torch.full((1, 2), -1.5), rtol=0, atol=1e-6)


# ----------------------------------------------------------------------------------------------------- what is declined
def ring() -> InferenceProblem:
    data = Mixture.ring()
    return InferenceProblem(5, (2,), exact_draw, target=data.target, base=data.base, diffused=data.diffused)


def test_laplace_declines_the_ring() -> None:
    """Its centre is a stationary point that is no mode."""
    laplace = load_baseline("laplace")
    reason = skip_reason(laplace, ring(), make_config(laplace, {}, ""))
    assert reason is not None
    assert "expected a mode" in reason
    assert "\n" not in reason


def test_a_diffusion_bridge_needs_diffused_scores() -> None:
    baseline, asked = load_baseline("hsivi_sequential"), problem(3)
    asked.diffused = None
    for label, values in SEQUENTIAL.items():
        reason = skip_reason(baseline, asked, make_config(baseline, values, label))
        assert (reason == "the scores of the diffused target are not known") == ("diffusion" in label)
        assert skip_reason(baseline, ring(), make_config(baseline, values, label)) is None


def test_the_control_draws_from_the_target() -> None:
    reference, asked = load_baseline("reference"), problem(0)
    config = make_config(reference, {}, "")
    first = draw(reference, asked, config, 3, 20_000, {})
    assert_mean(first.x.double(), TARGET.mean, what="mean")
    assert torch.equal(draw(reference, asked, config, 3, 20_000, {}, batch=7_000).x, first.x)
    assert not torch.equal(draw(reference, asked, config, 4, 20_000, {}).x, first.x)


@pytest.mark.parametrize("name", METHODS)
def test_citation_is_in_the_bibliography(name: str) -> None:
    assert f"{{{describe(method_files()[name]).citation}," in (ROOT / "references.bib").read_text()
