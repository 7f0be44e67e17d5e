"""Digits: the split, the network, the classifier, and the metrics against an independent implementation."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits

from hsivi.data.digits import Digits, load
from hsivi.metrics.digits import extract_features, measure, quantise
from hsivi.nn.digit_classifier import FEATURES, DigitClassifier, train_classifier
from hsivi.nn.unet import StackedUNet
from hsivi.noise import standard_normal

NAMES = {f"{metric}_digits_classifier" for metric in ("fd", "kid", "precision", "recall")}


@pytest.fixture(scope="session")
def digits() -> Digits:
    return load(seed=0, held_out_fraction=0.2)


@pytest.fixture(scope="session")
def trained(digits) -> tuple[DigitClassifier, float]:
    return train_classifier(digits, seed=0, epochs=12, batch=64, learning_rate=2e-3)


@pytest.fixture(scope="session")
def classifier(trained) -> DigitClassifier:
    return trained[0]


@pytest.fixture(scope="session")
def halves(digits) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(digits.train[:400]), torch.from_numpy(digits.train[400:800])


def unet(*seeds: int) -> StackedUNet:
    return StackedUNet(seeds, image_size=8, image_channels=1, channels=(8, 16), layers_per_block=1, norm_groups=4)


# ----------------------------------------------------------------------------------------------------------- data
def test_split_is_a_partition_of_the_digits_in_the_unit_range(digits):
    assert digits.train.shape == (1437, 1, 8, 8)
    assert digits.train.dtype == np.float32
    assert digits.train.min() == -1
    assert digits.train.max() == 1
    together = np.concatenate([digits.train, digits.held_out]).reshape(-1, 64)
    expected = (load_digits().data / 8 - 1).astype(np.float32)
    assert np.array_equal(together[np.lexsort(together.T)], expected[np.lexsort(expected.T)])


def test_split_is_stratified_and_labels_follow_their_images(digits):
    counts, held_out = np.bincount(digits.train_labels), np.bincount(digits.held_out_labels)
    assert abs(held_out / (counts + held_out) - 0.2).max() < 0.005  # one image of about 180
    data = load_digits()
    keys = [(row / 8 - 1).astype(np.float32).tobytes() for row in data.data]
    label_of = dict(zip(keys, data.target, strict=True))
    for image, label in zip(digits.held_out, digits.held_out_labels, strict=True):
        assert label_of[image.tobytes()] == label


def test_split_depends_on_the_seed_alone(digits):
    assert np.array_equal(load(0, 0.2).train, digits.train)
    assert not np.array_equal(load(1, 0.2).train, digits.train)


def test_data_survive_storage_and_draws_are_held_out_images(digits):
    stored = Digits.restore(digits.arrays())
    assert all(np.array_equal(value, digits.arrays()[name]) for name, value in stored.arrays().items())
    drawn = digits.draw(2000, 0, "floor")
    assert np.array_equal(drawn, digits.draw(2000, 0, "floor"))
    assert {image.astype(np.float32).tobytes() for image in drawn} <= {image.tobytes() for image in digits.held_out}
    assert digits.event_shape == digits.training_points().shape[1:] == drawn.shape[1:]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_split_rejects_an_empty_part(fraction):
    with pytest.raises(ValueError, match="held-out fraction"):
        load(0, fraction)


# -------------------------------------------------------------------------------------------------------- network
def test_replica_depends_on_its_own_seed_and_input_only():
    x, time = standard_normal((2, 3, 1, 8, 8), "x"), torch.tensor(17.0)
    pair = unet(5, 6)(x, time)
    assert pair.shape == x.shape
    for index, seed in enumerate((5, 6)):
        torch.testing.assert_close(pair[index : index + 1], unet(seed)(x[index : index + 1], time))
    assert not torch.allclose(unet(5)(x, time), unet(6)(x, time))


def test_stack_of_one_serves_all_replicas_and_times_broadcast():
    x, net = standard_normal((2, 3, 4, 1, 8, 8), "x"), unet(5)
    time = torch.tensor([0.0, 100.0, 900.0])[:, None]
    together = net(x, time)
    for replica in range(2):
        for level in range(3):
            alone = net(x[replica, level][None], time[level, 0])[0]
            torch.testing.assert_close(together[replica, level], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net(x, time[:1]), together)
    per_replica = torch.tensor([0.0, 500.0])[:, None, None].expand(2, 3, 4)
    torch.testing.assert_close(net(x, per_replica)[1], net(x, torch.tensor(500.0))[1], rtol=1e-4, atol=1e-5)


def test_copies_are_equal_trainable_and_independent_and_one_can_be_selected():
    one = unet(5).requires_grad_(False)
    stack, x, time = one.copies(2), standard_normal((2, 3, 1, 8, 8), "x"), torch.tensor(17.0)
    assert stack.replicas == 2
    torch.testing.assert_close(stack(x, time), one(x, time))
    assert all(parameter.requires_grad for parameter in stack.parameters())
    with torch.no_grad():
        stack.networks[1].conv_in.weight.mul_(2)
    other = unet(0)
    other.load_state_dict(stack.select(dict(stack.named_parameters()), 1))
    torch.testing.assert_close(other(x[1:], time), stack(x, time)[1:])
    torch.testing.assert_close(stack(x, time)[:1], one(x[:1], time))
    assert not torch.allclose(other(x[1:], time), one(x[1:], time))


def test_network_rejects_what_does_not_fit():
    with pytest.raises(ValueError, match="one a network"):
        unet(5, 6)(standard_normal((3, 4, 1, 8, 8), "x"), torch.tensor(0.0))
    with pytest.raises(ValueError, match="divisible"):
        StackedUNet((0,), 8, 1, (8, 12), 1, 8)
    with pytest.raises(ValueError, match="divisible"):
        StackedUNet((0,), 8, 1, (8,) * 5, 1, 8)


def test_weights_and_results_do_not_touch_global_randomness():
    torch.random.manual_seed(0)
    first = unet(5).state_dict()
    torch.random.manual_seed(1)
    second = unet(5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


# ----------------------------------------------------------------------------------------------------- classifier
def test_classifier_recognises_held_out_digits(trained, digits):
    classifier, accuracy = trained
    assert accuracy >= 0.97
    features = classifier.features(torch.from_numpy(digits.held_out))
    assert features.shape == (len(digits.held_out), FEATURES)
    assert features.std(0).min() > 0  # no dead feature


# -------------------------------------------------------------------------------------------------------- metrics
def test_quantisation_rounds_clips_and_keeps_the_data(digits):
    x = torch.tensor([-1.3, -1.0, -1 + 0.49 * 2 / 255, -1 + 0.51 * 2 / 255, 0.999, 1.0, 7.0])
    assert quantise(x).tolist() == [0, 0, 0, 1, 255, 255, 255]
    train = torch.from_numpy(digits.train)
    assert (quantise(train).double() / 127.5 - 1 - train).abs().max() <= 1 / 255


def test_frechet_distance_agrees_with_a_direct_computation(classifier, halves):
    samples, reference = halves[0] * 0.9, halves[1]
    moments = []
    for images in (samples, reference):
        features = extract_features(quantise(images), classifier).numpy()
        assert features.dtype == np.float64
        moments.append((features.mean(0), np.cov(features.T)))
    (mean_0, cov_0), (mean_1, cov_1) = moments
    expected = ((mean_0 - mean_1) ** 2).sum() + np.trace(cov_0 + cov_1 - 2 * sqrtm(cov_0 @ cov_1).real)
    value, error = measure(samples, reference, classifier, seed=0, kid_subsets=2)["fd_digits_classifier"]
    assert error is None
    assert value == pytest.approx(expected, rel=1e-6)


def test_measure_is_silent_named_and_deterministic(classifier, halves, capfd):
    first, again, other = (measure(*halves, classifier, seed, kid_subsets=5) for seed in (3, 3, 4))
    assert capfd.readouterr() == ("", "")
    assert set(first) == NAMES
    assert first == again
    assert first["kid_digits_classifier"] != other["kid_digits_classifier"]


def test_batch_size_does_not_matter(classifier, halves):
    whole = measure(*halves, classifier, seed=0, kid_subsets=5, batch_size=1000)
    parts = measure(*halves, classifier, seed=0, kid_subsets=5, batch_size=37)
    for name in NAMES:
        assert parts[name][0] == pytest.approx(whole[name][0], rel=1e-9, abs=1e-9)


def test_identical_sets_have_distance_zero(classifier, halves):
    result = measure(halves[0], halves[0], classifier, seed=0, kid_subsets=5)
    assert result["fd_digits_classifier"][0] == pytest.approx(0, abs=1e-6)
    assert result["precision_digits_classifier"][0] == 1
    assert result["recall_digits_classifier"][0] == 1


def test_collapsed_samples_are_precise_and_recall_little(classifier, digits):
    zeros = torch.from_numpy(digits.train[digits.train_labels == 0])
    result = measure(zeros, torch.from_numpy(digits.train[:600]), classifier, seed=0, kid_subsets=5)
    assert result["precision_digits_classifier"][0] > 0.9
    assert result["recall_digits_classifier"][0] < 0.3


def test_noise_is_far_in_every_metric(classifier, halves):
    noise = standard_normal(tuple(halves[0].shape), "noise")
    far, near = (measure(images, halves[1], classifier, seed=0, kid_subsets=20) for images in (noise, halves[0]))
    assert far["fd_digits_classifier"][0] > 5 * near["fd_digits_classifier"][0]
    assert far["kid_digits_classifier"][0] > 10 * far["kid_digits_classifier"][1]
    assert abs(near["kid_digits_classifier"][0]) < 4 * near["kid_digits_classifier"][1]
    assert far["precision_digits_classifier"][0] < 0.5 * near["precision_digits_classifier"][0]


def test_delete_half_error_covers_the_spread_over_disjoint_samples(classifier, digits):
    """Halves of disjoint pools scatter as the estimated standard error says, to a factor of three."""
    reference, pools = torch.from_numpy(digits.train[:300]), torch.from_numpy(digits.train[300:1400]).split(220)
    results = [measure(pool, reference, classifier, seed=0, kid_subsets=30)["kid_digits_classifier"] for pool in pools]
    values, errors = np.array(results, dtype=float).T
    assert 1 / 3 < values.std(ddof=1) / errors.mean() < 3


def test_measure_rejects_what_it_cannot_compare(classifier, halves):
    with pytest.raises(ValueError, match="non-finite"):
        measure(halves[0] * torch.nan, halves[1], classifier, seed=0)
    with pytest.raises(ValueError, match="at least 10"):
        measure(halves[0][:5], halves[1], classifier, seed=0)


def test_measure_leaves_the_classifier_as_it_was(classifier, halves):
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    measure(*halves, classifier, seed=0, kid_subsets=2)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert classifier.head.weight.dtype == torch.float32
