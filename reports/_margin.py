"""Margins: how far apart two numbers may lie and still be called equal; fixed in the ledger before a run."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hsivi.recipe import Frozen

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Margin(Frozen):
    """How far from a value another may lie and still be called equal; exactly one of the first three.

    Attributes:
        absolute: so much above and below.
        relative: that share of the value above and below.
        factor: up to so many times the value, and down to the value divided by it.
        why: reason, which has nothing to do with our numbers.
    """

    absolute: Positive | None = None
    relative: Annotated[float, Field(gt=0, lt=1)] | None = None
    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = None
    why: Text

    @model_validator(mode="after")
    def _one(self) -> "Margin":
        given = [name for name in ("absolute", "relative", "factor") if getattr(self, name) is not None]
        if len(given) != 1:
            words = ", ".join(given) or "none"
            raise ValueError(f"got {words} of absolute, relative and factor, expected exactly one")
        return self

    @property
    def scales_with_the_value(self) -> bool:
        """Whether it is a share of the value, which has to be positive then."""
        return self.absolute is None

    def limits(self, value: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lower and upper limit around values of any shape."""
        if self.absolute is not None:
            return value - self.absolute, value + self.absolute
        if self.relative is not None:
            return value * (1 - self.relative), value * (1 + self.relative)
        assert self.factor is not None
        return value / self.factor, value * self.factor
