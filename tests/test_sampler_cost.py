"""What a sampler adds to the cost of its network calls: at most 3 percent, for a U-Net of 5 M parameters.

The time inside the network is taken in the same run, so that the machine's load weighs on both.
"""

import time
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from hsivi.checkpoint import Session
from hsivi.config import load_experiment
from hsivi.methods import cells, info, time_grid_name
from hsivi.nn.unet import StackedUNet
from hsivi.problem import Problem
from hsivi.sampler import draw, fit, load_baseline, make_config
from hsivi.schedule import LinearBetaSchedule
from hsivi.score_model import NetworkScoreModel
from hsivi.time_grid import time_grid

EXPERIMENT = load_experiment("digits", "quick", "full")
BATCH, NFE, ALLOWED = 64, 5, 0.03
SETTINGS: dict[str, dict[str, Any]] = {
    "hsivi_sm": {"iterations": 1, "batch": 1, "critic_batch": 1, "critic_updates": 1, "critic_warmup": 0},
    "analytic_ddpm": {"samples": 8},
    "analytic_ddim": {"samples": 8},
}


def first_rows() -> dict[str, str]:
    """Return the first row of every sampler that runs at this budget, by the name of its file."""
    found: dict[str, str] = {}
    for cell in cells(EXPERIMENT):
        if cell.nfe == NFE:
            found.setdefault(info(EXPERIMENT, cell.label).name, cell.label)
    return found


def unet() -> NetworkScoreModel:
    widths = (64, 128, 128, 128)
    network = StackedUNet((0,), image_size=16, image_channels=1, channels=widths, layers_per_block=1, norm_groups=8)
    assert 5e6 < sum(p.numel() for p in network.parameters()) < 6e6
    return NetworkScoreModel(network.requires_grad_(False), LinearBetaSchedule())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "label"), first_rows().items(), ids=lambda value: value)
def test_overhead(name: str, label: str, benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = time_grid_name(EXPERIMENT, label, NFE)
    assert grid is not None
    teacher = unet()
    levels = time_grid(teacher.schedule, grid, NFE)
    problem = Problem(NFE, (1, 16, 16), lambda n, *_: torch.zeros(n, 1, 16, 16), teacher, levels)
    baseline = load_baseline(name)
    values = EXPERIMENT.recipe_values(label, "digits", NFE) | SETTINGS.get(name, {})
    config = make_config(baseline, values, name)
    (state,) = fit(baseline, problem, config, (0,), Session("cost"))
    inside, forward = [], StackedUNet.forward

    def timed(self: StackedUNet, *inputs: Tensor) -> Tensor:
        began = time.perf_counter()
        output = forward(self, *inputs)
        inside.append(time.perf_counter() - began)
        return output

    monkeypatch.setattr(StackedUNet, "forward", timed)
    began = time.perf_counter()
    benchmark.pedantic(draw, (baseline, problem, config, 0, BATCH, state), rounds=1)
    overhead = (time.perf_counter() - began) / sum(inside) - 1
    benchmark.extra_info["overhead"] = overhead
    assert len(inside) == NFE
    assert overhead < ALLOWED, f"{name}: {overhead:.1%} beyond the network's own time"
