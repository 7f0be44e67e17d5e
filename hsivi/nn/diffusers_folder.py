"""Folders that diffusers saved a U-Net in: is it the network we have, and what are its weights called today."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hsivi.config import ConfigError
from hsivi.nn.unet import StackedUNet

WEIGHT_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_FREE = {"dropout", "num_train_timesteps"}
"""Settings that do not change what the network computes: of training, and of an embedding that is not ours."""
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What older diffusers called the projections of attention; folders of that time are still in use."""


def weight_file(folder: Path) -> Path:
    """Return the file with the weights; safetensors before pickled ones.

    Raises:
        ConfigError: there is none.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{folder}: got no weights, expected a folder with {' or '.join(WEIGHT_FILES)}; check the path")


def modern_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with the names that attention has today."""
    renamed = {}
    for name, value in weights.items():
        block, _, kind = name.rpartition(".")
        parent, _, layer = block.rpartition(".")
        old = ".attentions." in name and layer in _OLD_NAMES
        renamed[f"{parent}.{_OLD_NAMES[layer]}.{kind}" if old else name] = value
    return renamed


def check_config(folder: Path, stack: StackedUNet) -> None:
    """Check that the folder describes the network of a stack.

    Raises:
        ConfigError: the description is missing or damaged, or one of its settings is another than the network's.
    """
    path = folder / "config.json"
    try:
        given = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: got no such file, expected diffusers' config.json; check the folder") from error
    except ValueError as error:
        raise ConfigError(
            f"{path}: got text that is not JSON, expected diffusers' config.json; download it again"
        ) from error
    kind = given.get("_class_name") if isinstance(given, dict) else None
    if kind != "UNet2DModel":
        raise ConfigError(f"{path}: got a network of class {kind!r}, expected 'UNet2DModel'; use another folder")
    network: Any = stack.networks[0]
    defaults = {name: p.default for name, p in inspect.signature(type(network).__init__).parameters.items()}
    defaults.pop("self")
    for name, value in given.items():
        if name not in defaults and not name.startswith("_") and value is not None:
            raise ConfigError(f"{path}: got {name} {value!r}, expected no such setting; update diffusers")
    theirs = _comparable({**defaults, **{name: given[name] for name in given if name in defaults}})
    ours = _comparable(dict(network.config))
    # We set heads where diffusers sets channels a head; what counts is that number at each width with attention.  The
    # widths come before it in the order of the settings, so they are equal once it is compared.
    widths = [w for w, kind in zip(ours["block_out_channels"], ours["down_block_types"], strict=True) if "Attn" in kind]
    widths += [ours["block_out_channels"][-1]] if ours["add_attention"] else []
    ours["attention_head_dim"] = tuple(width // stack.heads for width in widths)
    theirs["attention_head_dim"] = tuple(theirs["attention_head_dim"] or width for width in widths)
    for name in defaults:
        if name not in _FREE and theirs[name] != ours[name]:
            raise ConfigError(
                f"{path}: got {name} {theirs[name]!r}, expected {ours[name]!r}, as the network's settings say; change "
                f"the settings, or use another folder"
            )


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Write settings that mean the same in the same way."""
    config = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    if not config["add_attention"] or config["resnet_time_scale_shift"] == "default":
        config["attn_norm_num_groups"] = config["attn_norm_num_groups"] or config["norm_num_groups"]
    return config
