"""Settings of the whole test set: one thread, reproducible property tests, double precision on request."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.warm import THREADS, Warm

# Before numpy and torch are loaded: two workers on two cores, and threads that wait for work use up a core as well.
os.environ |= dict.fromkeys(THREADS, "1")
import torch

settings.register_profile("suite", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("suite")
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device of the tests that train (cpu, cuda)")


def pytest_configure(config: pytest.Config) -> None:
    """Let tests see a GPU only when asked to: what they know to the bit they know of processors."""
    if config.getoption("--device") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    else:
        from hsivi.process import compute_alike

        compute_alike()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def float64() -> Iterator[None]:
    """Make float64 the default dtype, so that a comparison with a formula may ask for machine precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """What starts the jobs of a graph without their two or three seconds of loading libraries."""
    server = Warm()
    yield server
    server.stop()
