"""The noise network for images: diffusers' convolutional U-Net, one a replica.

Unlike `hsivi.nn.stacked.StackedLinear`, replicas run one after another: a convolution already fills a processor, so
nothing is gained by batching them.  A stack of one serves inputs with any leading axis.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from hsivi.nn.stacked import ReplicaStack
from hsivi.rng import generator

Dialect = Literal["plain", "ho", "openai"]

# What the publications' networks differ in, besides their widths, in the words of diffusers.
_DIALECTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ho": {"downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6},
    "openai": {"resnet_time_scale_shift": "scale_shift"},
}


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
    """R U-Nets  (Ho et al., 2020, appendix B), by default without attention and dropout.

    The dialects are three conventions for one architecture.  A trained network makes sense in its own only:

        ``plain``   diffusers' defaults: cosines before sines in the embedding of the time, symmetric padding where the
                    resolution is halved, and an added embedding.  It is also the net of Nichol & Dhariwal (2021) with
                    ``use_scale_shift_norm`` off.
        ``ho``      Ho et al. (2020), and tqch/ddpm-torch: sines first, frequencies 10000^(-i / (n - 1)), padding to the
                    right and below only, and 1e-6 in the normalisation.
        ``openai``  Nichol & Dhariwal (2021), openai/improved-diffusion: as ``plain``, but the embedding scales and
                    shifts the normalised features instead of being added.

    A network with dropout is random until ``eval()``.

    Arguments:
        seeds: one seed a replica; a replica's weights depend on its own seed only.
        image_size: height and width of the images; a multiple of 2^(len(channels) - 1).
        image_channels: colour channels C of the images.
        channels: width of each resolution, from fine to coarse; neighbours differ by a factor of two in size.
        layers_per_block: residual blocks a resolution on the way down (one more on the way up).
        norm_groups: groups of the group normalisation; divides every width.
        attention: levels with self-attention after each residual block, 0 the finest resolution; where there are any,
            the middle of the network has it, too.
        heads: heads of every attention; divides the widths that have it.
        dropout: probability of dropping a feature in a residual block during training.
        dialect: conventions of the network.
        learned_variance: whether the network has 2C outputs, as one trained with a learned variance has; the first C
            are the prediction, the others are computed and dropped.

    Attributes:
        heads: as the argument.
        dialect: as the argument.

    Raises:
        ValueError: the image size, widths, levels, heads, dropout or dialect do not fit the network.
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
        attention: tuple[int, ...] = (),
        heads: int = 1,
        dropout: float = 0.0,
        dialect: Dialect = "plain",
        learned_variance: bool = False,
    ) -> None:
        from diffusers import UNet2DModel  # takes seconds, so only those who build one pay

        super().__init__()
        factor = 2 ** (len(channels) - 1)
        if image_size % factor or any(width % norm_groups for width in channels):
            raise ValueError(
                f"U-Net: got images of size {image_size}, widths {channels} and {norm_groups} groups, expected a size "
                f"divisible by {factor} and widths divisible by {norm_groups}; change the number or value of the widths"
            )
        _check_attention(channels, attention, heads)
        if dialect not in _DIALECTS:
            raise ValueError(
                f"U-Net: got dialect {dialect!r}, expected one of {', '.join(get_args(Dialect))}; correct it"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"U-Net: got dropout {dropout}, expected a probability in [0, 1); change it")
        self.heads, self.dialect = heads, dialect
        kinds = ["Attn" if level in attention else "" for level in range(len(channels))]
        self.networks = nn.ModuleList()
        for seed in seeds:
            network: Any = UNet2DModel(
                sample_size=image_size,
                in_channels=image_channels,
                out_channels=image_channels * (1 + learned_variance),
                block_out_channels=channels,
                layers_per_block=layers_per_block,
                down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
                up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
                norm_num_groups=norm_groups,
                attn_norm_num_groups=norm_groups,  # by default scale_shift has none in the middle, unlike the paper's
                attention_head_dim=None,
                add_attention=bool(attention),
                dropout=dropout,
                **_DIALECTS[dialect],
            )
            _set_heads(network, heads)
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

    def places(self, replica: int) -> dict[str, Tensor]:
        """Return one replica's parameters, by their names in a stack of one."""
        return {f"networks.0.{name}": p for name, p in self.networks[replica].named_parameters()}

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
            network(images.reshape(-1, *x.shape[-3:]), levels.reshape(-1)).sample[:, : x.shape[-3]]
            for network, (images, levels) in zip(self.networks, groups, strict=True)
        ]
        return torch.stack(outputs).reshape(x.shape)


def _check_attention(channels: tuple[int, ...], attention: tuple[int, ...], heads: int) -> None:
    if any(level not in range(len(channels)) for level in attention):
        raise ValueError(
            f"U-Net: got attention at levels {attention}, expected levels from 0, the finest, to {len(channels) - 1}; "
            f"change the levels or the number of widths"
        )
    widths = [channels[level] for level in (*sorted(set(attention)), -1)] if attention else []
    if heads < 1 or any(width % heads for width in widths):
        raise ValueError(
            f"U-Net: got {heads} heads for attention at widths {tuple(widths)}, expected a positive number that "
            f"divides each; change the heads"
        )


def _set_heads(network: nn.Module, heads: int) -> None:
    """Give every attention of a diffusers network the same number of heads.

    diffusers takes one number of channels a head for the whole network, so equally many heads at different widths
    (Nichol & Dhariwal: four at 384 and at 512) cannot be asked for.  The weights do not depend on the heads, though:
    only how the features are split does, and that is read off the attributes set here at every call.
    """
    from diffusers.models.attention_processor import Attention

    for module in network.modules():
        if isinstance(module, Attention):
            module.heads = module.sliceable_head_dim = heads
            module.scale = (module.inner_dim // heads) ** -0.5
