"""Published U-Nets, written down a second time: the names and shapes of their weights, and what they compute.

The forward passes follow the weights' names: a block is what its keys say it is.  Nothing is shared with the package.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, Tensor]


def random_weights(shapes: Shapes, seed: int = 0) -> Weights:
    """Draw weights of the default dtype such that no layer is negligible."""
    rng = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=rng)
        one_dimensional = len(shape) == 1
        is_scale = one_dimensional and name.endswith("weight")
        drawn[name] = (
            1 + 0.3 * noise if is_scale else 0.3 * noise if one_dimensional else noise / noise[0].numel() ** 0.5
        )
    return drawn


def ddpm_torch_shapes(colours: int, channels: tuple[int, ...], layers: int, attention: tuple[int, ...]) -> Shapes:
    shapes: Shapes = {}
    base, last = channels[0], len(channels) - 1

    def affine(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    def residual(name: str, width_in: int, width: int) -> None:
        affine(f"{name}.norm1", width_in)
        affine(f"{name}.conv1", width, width_in, 3, 3)
        affine(f"{name}.fc", width, 4 * base)
        affine(f"{name}.norm2", width)
        affine(f"{name}.conv2", width, width, 3, 3)
        if width_in != width:
            affine(f"{name}.skip", width, width_in, 1, 1)

    def attend(name: str, width: int) -> None:
        affine(f"{name}.norm", width)
        affine(f"{name}.project_in", 3 * width, width, 1, 1)
        affine(f"{name}.project_out", width, width, 1, 1)

    def block(name: str, level: int, width_in: int) -> None:
        if level in attention:
            residual(f"{name}.0", width_in, channels[level])
            attend(f"{name}.1", channels[level])
        else:
            residual(name, width_in, channels[level])

    affine("embed.0", 4 * base, base)
    affine("embed.2", 4 * base, 4 * base)
    affine("in_conv", base, colours, 3, 3)
    width, skips = base, [base]
    for level, wide in enumerate(channels):
        for j in range(layers):
            block(f"downsamples.level_{level}.{j}", level, width)
            width = wide
            skips.append(wide)
        if level != last:
            affine(f"downsamples.level_{level}.{layers}.1", wide, wide, 3, 3)
            skips.append(wide)
    residual("middle.0", width, width)
    attend("middle.1", width)
    residual("middle.2", width, width)
    for level in range(last, -1, -1):
        for j in range(layers + 1):
            block(f"upsamples.level_{level}.{j}", level, width + skips.pop())
            width = channels[level]
        if level:
            affine(f"upsamples.level_{level}.{layers + 1}.1", width, width, 3, 3)
    affine("out_conv.0", base)
    affine("out_conv.2", colours, base, 3, 3)
    return shapes


def improved_diffusion_shapes(
    colours: int, outputs: int, channels: tuple[int, ...], layers: int, attention: tuple[int, ...], scale_shift: bool
) -> Shapes:
    shapes: Shapes = {}
    base, last = channels[0], len(channels) - 1

    def affine(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    def residual(name: str, width_in: int, width: int) -> None:
        affine(f"{name}.in_layers.0", width_in)
        affine(f"{name}.in_layers.2", width, width_in, 3, 3)
        affine(f"{name}.emb_layers.1", (1 + scale_shift) * width, 4 * base)
        affine(f"{name}.out_layers.0", width)
        affine(f"{name}.out_layers.3", width, width, 3, 3)
        if width_in != width:
            affine(f"{name}.skip_connection", width, width_in, 1, 1)

    def attend(name: str, width: int) -> None:
        affine(f"{name}.norm", width)
        affine(f"{name}.qkv", 3 * width, width, 1)
        affine(f"{name}.proj_out", width, width, 1)

    affine("time_embed.0", 4 * base, base)
    affine("time_embed.2", 4 * base, 4 * base)
    affine("input_blocks.0.0", base, colours, 3, 3)
    number, width, skips = 1, base, [base]
    for level, wide in enumerate(channels):
        for _ in range(layers):
            residual(f"input_blocks.{number}.0", width, wide)
            if level in attention:
                attend(f"input_blocks.{number}.1", wide)
            number, width = number + 1, wide
            skips.append(wide)
        if level != last:
            affine(f"input_blocks.{number}.0.op", wide, wide, 3, 3)
            number += 1
            skips.append(wide)
    residual("middle_block.0", width, width)
    attend("middle_block.1", width)
    residual("middle_block.2", width, width)
    number = 0
    for level in range(last, -1, -1):
        for j in range(layers + 1):
            residual(f"output_blocks.{number}.0", width + skips.pop(), channels[level])
            width = channels[level]
            if level in attention:
                attend(f"output_blocks.{number}.1", width)
            if level and j == layers:
                affine(f"output_blocks.{number}.{2 if level in attention else 1}.conv", width, width, 3, 3)
            number += 1
    affine("out.0", base)
    affine("out.2", outputs, base, 3, 3)
    return shapes


def children(weights: Weights, name: str) -> list[str]:
    """Return the names one level below, in numerical order."""
    found = {key.removeprefix(f"{name}.").split(".")[0] for key in weights if key.startswith(f"{name}.")}
    return [f"{name}.{child}" for child in sorted(found, key=lambda child: int(child.removeprefix("level_")))]


def frequencies(half: int, steps: int) -> Tensor:
    return torch.exp(-math.log(10000.0) / steps * torch.arange(half, dtype=torch.float64))


def ddpm_torch_forward(weights: Weights, x: Tensor, time: Tensor, groups: int) -> Tensor:
    """The noise that tqch/ddpm-torch's U-Net predicts; x of shape (B, C, H, W), time of shape (B,)."""

    def conv(name: str, x: Tensor, padding: int = 1, stride: int = 1) -> Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding)

    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.group_norm(x, groups, weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    def residual(name: str, x: Tensor) -> Tensor:
        h = conv(f"{name}.conv1", functional.silu(norm(f"{name}.norm1", x)))
        h = h + linear(f"{name}.fc", functional.silu(embedded))[:, :, None, None]
        h = conv(f"{name}.conv2", functional.silu(norm(f"{name}.norm2", h)))
        return h + (conv(f"{name}.skip", x, 0) if f"{name}.skip.weight" in weights else x)

    def attend(name: str, x: Tensor) -> Tensor:
        width, pixels = x.shape[1], x.shape[2] * x.shape[3]
        joint = conv(f"{name}.project_in", norm(f"{name}.norm", x), 0).reshape(len(x), 3, width, pixels)
        query, key, value = joint.unbind(1)
        share = torch.softmax(query.mT @ key / width**0.5, -1)  # (B, pixels asking, pixels answering)
        return x + conv(f"{name}.project_out", (value @ share.mT).reshape(x.shape), 0)

    def block(name: str, x: Tensor) -> Tensor:
        if f"{name}.norm1.weight" in weights:
            return residual(name, x)
        return attend(f"{name}.1", residual(f"{name}.0", x))

    base = weights["in_conv.weight"].shape[0]
    angles = time[:, None] * frequencies(base // 2, base // 2 - 1)
    embedded = linear("embed.0", torch.cat([angles.sin(), angles.cos()], -1).to(x))
    embedded = linear("embed.2", functional.silu(embedded))
    h = conv("in_conv", x)
    skips = [h]
    for level in children(weights, "downsamples"):
        for name in children(weights, level):
            halves = f"{name}.1.weight" in weights
            padded = functional.pad(h, (0, 1, 0, 1))  # TensorFlow's SAME: one pixel to the right and below
            h = conv(f"{name}.1", padded, 0, 2) if halves else block(name, h)
            skips.append(h)
    h = residual("middle.2", attend("middle.1", residual("middle.0", h)))
    for level in reversed(children(weights, "upsamples")):
        for name in children(weights, level):
            if f"{name}.1.weight" not in weights:
                h = block(name, torch.cat([h, skips.pop()], 1))
            else:
                h = conv(f"{name}.1", h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return conv("out_conv.2", functional.silu(norm("out_conv.0", h)))


def improved_diffusion_forward(weights: Weights, x: Tensor, time: Tensor, groups: int, heads: int) -> Tensor:
    """The outputs of openai/improved-diffusion's U-Net; x of shape (B, C, H, W), time of shape (B,)."""

    def conv(name: str, x: Tensor, padding: int = 1, stride: int = 1) -> Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding)

    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.group_norm(x, groups, weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)

    def residual(name: str, x: Tensor) -> Tensor:
        h = conv(f"{name}.in_layers.2", functional.silu(norm(f"{name}.in_layers.0", x)))
        shift = linear(f"{name}.emb_layers.1", functional.silu(embedded))[:, :, None, None]
        if shift.shape[1] == h.shape[1]:
            h = norm(f"{name}.out_layers.0", h + shift)
        else:
            scale, shift = shift.chunk(2, 1)
            h = norm(f"{name}.out_layers.0", h) * (1 + scale) + shift
        h = conv(f"{name}.out_layers.3", functional.silu(h))
        return h + (conv(f"{name}.skip_connection", x, 0) if f"{name}.skip_connection.weight" in weights else x)

    def attend(name: str, x: Tensor) -> Tensor:
        batch, width, pixels = len(x), x.shape[1], x.shape[2] * x.shape[3]
        flat = norm(f"{name}.norm", x).reshape(batch, width, pixels)
        joint = functional.conv1d(flat, weights[f"{name}.qkv.weight"], weights[f"{name}.qkv.bias"])
        answers = []
        for own in joint.split(3 * width // heads, 1):  # one head's rows stand together: its q, its k, its v
            query, key, value = own.split(width // heads, 1)
            share = torch.softmax(torch.einsum("bcq,bck->bqk", query, key) / (width // heads) ** 0.5, -1)
            answers.append(torch.einsum("bqk,bck->bcq", share, value))
        out = functional.conv1d(
            torch.cat(answers, 1), weights[f"{name}.proj_out.weight"], weights[f"{name}.proj_out.bias"]
        )
        return x + out.reshape(x.shape)

    def module(name: str, h: Tensor) -> Tensor:
        if f"{name}.qkv.weight" in weights:
            return attend(name, h)
        if f"{name}.op.weight" in weights:
            return conv(f"{name}.op", h, 1, 2)
        if f"{name}.conv.weight" in weights:
            return conv(f"{name}.conv", h.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return residual(name, h) if f"{name}.in_layers.0.weight" in weights else conv(name, h)

    base = weights["input_blocks.0.0.weight"].shape[0]
    angles = time[:, None] * frequencies(base // 2, base // 2)
    embedded = linear("time_embed.0", torch.cat([angles.cos(), angles.sin()], -1).to(x))
    embedded = linear("time_embed.2", functional.silu(embedded))
    h, skips = x, []
    for block in children(weights, "input_blocks"):
        for name in children(weights, block):
            h = module(name, h)
        skips.append(h)
    for name in children(weights, "middle_block"):
        h = module(name, h)
    for block in children(weights, "output_blocks"):
        h = torch.cat([h, skips.pop()], 1)
        for name in children(weights, block):
            h = module(name, h)
    return conv("out.2", functional.silu(norm("out.0", h)))
