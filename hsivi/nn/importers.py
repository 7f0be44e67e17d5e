"""Weights that others published, loaded into our U-Net; nothing in their files is executed."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_file
from torch import Tensor

from hsivi.config import ConfigError, check_choice
from hsivi.nn import diffusers_folder
from hsivi.nn.foreign_layout import DDPM_TORCH, IMPROVED_DIFFUSION, ForeignLayout, Plan, check_weights
from hsivi.nn.unet import StackedUNet

CheckpointLayout = Literal["ddpm_torch", "improved_diffusion", "diffusers"]
CheckpointWeights = Literal["ema", "raw"]

_FOREIGN: dict[str, ForeignLayout] = {layout.name: layout for layout in (DDPM_TORCH, IMPROVED_DIFFUSION)}
_DIALECTS = {"ddpm_torch": ("ho",), "improved_diffusion": ("openai", "plain")}


def import_checkpoint(
    path: Path,
    layout: CheckpointLayout,
    stack: StackedUNet,
    sha256: str | None = None,
    weights: CheckpointWeights = "ema",
) -> dict[str, str | int]:
    """Load published weights into a stack of one, and set it to evaluation.

    Arguments:
        path: a torch or safetensors file with the weights, alone or in a training checkpoint of tqch/ddpm-torch; in
            the layout ``diffusers`` a folder with config.json and the weights.
        layout: whose names the weights have.
        stack: the network; its settings are those that the weights were trained with.
        sha256: what the file with the weights must hash to; by default it is not checked.
        weights: which of a training checkpoint's weights: their moving average, or the last ones.

    Returns:
        Facts to write down: file, layout, sha256, weights ("ema", "raw", or "as published" where the file holds one set
        and does not say), and the number of parameters.

    Raises:
        ConfigError: the file is missing, damaged, another than expected, not weights alone, or of another network.
        ValueError: the stack holds several networks.
    """
    check_choice("checkpoint layout", layout, get_args(CheckpointLayout))
    if stack.replicas != 1:
        raise ValueError(f"checkpoint: got a stack of {stack.replicas} networks, expected one; copy it afterwards")
    path = Path(path)
    if not path.exists():
        raise ConfigError(f"{path}: got no such file, expected a checkpoint; download it, or correct the path")
    if path.is_dir() != (layout == "diffusers"):
        raise ConfigError(
            f"{path}: got a {'folder' if path.is_dir() else 'file'} with checkpoint layout {layout!r}, expected a "
            f"{'folder' if layout == 'diffusers' else 'file'}; change the path or the layout"
        )
    if layout == "diffusers":
        diffusers_folder.check_config(path, stack)
    else:
        _check_conventions(layout, stack)
    file = diffusers_folder.weight_file(path) if layout == "diffusers" else path
    digest = _checked_hash(file, sha256)
    given, kind = _flat_weights(file, layout, weights)

    network: Any = stack.networks[0]
    own: dict[str, Tensor] = network.state_dict()
    if layout == "diffusers":
        translated = diffusers_folder.modern_names(given)
        check_weights(str(file), translated, {name: tuple(value.shape) for name, value in own.items()})
    else:
        translated = _FOREIGN[layout].translate(str(file), given, own, unet_plan(stack), stack.heads)
    network.load_state_dict(translated)
    stack.eval()
    return {
        "file": file.name,
        "layout": layout,
        "sha256": digest,
        "weights": kind,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def unet_plan(stack: StackedUNet) -> Plan:
    """Return what a network's names depend on."""
    network: Any = stack.networks[0]
    kinds = network.config["down_block_types"]
    attended = frozenset(level for level, kind in enumerate(kinds) if "Attn" in kind)
    return Plan(len(kinds), network.config["layers_per_block"], attended)


def _check_conventions(layout: str, stack: StackedUNet) -> None:
    """Refuse what would load and compute something else: names and shapes do not tell dialects or heads apart."""
    if stack.dialect not in _DIALECTS[layout]:
        raise ConfigError(
            f"checkpoint layout {layout}: got a network of dialect {stack.dialect!r}, expected "
            f"{' or '.join(map(repr, _DIALECTS[layout]))}; change the network's dialect"
        )
    if layout == "ddpm_torch" and stack.heads != 1:
        raise ConfigError(
            f"checkpoint layout {layout}: got a network with {stack.heads} heads, expected 1; change the heads"
        )


def _checked_hash(file: Path, expected: str | None) -> str:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise ConfigError(
            f"{file}: got sha256 {digest}, expected {expected}; download it again, or correct the hash if the file is "
            f"the one that is meant"
        )
    return digest


def _flat_weights(file: Path, layout: str, wanted: CheckpointWeights) -> tuple[dict[str, Tensor], str]:
    """Return the weights by name, and which they are."""
    content, kind = _read(file), "as published"
    if layout == "ddpm_torch" and isinstance(content, Mapping) and {"ema", "model"} & set(content):
        ema = content.get("ema")
        found = {"raw": content.get("model"), "ema": ema.get("shadow") if isinstance(ema, Mapping) else None}
        content, kind = found[wanted], wanted
        if content is None:
            there = ", ".join(name for name, value in found.items() if value is not None) or "neither"
            place = {"ema": "['ema']['shadow']", "raw": "['model']"}[wanted]
            raise ConfigError(
                f"{file}: got a training checkpoint with weights {there}, expected {wanted} at {place}; use another "
                f"file, or ask for the weights that are there"
            )
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{file}: got {type(content).__name__}, expected weights by name; save the network's state_dict()"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ConfigError(
                f"{file}: got {type(value).__name__} under {name!r}, expected weights by name only; save the "
                f"network's state_dict() alone"
            )
    return {name.removeprefix("module."): value for name, value in content.items()}, kind


def _read(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the readers fail in any way
        pickled = re.search(r"GLOBAL (\S+)", str(error))
        if pickled:
            raise ConfigError(
                f"{file}: got a pickled object ({pickled[1]}), expected weights alone, since reading others runs code; "
                f"convert the file to safetensors if you trust its source"
            ) from error
        raise ConfigError(
            f"{file}: got a file that is damaged or not weights alone ({type(error).__name__}), expected a torch or "
            f"safetensors file of weights; download it again"
        ) from error
