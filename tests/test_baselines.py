"""The contract: every sampler in baselines/ is run on Gaussian data with a known score, found by its path alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from hsivi.checkpoint import Session
from hsivi.config import ROOT, ConfigError
from hsivi.methods import describe, method_files
from hsivi.nn.stacked import ReplicaStack
from hsivi.noise import standard_normal
from hsivi.problem import Problem
from hsivi.recipe import Recipe
from hsivi.sampler import draw, fit, load_baseline, make_config, skip_reason
from hsivi.schedule import QuadraticSchedule
from hsivi.score_model import BudgetExceeded, NetworkScoreModel
from hsivi.time_grid import time_grid

METHODS = [name for name, path in method_files().items() if "diffusion" in describe(path).tasks]
TINY = {"iterations": 3, "batch": 8, "critic_batch": 8, "critic_updates": 2, "eta": 1.0, "ema": 0.9}
RATES = {"learning_rate": 1e-5, "critic_learning_rate": 1e-5, "rollout": "shared"}
VALUES: dict[str, dict[str, Any]] = {"hsivi_sm": {**TINY, **RATES}}


def assert_within(got: Tensor, expected: Tensor, error: Tensor, k: float, n: int, bias: float = 0.0) -> None:
    """Assert agreement within k standard errors, and a stated bias."""
    excess = ((got - expected).abs() - bias) / error
    assert (excess <= k).all(), f"{excess.max():.1f} standard errors off, allowed k={k}, n={n}: {got} for {expected}"


class GaussianNetwork(ReplicaStack):
    """The exact noise model of N(mean, var) data as a trainable stack, sigma (x - sqrt(ab) m) / (ab v + sigma^2)."""

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.event_ndim = mean.ndim
        self.mean = nn.Parameter(mean[None].clone())
        self.variance = nn.Parameter(variance[None].clone())

    @property
    def replicas(self) -> int:
        return len(self.mean)

    def copies(self, replicas: int) -> Self:
        stack = type(self)(self.mean[0].detach(), self.variance[0].detach())
        for parameter in stack.parameters():
            parameter.data = parameter.data.repeat(replicas, *(1,) * self.event_ndim)
        return stack

    def select(self, parameters: Mapping[str, Tensor], replica: int) -> dict[str, Tensor]:
        return {name: value[replica : replica + 1].clone() for name, value in parameters.items()}

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        noise_variance = (time / QuadraticSchedule().embedding_scale).reshape(*time.shape, *(1,) * self.event_ndim)
        if noise_variance.ndim < x.ndim:
            noise_variance = noise_variance.reshape(*(1,) * (x.ndim - noise_variance.ndim), *noise_variance.shape)
        batch = (1,) * (x.ndim - 1 - self.event_ndim)
        mean, variance = (p.reshape(len(p), *batch, *p.shape[1:]) for p in (self.mean, self.variance))
        alpha_bar = 1 - noise_variance
        return noise_variance.sqrt() * (x - alpha_bar.sqrt() * mean) / (alpha_bar * variance + noise_variance)


@dataclass(frozen=True)
class Target:
    """Data N(mean, diag(variance)); asymmetric, so that a wrong sign or a swapped axis shows."""

    mean: Tensor
    variance: Tensor

    def problem(self, nfe: int, grid: str = "full", dtype: torch.dtype = torch.float32) -> Problem:
        network = GaussianNetwork(self.mean.to(dtype), self.variance.to(dtype)).requires_grad_(False)
        levels = time_grid(QuadraticSchedule(), grid, nfe) if nfe else None
        teacher = NetworkScoreModel(network, QuadraticSchedule())
        return Problem(nfe, tuple(self.mean.shape), self.draw, teacher=teacher, levels=levels)

    def draw(self, n: int, *key: int | str) -> Tensor:
        return self.mean + self.variance.sqrt() * standard_normal((n, *self.mean.shape), *key)


VECTOR = Target(torch.tensor([0.5, -0.3]), torch.tensor([0.6, 0.2]))
IMAGE = Target(torch.linspace(-0.5, 0.5, 16).reshape(1, 4, 4), torch.linspace(0.2, 0.8, 16).reshape(1, 4, 4))


def ready(name: str, problem: Problem, seeds: tuple[int, ...] = (0,)) -> tuple[Any, Any, list[dict[str, Tensor]]]:
    baseline = load_baseline(name)
    config = make_config(baseline, VALUES.get(name, {}), name)
    return baseline, config, fit(baseline, problem, config, seeds, Session("contract"))


def budget(name: str, nfe: int) -> int:
    fixed = describe(method_files()[name]).nfe
    return nfe if fixed is None else fixed[0]


@pytest.mark.parametrize("target", [VECTOR, IMAGE], ids=["vector", "image"])
@pytest.mark.parametrize("name", METHODS)
def test_contract(name: str, target: Target) -> None:
    problem = target.problem(budget(name, 6))
    baseline, config, states = ready(name, problem)
    assert skip_reason(baseline, problem, config) is None
    runs = [draw(baseline, problem, config, 3, 150, states[0], batch=batch) for batch in (150, 64, 7, 1)]
    assert runs[0].x.shape == (150, *problem.event_shape)
    assert runs[0].x.isfinite().all()
    assert all(run.nfe == problem.nfe for run in runs), "the budget is used up exactly"
    for run in runs[1:]:
        torch.testing.assert_close(run.x, runs[0].x, msg="samples depend on the batch size")
    again = draw(baseline, problem, config, 3, 150, states[0], batch=150)
    assert torch.equal(again.x, runs[0].x), "the same seed gives the same bits"
    other = draw(baseline, problem, config, 4, 150, states[0], batch=150)
    assert not torch.equal(other.x, runs[0].x), "another seed gives other samples"


@pytest.mark.parametrize("name", METHODS)
def test_citation_is_in_the_bibliography(name: str) -> None:
    assert f"{{{describe(method_files()[name]).citation}," in (ROOT / "references.bib").read_text()


@pytest.mark.parametrize("name", METHODS)
def test_no_global_randomness(name: str) -> None:
    problem = VECTOR.problem(budget(name, 4))
    baseline, config, states = ready(name, problem)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    draw(baseline, problem, config, 0, 10, states[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "prior"])
def test_moments_at_many_steps(name: str) -> None:
    """With an exact score and 200 steps every sampler must return the data's mean and variance."""
    problem, n, k = VECTOR.problem(budget(name, 200)), 20_000, 5
    baseline, config, states = ready(name, problem)
    x = draw(baseline, problem, config, 0, n, states[0]).x
    # 200 steps leave a bias of order one per cent of the variance: allow it on top of the sampling error.
    assert_within(x.mean(0), VECTOR.mean, VECTOR.variance.sqrt() / n**0.5, k, n, bias=0.01)
    assert_within(x.var(0), VECTOR.variance, VECTOR.variance * (2 / n) ** 0.5, k, n, bias=0.02)
    correlation = torch.corrcoef(x.T)[0, 1]
    assert_within(correlation, torch.tensor(0.0), torch.tensor(n**-0.5), k, n)


@pytest.mark.parametrize("name", METHODS)
def test_trajectory_is_the_whole_path(name: str) -> None:
    problem = VECTOR.problem(budget(name, 6))
    baseline, config, states = ready(name, problem)
    run = draw(baseline, problem, config, 0, 50, states[0], trajectory=20)
    assert len(run.trajectory) == max(problem.nfe, 1) + 1
    assert torch.equal(run.trajectory[-1], run.x[:20])


def test_all_samplers_start_from_the_same_noise() -> None:
    starts = []
    for name in ("ddpm", "ddim", "hsivi_sm", "prior"):
        problem = VECTOR.problem(budget(name, 4))
        baseline, config, states = ready(name, problem)
        starts.append(draw(baseline, problem, config, 7, 30, states[0], trajectory=30).trajectory[0])
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
        make_config(load_baseline("hsivi_sm"), {**VALUES["hsivi_sm"], "critic_update": 3}, "toy2d.yaml: hsivi_sm")
    assert load_baseline("hsivi_sm").Config is Recipe
