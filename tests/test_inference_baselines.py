"""Methods of inference: every file keeps the contract, and what is special about some of them."""

from typing import Any

import pytest
import torch

from hsivi.checkpoint import Session
from hsivi.contract.checks import examine
from hsivi.data.mixture import Mixture
from hsivi.gaussian import DiagonalGaussian
from hsivi.methods import describe, method_files
from hsivi.noise import SampleNoise, standard_normal
from hsivi.problem import InferenceProblem
from hsivi.sampler import draw, fit, load_baseline, make_config, skip_reason
from hsivi.score_model import ScoreAtLevels
from tests.oracles import Gaussian, GaussianTarget, assert_mean, gaussian_kl

METHODS = [name for name, path in method_files().items() if "inference" in describe(path).tasks]
ONLY = [name for name in METHODS if "diffusion" not in describe(method_files()[name]).tasks]
TARGET = GaussianTarget(torch.tensor([0.8, -0.5]).double(), torch.tensor([[0.7, 0.3], [0.3, 0.4]]).double(), 1.7)
BASE = DiagonalGaussian(torch.tensor([0.2, 0.3]), torch.tensor([1.3, 0.8]))
TINY = {"hidden": [6], "iterations": 4, "batch": 6, "learning_rate": 1e-2}
SM = {**TINY, "objective": "sm", "critic_hidden": [6], "critic_learning_rate": 1e-2}
LB = {**TINY, "objective": "lb"}


class Diffused:
    """The Gaussian target under noise, alpha_bar(s) = 1 - s^2."""

    def score(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        alpha_bar = 1 - s.square().to(x)
        cov = alpha_bar * TARGET.cov.to(x) + (1 - alpha_bar) * torch.eye(2)
        return (alpha_bar.sqrt() * TARGET.mean.to(x) - x) @ cov.inverse()

    def at(self, levels: torch.Tensor) -> ScoreAtLevels:
        return ScoreAtLevels(self, levels)


def exact_draw(n: int, *key: int | str) -> torch.Tensor:
    return (TARGET.mean + standard_normal((n, 2), *key).double() @ torch.linalg.cholesky(TARGET.cov).mT).float()


def problem(nfe: int) -> InferenceProblem:
    return InferenceProblem(nfe, (2,), exact_draw, target=TARGET, base=BASE, diffused=Diffused())


def ready(name: str, label: str = "", nfe: int = 0, seeds: tuple[int, ...] = (0,)) -> tuple[Any, Any, Any, list[Any]]:
    baseline: Any = load_baseline(name)
    config = make_config(baseline, getattr(baseline, "CONTRACT", {"": {}})[label], name)
    return baseline, problem(nfe), config, fit(baseline, problem(nfe), config, seeds, Session("contract"))


def bounds(baseline: Any, asked: InferenceProblem, config: Any, state: Any, noise: SampleNoise) -> torch.Tensor:
    with torch.no_grad():
        found = baseline.elbo(asked, config, noise, state)
    assert len(found) == 1
    ((name, values),) = found.items()
    assert name.startswith("elbo")
    assert values.shape == (noise.stop - noise.start,)
    return values.double()


def test_there_are_methods_of_both_kinds():
    assert {"hsivi_sequential", "uivi", "gaussian_vi", "laplace", "base"} <= set(ONLY)
    assert not {"ddpm", "ddim", "hsivi_sm", "prior"} & set(METHODS)


@pytest.mark.parametrize("name", ONLY)
def test_contract(name: str) -> None:
    """The same checks as ``hsivi check``."""
    results = list(examine(method_files()[name]))
    failed = [str(result) for result in results if result.status == "failed"]
    assert not failed, "\n".join(failed)
    bounded = {result.check.name: result.status for result in results}["lower_bound"] == "ok"
    assert bounded == hasattr(load_baseline(name), "elbo")


@pytest.mark.parametrize(("name", "label"), [("hsivi_sequential", "sm"), ("uivi", "raw")])
def test_seeds_train_apart(name: str, label: str) -> None:
    first, second = ready(name, label, 1, (0, 1))[3]
    assert any(not torch.allclose(first[key], second[key], rtol=1e-3) for key in first)


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


@pytest.mark.parametrize(
    ("residual", "wanted"),
    [("all", (True, True, True)), ("all_but_first", (True, True, False)), ("none", (False,) * 3)],
)
def test_a_recipe_says_which_layers_are_residual(residual: str, wanted: tuple[bool, ...]) -> None:
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
    baseline: Any = load_baseline("hsivi_sequential")
    asked = problem(3)
    asked.diffused = None
    for label, values in baseline.CONTRACT.items():
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
