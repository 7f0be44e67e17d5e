"""A baseline at work on one problem of the contract: what it did, and its mistakes in words instead of tracebacks."""

import contextlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from hsivi.checkpoint import Resumable, Session
from hsivi.config import ConfigError
from hsivi.noise import SampleNoise
from hsivi.problem import Budget
from hsivi.sampler import Baseline, State, draw, fit, make_config, skip_reason
from hsivi.score_model import BudgetExceeded

SAMPLES = 150
SECONDS = 10.0
"""Longest a fit may take; settings for the contract make it short."""


class Broken(Exception):
    """A mistake in a baseline's file, in one line: what it did, what was expected, what to do."""


def load(path: Path) -> Baseline:
    """Run a baseline file and return its module.

    Raises:
        Broken: it cannot be run.
    """
    name = f"baselines.{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return cast(Baseline, known)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with blamed(path, "its import"):
            spec.loader.exec_module(module)
    except Broken:
        del sys.modules[name]
        raise
    return cast(Baseline, module)


@contextlib.contextmanager
def blamed(path: Path, what: str) -> Iterator[None]:
    """Turn an exception of a baseline's own code into one line that says where in its file it was raised."""
    try:
        yield
    except (Broken, BudgetExceeded):
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:300]
        raise Broken(
            f"{what} raised {type(error).__name__}: {said}{_where(error, path)}; expected no exception: correct it"
        ) from error


def _where(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" at line {lines[-1]} of baselines/{path.name}" if lines else ""


@dataclass
class Run:
    """What one call of `hsivi.sampler.draw` saw.

    Attributes:
        shapes: shape of every state that was yielded, batch by batch.
        dtypes: their types.
        finite: whether they were finite.
        evaluations: function evaluations a sample in the last batch.
        too_many: where the budget was exceeded, or empty.
        x: the samples, or None where the run was refused.
    """

    shapes: list[tuple[int, ...]] = field(default_factory=list)
    dtypes: list[torch.dtype] = field(default_factory=list)
    finite: list[bool] = field(default_factory=list)
    evaluations: int = 0
    too_many: str = ""
    x: Tensor | None = None

    @property
    def samples(self) -> Tensor:
        """The samples of a run that was not refused.

        Raises:
            Broken: it was refused.
        """
        if self.x is None:
            raise Broken("got a run that was refused, expected samples; see the lines above")
        return self.x


@dataclass
class Case:
    """A baseline with settings and a problem.  Its attributes raise `Broken` where the baseline makes a mistake.

    Attributes:
        path: the file.
        baseline: its module.
        label: how messages name the case.
        settings: values of its Config.
        where: where the settings stand.
        problems: problems to offer, until one is not declined.
    """

    path: Path
    baseline: Baseline
    label: str
    settings: Mapping[str, Any]
    where: str
    problems: Callable[[], Iterator[Budget]]

    @cached_property
    def config(self) -> Any:
        """The baseline's Config."""
        try:
            return make_config(self.baseline, self.settings, self.where)
        except ConfigError as error:
            raise Broken(str(error)) from error
        except Exception as error:  # pydantic's for a class that it cannot build
            raise Broken(
                f"Config: got a class that cannot be built ({type(error).__name__}), expected a frozen dataclass with "
                f"a type at every field; correct it"
            ) from error

    @cached_property
    def offer(self) -> tuple[Budget | None, str]:
        """The first problem that is accepted, or None and the last reason."""
        reason: str | None = "there is no time grid for its budget"
        for problem in self.problems():
            with blamed(self.path, "skip"):
                reason = skip_reason(self.baseline, problem, self.config)
            if reason is None:
                return problem, ""
            if not isinstance(reason, str) or not reason:
                raise Broken(f"skip: got {reason!r}, expected None or a reason as a string; return one of them")
        return None, " ".join(str(reason).split())

    @property
    def problem(self) -> Budget:
        """The problem that is accepted."""
        problem, _ = self.offer
        assert problem is not None, "only cases with a problem are checked"
        return problem

    @cached_property
    def states(self) -> list[State]:
        """What `fit` returns for the seeds 0 and 1."""
        return self.fit((0, 1))

    def fit(self, seeds: Sequence[int]) -> list[State]:
        """Return one state a seed."""
        with blamed(self.path, "fit"):
            states: Any = fit(self.baseline, self.problem, self.config, seeds, cast(Session, ShortSession()))
        if not isinstance(states, list) or len(states) != len(seeds):
            got = f"{len(states)} states" if isinstance(states, list) else f"a {type(states).__name__}"
            raise Broken(f"fit: got {got} for {len(seeds)} seeds, expected a list with one state a seed; return that")
        for state in states:
            kinds = {type(value) for value in state.values()} if isinstance(state, dict) else {type(state)}
            if not isinstance(state, dict) or not all(issubclass(kind, Tensor) for kind in kinds):
                names = ", ".join(sorted(kind.__name__ for kind in kinds))
                raise Broken(f"fit: got a state of {names}, expected a dict of tensors, which are stored; convert them")
        return states

    @cached_property
    def first(self) -> Run:
        """The run that most requirements look at: all samples in one batch."""
        return self.run()

    def run(self, seed: int = 3, n: int = SAMPLES, batch: int = SAMPLES, other_start: bool = False) -> Run:
        """Draw samples with the first state; with ``other_start`` from -x_T, all else being the same."""
        run, problem = Run(), self.problem
        recorder = cast(Baseline, Recorder(self.path, self.baseline, run, other_start))
        # A refused run shows in what was recorded; requirements say what is wrong with it.
        with contextlib.suppress(ConfigError, BudgetExceeded):
            run.x = draw(recorder, problem, self.config, seed, n, self.states[0], batch=batch).x
        run.evaluations = problem.counter.count
        return run


@dataclass(frozen=True)
class Recorder:
    """A baseline whose every state is written down; its mistakes become `Broken`.

    Attributes:
        path: the file.
        baseline: the baseline.
        run: where to write.
        other_start: whether x_T is replaced by -x_T.
    """

    path: Path
    baseline: Baseline
    run: Run
    other_start: bool

    @property
    def TITLE(self) -> str:  # noqa: N802
        """Name for people."""
        return self.baseline.TITLE

    def sample(self, problem: Budget, config: Any, noise: SampleNoise, state: State) -> Iterator[Tensor]:
        """Yield what the baseline yields, but not without end."""
        given = cast(SampleNoise, OtherStart(noise)) if self.other_start else noise
        most = 10 * (problem.nfe + 1)
        try:
            with blamed(self.path, "sample"):
                produced: Any = self.baseline.sample(problem, config, given, state)
                if not isinstance(produced, Iterator):
                    raise Broken(
                        f"sample: got a {type(produced).__name__} returned, expected states yielded one by one; write "
                        f"'yield x' after each step"
                    )
                for _, x in zip(range(most), produced, strict=False):
                    if not isinstance(x, Tensor):
                        raise Broken(f"sample: got a {type(x).__name__} yielded, expected a tensor; yield x_t itself")
                    self.run.shapes.append(tuple(x.shape))
                    self.run.dtypes.append(x.dtype)
                    self.run.finite.append(bool(x.isfinite().all()))
                    yield x
        except BudgetExceeded as error:
            self.run.too_many = _where(error, self.path) or " somewhere"
            raise


@dataclass(frozen=True)
class OtherStart:
    """Noise whose x_T is -x_T, which has the same distribution.

    Attributes:
        noise: what the rest is taken from.
    """

    noise: SampleNoise

    def prior(self) -> Tensor:
        """Return -x_T."""
        return -self.noise.prior()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.noise, name)


@dataclass
class ShortSession:
    """Runs a training as `hsivi.checkpoint.Session` does, but no longer than the contract's patience.

    Attributes:
        label: what runs, for progress lines.
        workers: threads that a step may use.
        seconds: seconds spent.
    """

    label: str = "contract"
    workers: int = 1
    seconds: float = 0.0

    def train(self, trainer: Resumable, iterations: int, detail: Callable[[Any], str] | None = None) -> Any:  # noqa: ARG002
        """Step ``trainer`` until ``iterations`` are done; nothing is printed, so ``detail`` is not asked.

        Raises:
            Broken: that takes too long.
        """
        begin, info = time.monotonic(), None
        while trainer.iteration < iterations:
            info = trainer.step()
            self.seconds = time.monotonic() - begin
            if self.seconds > SECONDS:
                raise Broken(
                    f"fit: got {trainer.iteration} of {iterations} iterations after {SECONDS:.0f} seconds, expected a "
                    f"short training; declare settings for the contract, CONTRACT = {{'short': {{'iterations': 3}}}}"
                )
        return info

    def close(self) -> None:
        """Do nothing: nothing is kept."""
