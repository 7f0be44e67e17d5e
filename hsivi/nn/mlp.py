"""The paper's network for Bayesian inference: a multi-layer perceptron with ReLU  (HSIVI, E.1)."""

from itertools import pairwise

from torch import Tensor, nn

from hsivi.nn.stacked import LinearStack, StackedLinear


class MLP(LinearStack):
    """Linear maps of the given widths with ReLU between them, in R independent copies.

    Arguments:
        seeds: one seed a replica.
        name: tells networks of one seed apart in the initialisation.
        widths: input, hidden and output widths, such as (2, 50, 50, 2).
    """

    event_ndim = 1

    def __init__(self, seeds: tuple[int, ...], name: str, widths: tuple[int, ...]) -> None:
        super().__init__()
        maps: list[nn.Module] = []
        for i, (width, following) in enumerate(pairwise(widths)):
            maps += [StackedLinear(seeds, f"{name}.{i}", width, following), nn.ReLU(inplace=True)]
        self.maps = nn.Sequential(*maps[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (R, \\*batch, d) to (R, \\*batch, d')."""
        output: Tensor = self.maps(x)
        return output
