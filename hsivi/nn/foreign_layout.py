"""Where published code keeps the weights of a U-Net: the names of its layers, for each of ours (diffusers').

All of these networks are the same blocks in the same order (Ho et al., 2020, appendix B); they differ in how the blocks
are numbered, what the layers in a block are called, and how queries, keys and values share a tensor.

    ========  ==============================  =====================================  ===================================
    block     diffusers                       ddpm_torch                             improved_diffusion
    ========  ==============================  =====================================  ===================================
    down      down_blocks.LEVEL.resnets.J     downsamples.level_LEVEL.J              input_blocks.N.0, N from 1
    halving   down_blocks.LEVEL.downsamplers  downsamples.level_LEVEL.LAYERS.1       input_blocks.N.0.op
    up        up_blocks.FROM_BELOW.resnets.J  upsamples.level_LEVEL.J                output_blocks.N.0, N from 0
    doubling  up_blocks.FROM_BELOW.upsampl.   upsamples.level_LEVEL.(LAYERS + 1).1   last of the level's last N, .conv
    ========  ==============================  =====================================  ===================================
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from torch import Tensor

from hsivi.config import ConfigError


class Plan(NamedTuple):
    """The plan of a U-Net: number of resolutions, residual blocks a resolution, levels with attention."""

    levels: int
    layers: int
    attention: frozenset[int]


class Source(NamedTuple):
    """The foreign layer that holds one of ours; ``third`` 0, 1, 2 where it holds queries, keys and values in one."""

    layer: str
    third: int | None = None


@dataclass(frozen=True)
class ForeignLayout:
    """How published code names the layers.

    Attributes:
        name: as users give it.
        ends: our name of each layer outside the blocks, and theirs.
        residual: the same within a residual block.
        attention: their names of normalisation, joint projection to queries, keys and values, and output projection.
        kernel_ndim: trailing axes of length one that their projections have, as convolutions.
        blocks: yields our block, theirs, and whether it is a residual block ("residual"), attention, or one layer.
    """

    name: str
    ends: Mapping[str, str]
    residual: Mapping[str, str]
    attention: tuple[str, str, str]
    kernel_ndim: int
    blocks: Callable[[Plan], Iterator[tuple[str, str, str]]]

    def sources(self, plan: Plan) -> dict[str, Source]:
        """Return, for each layer that such a U-Net can have, where the foreign one keeps it."""
        norm, joint, out = self.attention
        found = {ours: Source(theirs) for ours, theirs in self.ends.items()}
        for our_block, their_block, kind in self.blocks(plan):
            if kind == "residual":
                found |= {f"{our_block}.{o}": Source(f"{their_block}.{t}") for o, t in self.residual.items()}
            elif kind == "attention":
                found[f"{our_block}.group_norm"] = Source(f"{their_block}.{norm}")
                for third, ours in enumerate(("to_q", "to_k", "to_v")):
                    found[f"{our_block}.{ours}"] = Source(f"{their_block}.{joint}", third)
                found[f"{our_block}.to_out.0"] = Source(f"{their_block}.{out}")
            else:
                found[our_block] = Source(their_block)
        return found

    def translate(
        self, where: str, foreign: Mapping[str, Tensor], own: Mapping[str, Tensor], plan: Plan, heads: int
    ) -> dict[str, Tensor]:
        """Return foreign weights under our names and in our shapes.

        Arguments:
            where: what to call the weights in errors.
            foreign: weights by foreign name.
            own: weights of our network; only names and shapes matter.
            plan: our network's.
            heads: heads of its attention.

        Raises:
            ConfigError: the foreign weights are those of another network.
        """
        sources = self.sources(plan)
        places, expected = {}, {}
        for name, value in own.items():
            layer, _, kind = name.rpartition(".")
            source = sources[layer]
            places[name] = f"{source.layer}.{kind}", source.third
            rows = value.shape[0] * (1 if source.third is None else 3)
            kernel = (1,) * self.kernel_ndim if ".attentions." in name and value.ndim == 2 else ()
            expected[places[name][0]] = (rows, *value.shape[1:], *kernel)
        check_weights(where, foreign, expected)
        translated = {}
        for name, (place, third) in places.items():
            value, shape = foreign[place], own[name].shape
            if third is not None:  # the rows are grouped by head first, each with its queries, keys and values
                value = value.reshape(heads, 3, shape[0] // heads, -1)[:, third]
            translated[name] = value.reshape(shape)
        return translated


def check_weights(where: str, given: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Check that weights have exactly the expected names and shapes.

    Raises:
        ConfigError: naming the first weight that is missing, has another shape, or is not expected.
    """
    remedy = "change the network's settings to those it was trained with"
    for name, shape in expected.items():
        if name not in given:
            raise ConfigError(f"{where}: got no weight {name!r}, expected one of shape {shape}; {remedy}")
        if tuple(given[name].shape) != shape:
            raise ConfigError(f"{where}: got {name!r} of shape {tuple(given[name].shape)}, expected {shape}; {remedy}")
    for name, value in given.items():
        if name not in expected:
            raise ConfigError(
                f"{where}: got a weight {name!r} of shape {tuple(value.shape)}, expected none of that name; {remedy}"
            )


_MIDDLE = (("resnets.0", "residual"), ("attentions.0", "attention"), ("resnets.1", "residual"))


def _ddpm_torch_blocks(plan: Plan) -> Iterator[tuple[str, str, str]]:
    def block(ours: str, j: int, theirs: str, attended: bool) -> Iterator[tuple[str, str, str]]:
        # A residual block alone stands for itself; with attention the two are numbered.
        yield f"{ours}.resnets.{j}", f"{theirs}.{j}.0" if attended else f"{theirs}.{j}", "residual"
        if attended:
            yield f"{ours}.attentions.{j}", f"{theirs}.{j}.1", "attention"

    for level in range(plan.levels):
        down, up, attended = f"down_blocks.{level}", f"up_blocks.{plan.levels - 1 - level}", level in plan.attention
        for j in range(plan.layers):
            yield from block(down, j, f"downsamples.level_{level}", attended)
        for j in range(plan.layers + 1):
            yield from block(up, j, f"upsamples.level_{level}", attended)
        yield f"{down}.downsamplers.0.conv", f"downsamples.level_{level}.{plan.layers}.1", "layer"
        yield f"{up}.upsamplers.0.conv", f"upsamples.level_{level}.{plan.layers + 1}.1", "layer"
    for i, (ours, kind) in enumerate(_MIDDLE):
        yield f"mid_block.{ours}", f"middle.{i}", kind


def _improved_diffusion_blocks(plan: Plan) -> Iterator[tuple[str, str, str]]:
    numbers = count(1)  # number 0 is the first convolution
    for level in range(plan.levels):
        for j in range(plan.layers):
            theirs = f"input_blocks.{next(numbers)}"
            yield f"down_blocks.{level}.resnets.{j}", f"{theirs}.0", "residual"
            yield f"down_blocks.{level}.attentions.{j}", f"{theirs}.1", "attention"
        yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{next(numbers)}.0.op", "layer"
    for i, (ours, kind) in enumerate(_MIDDLE):
        yield f"mid_block.{ours}", f"middle_block.{i}", kind
    numbers = count()
    for from_below in range(plan.levels):
        for j in range(plan.layers + 1):
            theirs = f"output_blocks.{next(numbers)}"
            yield f"up_blocks.{from_below}.resnets.{j}", f"{theirs}.0", "residual"
            yield f"up_blocks.{from_below}.attentions.{j}", f"{theirs}.1", "attention"
        attended = plan.levels - 1 - from_below in plan.attention
        yield f"up_blocks.{from_below}.upsamplers.0.conv", f"{theirs}.{1 + attended}.conv", "layer"


DDPM_TORCH = ForeignLayout(
    name="ddpm_torch",
    ends={
        "time_embedding.linear_1": "embed.0",
        "time_embedding.linear_2": "embed.2",
        "conv_in": "in_conv",
        "conv_norm_out": "out_conv.0",
        "conv_out": "out_conv.2",
    },
    residual={
        "norm1": "norm1",
        "conv1": "conv1",
        "time_emb_proj": "fc",
        "norm2": "norm2",
        "conv2": "conv2",
        "conv_shortcut": "skip",
    },
    attention=("norm", "project_in", "project_out"),
    kernel_ndim=2,
    blocks=_ddpm_torch_blocks,
)
"""tqch/ddpm-torch, the code behind HSIVI's CIFAR-10 and CelebA networks; one head."""

IMPROVED_DIFFUSION = ForeignLayout(
    name="improved_diffusion",
    ends={
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    },
    residual={
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    },
    attention=("norm", "qkv", "proj_out"),
    kernel_ndim=1,
    blocks=_improved_diffusion_blocks,
)
"""openai/improved-diffusion (Nichol & Dhariwal, 2021), the code behind HSIVI's ImageNet network."""
