"""Hyper-parameters of joint training with the lower bound, as data.  Nothing here needs torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsivi.recipe import Count, Decay, LearningRates, Positive


class LowerBoundRecipe(LearningRates):
    """Joint training with the lower bound.

    Attributes:
        iterations: number of updates.
        batch: chains an update uses.
        auxiliaries: K, or None for all others of the batch.
        learning_rate: Adam's highest rate.
        variance: what is learned of it: ``diagonal``, a factor on each coordinate's, ``isotropic``, one factor for all,
            or ``fixed``, nothing.
        ema: decay of the average of parameters that is sampled from, or None for the last iterate.
        eta: DDIM's noise level that initialises the layers.
        final_noise: whether the last layer adds its noise when sampling.
        antithetic: whether every noise of x_t is used with both signs.
        adam_betas: Adam's decay rates.
    """

    iterations: Count
    batch: Annotated[int, Field(ge=2)]
    auxiliaries: Count | None = None
    learning_rate: Positive
    variance: Literal["diagonal", "isotropic", "fixed"] = "diagonal"
    ema: Decay | None = None
    eta: Positive
    final_noise: bool = True
    antithetic: bool = False
    adam_betas: tuple[Decay, Decay] = (0.9, 0.99)

    @model_validator(mode="after")
    def _enough_chains(self) -> "LowerBoundRecipe":
        if self.auxiliaries is not None and self.auxiliaries >= self.batch:
            raise ValueError(
                f"auxiliaries: got {self.auxiliaries} with batch {self.batch}, expected fewer than the batch; raise "
                f"the batch or lower auxiliaries"
            )
        return self
