"""Compiled trainings.  But for the last test the tracer alone runs: what makes code is slow and wants a compiler."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from hsivi.nn.score_mlp import ScoreMLP
from hsivi.recipe import Hardware
from hsivi.score_model import NetworkScoreModel
from tests.sequential_runs import LB, SM, advance, trainer
from tests.test_train import TOY
from tests.test_training_options import fitted, outputs, problem
from tests.tiny import tiny_unet

pytestmark = pytest.mark.slow


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is compiled from now on, by the tracer alone."""
    compiled, names = torch.compile, []

    def tracing(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        names.append(function.__name__)
        return compiled(function, **{**options, "backend": "eager"})

    monkeypatch.setattr(torch, "compile", tracing)
    return names


def test_a_compiled_network_computes_the_same(monkeypatch):
    compiled = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled(self, backend="eager", fullgraph=True))
    network = ScoreMLP((0,), 2, 8, 8)
    expected = outputs(network, Hardware())
    assert network._compiled_call_impl is None
    found = outputs(network, Hardware(compile=True))
    assert network._compiled_call_impl is not None
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert NetworkScoreModel(network, TOY).copies(2).network._compiled_call_impl is None  # sampling compiles nothing


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        (False, {"rollout": "shared"}),
        (False, {"batch": 4}),
        (False, {"variance": "fixed", "microbatches": 2}),
        (True, {"rollout": "shared"}),
    ],
)
def test_a_compiled_joint_training_computes_the_same(images, changes, traced):
    """Rollouts, where they are shared, and both losses with their gradients are compiled whole."""
    network = tiny_unet((0,)) if images else None
    sizes = {"batch": 2, "critic_batch": 2, "critic_updates": 2, "iterations": 2, **changes}
    expected, _ = fitted(problem(2, network), **sizes)
    assert traced == []
    found, _ = fitted(problem(2, network), **sizes, compile=True)
    assert traced[-3:] == ["all_layers", "evaluate", "evaluate"]
    for one, other in zip(found, expected, strict=True):
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], rtol=0, atol=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("changes", "programs"),
    [
        (SM, 2),
        ({**SM, "critic": "f", "critic_updates": 2, "critic_warm_start": True}, 2),
        (LB, 1),
        ({**LB, "target": "score", "auxiliaries": 10}, 1),
    ],
)
def test_a_compiled_sequential_training_computes_the_same(changes, programs, traced):
    """Nine layers are more than the eight programs that PyTorch keeps of a function before it refuses another."""
    sizes = {"layers": 9, "iterations": 2, "ema": 0.8, **changes}
    expected = advance(trainer(**sizes), 18)
    assert traced == []
    found = advance(trainer(**sizes, compile=True), 18)
    assert traced == ["evaluate"] * programs * 9
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("float64")
@pytest.mark.usefixtures("traced")
def test_a_compiled_training_is_resumed():
    through = advance(trainer(**SM, compile=True), 12)
    run, again = trainer(**SM, compile=True), trainer(**SM, compile=True)
    advance(run, 7)  # five iterations of the first layer, two of the second
    again.load_state_dict(run.state_dict())
    for name, value in advance(again, 5).items():
        assert torch.equal(value, through[name]), name


def test_a_compiler_that_is_not_there_is_one_line(tmp_path):
    """A process of its own: what PyTorch finds out about compilers it keeps."""
    code = """
import torch
from hsivi.optimise import whole
from hsivi.remedies import words
try:
    whole(torch.square)(torch.ones(8))
except RuntimeError as error:
    print(words(error))
"""
    surroundings = os.environ | {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True)
    assert re.fullmatch(
        r"compile: got true, .*/nowhere/g\+\+.*, expected a C\+\+ compiler .*; install .*\n", done.stdout
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="the code generator wants a C++ compiler")
def test_generated_code_computes_the_same():
    """The whole compiler, of which the other tests run the tracer."""
    expected = advance(trainer(**SM, layers=2), 10)
    for name, value in advance(trainer(**SM, layers=2, compile=True), 10).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-12)
