"""The noise network for images: diffusers' convolutional U-Net, one a replica.

Unlike `hsivi.nn.stacked.StackedLinear`, replicas run one after another: a convolution already fills a processor, so
nothing is gained by batching them.  A stack of one serves inputs with any leading axis.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from hsivi.nn.stacked import ReplicaStack
from hsivi.rng import generator


@torch.no_grad()
def draw_weights(module: nn.Module, seed: int) -> None:
    """Redraw the weights of all linear maps and convolutions of ``module`` from ``seed`` alone.

    The law is torch's own, U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)) for weights and biases; each layer has its own
    random stream, found by its name, so neither the order of construction nor torch's global state matters.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            rng = generator(seed, "init", name)
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in layer.parameters():
                parameter.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(parameter.shape))))


class StackedUNet(ReplicaStack):
    """R U-Nets without attention or dropout  (Ho et al., 2020, appendix B, at the size of the images).

    Arguments:
        seeds: one seed a replica; a replica's weights depend on its own seed only.
        image_size: height and width of the images; a multiple of 2^(len(channels) - 1).
        image_channels: colour channels C of the images.
        channels: width of each resolution, from fine to coarse; neighbours differ by a factor of two in size.
        layers_per_block: residual blocks a resolution on the way down (one more on the way up).
        norm_groups: groups of the group normalisation; divides every width.

    Raises:
        ValueError: the image size or the widths do not fit the network.
    """

    event_ndim = 3

    def __init__(
        self,
        seeds: tuple[int, ...],
        image_size: int,
        image_channels: int,
        channels: tuple[int, ...],
        layers_per_block: int,
        norm_groups: int,
    ) -> None:
        from diffusers import UNet2DModel  # takes seconds, so only those who build one pay

        super().__init__()
        factor = 2 ** (len(channels) - 1)
        if image_size % factor or any(width % norm_groups for width in channels):
            raise ValueError(
                f"U-Net: got images of size {image_size}, widths {channels} and {norm_groups} groups, expected a size "
                f"divisible by {factor} and widths divisible by {norm_groups}; change the number or value of the widths"
            )
        self.networks = nn.ModuleList()
        for seed in seeds:
            network: Any = UNet2DModel(
                sample_size=image_size,
                in_channels=image_channels,
                out_channels=image_channels,
                block_out_channels=channels,
                layers_per_block=layers_per_block,
                down_block_types=("DownBlock2D",) * len(channels),
                up_block_types=("UpBlock2D",) * len(channels),
                norm_num_groups=norm_groups,
                add_attention=False,
                dropout=0.0,
            )
            draw_weights(network, seed)
            self.networks.append(network)

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.networks)

    def copies(self, replicas: int) -> Self:
        """Return a trainable stack of equal copies of a stack of one."""
        stack = copy.deepcopy(self, {id(self.networks): None})  # all but the networks, which are copied once each
        stack.networks = nn.ModuleList(copy.deepcopy(self.networks[0]) for _ in range(replicas))
        return stack.requires_grad_(True)

    def select(self, parameters: Mapping[str, Tensor], replica: int) -> dict[str, Tensor]:
        """Return, of a stack's parameters by name, those of one replica as the parameters of a stack of one."""
        prefix = f"networks.{replica}."
        return {
            f"networks.0.{name.removeprefix(prefix)}": value.clone()
            for name, value in parameters.items()
            if name.startswith(prefix)
        }

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Evaluate the networks.

        Arguments:
            x: shape (R, \\*batch, C, H, W); the leading axis of a stack of one may have any length.
            time: shape broadcastable to (R, \\*batch).

        Returns:
            Tensor with the shape of ``x``.

        Raises:
            ValueError: the leading axis of ``x`` does not fit a stack of several networks.
        """
        if self.replicas > 1 and len(x) != self.replicas:
            raise ValueError(
                f"U-Net: got {len(x)} replicas of images, expected {self.replicas}, one a network; use a stack of one "
                f"to serve them all"
            )
        times = time.to(x).broadcast_to(x.shape[:-3])
        groups = [(x, times)] if self.replicas == 1 else zip(x, times, strict=True)
        outputs = [
            network(images.reshape(-1, *x.shape[-3:]), levels.reshape(-1)).sample
            for network, (images, levels) in zip(self.networks, groups, strict=True)
        ]
        return torch.stack(outputs).reshape(x.shape)
