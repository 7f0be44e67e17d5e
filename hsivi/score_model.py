"""Score models: what a network, or a formula, says about the distribution of u_s.

A score model answers two questions at time s: ``score(x, s)`` = grad_x log p_s(x) and ``noise(x, s)`` =
-sigma(s) * score(x, s), the expected noise in x.  The second is the first in other units (HSIVI, eq. (15) with the
missing hat: S = -eps / sqrt(1 - alpha)), so score-training and noise-training are one thing.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, cast

import torch
from torch import Tensor

from hsivi.nn.stacked import ReplicaStack
from hsivi.recipe import Hardware
from hsivi.schedule import Schedule

Prediction = Literal["noise", "score"]
Precision = Literal["float32", "bfloat16"]


class BudgetExceeded(RuntimeError):
    """A sampler asked for more function evaluations than it was given."""


class ScoreModel(ABC):
    """The score of a diffusion at every time.

    ``x`` has shape (\\*batch, \\*event); ``s`` is a tensor that broadcasts against \\*batch (a scalar for one level).
    """

    schedule: Schedule
    event_ndim: int

    @abstractmethod
    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        """Return E[eps | u_s = x] with the shape of ``x``."""

    def score(self, x: Tensor, s: Tensor) -> Tensor:
        """Return grad_x log p_s(x) with the shape of ``x``."""
        return -self.noise(x, s) / self.expand(self.schedule.sigma(s)).to(x)

    def denoised(self, x: Tensor, s: Tensor) -> Tensor:
        """Return E[u_0 | u_s = x] with the shape of ``x``."""
        noise_std = self.expand(self.schedule.sigma(s)).to(x)
        return (x - noise_std * self.noise(x, s)) / self.expand(self.schedule.alpha_bar(s).sqrt()).to(x)

    def at(self, levels: Tensor) -> "ScoreAtLevels":
        """Return the model at ``levels`` of shape (L,)."""
        return ScoreAtLevels(self, levels)

    def expand(self, per_sample: Tensor) -> Tensor:
        """Append the event's dimensions to a tensor of shape \\*batch."""
        return per_sample.reshape(*per_sample.shape, *(1,) * self.event_ndim)


class ScoreAtLevels:
    """A score model at given levels: ``t`` holds their indices, and broadcasts as ``s`` does.

    Arguments:
        model: the score model.
        levels: times, shape (L,).
    """

    def __init__(self, model: ScoreModel, levels: Tensor) -> None:
        self.model, self.levels = model, levels

    def noise(self, x: Tensor, t: Tensor) -> Tensor:
        """Return E[eps | u_s = x] at s = levels[t] with the shape of ``x``."""
        return self.model.noise(x, self.levels[t])

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return grad_x log p_s(x) at s = levels[t] with the shape of ``x``."""
        return self.model.score(x, self.levels[t])

    def now(self) -> "ScoreAtLevels":
        """Return the same for many calls while the model does not change."""
        return self


class NetworkScoreModel(ScoreModel):
    """A (stack of) network(s) read as a score model; ``x`` has shape (R, \\*batch, \\*event).

    With F the network's output, the predicted noise is

        F                                   where it ``predicts`` the noise and ``finest_scale`` is zero,
        F sigma / sqrt(sigma^2 + w^2)       where ``finest_scale`` w is positive,
        -F sigma                            where it predicts the score.

    Below the finest scale of the data the noise in a sample can hardly be told from the data, so its expectation is
    of size sigma / w.  A network that predicts it directly has to output small numbers there, which the loss hardly
    rewards, and its score -F / sigma is badly wrong; the factor makes F a number of order one at all levels.

    Arguments:
        network: stack of networks called with (x, time).
        schedule: noise schedule the network was trained with.
        predicts: whether its output is the noise or the score.
        finest_scale: w, in units of the data; zero where the network predicts the score.
        precision: of the network's arithmetic; inputs, outputs and parameters stay what they are.
    """

    def __init__(
        self,
        network: ReplicaStack,
        schedule: Schedule,
        predicts: Prediction = "noise",
        finest_scale: float = 0.0,
        precision: Precision = "float32",
    ) -> None:
        self.network = network
        self.schedule = schedule
        self.predicts = predicts
        self.finest_scale = finest_scale
        self.precision = precision
        self.event_ndim = network.event_ndim

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        with self.arithmetic(x):
            output: Tensor = self.network(x, self.schedule.network_time(s).to(x)).to(x)
        factor = self.noise_factor(s)
        return output if factor is None else output * self.expand(factor).to(x)

    def at(self, levels: Tensor) -> "NetworkAtLevels":
        """Return the model at ``levels`` of shape (L,), whose constants are computed once."""
        return NetworkAtLevels(self, levels)

    def arithmetic(self, x: Tensor) -> AbstractContextManager[object]:
        """Return the context in which the network computes."""
        lower = self.precision == "bfloat16"
        return torch.autocast(x.device.type, torch.bfloat16) if lower else nullcontext()

    def noise_factor(self, s: Tensor) -> Tensor | None:
        """Return what the network's output is multiplied by to predict the noise, shape of ``s``; None for one."""
        if self.predicts == "noise" and self.finest_scale == 0:
            return None
        noise_std = self.schedule.sigma(s)
        return -noise_std if self.predicts == "score" else noise_std * (noise_std**2 + self.finest_scale**2).rsqrt()

    def copies(self, replicas: int) -> "NetworkScoreModel":
        """Return a trainable stack of equal copies of a stack of one."""
        return self._reading(self.network.copies(replicas))

    def with_parameters(self, parameters: Mapping[str, Tensor]) -> "NetworkScoreModel":
        """Return the same model with other parameters; see `hsivi.nn.stacked.ReplicaStack.with_parameters`."""
        return self._reading(self.network.with_parameters(parameters))

    def accelerated(self, hardware: Hardware) -> "NetworkScoreModel":
        """Return the same model, network included, as a recipe wants it to use the machine."""
        if hardware.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if hardware.compile:
            self.network.compile()
        return self._reading(self.network, hardware.precision)

    def _reading(self, network: ReplicaStack, precision: Precision | None = None) -> "NetworkScoreModel":
        return NetworkScoreModel(network, self.schedule, self.predicts, self.finest_scale, precision or self.precision)


class NetworkAtLevels(ScoreAtLevels):
    """A network at given levels: what depends on a level alone is computed once.

    Arguments:
        model: the score model.
        levels: times, shape (L,), of the type that ``x`` will have.
    """

    model: NetworkScoreModel

    def __init__(self, model: NetworkScoreModel, levels: Tensor) -> None:
        super().__init__(model, levels)
        network = model.network.at(model.schedule.network_time(levels))
        self._network, self._output = network, cast(Callable[[Tensor, Tensor], Tensor], network)
        factor = model.noise_factor(levels)
        self._noise_factor = factor
        self._score_factor = -(torch.ones_like(levels) if factor is None else factor) / model.schedule.sigma(levels)

    def noise(self, x: Tensor, t: Tensor) -> Tensor:
        """Return E[eps | u_s = x] at s = levels[t] with the shape of ``x``."""
        output = self._evaluate(x, t)
        return output if self._noise_factor is None else output * self.model.expand(self._noise_factor[t])

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Return grad_x log p_s(x) at s = levels[t] with the shape of ``x``."""
        return self._evaluate(x, t) * self.model.expand(self._score_factor[t])

    def now(self) -> "NetworkAtLevels":
        """Return the same with the levels embedded by the present parameters."""
        present = copy.copy(self)
        with self.model.arithmetic(self.levels):
            present._output = self._network.now()
        return present

    def _evaluate(self, x: Tensor, t: Tensor) -> Tensor:
        with self.model.arithmetic(x):
            return self._output(x, t).to(x)


class Single(ScoreModel):
    """A stack of one seen without its replica axis; ``x`` has shape (\\*batch, \\*event)."""

    def __init__(self, stack: ScoreModel) -> None:
        self.stack = stack
        self.schedule = stack.schedule
        self.event_ndim = stack.event_ndim

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        return self.stack.noise(x[None], s)[0]


class EvaluationCounter:
    """Counts function evaluations per sample against a budget.

    Attributes:
        budget: evaluations allowed per sample, or None.
        count: evaluations made so far per sample.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = budget
        self.count = 0

    def add(self) -> None:
        """Count one evaluation.

        Raises:
            BudgetExceeded: the budget was used up before.
        """
        if self.budget is not None and self.count >= self.budget:
            raise BudgetExceeded(
                f"number of function evaluations: got more than {self.budget}, expected at most {self.budget} a "
                f"sample; take fewer steps or ask for a larger NFE"
            )
        self.count += 1


class Counted(ScoreModel):
    """Wraps a score model so that every evaluation of a batch is counted: NFE is measured, never declared."""

    def __init__(self, model: ScoreModel, counter: EvaluationCounter) -> None:
        self.model = model
        self.counter = counter
        self.schedule = model.schedule
        self.event_ndim = model.event_ndim

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        self.counter.add()
        return self.model.noise(x, s)


class GaussianMixtureScoreModel(ScoreModel):
    """Exact noise model of a mixture of isotropic Gaussians in R^d under a variance-preserving diffusion.

    p_s is the mixture of N(sqrt(alpha_bar) mu_k, alpha_bar var_k + sigma^2) with unchanged weights.

    Arguments:
        schedule: noise schedule.
        means: shape (K, d).
        variances: shape (K,).
        weights: shape (K,), positive, summing to one.
    """

    event_ndim = 1

    def __init__(self, schedule: Schedule, means: Tensor, variances: Tensor, weights: Tensor) -> None:
        self.schedule = schedule
        self.means = means
        self.variances = variances
        self.weights = weights

    def noise(self, x: Tensor, s: Tensor) -> Tensor:
        return -self.score(x, s) * self.expand(self.schedule.sigma(s)).to(x)

    def score(self, x: Tensor, s: Tensor) -> Tensor:
        alpha_bar = self.schedule.alpha_bar(s)[..., None].to(x)
        variance = alpha_bar * self.variances.to(x) + self.schedule.sigma(s)[..., None].to(x).square()  # (*batch, K)
        difference = alpha_bar[..., None].sqrt() * self.means.to(x) - x[..., None, :]  # (*batch, K, d)
        log_weight = (
            self.weights.to(x).log() - 0.5 * difference.square().sum(-1) / variance - 0.5 * x.shape[-1] * variance.log()
        )
        responsibility = torch.softmax(log_weight, -1) / variance
        return (responsibility[..., None] * difference).sum(-2)
