"""Hyper-parameters of training, as data.  Nothing here needs torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(gt=0, lt=1)]


class Frozen(BaseModel):
    """Base of all configuration: immutable, and a key that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PretrainRecipe(Frozen):
    """Pre-training of a score model.

    Attributes:
        iterations: number of updates.
        batch: samples an update.
        samples_per_time: samples that share one diffusion time, so that one embedding serves them.
        learning_rate: Adam's initial rate.
        schedule: decay of the learning rate.
        ema: decay of the parameter average that is kept as the result, or None for the last iterate.
        adam_betas: Adam's decay rates.
    """

    iterations: Count
    batch: Count
    samples_per_time: Count = 1
    learning_rate: Positive
    schedule: Literal["constant", "cosine"] = "constant"
    ema: Decay | None = None
    adam_betas: tuple[Decay, Decay] = (0.9, 0.99)

    @model_validator(mode="after")
    def _whole_groups(self) -> "PretrainRecipe":
        if self.batch % self.samples_per_time:
            raise ValueError(
                f"batch: got {self.batch} with samples_per_time {self.samples_per_time}, expected a multiple of it"
            )
        return self


class Recipe(Frozen):
    """Joint training of HSIVI-SM (Algorithm 2).

    Attributes:
        iterations: number of updates of the layers, the paper's "iterations".
        batch: chains an update of the layers uses.
        critic_batch: chains an update of the critic uses.
        critic_updates: updates of the critic after each update of the layers.
        critic_warmup: updates of the critic before the first update of the layers.
        learning_rate: Adam's initial rate for the layers.
        critic_learning_rate: Adam's initial rate for the critic.
        schedule: decay of both learning rates.
        ema: decay of the average of the layers' parameters that is sampled from, or None for the last iterate.
        beta_power: p in the weight beta(t) = (1 - alpha_bar(s_t))^p; 1 in the paper, 2 in the authors' image code.
        eta: DDIM's noise level that initialises the layers.
        final_noise: whether the last layer adds its noise when sampling.
        rollout: ``independent`` uses one layer of every simulated chain, ``shared`` uses all of them.
        antithetic: whether every noise is used with both signs.
        adam_betas: Adam's decay rates for both optimisers.
    """

    iterations: Count
    batch: Count
    critic_batch: Count
    critic_updates: Count
    critic_warmup: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive
    critic_learning_rate: Positive
    schedule: Literal["constant", "cosine"] = "constant"
    ema: Decay | None = None
    beta_power: Annotated[float, Field(ge=0)] = 1.0
    eta: Positive
    final_noise: bool = True
    rollout: Literal["independent", "shared"] = "independent"
    antithetic: bool = False
    adam_betas: tuple[Decay, Decay] = (0.9, 0.99)
