"""Pre-training of a score model by denoising score matching, in units of the noise.

The loss is ||eps - eps_theta(u_s, s)||^2, which is eq. (13) with weight omega(s) = 1 - alpha_bar(s), that is
eq. (14).  Training times are the schedule's discrete levels, drawn uniformly.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hsivi import parallel
from hsivi.data import in_units
from hsivi.optimise import Average, Optimiser, stop_where_not_finite
from hsivi.recipe import PretrainRecipe
from hsivi.rng import generator
from hsivi.score_model import NetworkScoreModel


@dataclass
class Pretrainer:
    """Denoising score matching on a fixed pool of data.

    Attributes:
        score_model: a stack of one network.
        data: training points, shape (N, \\*event), on any device; uint8 where they are pixels.
        recipe: hyper-parameters.
        seed: seed of batches, times and noise.
        iteration: iterations done.
    """

    score_model: NetworkScoreModel
    data: Tensor
    recipe: PretrainRecipe
    seed: int
    iteration: int = 0
    average: Average = field(init=False)

    def __post_init__(self) -> None:
        recipe = self.recipe
        self._optimiser = Optimiser(
            self.score_model.network.parameters(),
            recipe.learning_rate,
            recipe.adam_betas,
            recipe.schedule,
            recipe.iterations,
            recipe.final_rate,
            recipe.warm_up,
            recipe.clip_norm,
        )
        self._parts = parallel.own_share(recipe.microbatches)
        self.average = Average(dict(self.score_model.network.named_parameters()), recipe.ema)

    def step(self) -> float:
        """Take one step and return the loss, averaged over the batch and summed over one sample's dimensions.

        Raises:
            NonFiniteLoss: the loss is infinite or undefined.
        """
        schedule, recipe = self.score_model.schedule, self.recipe
        rng = generator(self.seed, "pretrain", self.iteration)
        times = recipe.batch // recipe.samples_per_time
        # One stratum of [0, 1) a time: uniform as a whole, and less noisy than independent draws.
        u = (torch.from_numpy(rng.random(times)) + torch.arange(times)) / times
        s = schedule.training_times(u)[:, None]
        rows = torch.from_numpy(rng.integers(0, len(self.data), (times, recipe.samples_per_time)))
        noise = torch.from_numpy(rng.standard_normal((*rows.shape, *self.data.shape[1:]), "float32"))
        mirrored = torch.from_numpy(rng.random(rows.shape) < 0.5) if recipe.flip else torch.zeros(rows.shape).bool()
        self._optimiser.clear()
        losses, problem = [], None
        for part in self._parts:
            own = slice(part * times // recipe.microbatches, (part + 1) * times // recipe.microbatches)
            loss = self._loss(s[own], rows[own], noise[own], mirrored[own])
            if not loss.isfinite():
                problem = (
                    f"pre-training loss: got {loss.item()} at iteration {self.iteration}, expected a finite number; "
                    f"lower the learning rate in the pretrain section"
                )
                break
            (loss / len(self._parts)).backward()
            losses.append(float(loss.detach()))
        stop_where_not_finite(problem)
        self._optimiser.step()
        self._optimiser.advance()
        self.average.update()
        self.iteration += 1
        return sum(losses) / len(losses)

    def _loss(self, s: Tensor, rows: Tensor, noise: Tensor, mirrored: Tensor) -> Tensor:
        """Return the loss of some of the batch: all arguments have its axes (times, samples a time) in front."""
        schedule, expand = self.score_model.schedule, self.score_model.expand
        first = next(self.score_model.network.parameters())
        clean = in_units(self.data[rows.to(self.data.device)]).to(first)
        if self.recipe.flip:
            clean = torch.where(expand(mirrored.to(first.device)), clean.flip(-1), clean)
        s, noise = s.to(first), noise.to(first)
        noisy = expand(schedule.alpha_bar(s).sqrt()) * clean + expand(schedule.sigma(s)) * noise
        error = self.score_model.noise(noisy[None], s)[0] - noise
        return error.square().flatten(2).sum(2).mean()

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {
            "iteration": self.iteration,
            "network": self.score_model.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "average": self.average.values,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.iteration = state["iteration"]
        self.score_model.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.average.load(state["average"])
