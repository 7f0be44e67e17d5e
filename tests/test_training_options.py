"""Options of a training, on tiny networks: variance, average, reduced precision, what it starts from."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines import hsivi_sm
from hsivi import layout, methods
from hsivi.checkpoint import Session
from hsivi.config import ConfigError, load_experiment
from hsivi.experiment import Experiment, Override
from hsivi.methods import Cell
from hsivi.nn.score_mlp import ScoreMLP
from hsivi.nn.stacked import ReplicaStack
from hsivi.problem import Problem
from hsivi.recipe import Hardware
from hsivi.sampler import draw
from hsivi.schedule import LinearBetaSchedule
from hsivi.score_model import NetworkScoreModel
from hsivi.stages import settings
from hsivi.time_grid import time_grid
from hsivi.train import JointTrainer
from tests.test_micro_batches import STILL
from tests.test_train import TOY, recipe
from tests.test_workflow import Checkout
from tests.tiny import tiny_unet


def problem(nfe: int = 5, network: ReplicaStack | None = None, earlier: tuple[Any, ...] = ()) -> Problem:
    network = (network or ScoreMLP((0,), 2, 8, 8)).requires_grad_(False)
    schedule = TOY if network.event_ndim == 1 else LinearBetaSchedule()
    shape = (2,) if network.event_ndim == 1 else (1, 8, 8)
    levels = time_grid(schedule, "hsivi", nfe)
    return Problem(nfe, shape, lambda n, *_: torch.zeros(n, *shape), NetworkScoreModel(network, schedule), levels,
                   earlier=earlier)  # fmt: skip


class Watched(Session):
    """Keeps the trainer, and the layers' parameters at every iteration."""

    def train(self, trainer: Any, iterations: int, detail: Any = str) -> Any:
        self.trainer, self.path = trainer, [self._layers(trainer)]
        self.infos = []
        while trainer.iteration < iterations:
            self.infos.append(trainer.step())
            self.path.append(self._layers(trainer))

    @staticmethod
    def _layers(trainer: JointTrainer) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in trainer.hierarchy.named_parameters()}


def fitted(given: Problem, seeds: tuple[int, ...] = (4,), **changes: Any) -> tuple[list[dict[str, Tensor]], Watched]:
    session = Watched("test")
    return hsivi_sm.fit(given, recipe(**{"iterations": 4, "learning_rate": 0.01} | changes), seeds, session), session


def drawn(given: Problem, state: dict[str, Tensor], **changes: Any) -> Tensor:
    return draw(hsivi_sm, given, recipe(**changes), 9, 8, state).x


@pytest.mark.parametrize("images", [False, True])
def test_both_variances_of_table_3_train_and_sample(images):
    def given() -> Problem:
        return problem(network=tiny_unet((0,)) if images else None)

    changes = {"variance_learning_rate": 0.2, "batch": 2, "critic_batch": 2, "iterations": 2}
    (one,), _ = fitted(given(), variance="isotropic", **changes)
    (each,), _ = fitted(given(), **changes)
    shape = given().event_shape
    assert one["log_variance"].shape == (1, *(1,) * len(shape)) and each["log_variance"].shape == (1, *shape)
    assert one["log_variance"].abs() > 0.02 and each["log_variance"].std() > 0.01
    samples = drawn(given(), one, variance="isotropic")
    spread = one | {"log_variance": one["log_variance"].expand(1, *shape)}
    assert torch.equal(samples, drawn(given(), spread))
    assert (samples - drawn(given(), each)).abs().max() > 1e-3


# The average is sampled
def test_what_fit_returns_is_the_average_of_the_layers():
    seeds = (4, 9)
    states, session = fitted(problem(), seeds, ema=0.8, iterations=6)
    expected = session.path[0]
    for parameters in session.path[1:]:
        expected = {name: 0.8 * value + 0.2 * parameters[name] for name, value in expected.items()}
    critic = dict(session.trainer.critic.network.named_parameters())
    for replica, state in enumerate(states):
        own = session.trainer.hierarchy.select(expected, replica)
        last = session.trainer.hierarchy.select(session.path[-1], replica)
        assert {n for n in state if not n.startswith("critic.")} == set(own)
        for name, value in own.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)  # float32, six averages
        assert any((state[name] - last[name]).abs().max() > 1e-3 for name in own)
        for name, value in session.trainer.critic.network.select(critic, replica).items():
            assert torch.equal(state[f"critic.{name}"], value)  # an estimate at the last layers, so not averaged
        samples = drawn(problem(), state)
        torch.testing.assert_close(samples, drawn(problem(), own), rtol=1e-4, atol=1e-4)
        assert (samples - drawn(problem(), last)).abs().max() > 1e-3


def test_without_an_average_fit_returns_the_last_iterate():
    (state,), session = fitted(problem())
    last = session.trainer.hierarchy.select(session.path[-1], 0)
    assert all(torch.equal(state[name], value) for name, value in last.items())


# Reduced precision
BFLOAT16 = Hardware(precision="bfloat16")


@torch.no_grad()
def outputs(network: ReplicaStack, hardware: Hardware) -> Tensor:
    schedule = LinearBetaSchedule() if network.event_ndim == 3 else TOY
    shape = (1, 8, 8) if network.event_ndim == 3 else (2,)
    x = torch.randn(1, 16, *shape, generator=torch.Generator().manual_seed(0))
    s = schedule.training_times(torch.linspace(0.05, 0.95, 16, dtype=torch.float64))
    return NetworkScoreModel(network, schedule).accelerated(hardware).noise(x, s)


@pytest.mark.parametrize("network", [lambda: tiny_unet((0,)), lambda: ScoreMLP((0,), 2, 32, 32)], ids=["unet", "mlp"])
def test_bfloat16_changes_outputs_a_little(network):
    exact, rounded = outputs(network(), Hardware()), outputs(network(), BFLOAT16)
    assert rounded.dtype == torch.float32
    off = float((rounded - exact).norm() / exact.norm())
    assert 5e-4 < off < 2e-2  # a product of bfloat16 numbers is off by 2^-8 = 4e-3


def test_all_three_networks_train_in_bfloat16_and_nothing_samples_in_it(monkeypatch):
    calls: dict[int, set[bool]] = {}
    output = ScoreMLP.output

    def spy(self: ScoreMLP, *inputs: Tensor) -> Tensor:
        calls.setdefault(id(self), set()).add(torch.is_autocast_enabled("cpu"))
        return output(self, *inputs)

    monkeypatch.setattr(ScoreMLP, "output", spy)
    given = problem()
    (state,), session = fitted(given, precision="bfloat16", ema=0.9)
    trainer = session.trainer
    trained = [given.network.network, trainer.hierarchy.network, trainer.critic.network]
    assert calls == {id(network): {True} for network in trained}
    kept = [*trainer.state_dict()["hierarchy"].values(), *state.values(), *trainer.average.values.values()]
    for optimiser in (trainer._optimiser, trainer._critic_optimiser):
        kept += [value for entry in optimiser.adam.state.values() for value in entry.values()]
    for info in session.infos:
        kept += [info.variational_loss, info.critic_loss]
    assert {value.dtype for value in kept} == {torch.float32}
    calls.clear()
    drawn(problem(), state, precision="bfloat16")
    assert set(map(frozenset, calls.values())) == {frozenset({False})}
    (exact,), _ = fitted(problem(), ema=0.9)
    assert any(not torch.equal(value, exact[name]) for name, value in state.items())


def test_channels_last_changes_where_numbers_lie_and_not_what_they_are():
    network = tiny_unet((0,))
    expected = outputs(network, Hardware())
    found = outputs(network, Hardware(channels_last=True))
    images = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert images and all(p.is_contiguous(memory_format=torch.channels_last) for p in images)
    # Float32 sums of a few hundred terms in another order.
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_a_training_in_channels_last_learns_what_others_learn():
    changes = {"batch": 4, "critic_batch": 4, "iterations": 2, "learning_rate": 1e-4, "critic_learning_rate": 1e-4}
    (expected,), _ = fitted(problem(network=tiny_unet((0,))), **changes)
    (found,), _ = fitted(problem(network=tiny_unet((0,))), channels_last=True, **changes)
    apart = torch.cat([(found[name] - value).abs().flatten() for name, value in expected.items()])
    # Adam's two steps of 1e-4 go by the sign of a gradient, which is rounding where it nearly vanishes: single
    # parameters may be any part of both steps apart, on some processors more than on others.  A wrong layout moves all.
    assert (apart > 1e-5).double().mean() < 1e-3
    assert apart.max() < 4e-4


# Where a training starts from
@pytest.mark.parametrize("images", [False, True])
def test_a_training_starts_from_an_earlier_one(images):
    network = tiny_unet((0,)) if images else None
    sizes = {"batch": 4, "critic_batch": 4, "ema": 0.9}
    seeds = (4, 9)
    first, _ = fitted(problem(5, network), seeds, **sizes, iterations=2, variance_learning_rate=0.1)
    again, _ = fitted(problem(3, network, tuple(first)), seeds, **sizes, **STILL, iterations=1)
    for before, after in zip(first, again, strict=True):
        assert set(before) == set(after)
        assert all(torch.equal(value, after[name]) for name, value in before.items())
    teacher = problem(5, network).network.network.state_dict()
    for own, other in (first, first[::-1]):  # neither of them started where the score model is, or where the other is
        for elsewhere in (
            {f"{part}.{name}": value for name, value in teacher.items()} for part in ("network", "critic")
        ):
            assert any(not torch.equal(own[name], value) for name, value in elsewhere.items())
        assert own["log_variance"].abs().min() > 0.01
        for part in ("network", "critic", "log_variance"):
            assert any(not torch.equal(own[name], other[name]) for name in own if name.startswith(part))


@pytest.mark.parametrize("stack", [tiny_unet((0, 1)), ScoreMLP((0, 1), 2, 8, 8)], ids=["unet", "mlp"])
def test_fill_is_the_reverse_of_select(stack):
    def selected(replica: int) -> dict[str, Tensor]:
        return stack.select({name: p.detach() for name, p in stack.named_parameters()}, replica)

    other, own = selected(0), selected(1)
    new = {name: value + 1 for name, value in own.items()}
    stack.fill(1, new)
    assert all(torch.equal(value, new[name]) for name, value in selected(1).items())
    assert all(torch.equal(value, other[name]) for name, value in selected(0).items())
    name, value = next(iter(new.items()))
    for wrong in ({**new, "more": value}, {n: v for n, v in new.items() if n != name}, {**new, name: value[..., :1]}):
        with pytest.raises(ValueError, match=r"parameters: got others than the network's .*, expected the same; fit"):
            stack.fill(1, wrong)


def images(*overrides: Override) -> Experiment:
    """CIFAR-10 at scale smoke, with further overrides of HSIVI's recipe."""
    whole = load_experiment("cifar10", "smoke")
    used = whole.recipes["scripts"]
    changed = used.model_copy(update={"overrides": (*used.overrides, *overrides)})
    return whole.model_copy(update={"recipes": {**whole.recipes, "scripts": changed}})


def at(nfe: int) -> Cell:
    return Cell("smoke", "cifar10", "cifar10", "hsivi_sm", nfe)


def test_an_earlier_training_decides_a_later_one():
    plain = images()
    assert methods.starts_from(plain, at(5)) == [at(10)] and methods.starts_from(plain, at(10)) == []
    earlier = images(Override(nfe=(10,), values={"beta_power": 3}))
    later = images(Override(nfe=(5,), values={"beta_power": 3}))
    assert earlier.recipe_values("hsivi_sm", "cifar10", 5) == plain.recipe_values("hsivi_sm", "cifar10", 5)
    for stage in (settings.of_fit, settings.of_sample):
        assert stage(earlier, at(5)) != stage(plain, at(5))
        assert stage(later, at(10)) == stage(plain, at(10))
    apart = images(Override(nfe=(5,), values={"start_from": None}))
    assert settings.of_fit(apart, at(5)) != settings.of_fit(plain, at(5))


@pytest.mark.parametrize(
    ("nfe", "start", "words"),
    [
        (5, 7, "got start_from 7 at NFE 5, expected another budget of that row (it has 10)"),
        (5, 5, "got start_from 5 at NFE 5, expected another budget"),
        (10, 5, "got start_from in a circle, NFE 5, 10, 5, expected a first training"),
    ],
)
def test_a_start_that_is_not_there_is_one_line(nfe, start, words):
    experiment = images(Override(nfe=(nfe,), values={"start_from": start}))
    with pytest.raises(ConfigError) as error:
        methods.check(experiment)
    assert f"cifar10.yaml: hsivi_sm: {words}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_the_graph_trains_the_earlier_one_first(tmp_path):
    target = str(layout.CellFiles(at(5)).fit)
    done = Checkout(tmp_path).snakemake("--dry-run", "--config", "scale=smoke", "experiments=cifar10", "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    planned = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert planned == {"data": "1", "pretrain": "1", "fit": "2", "total": "4"}
