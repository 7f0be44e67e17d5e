"""Samplers: every file keeps the contract, and what is special about some of them."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hsivi.checkpoint import Session
from hsivi.config import ConfigError
from hsivi.contract.checks import examine
from hsivi.contract.problem import IMAGE, VECTOR, GaussianNetwork
from hsivi.contract.problem import GaussianData as Target
from hsivi.methods import describe, method_files
from hsivi.problem import Problem
from hsivi.recipe import Recipe
from hsivi.sampler import draw, fit, load_baseline, make_config
from hsivi.score_model import BudgetExceeded

__all__ = ["IMAGE", "VECTOR", "GaussianNetwork", "Target"]
METHODS = [name for name, path in method_files().items() if "diffusion" in describe(path).tasks]
TINY = {"iterations": 3, "batch": 8, "critic_batch": 8, "critic_updates": 2, "eta": 1.0, "ema": 0.9}
RATES = {"learning_rate": 1e-5, "critic_learning_rate": 1e-5, "rollout": "shared"}


@pytest.mark.parametrize("name", METHODS)
def test_contract(name: str) -> None:
    """The same checks as ``hsivi check``."""
    results = list(examine(method_files()[name]))
    failed = [str(result) for result in results if result.status == "failed"]
    assert not failed, "\n".join(failed)
    assert {"budget", "batches", "images", "limit"} <= {result.check.name for result in results}


def ready(name: str, problem: Problem) -> tuple[Any, Any, dict[str, Tensor]]:
    baseline: Any = load_baseline(name)
    config = make_config(baseline, next(iter(getattr(baseline, "CONTRACT", {"": {}}).values())), name)
    return baseline, config, fit(baseline, problem, config, (0,), Session("contract"))[0]


def test_all_samplers_start_from_the_same_noise() -> None:
    starts = []
    for name in ("ddpm", "ddim", "hsivi_sm", "prior"):
        problem = VECTOR.problem(0 if name == "prior" else 4)
        baseline, config, state = ready(name, problem)
        run = draw(baseline, problem, config, 7, 30, state, trajectory=30)
        assert torch.equal(run.trajectory[-1], run.x)
        starts.append(run.trajectory[0])
    assert all(torch.equal(start, starts[0]) for start in starts)


def test_ddim_with_eta_one_is_ddpm() -> None:
    """Two independent formulas for one sampler (Song et al., 2021, section 4.1)."""
    problem = VECTOR.problem(10, "hsivi")
    ddpm, ddim = load_baseline("ddpm"), load_baseline("ddim")
    ancestral = draw(ddpm, problem, make_config(ddpm, {}, ""), 0, 500, {}).x
    implicit = draw(ddim, problem, make_config(ddim, {"eta": 1.0}, ""), 0, 500, {}).x
    torch.testing.assert_close(ancestral, implicit, rtol=1e-4, atol=1e-5)  # float32 over ten steps


def test_untrained_hsivi_is_ddim() -> None:
    """Before training, the layers are the DDIM-eta step."""
    problem = VECTOR.problem(5, "hsivi")
    hsivi, ddim = load_baseline("hsivi_sm"), load_baseline("ddim")
    frozen = make_config(hsivi, {**TINY, **RATES, "learning_rate": 1e-30, "eta": 0.7}, "")
    (state,) = fit(hsivi, problem, frozen, (0,), Session("frozen"))
    ours = draw(hsivi, problem, frozen, 0, 500, state).x
    theirs = draw(ddim, problem, make_config(ddim, {"eta": 0.7}, ""), 0, 500, {}).x
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [VECTOR, IMAGE], ids=["vector", "image"])
@pytest.mark.parametrize("rollout", ["independent", "shared"])
@pytest.mark.parametrize("antithetic", [False, True])
def test_hsivi_trains_on_vectors_and_images(target: Target, rollout: str, antithetic: bool) -> None:
    """Every form of the rollout, several seeds at once, moves the layers away from the start and stays finite."""
    problem = target.problem(5, "hsivi")
    hsivi = load_baseline("hsivi_sm")
    rates = {"learning_rate": 1e-3, "critic_learning_rate": 1e-3}
    config = make_config(hsivi, {**TINY, **rates, "rollout": rollout, "antithetic": antithetic}, "")
    states = fit(hsivi, problem, config, (0, 1), Session("both"))
    for state in states:
        assert all(value.isfinite().all() for value in state.values())
        assert state["log_variance"].abs().max() > 0
        assert draw(hsivi, problem, config, 0, 20, state).x.shape == (20, *problem.event_shape)


def test_hsivi_without_final_noise_ends_at_the_mean() -> None:
    problem = VECTOR.problem(5, "hsivi")
    hsivi = load_baseline("hsivi_sm")
    noisy, plain = (make_config(hsivi, {**TINY, **RATES, "final_noise": f}, "") for f in (True, False))
    (state,) = fit(hsivi, problem, noisy, (0,), Session("noise"))
    with_noise, without = (draw(hsivi, problem, c, 0, 4000, state).x for c in (noisy, plain))
    std = (with_noise - without).std(0)
    torch.testing.assert_close(std, torch.full((2,), 0.00999), rtol=0.05, atol=0)  # c_0 at T = 5; 5 s.e. of a std


def test_seeds_in_a_stack_are_separate() -> None:
    problem = VECTOR.problem(4, "hsivi")
    hsivi = load_baseline("hsivi_sm")
    config = make_config(hsivi, {**TINY, "learning_rate": 1e-2, "critic_learning_rate": 1e-2, "rollout": "shared"}, "")
    both = fit(hsivi, problem, config, (0, 1), Session("both"))
    (alone,) = fit(hsivi, problem, config, (1,), Session("alone"))
    for name, value in alone.items():
        torch.testing.assert_close(both[1][name], value, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(both[0][name], both[1][name]) for name in alone)


def broken(sample: Any) -> Any:
    return SimpleNamespace(TITLE="Broken", CITATION="none", Config=dict, sample=sample)


def test_a_sampler_that_cheats_on_its_budget_is_refused() -> None:
    problem = VECTOR.problem(3)

    def too_few(problem: Problem, config: Any, noise: Any, state: Any) -> Iterator[Tensor]:
        yield noise.prior()

    def too_many(problem: Problem, config: Any, noise: Any, state: Any) -> Iterator[Tensor]:
        for _ in range(4):
            problem.score_model.noise(noise.prior(), problem.grid[1])
        yield noise.prior()

    def wrong_shape(problem: Problem, config: Any, noise: Any, state: Any) -> Iterator[Tensor]:
        yield noise.prior()[:, :1]

    with pytest.raises(ConfigError, match="got 0 function evaluations a sample, expected the budget 3"):
        draw(broken(too_few), problem, {}, 0, 10, {})
    with pytest.raises(BudgetExceeded, match="expected at most 3"):
        draw(broken(too_many), problem, {}, 0, 10, {})
    with pytest.raises(ConfigError, match=r"got samples of shape \(10, 1\)"):
        draw(broken(wrong_shape), problem, {}, 0, 10, {})


@pytest.mark.parametrize(
    ("values", "words"),
    [({"etta": 0.1}, "did you mean 'eta'"), ({"eta": "large"}, "got 'large'")],
)
def test_a_mistake_in_a_baselines_settings_is_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make_config(load_baseline("ddim"), values, "toy2d.yaml: ddim")
    assert "\n" not in str(caught.value)


def test_a_misspelt_recipe_key_is_one_line() -> None:
    with pytest.raises(ConfigError, match="critic_update: got a key that is not known"):
        make_config(load_baseline("hsivi_sm"), {**TINY, **RATES, "critic_update": 3}, "toy2d.yaml: hsivi_sm")
    assert load_baseline("hsivi_sm").Config is Recipe
