"""Published weights compute here what they compute where they come from; a file that is not theirs is refused."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

from hsivi.config import ConfigError
from hsivi.nn.foreign_layout import DDPM_TORCH, IMPROVED_DIFFUSION
from hsivi.nn.importers import import_checkpoint, unet_plan
from hsivi.nn.unet import StackedUNet
from tests.published_unets import (
    ddpm_torch_forward,
    ddpm_torch_shapes,
    improved_diffusion_forward,
    improved_diffusion_shapes,
    random_weights,
)

GROUPS, HEADS, SIZE = 4, 2, 16
CHANNELS, LAYERS, ATTENTION = (8, 16, 24), 2, (1, 2)
TINY = (8, 16)


def ho(channels=CHANNELS, layers=LAYERS, attention=ATTENTION, **settings) -> StackedUNet:
    return StackedUNet((3,), SIZE, 3, channels, layers, GROUPS, attention, **{"dialect": "ho", **settings})


def openai(channels=CHANNELS, layers=LAYERS, attention=ATTENTION, **settings) -> StackedUNet:
    settings = {"dialect": "openai", "learned_variance": True, "heads": HEADS, **settings}
    return StackedUNet((3,), SIZE, 3, channels, layers, GROUPS, attention, **settings)


def tiny() -> StackedUNet:
    return ho(TINY, 1, (1,))


def saved(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def images(times) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(len(times), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor(times)


ARCHITECTURES = [(CHANNELS, 2, (1, 2)), ((8, 16, 16), 1, (0, 1)), ((8, 8, 16), 3, (2,)), ((8, 16), 2, (0,))]
EXACT = ((0.0, 0.0), 1e-10)  # at time zero the embedding is exact; diffusers computes others in float32
ROUNDED = ((0.0, 3.0, 40.5), 1e-5)


@pytest.mark.parametrize(("channels", "layers", "attention"), ARCHITECTURES)
@pytest.mark.parametrize(("times", "tolerance"), [EXACT, ROUNDED], ids=["exact", "rounded"])
@pytest.mark.usefixtures("float64")
def test_ddpm_torch(tmp_path, channels, layers, attention, times, tolerance):
    weights = random_weights(ddpm_torch_shapes(3, channels, layers, attention))
    stack = ho(channels, layers, attention)
    import_checkpoint(saved(tmp_path / "net.pt", weights), "ddpm_torch", stack)
    x, time = images(times)
    expected = ddpm_torch_forward(weights, x, time, GROUPS)
    assert expected.std() > 0.3
    torch.testing.assert_close(stack(x[None], time)[0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("channels", "layers", "attention"), ARCHITECTURES)
@pytest.mark.parametrize("scale_shift", [True, False])
@pytest.mark.parametrize(("times", "tolerance"), [EXACT, ROUNDED], ids=["exact", "rounded"])
@pytest.mark.usefixtures("float64")
def test_improved_diffusion(tmp_path, channels, layers, attention, scale_shift, times, tolerance):
    weights = random_weights(improved_diffusion_shapes(3, 6, channels, layers, attention, scale_shift))
    stack = openai(channels, layers, attention, dialect="openai" if scale_shift else "plain")
    import_checkpoint(saved(tmp_path / "net.pt", weights), "improved_diffusion", stack)
    x, time = images(times)
    expected = improved_diffusion_forward(weights, x, time, GROUPS, HEADS)[:, :3]
    assert expected.std() > 0.3
    torch.testing.assert_close(stack(x[None], time)[0], expected, rtol=tolerance, atol=tolerance)


def test_single_precision(tmp_path):
    x, time = images((0.0, 3.0, 40.5))
    weights = random_weights(ddpm_torch_shapes(3, CHANNELS, LAYERS, ATTENTION))
    stack = ho()
    import_checkpoint(saved(tmp_path / "net.pt", weights), "ddpm_torch", stack)
    torch.testing.assert_close(
        stack(x[None], time)[0], ddpm_torch_forward(weights, x, time, GROUPS), rtol=1e-5, atol=1e-5
    )
    half = random_weights(improved_diffusion_shapes(3, 6, CHANNELS, LAYERS, ATTENTION, True))
    half = {name: value.half() for name, value in half.items()}
    stack = openai()
    import_checkpoint(saved(tmp_path / "half.pt", half), "improved_diffusion", stack)
    weights = {name: value.float() for name, value in half.items()}
    expected = improved_diffusion_forward(weights, x, time, GROUPS, HEADS)[:, :3]
    torch.testing.assert_close(stack(x[None], time)[0], expected, rtol=1e-5, atol=1e-5)


PAPERS = {
    "CIFAR-10": (35_746_307, (32, 3, (128, 256, 256, 256), 2, 32, (1,)), {"dialect": "ho"}),
    "CelebA": (78_700_803, (64, 3, (128, 256, 256, 256, 512), 2, 32, (2,)), {"dialect": "ho"}),
    "MNIST": (35_741_697, (32, 1, (128, 256, 256, 256), 2, 32, (1,)), {"dialect": "ho"}),
    "ImageNet": (
        121_063_942,
        (64, 3, (128, 256, 384, 512), 3, 32, (2, 3)),
        {"dialect": "openai", "heads": 4, "learned_variance": True},
    ),
}


@pytest.mark.parametrize("name", PAPERS)
def test_networks_of_the_papers_have_the_published_weights(name, monkeypatch):
    monkeypatch.setattr("hsivi.nn.unet.draw_weights", lambda network, seed: None)
    parameters, settings, more = PAPERS[name]
    _, colours, channels, layers, _, attention = settings
    with torch.device("meta"):
        stack = StackedUNet((0,), *settings, **more)
        if name == "ImageNet":
            layout, shapes = IMPROVED_DIFFUSION, improved_diffusion_shapes(3, 6, channels, layers, attention, True)
        else:
            layout, shapes = DDPM_TORCH, ddpm_torch_shapes(colours, channels, layers, attention)
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
        own = stack.networks[0].state_dict()
        translated = layout.translate("net.pt", weights, own, unet_plan(stack), stack.heads)
    assert sum(value.numel() for value in weights.values()) == parameters
    assert sum(value.numel() for value in stack.parameters()) == parameters
    assert {key: value.shape for key, value in translated.items()} == {key: value.shape for key, value in own.items()}


def test_facts_of_an_import(tmp_path):
    weights = random_weights(ddpm_torch_shapes(3, TINY, 1, (1,)))
    path, stack = saved(tmp_path / "net.pt", weights), tiny()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert import_checkpoint(path, "ddpm_torch", stack, digest.upper()) == {
        "file": "net.pt",
        "layout": "ddpm_torch",
        "sha256": digest,
        "weights": "as published",
        "parameters": sum(value.numel() for value in weights.values()),
    }
    assert not stack.networks[0].training


def first_bias(stack: StackedUNet) -> torch.Tensor:
    return stack.networks[0].conv_in.bias.detach()


def test_a_training_checkpoint_gives_the_moving_average(tmp_path):
    shapes = ddpm_torch_shapes(3, TINY, 1, (1,))
    raw, ema = random_weights(shapes, 1), random_weights(shapes, 2)
    parallel = {f"module.{name}": value for name, value in ema.items()}
    content = {
        "model": raw,
        "ema": {"decay": 0.9999, "shadow": parallel, "num_updates": 7},
        "epoch": 3,
        "scheduler": None,
    }
    path, stack = saved(tmp_path / "net.pt", content), tiny()
    assert import_checkpoint(path, "ddpm_torch", stack)["weights"] == "ema"
    assert torch.equal(first_bias(stack), ema["in_conv.bias"])
    assert import_checkpoint(path, "ddpm_torch", stack, weights="raw")["weights"] == "raw"
    assert torch.equal(first_bias(stack), raw["in_conv.bias"])


def test_last_weights_are_never_taken_for_the_average(tmp_path):
    path = saved(tmp_path / "net.pt", {"model": random_weights(ddpm_torch_shapes(3, TINY, 1, (1,)))})
    refused(r"got a training checkpoint with weights raw, expected ema at \['ema'\]\['shadow'\]", path)
    assert import_checkpoint(path, "ddpm_torch", tiny(), weights="raw")["weights"] == "raw"


def test_a_safetensors_file(tmp_path):
    weights, stack = random_weights(ddpm_torch_shapes(3, TINY, 1, (1,))), tiny()
    save_file(weights, tmp_path / "net.safetensors")
    import_checkpoint(tmp_path / "net.safetensors", "ddpm_torch", stack)
    assert torch.equal(first_bias(stack), weights["in_conv.bias"])


# What a folder of diffusers says about the tiny network.
FOLDER = {
    "sample_size": SIZE,
    "block_out_channels": TINY,
    "layers_per_block": 1,
    "norm_num_groups": GROUPS,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}


def folder(path: Path, safe: bool = True, **settings) -> UNet2DModel:
    torch.manual_seed(5)
    network = UNet2DModel(**{**FOLDER, **settings})
    network.save_pretrained(path, safe_serialization=safe)
    return network


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_a_folder_of_diffusers(tmp_path, safe, old):
    network, stack = folder(tmp_path / "net", safe), tiny()
    file = tmp_path / "net" / f"diffusion_pytorch_model.{'safetensors' if safe else 'bin'}"
    if old:  # the names of attention's projections in older folders
        names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        weights = load_file(file) if safe else torch.load(file, weights_only=True)
        for new, before in names.items():
            weights = {name.replace(f".{new}.", f".{before}."): value for name, value in weights.items()}
        assert any("proj_attn" in name for name in weights)
        save_file(weights, file) if safe else torch.save(weights, file)
    facts = import_checkpoint(tmp_path / "net", "diffusers", stack)
    assert (facts["file"], facts["layout"]) == (file.name, "diffusers")
    x, time = images((0.0, 3.0, 40.5))
    torch.testing.assert_close(stack(x[None], time)[0], network(x, time).sample, rtol=1e-6, atol=1e-6)


def test_a_folder_with_channels_a_head(tmp_path):
    network = folder(tmp_path / "net", attention_head_dim=8)
    stack = ho(TINY, 1, (1,), heads=2)
    import_checkpoint(tmp_path / "net", "diffusers", stack)
    x, time = images((0.0, 3.0))
    torch.testing.assert_close(stack(x[None], time)[0], network(x, time).sample, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers_per_block": 2}, "got layers_per_block 2, expected 1"),
        ({"block_out_channels": (8, 8)}, r"got block_out_channels \(8, 8\), expected \(8, 16\)"),
        ({"norm_eps": 1e-5}, "got norm_eps 1e-05, expected 1e-06"),
        ({"freq_shift": 0}, "got freq_shift 0, expected 1"),
        ({"attention_head_dim": 8}, r"got attention_head_dim \(8, 8\), expected \(16, 16\)"),
        ({"resnet_time_scale_shift": "scale_shift"}, "got attn_norm_num_groups None, expected 4"),
        ({"num_class_embeds": 10}, "got num_class_embeds 10, expected None"),
    ],
)
def test_a_folder_of_another_network(tmp_path, settings, message):
    folder(tmp_path / "net", **settings)
    refused(message, tmp_path / "net", layout="diffusers")


def refused(message: str, path: Path, stack: StackedUNet | None = None, layout: str = "ddpm_torch", **more) -> str:
    with pytest.raises(ConfigError, match=message) as caught:
        import_checkpoint(path, layout, tiny() if stack is None else stack, **more)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)
    return str(caught.value)


def good(path: Path) -> Path:
    return saved(path, random_weights(ddpm_torch_shapes(3, TINY, 1, (1,))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "got no such file, expected diffusers' config.json"),
        ("{", "text that is not JSON"),
        ("[1]", "got a network of class None"),
        (json.dumps({"_class_name": "UNet2DConditionModel"}), "class 'UNet2DConditionModel', expected 'UNet2DModel'"),
        (json.dumps({"_class_name": "UNet2DModel", "wavelets": 3}), "got wavelets 3, expected no such setting"),
    ],
)
def test_a_folder_with_a_bad_description(tmp_path, content, message):
    folder(tmp_path / "net")
    (tmp_path / "net" / "config.json").unlink()
    if content is not None:
        (tmp_path / "net" / "config.json").write_text(content)
    refused(message, tmp_path / "net", layout="diffusers")


def test_a_folder_without_weights(tmp_path):
    folder(tmp_path / "net")
    (tmp_path / "net" / "diffusion_pytorch_model.safetensors").unlink()
    refused("got no weights, expected a folder with", tmp_path / "net", layout="diffusers")


def test_a_folder_whose_weights_are_not_those_it_describes(tmp_path):
    folder(tmp_path / "net")
    file = tmp_path / "net" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("conv_in.bias")
    save_file(weights, file)
    refused(r"got no weight 'conv_in.bias', expected one of shape \(8,\)", tmp_path / "net", layout="diffusers")


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("where", ["alone", "among weights", "in a folder"])
def test_nothing_in_a_file_is_executed(tmp_path, where):
    marker, weights = tmp_path / "marker", random_weights(ddpm_torch_shapes(3, TINY, 1, (1,)))
    path, layout = tmp_path / "net.pt", "ddpm_torch"
    if where == "in a folder":
        folder(tmp_path / "net")
        (tmp_path / "net" / "diffusion_pytorch_model.safetensors").unlink()
        torch.save({**weights, "trap": Trap(marker)}, tmp_path / "net" / "diffusion_pytorch_model.bin")
        path, layout = tmp_path / "net", "diffusers"
    else:
        torch.save(Trap(marker) if where == "alone" else {**weights, "trap": Trap(marker)}, path)
    refused(r"got a pickled object \(.*mkdir\), .*; convert the file to safetensors", path, layout=layout)
    assert not marker.exists()
    torch.load(path if path.is_file() else path / "diffusion_pytorch_model.bin", weights_only=False)
    assert marker.exists()  # the trap works


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 half a zip"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused("got a file that is damaged or not weights alone", tmp_path / name)


def test_half_a_file(tmp_path):
    path = good(tmp_path / "net.pt")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused("got a file that is damaged", path)


def test_another_hash(tmp_path):
    path = good(tmp_path / "net.pt")
    message = refused("got sha256 [0-9a-f]{64}, expected 00ff", path, sha256="00ff")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in message


def test_wrong_paths(tmp_path):
    refused("got no such file", tmp_path / "none.pt")
    refused("got a folder with checkpoint layout 'ddpm_torch', expected a file", tmp_path)
    refused(
        "got a file with checkpoint layout 'diffusers', expected a folder", good(tmp_path / "a.pt"), layout="diffusers"
    )
    refused("did you mean 'ddpm_torch'", tmp_path / "a.pt", layout="ddpm-torch")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "got list, expected weights by name"),
        ({"in_conv.weight": 3.0}, "got float under 'in_conv.weight', expected weights by name only"),
        ({7: torch.zeros(2)}, "got Tensor under 7, expected weights by name only"),
        ({}, r"got no weight 'in_conv.weight', expected one of shape \(8, 3, 3, 3\)"),
        ({"ema": 3}, "got a training checkpoint with weights neither, expected ema"),
    ],
)
def test_files_without_weights_by_name(tmp_path, content, message):
    refused(message, saved(tmp_path / "net.pt", content))


def test_weights_of_another_network(tmp_path):
    weights = random_weights(ddpm_torch_shapes(3, TINY, 1, (1,)))
    joint = "downsamples.level_1.0.1.project_in.weight"
    cases = [
        ({**weights, "log_gamma": torch.zeros(3)}, r"got a weight 'log_gamma' of shape \(3,\), expected none"),
        ({**weights, joint: weights[joint][:16]}, r"of shape \(16, 16, 1, 1\), expected \(48, 16, 1, 1\)"),
        ({**weights, joint: weights[joint][..., 0]}, r"of shape \(48, 16, 1\), expected \(48, 16, 1, 1\)"),
        ({name: value for name, value in weights.items() if name != joint}, f"got no weight '{joint}'"),
        (random_weights(ddpm_torch_shapes(3, TINY, 2, (1,))), "got "),
        (random_weights(ddpm_torch_shapes(3, TINY, 1, ())), r"got no weight 'downsamples.level_1.0.\d.norm1?.weight'"),
        (random_weights(ddpm_torch_shapes(1, TINY, 1, (1,))), r"got 'in_conv.weight' of shape \(8, 1, 3, 3\)"),
    ]
    for i, (content, message) in enumerate(cases):
        stack = tiny()
        before = first_bias(stack).clone()
        refused(message, saved(tmp_path / f"{i}.pt", content), stack)
        assert torch.equal(first_bias(stack), before)


def test_other_conventions(tmp_path):
    path = good(tmp_path / "net.pt")
    refused("got a network of dialect 'plain', expected 'ho'", path, ho(TINY, 1, (1,), dialect="plain"))
    refused("got a network with 2 heads, expected 1", path, ho(TINY, 1, (1,), heads=2))
    refused("got a network of dialect 'ho', expected 'openai' or 'plain'", path, layout="improved_diffusion")
    with pytest.raises(ValueError, match="got a stack of 2 networks, expected one"):
        import_checkpoint(path, "ddpm_torch", tiny().copies(2))
