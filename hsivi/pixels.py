"""Images as whole numbers: how samples become what an image file would hold."""

from typing import Literal

import torch
from torch import Tensor

Rounding = Literal["round", "truncate"]


def quantise(images: Tensor, rounding: Rounding = "round") -> Tensor:
    """Map images in [-1, 1] to whole numbers in 0..255; what lies outside is clipped.

    Arguments:
        images: any shape.
        rounding: to the nearest number, or ``truncate`` downwards as the authors' code does, which darkens images by
            half a grey level on average.

    Returns:
        uint8 tensor with the shape of ``images``.
    """
    grey = (images.double() + 1) / 2 * 255
    # Whole numbers are kept: the round trip through float32 may leave them a trifle short.
    whole = grey.round() if rounding == "round" else (grey + 1e-3).floor()
    return whole.clamp(0, 255).to(torch.uint8)
