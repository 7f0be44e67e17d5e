"""The U-Net's options: by default it is the network it always was, and each option does what its name says."""

import pytest
import torch
from diffusers import UNet2DModel

from hsivi.nn.unet import StackedUNet, draw_weights

SIZE, CHANNELS = 8, (8, 16)


def unet(seeds=(5,), **settings) -> StackedUNet:
    settings = {"channels": CHANNELS, "layers_per_block": 1, "norm_groups": 4, **settings}
    return StackedUNet(seeds, image_size=SIZE, image_channels=3, **settings)


def images(*batch: int) -> torch.Tensor:
    return torch.randn(*batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_by_default_it_is_diffusers_network_without_attention():
    network = UNet2DModel(
        sample_size=SIZE,
        in_channels=3,
        out_channels=3,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        add_attention=False,
        dropout=0.0,
    )
    draw_weights(network, 5)
    stack, x, time = unet(), images(4), torch.tensor([0.0, 3.0, 250.0, 999.0])
    ours = stack.networks[0].state_dict()
    assert list(ours) == list(network.state_dict())
    assert all(torch.equal(value, ours[name]) for name, value in network.state_dict().items())
    assert torch.equal(stack(x[None], time)[0], network(x, time).sample)


@pytest.mark.parametrize(
    "settings", [{"dialect": "ho"}, {"dialect": "openai"}, {"attention": (0,)}, {"attention": (1,)}]
)
def test_each_option_changes_the_network(settings):
    x, time = images(1, 2), torch.tensor(3.0)
    assert not torch.allclose(unet(**settings)(x, time), unet()(x, time), atol=1e-3)


def test_levels_of_attention():
    attended = {
        name.rsplit(".", 1)[0]
        for name, _ in unet(attention=(0,)).networks[0].named_modules()
        if name.endswith("attentions")
    }
    assert attended == {"down_blocks.0", "mid_block"} | {"up_blocks.1"}  # our attention is at the finest level


def test_heads_split_the_features_of_the_same_weights():
    one, four = unet(attention=(0, 1)), unet(attention=(0, 1), heads=4)
    theirs = dict(four.named_parameters())
    assert all(torch.equal(value, theirs[name]) for name, value in one.named_parameters())
    x, time = images(1, 2), torch.tensor(3.0)
    assert not torch.allclose(one(x, time), four(x, time), atol=1e-4)
    for made in (four.copies(2), four.with_parameters({name: p.detach() for name, p in four.named_parameters()})):
        both = x.expand(made.replicas, *x.shape[1:])
        torch.testing.assert_close(made(both, time), four(x, time).expand_as(both), rtol=1e-6, atol=1e-6)


def test_diffusers_takes_channels_a_head_where_heads_are_set_here():
    stack = unet(attention=(1,), heads=2)
    config = {**stack.networks[0].config, "attention_head_dim": 8}  # two heads at width 16
    network = UNet2DModel.from_config(config)
    network.load_state_dict(stack.networks[0].state_dict())
    x, time = images(4), torch.tensor([0.0, 3.0, 250.0, 999.0])
    assert torch.equal(stack(x[None], time)[0], network(x, time).sample)


def test_a_learned_variance_is_computed_and_dropped():
    stack, x, time = unet(learned_variance=True), images(1, 2), torch.tensor([3.0, 4.0])
    outputs = stack.networks[0](x[0], time).sample
    assert outputs.shape == (2, 6, SIZE, SIZE)
    assert torch.equal(stack(x, time)[0], outputs[:, :3])


def test_dropout_is_of_training_only():
    stack, x, time = unet(dropout=0.5), images(1, 2), torch.tensor(3.0)
    assert not torch.equal(stack(x, time), stack(x, time))
    stack.eval()
    assert torch.equal(stack(x, time), unet()(x, time))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (8, 10)}, r"got images of size 8, widths \(8, 10\) and 4 groups, expected"),
        ({"channels": (8,) * 5}, "expected a size divisible by 16"),
        ({"attention": (2,)}, r"got attention at levels \(2,\), expected levels from 0, the finest, to 1"),
        ({"attention": (-1,)}, "expected levels from 0"),
        ({"attention": (0,), "heads": 3}, r"got 3 heads for attention at widths \(8, 16\), expected"),
        ({"attention": (0,), "heads": 0}, "got 0 heads"),
        ({"heads": -1}, "got -1 heads"),
        ({"dropout": 1.0}, r"got dropout 1.0, expected a probability in \[0, 1\)"),
        ({"dropout": -0.1}, "got dropout -0.1"),
        ({"dialect": "guided"}, "got dialect 'guided', expected one of plain, ho, openai"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        unet(**settings)
    assert "\n" not in str(caught.value)
