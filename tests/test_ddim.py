"""DDIM as an ODE: encoding, decoding, interpolation, and what is stored for figures of them."""

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hsivi import layout, methods
from hsivi.config import ConfigError, load_experiment
from hsivi.ddim_ode import decode, encode, interpolate
from hsivi.methods import Cell
from hsivi.noise import SampleNoise, standard_normal
from hsivi.problem import Problem, compute_device
from hsivi.sampler import draw, load_baseline, make_config
from hsivi.schedule import LinearBetaSchedule, QuadraticSchedule, Schedule
from hsivi.score_model import GaussianMixtureScoreModel, ScoreModel
from hsivi.stages import sample
from hsivi.stages.cell import OpenCell
from hsivi.time_grid import time_grid
from tests.oracles import NoisedGaussian

QUADRATIC, LINEAR = QuadraticSchedule(), LinearBetaSchedule()
MEAN, VARIANCE = torch.tensor([0.5, -0.3], dtype=torch.float64), 0.3
DDIM = load_baseline("ddim")


def gaussian(schedule: Schedule) -> ScoreModel:
    return GaussianMixtureScoreModel(schedule, MEAN[None], torch.tensor([VARIANCE], dtype=torch.float64), torch.ones(1))


def mixture(schedule: Schedule) -> ScoreModel:
    means = torch.tensor([[0.5, -0.3], [-0.6, 0.4]], dtype=torch.float64)
    return GaussianMixtureScoreModel(
        schedule, means, torch.tensor([0.05, 0.1], dtype=torch.float64), torch.tensor([0.3, 0.7])
    )


def grid(steps: int, lowest: float) -> Tensor:
    return torch.linspace(lowest, 0.9, steps + 1, dtype=torch.float64)


def points(n: int, *event: int) -> Tensor:
    return standard_normal((n, *(event or (2,))), "ddim").double()


class Asked(ScoreModel):
    """A score model that remembers the levels it was asked at."""

    def __init__(self, model: ScoreModel) -> None:
        self.model, self.schedule, self.event_ndim = model, model.schedule, model.event_ndim
        self.levels: list[float] = []

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        self.levels.append(float(s))
        return self.model.noise(x, s)


# ------------------------------------------------------------------ the ODE
@pytest.mark.parametrize("lowest", [0.0, 0.01], ids=["clean", "noisy"])
def test_encoding_gaussian_data_is_the_product_of_its_steps(lowest: float) -> None:
    """Euler's method in w = sigma / sqrt(alpha_bar) for a noise model that is affine: one affine map a step."""
    levels = grid(7, lowest)
    alpha_bar = 1 - levels**2
    law = NoisedGaussian(MEAN, torch.full((2,), VARIANCE, dtype=torch.float64))
    gain, offset = law.noise_map(alpha_bar)
    if lowest == 0:
        gain[0], offset[0] = gain[1], offset[1]
    w = ((1 - alpha_bar) / alpha_bar).sqrt()
    x = points(20)
    expected = x
    for t in range(7):
        scaled = expected / alpha_bar[t].sqrt() + (w[t + 1] - w[t]) * (gain[t] * expected + offset[t])
        expected = scaled * alpha_bar[t + 1].sqrt()
    torch.testing.assert_close(encode(gaussian(QUADRATIC), levels, x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lowest", [0.0, 0.01], ids=["clean", "noisy"])
def test_encoding_and_decoding_converge_to_the_flow_with_order_one(lowest: float) -> None:
    """The flow keeps the standardised position: x_T = mean_T + (x_0 - mean_0) std_T / std_0."""
    law = NoisedGaussian(MEAN, torch.full((2,), VARIANCE, dtype=torch.float64))
    ends = 1 - torch.tensor([lowest, 0.9], dtype=torch.float64) ** 2
    (mean_0, mean_T), (var_0, var_T) = law.moments(ends)
    x = points(20)
    code = mean_T + (x - mean_0) * (var_T / var_0).sqrt()
    errors = []
    for steps in (40, 80, 160):
        levels = grid(steps, lowest)
        errors.append([(encode(gaussian(QUADRATIC), levels, x) - code).abs().max()])
        errors[-1].append((decode(gaussian(QUADRATIC), levels, code) - x).abs().max())
    for one in zip(*errors, strict=True):
        assert one[0] < 0.1
        for coarse, fine in pairwise(one):
            assert 0.85 < math.log2(coarse / fine) < 1.2


@pytest.mark.parametrize("lowest", [0.0, 0.01], ids=["clean", "noisy"])
def test_reconstruction_error_falls_with_order_one(lowest: float) -> None:
    """On data that are not Gaussian  (Song et al., 2021, table 2)."""
    x = 0.5 * points(200)
    errors = []
    for steps in (20, 40, 80, 160, 320):
        levels = grid(steps, lowest)
        decoded = decode(mixture(QUADRATIC), levels, encode(mixture(QUADRATIC), levels, x))
        errors.append(float((decoded - x).square().mean().sqrt()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert errors == sorted(errors, reverse=True)
    assert all(0.7 < order < 1.4 for order in orders), (errors, orders)
    assert errors[-1] < 0.01


@pytest.mark.parametrize(
    ("schedule", "name", "expected"),
    [
        (LINEAR, "uniform", [0, 0, 200, 400, 600]),
        (LINEAR, "hsivi", [0, 32, 128, 288, 512]),
        (QUADRATIC, "hsivi", [0.01, 0.18689, 0.36377, 0.54066, 0.71754]),
    ],
)
def test_encoding_asks_where_each_step_begins(schedule: Schedule, name: str, expected: list[float]) -> None:
    """At s_0, ..., s_{T-1}; never at the clean level, where the first noisy one is asked instead."""
    model = Asked(mixture(schedule))
    levels = time_grid(schedule, name, 5)
    before = levels.clone()
    encode(model, levels, points(3))
    assert model.levels == pytest.approx(expected, abs=1e-5)
    assert torch.equal(levels, before), "the grid is left as it is"


def test_decoding_is_sampling_from_a_given_start() -> None:
    levels = time_grid(QUADRATIC, "hsivi", 6)
    model = Asked(mixture(QUADRATIC))
    start = SampleNoise(4, 0, 30, (2,)).prior()
    for values in ({}, {"clip": 0.4}, {"clip": 0.4, "rederive_noise": True}):
        given = Problem(6, (2,), lambda n, *key: torch.zeros(n, 2), teacher=model, levels=levels)
        sampled = draw(DDIM, given, make_config(DDIM, values, ""), 4, 30, {}).x
        assert torch.equal(decode(model, levels, start, *values.values()), sampled)
    assert model.levels[:6] == levels[1:].flip(0).tolist()


def test_one_start_leads_to_one_sample_on_every_grid() -> None:
    """Consistency  (Song et al., 2021, section 5.2): samples of a common x_T approach each other as steps are added."""
    start = points(200)
    fine = decode(mixture(QUADRATIC), grid(640, 0.01), start)
    distances = [
        float((decode(mixture(QUADRATIC), grid(steps, 0.01), start) - fine).square().mean().sqrt())
        for steps in (10, 20, 40, 80)
    ]
    assert distances[0] < 0.25 * float(fine.std()), "ten steps already tell which sample it is"
    assert all(near < 0.65 * far for far, near in pairwise(distances)), distances


# ------------------------------------------------------------------ interpolation
def test_interpolation_is_the_formula() -> None:
    start, end = points(5, 3), points(10, 3)[5:]
    angle = torch.acos((start * end).sum(1) / (start.norm(dim=1) * end.norm(dim=1)))[:, None]
    between = interpolate(start, end, 5)
    for place, share in enumerate([0, 0.25, 0.5, 0.75, 1]):
        expected = ((1 - share) * angle).sin() / angle.sin() * start + (share * angle).sin() / angle.sin() * end
        torch.testing.assert_close(between[:, place], expected, rtol=1e-12, atol=1e-12)


def test_interpolation_keeps_ends_norms_and_angles() -> None:
    start, end = points(6, 1, 4, 4).float(), points(12, 1, 4, 4)[6:].float()
    between = interpolate(start, end, 11)
    assert between.shape == (6, 11, 1, 4, 4)
    assert between.dtype == torch.float32
    assert torch.equal(between[:, 0], start)
    assert torch.equal(between[:, -1], end)
    u, v = (x.flatten(1).double() / x.flatten(1).double().norm(dim=1, keepdim=True) for x in (start, end))
    arc = interpolate(u, v, 11)
    torch.testing.assert_close(arc.norm(dim=2), torch.ones(6, 11).double(), rtol=1e-14, atol=1e-14)
    cosines = (arc[:, 1:] * arc[:, :-1]).sum(2)
    torch.testing.assert_close(cosines, cosines[:, :1].expand_as(cosines), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-9, 1e-6, 1e-3])
def test_interpolation_of_neighbours_is_the_chord(distance: float) -> None:
    start, step = points(4, 3), points(8, 3)[4:]
    between = interpolate(start, start + distance * step, 5)
    share = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    chord = start[:, None] + share * distance * step[:, None]
    assert (between - chord).abs().max() <= 1e-14 + 5 * distance**2


def test_opposite_directions_get_the_chord() -> None:
    start = points(4, 3)
    between = interpolate(start, -2 * start, 5)
    expected = start[:, None] * torch.tensor([1, 0.25, -0.5, -1.25, -2]).double()[:, None]
    torch.testing.assert_close(between, expected, rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------ figures
def image_problem() -> Problem:
    class Images(ScoreModel):
        schedule, event_ndim = QUADRATIC, 3

        def noise(self, x: Tensor, s: Tensor) -> Tensor:
            return self.expand(QUADRATIC.sigma(s)).to(x) * x  # of N(0, I)

    def drawn(n: int, *key: int | str) -> Tensor:
        return standard_normal((n, 1, 4, 4), *key)

    return Problem(5, (1, 4, 4), drawn, teacher=Images(), levels=time_grid(QUADRATIC, "hsivi", 5))


def vector_problem(name: str = "hsivi") -> Problem:
    def drawn(n: int, *key: int | str) -> Tensor:
        return 0.5 * standard_normal((n, 2), *key)

    return Problem(5, (2,), drawn, teacher=mixture(QUADRATIC), levels=time_grid(QUADRATIC, name, 5))


@pytest.mark.parametrize("problem", [vector_problem(), vector_problem("var_quadratic"), image_problem()])
def test_illustrations(problem: Problem) -> None:
    noise = SampleNoise(3, 0, 12, problem.event_shape)
    drawn = DDIM.illustrate(problem, make_config(DDIM, {}, ""), noise, {})
    assert problem.counter.count == 0, "figures are not samples"
    names = [f"reconstruction_{what}" for what in ("original", "encoded", "decoded")]
    assert sorted(drawn) == ["interpolation", *sorted(names)]
    original, encoded, decoded = (drawn[name] for name in names)
    assert original.shape == encoded.shape == decoded.shape == (64, *problem.event_shape)
    assert torch.equal(original, problem.draw(64, "illustrate"))
    assert torch.equal(encoded, encode(problem.score_model.model, problem.grid, original))
    assert torch.equal(decoded, decode(problem.score_model.model, problem.grid, encoded))
    assert drawn["interpolation"].shape == (6, 11, *problem.event_shape)
    sampled = draw(DDIM, problem, make_config(DDIM, {}, ""), 3, 12, {}).x
    torch.testing.assert_close(drawn["interpolation"][:, 0], sampled[0::2])
    torch.testing.assert_close(drawn["interpolation"][:, -1], sampled[1::2])


def test_illustrations_clip_like_the_sampler() -> None:
    problem, config = vector_problem("var_quadratic"), make_config(DDIM, {"clip": 0.4, "rederive_noise": True}, "")
    drawn = DDIM.illustrate(problem, config, SampleNoise(3, 0, 12, (2,)), {})
    sampled = draw(DDIM, problem, config, 3, 12, {}).x
    torch.testing.assert_close(drawn["interpolation"][:, 0], sampled[0::2])
    assert drawn["interpolation"].abs().max() <= 0.4


def test_a_random_sampler_illustrates_nothing() -> None:
    config = make_config(DDIM, {"eta": 0.1}, "")
    assert DDIM.illustrate(vector_problem(), config, SampleNoise(3, 0, 12, (2,)), {}) == {}


def opened(baseline: Any, problem: Problem) -> tuple[Any, OpenCell]:
    experiment = load_experiment("toy2d", "smoke").model_copy(update={"num_samples": 20})
    cell = Cell("smoke", "toy2d", "moons", "ddim", 5)
    info = methods.describe(methods.method_files()["ddim"])
    return experiment, OpenCell(cell, info, baseline, DDIM.Config(), problem, layout.CellFiles(cell))


def test_the_stage_stores_illustrations_of_the_first_seed() -> None:
    problem = vector_problem()
    experiment, cell = opened(DDIM, problem)
    arrays, _ = sample._draw(experiment, cell)
    noise = SampleNoise(experiment.seeds[0], 0, 12, (2,), device=compute_device())
    drawn = DDIM.illustrate(problem, DDIM.Config(), noise, {})
    assert {"samples", *drawn} <= set(arrays)
    assert all(torch.equal(torch.from_numpy(arrays[name]), values.cpu()) for name, values in drawn.items())


def test_an_illustration_with_a_name_that_is_taken_is_refused() -> None:
    def illustrate(*_: Any) -> dict[str, Tensor]:
        return {"samples": torch.zeros(2)}

    baseline = SimpleNamespace(TITLE="Taken", sample=DDIM.sample, illustrate=illustrate)
    with pytest.raises(ConfigError, match="Taken: got an illustration named 'samples'") as caught:
        sample._draw(*opened(baseline, vector_problem()))
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ settings
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rederive_noise": True}, "rederive_noise: got true without clip, expected the bound"),
        ({"clip": 0.0}, "clip: got 0.0"),
        ({"clip": -1.0}, "clip: got -1.0"),
        ({"eta": -0.1}, "eta: got -0.1"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        make_config(DDIM, values, "toy2d.yaml: ddim")
    assert "\n" not in str(caught.value)


def test_the_bound_of_clipping_is_kept() -> None:
    problem = vector_problem("var_quadratic")
    free, clipped = (draw(DDIM, problem, make_config(DDIM, v, ""), 0, 500, {}).x for v in ({}, {"clip": 0.4}))
    assert free.abs().max() > 0.6
    assert clipped.abs().max() <= 0.4
