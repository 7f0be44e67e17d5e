"""The replica axis: a stack is exactly its replicas side by side, and time broadcasts one way only."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsivi.nn.score_mlp import ScoreMLP, sinusoidal_embedding
from hsivi.nn.stacked import StackedLinear
from hsivi.nn.unet import StackedUNet

pytestmark = pytest.mark.usefixtures("float64")
SEEDS = (5, 7, 11)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def mlp(seeds: tuple[int, ...]) -> ScoreMLP:
    return ScoreMLP(seeds, dim=2, width=16, embedding_width=8).double()


@given(st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 5))
def test_stacked_linear_is_one_linear_map_a_replica(replicas, batch, width_in, width_out):
    layer = StackedLinear(tuple(range(replicas)), "test", width_in, width_out).double()
    x = randn(replicas, *batch, width_in)
    output = layer(x)
    assert output.shape == (replicas, *batch, width_out)
    for r in range(replicas):
        alone = torch.nn.functional.linear(x[r], layer.weight[r].T, layer.bias[r, 0])
        torch.testing.assert_close(output[r], alone, rtol=1e-12, atol=1e-12)


def test_a_stack_of_one_serves_any_leading_axis():
    layer = StackedLinear((3,), "test", 4, 2).double()
    x = randn(6, 5, 4)
    torch.testing.assert_close(layer(x), torch.stack([layer(row[None])[0] for row in x]), rtol=1e-12, atol=1e-12)


def test_weights_depend_on_the_own_seed_only():
    stack = StackedLinear(SEEDS, "a", 4, 6)
    other = StackedLinear((1, 7), "a", 4, 6)
    assert torch.equal(stack.weight[1], other.weight[1])
    assert torch.equal(stack.bias[1], other.bias[1])
    assert not torch.equal(stack.weight[0], stack.weight[1])
    assert not torch.equal(stack.weight[0], StackedLinear(SEEDS, "b", 4, 6).weight[0])


def test_initialisation_is_that_of_torch_linear():
    # Uniform on +-1/sqrt(in): the bound holds, is used, and the variance is bound^2 / 3 within 5 standard errors.
    weight = StackedLinear((0,), "test", 100, 400).weight.detach().double()
    bound = 1 / math.sqrt(100)
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound
    variance_error = bound**2 * math.sqrt(4 / 45 / weight.numel())
    assert abs(weight.square().mean() - bound**2 / 3) < 5 * variance_error


def test_a_replica_of_the_network_is_the_network_of_its_seed():
    x, time = randn(3, 4, 5, 2), torch.rand(4, 1, generator=torch.Generator().manual_seed(1)) * 100
    together = mlp(SEEDS)(x, time)
    for r, seed in enumerate(SEEDS):
        torch.testing.assert_close(together[r], mlp((seed,))(x[r : r + 1], time)[0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("seeds", [SEEDS, (5,)], ids=["stack", "stack of one"])
def test_times_of_all_shapes_agree(seeds):
    network, x, levels = mlp(seeds), randn(3, 4, 5, 2), torch.tensor([1.0, 30.0, 200.0, 700.0])
    shared = network(x, levels[:, None])  # (L, 1)
    assert shared.shape == x.shape
    for time in (
        levels[:, None].expand(3, 4, 1),  # (R, L, 1)
        levels[None, :, None],  # (1, L, 1)
        levels[:, None].expand(4, 5),  # (L, B)
        levels[:, None].expand(3, 4, 5),  # (R, L, B)
    ):
        torch.testing.assert_close(network(x, time), shared, rtol=1e-11, atol=1e-12)
    for i, level in enumerate(levels):  # scalar, for one level
        torch.testing.assert_close(network(x[:, i], level), shared[:, i], rtol=1e-11, atol=1e-12)


def test_times_may_differ_between_replicas():
    network, x, times = mlp(SEEDS), randn(3, 4, 5, 2), torch.arange(12.0).reshape(3, 4, 1) * 50
    together = network(x, times)
    for r, seed in enumerate(SEEDS):
        torch.testing.assert_close(together[r], mlp((seed,))(x[r : r + 1], times[r])[0], rtol=1e-11, atol=1e-12)


def test_replicas_do_not_mix():
    network, x, time = mlp(SEEDS), randn(3, 4, 2).requires_grad_(True), torch.tensor(5.0)
    (gradient,) = torch.autograd.grad(network(x, time)[1].sum(), x)
    assert (gradient[1] != 0).all()
    assert (gradient[[0, 2]] == 0).all()


def test_copies_are_equal_trainable_and_independent():
    one, x, time = mlp((5,)).requires_grad_(False), randn(3, 4, 2), torch.tensor(5.0)
    stack = one.copies(3)
    assert (one.replicas, stack.replicas) == (1, 3)
    torch.testing.assert_close(stack(x, time), one(x, time), rtol=1e-11, atol=1e-12)
    stack(x, time)[1].sum().backward()
    for (name, copied), original in zip(stack.named_parameters(), one.parameters(), strict=True):
        assert copied.requires_grad
        assert (copied.grad[[0, 2]] == 0).all(), name
        assert copied.data_ptr() != original.data_ptr()


def unet(seeds: tuple[int, ...]) -> StackedUNet:
    return StackedUNet(seeds, image_size=8, image_channels=1, channels=(8, 8), layers_per_block=1, norm_groups=4)


@pytest.mark.parametrize("make", [mlp, unet])
def test_with_parameters_is_the_other_network_and_shares_its_memory(make):
    first, second = make((1,)), make((2,))
    theirs = {name: value.detach() for name, value in second.named_parameters()}
    changed = first.with_parameters(theirs)
    shape = (1, 5, 2) if first.event_ndim == 1 else (1, 5, 1, 8, 8)
    x, before = randn(*shape), next(first.parameters()).clone()
    assert torch.equal(changed(x, torch.tensor(3.0)), second(x, torch.tensor(3.0)))
    assert torch.equal(next(first.parameters()), before)
    for name, parameter in changed.named_parameters():
        assert parameter.data_ptr() == theirs[name].data_ptr()
        assert not parameter.requires_grad
    theirs.pop(next(iter(theirs)))
    with pytest.raises(ValueError, match="another set than the network's"):
        first.with_parameters(theirs)


def test_a_selected_replica_is_the_replica():
    stack, one, x, time = mlp(SEEDS), mlp((0,)), randn(3, 4, 2), torch.tensor(5.0)
    for r in range(3):
        one.load_state_dict(stack.select(dict(stack.named_parameters()), r))
        torch.testing.assert_close(one(x[r : r + 1], time)[0], stack(x, time)[r], rtol=1e-11, atol=1e-12)


def test_embedding_values():
    embedded = sinusoidal_embedding(torch.tensor([0.0, 2.0]), 4)
    exact = [[0, 0, 1, 1], [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]]
    torch.testing.assert_close(embedded, torch.tensor(exact, dtype=torch.float64), rtol=0, atol=1e-7)


def test_widths_of_the_paper():
    # EmbX 2x128, EmbT 256x128 and 128x128, Dec twice 128x128 and 128x2, each with a bias.
    widths = [(2, 128), (256, 128), (128, 128), (128, 128), (128, 128), (128, 2)]
    assert sum(p.numel() for p in ScoreMLP((0,)).parameters()) == sum((i + 1) * o for i, o in widths)
