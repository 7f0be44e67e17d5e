"""One thread and its memory kept, as each training of the suite has, and a table of what was measured at the end."""

import pytest
import torch

from benchmarks.results import Results
from hsivi.process import keep_freed_memory

torch.set_num_threads(1)
keep_freed_memory()


def pytest_configure(config: pytest.Config) -> None:
    """Make the place where measurements are gathered."""
    config.stash[Results.KEY] = Results()


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Results:
    """Where measurements are gathered."""
    return request.config.stash[Results.KEY]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables, and keep them beside this file where everything ran."""
    gathered = config.stash[Results.KEY]
    terminalreporter.write_line(gathered.text())
    if gathered.is_complete:
        gathered.write()
