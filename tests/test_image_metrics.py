"""Image metrics: classifier, Inception, streaming, protocols, and the values against independent computations."""

import hashlib
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch_fidelity
from scipy.linalg import sqrtm
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from hsivi.checkpoint import Session
from hsivi.config import ConfigError
from hsivi.data.images import ImageSet
from hsivi.data_config import ImageData
from hsivi.metrics import extractor as extractor_module
from hsivi.metrics.diversity import spread_from_one_prior
from hsivi.metrics.extractor import INCEPTION_FEATURES, Extracted, InceptionExtractor, official_weights, weights_digest
from hsivi.metrics.feature_statistics import FeaturePass, Features, as_bytes, compare, read_statistics
from hsivi.metrics.images import ImagesReference
from hsivi.metrics.protocol import Protocol, only, split
from hsivi.nn.image_classifier import FEATURES, ClassifierTrainer, ImageClassifier, train_classifier

SESSION = Session("test")
PROTOCOL = Protocol("inception", "a" * 12, "b" * 12, "computed", 50_000, "c" * 12, 10_000, 50_000, "round", 32, "none")


def some_images(n: int, key: int, size: int = 8, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images of three classes: a bright band in one of three places, plus noise."""
    rng = np.random.default_rng(key)
    labels, images = np.arange(n) % 3, rng.integers(0, 120, (n, channels, size, size))
    for image, label in zip(images, labels, strict=True):
        image[:, label * size // 4 : label * size // 4 + 2] += rng.integers(40, 130)
    return images.astype(np.uint8), labels.astype(np.int64)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return ImageSet(*some_images(640, 0), *some_images(150, 1))


def config(**changes) -> ImageData:
    content = {"kind": "images", "datasets": ["mnist"], "seed": 3, "files": "generated", "size": 8, "rows": 200}
    features = {"kind": "classifier", "epochs": 4, "width": 4}
    return ImageData.model_validate({**content, "features": features, **changes})


@pytest.fixture(scope="module")
def reference(images) -> ImagesReference:
    return ImagesReference.build(config(), images, 300, SESSION)


class Stored(torch.utils.data.Dataset):
    def __init__(self, images: np.ndarray) -> None:
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


class Flat:
    """Takes the pixels themselves as features, in units that keep numbers moderate."""

    name, digest = "flat", "0" * 12

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def extract(self, images: torch.Tensor) -> Extracted:
        points = images.flatten(1).double() / 255
        return Extracted(points, points[:, :5].float())


def features_of(images: np.ndarray, batch: int = 64, rows: int = 100, rounding: str = "round") -> Features:
    return FeaturePass(Flat(batch), images, rounding, rows, score=True).finish()


def values(measurements) -> dict[str, float]:
    return {split(m.metric)[0]: m.value for m in measurements}


# ----------------------------------------------------------------------------------------------------- classifier
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 1), (32, 3), (64, 3)])
def test_classifier_sees_four_by_four_pixels_at_last(size, channels):
    classifier = ImageClassifier(0, (channels, size, size), 10, 8)
    dense = [layer for layer in classifier.body if isinstance(layer, torch.nn.Linear)]
    assert [layer.in_features for layer in dense] == [4 * 8 * 16]
    assert classifier(torch.zeros(2, channels, size, size)).shape == (2, 10)
    assert classifier.features(torch.zeros(2, channels, size, size)).shape == (2, FEATURES)


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 24, 24), (1, 16, 8)])
def test_classifier_rejects_other_images(shape):
    with pytest.raises(ValueError, match="power of two"):
        ImageClassifier(0, shape, 10, 8)


def test_training_improves_and_depends_on_its_seed_alone(images):
    torch.random.manual_seed(0)
    first, accuracy = train_classifier(images, 3, 4, 4, SESSION)
    torch.random.manual_seed(1)
    again, _ = train_classifier(images, 3, 4, 4, SESSION)
    other, _ = train_classifier(images, 4, 4, 4, SESSION)
    assert accuracy > 0.9  # of three classes
    assert weights_digest(first.state_dict()) == weights_digest(again.state_dict())
    assert weights_digest(first.state_dict()) != weights_digest(other.state_dict())


def test_interrupted_training_ends_with_the_same_bits(images, tmp_path):
    def trainer() -> ClassifierTrainer:
        return ClassifierTrainer(ImageClassifier(3, (1, 8, 8), 3, 4), images, 3, 2)

    whole, part, resumed = trainer(), trainer(), trainer()
    Session("whole").train(whole, whole.iterations)
    Session("part", tmp_path / "state.pt", "same").train(part, 7)  # within the second of two epochs of five updates
    session = Session("rest", tmp_path / "state.pt", "same")
    session.train(resumed, whole.iterations)
    assert whole.iteration == resumed.iteration == 10
    assert weights_digest(whole.classifier.state_dict()) == weights_digest(resumed.classifier.state_dict())


def test_every_epoch_visits_every_image_once_in_an_order_of_its_own(images):
    trainer = ClassifierTrainer(ImageClassifier(3, (1, 8, 8), 3, 4), images, 3, 2)
    visited = []
    for trainer.iteration in range(10):
        visited.append(trainer._rows())
    first, second = np.concatenate(visited[:5]), np.concatenate(visited[5:])
    assert np.array_equal(np.sort(first), np.arange(640))
    assert np.array_equal(np.sort(second), np.arange(640))
    assert not np.array_equal(visited[0], visited[5])


def test_classifier_needs_labels(images):
    with pytest.raises(ConfigError, match="without labels"):
        train_classifier(replace(images, train_labels=np.empty(0, np.int64)), 0, 1, 4, SESSION)


# ------------------------------------------------------------------------------------------------------ streaming
def test_streamed_moments_are_those_of_all_images_at_once():
    images, _ = some_images(333, 5)
    points = images.reshape(333, -1) / 255
    streamed = features_of(images, batch=50)
    np.testing.assert_allclose(streamed.mean, points.mean(0), rtol=1e-9)
    np.testing.assert_allclose(streamed.covariance, np.cov(points.T), rtol=1e-9, atol=1e-12)
    assert np.array_equal(streamed.rows.numpy(), points[:100])
    assert streamed.rows.dtype == torch.float64
    assert streamed.logits.shape == (333, 5)


@pytest.mark.parametrize("batch", [1, 37, 200, 1000])
def test_batch_size_does_not_matter(batch):
    samples, real = some_images(200, 6)[0], features_of(some_images(200, 7)[0])
    parts, whole = (compare(features_of(samples, size), real, 0, kid_subsets=3) for size in (batch, 200))
    for name, (value, error) in whole.items():
        assert parts[name][0] == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert error is None or parts[name][1] == pytest.approx(error, rel=1e-9, abs=1e-12)


def test_interrupted_pass_ends_with_the_same_bits(tmp_path):
    images, _ = some_images(300, 5)
    passes = [FeaturePass(Flat(40), images, "round", 100, score=True) for _ in range(3)]
    Session("part", tmp_path / "state.pt", "same").train(passes[0], 4)
    Session("rest", tmp_path / "state.pt", "same").train(passes[1], passes[1].iterations)
    resumed, whole = passes[1].finish(), passes[2].finish()
    assert np.array_equal(resumed.mean, whole.mean)
    assert np.array_equal(resumed.covariance, whole.covariance)
    assert torch.equal(resumed.rows, whole.rows)
    assert torch.equal(resumed.logits, whole.logits)


def test_floats_are_quantised_batch_by_batch_and_bytes_are_taken_as_they_are():
    images, _ = some_images(120, 5)
    floats = images.astype(np.float32) / np.float32(127.5) - 1
    assert np.array_equal(features_of(floats).mean, features_of(images).mean)
    between = ((images + 0.6) / 127.5 - 1).astype(np.float32)
    up, down = features_of(between), features_of(between, rounding="truncate")
    np.testing.assert_allclose(down.mean, features_of(images).mean, rtol=1e-12)
    np.testing.assert_allclose(up.mean - down.mean, 1 / 255, rtol=1e-9)
    with pytest.raises(ValueError, match="non-finite"):
        as_bytes(np.full((2, 1, 8, 8), np.nan, np.float32), "round")


def test_memory_holds_one_batch_of_floats_at_most():
    seen = []

    class Watching(Flat):
        def extract(self, images: torch.Tensor) -> Extracted:
            seen.append((images.dtype, len(images)))
            return super().extract(images)

    FeaturePass(Watching(16), some_images(40, 0)[0], "round", 10).finish()
    assert seen == [(torch.uint8, 16), (torch.uint8, 16), (torch.uint8, 8)]


# -------------------------------------------------------------------------------------------------------- numbers
def test_frechet_distance_is_that_of_gaussians():
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((2, 12, 12))
    covariances, means = roots @ roots.transpose(0, 2, 1) / 12, rng.standard_normal((2, 12))
    rows = torch.from_numpy(rng.standard_normal((20, 12)))
    sides = [Features(mean, covariance, rows) for mean, covariance in zip(means, covariances, strict=True)]
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(
        covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    value, error = compare(*sides, seed=0, kid_subsets=2)["frechet"]
    assert value == pytest.approx(expected, rel=1e-6)
    assert error is None


def test_commuting_gaussians_have_a_frechet_distance_without_matrix_roots():
    rows = torch.zeros(20, 3, dtype=torch.float64)
    sides = [Features(np.zeros(3), np.diag(s**2), rows) for s in (np.array([1.0, 2, 3]), np.array([2.0, 2, 1]))]
    assert compare(*sides, seed=0, kid_subsets=2)["frechet"][0] == pytest.approx(1 + 0 + 4, rel=1e-12)


def test_numbers_are_those_of_torch_fidelity_on_the_same_features():
    name = "flat-for-test"

    class Registered(torch_fidelity.FeatureExtractorBase):
        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("flat", "logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "flat"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, images):
            known = dict(zip(("flat", "logits"), Flat(1).extract(images), strict=True))
            return tuple(known[name] for name in self.features_list)

    torch_fidelity.register_feature_extractor(name, Registered)
    try:
        samples, real = some_images(240, 8)[0] // 2, some_images(240, 9)[0]
        expected = torch_fidelity.calculate_metrics(
            input1=Stored(samples),
            input2=Stored(real),
            feature_extractor=name,
            **dict.fromkeys(("isc", "fid", "kid", "prc", "save_cpu_ram"), True),
            kid_subsets=7,
            kid_subset_size=120,
            rng_seed=5,
            **dict.fromkeys(("cuda", "cache", "verbose"), False),
        )
    finally:
        del FEATURE_EXTRACTORS_REGISTRY[name]
    found = compare(features_of(samples, rows=240), features_of(real, rows=240), 5, kid_subsets=7)
    for key, ours in {
        "frechet_inception_distance": "frechet",
        "kernel_inception_distance_mean": "kid",
        "precision": "precision",
        "recall": "recall",
        "inception_score_mean": "isc",
    }.items():
        assert found[ours][0] == pytest.approx(expected[key], rel=1e-9), key
    spread = expected["kernel_inception_distance_std"]
    assert found["kid"][1] == pytest.approx(spread * np.sqrt(1 + 1 / 7), rel=1e-9)  # subsets of one half
    assert found["isc"][1] == pytest.approx(expected["inception_score_std"] / 3, rel=1e-9)  # of ten parts
    assert found["precision"][0] != found["recall"][0]


def test_kid_error_covers_the_spread_over_disjoint_samples(monkeypatch):
    """Both sides scatter, each pool has its own real images; to a factor of two, from 24 pools."""
    monkeypatch.setattr("hsivi.metrics.feature_statistics.KID_SUBSET_SIZE", 60)
    pools, real = (some_images(24 * 300, key)[0].reshape(24, 300, 1, 8, 8) for key in (10, 11))
    found = np.array(
        [
            compare(features_of(a // 2, rows=300), features_of(b, rows=300), 0, kid_subsets=20)["kid"]
            for a, b in zip(pools, real, strict=True)
        ]
    )
    assert 0.5 < found[:, 0].std(ddof=1) / found[:, 1].mean() < 2


def test_collapsed_samples_are_precise_and_recall_little(reference, images):
    one_class = images.train[images.train_labels == 0]
    found = values(reference.measure({"samples": one_class[None]}, 0))
    assert found["precision_mnist_classifier"] > 0.8
    assert found["recall_mnist_classifier"] < 0.5


# --------------------------------------------------------------------------------------------------- the reference
def test_reference_survives_storage_and_measures_the_same(reference, images):
    stored = {"samples": np.stack([images.train[200:500], images.train[300:600]])}
    opened = ImagesReference.restore(config(), reference.arrays(), reference.metadata())
    first, again = reference.measure(stored, 7), opened.measure(stored, 7)
    assert first == again
    fingerprint = opened.protocol.fingerprint
    names = [f"{metric}_mnist_classifier@{fingerprint}" for metric in ("fd", "kid", "precision", "recall")]
    assert [m.metric for m in first] == names
    assert [m.num_samples for m in first] == [300, 200, 200, 200]
    assert all(m.standard_error is not None and m.floor is None and m.seed == 7 for m in first)
    alone = [values(reference.measure({"samples": stored["samples"][[index]]}, 7)) for index in range(2)]
    for name, value in values(first).items():
        assert value == pytest.approx((alone[0][name] + alone[1][name]) / 2)


def test_metadata_says_what_the_fingerprint_means(reference, images):
    metadata = reference.metadata()
    assert metadata["facts"]["held_out_accuracy"] > 0.9
    assert metadata["torch_fidelity"]
    protocol = metadata["protocol"]
    assert protocol["weights"] == reference.extractor.digest
    assert (protocol["rows"], protocol["real_images"], protocol["samples"]) == (200, 640, 300)
    assert protocol["fingerprint"] == reference.protocol.fingerprint
    assert reference.real.rows.shape == (200, FEATURES)
    both = reference.measure({"samples": images.train[None, :50]}, 0)[0].metric
    assert both == reference.protocol.of(50).named("fd_mnist_classifier")


def test_training_images_are_at_distance_zero_from_themselves(reference, images):
    found = values(reference.measure({"samples": images.train[None]}, 0))
    assert found["fd_mnist_classifier"] == pytest.approx(0, abs=1e-6)
    assert found["precision_mnist_classifier"] == found["recall_mnist_classifier"] == 1


def test_reference_rejects_what_it_cannot_compare(reference, images):
    with pytest.raises(ValueError, match="at least 10"):
        reference.measure({"samples": images.train[None, :5]}, 0)
    with pytest.raises(ValueError, match=r"\(sets, n, C, 8, 8\)"):
        reference.measure({"samples": images.train[:40]}, 0)
    metadata = reference.metadata()
    arrays = {**reference.arrays(), "classifier.head.bias": np.ones(3, np.float32)}
    with pytest.raises(ConfigError, match="run the stage reference again"):
        ImagesReference.restore(config(), arrays, metadata)


def test_the_fan_gives_the_spread_within_a_prior(reference, images):
    stored = {"samples": images.train[None, :300]}
    fan = np.full((3, 4, 5, 1, 8, 8), 9.0, np.float32)  # only the last entry is used
    fan[-1] = (images.train[:4].astype(np.float32) / 127.5 - 1)[:, None]
    *rest, spread = reference.measure({**stored, "fan": fan}, 0)
    assert rest == reference.measure(stored, 0)
    assert (spread.metric, spread.value, spread.num_samples) == ("spread_given_prior", 0, 20)
    fan[-1] = images.train[300:320].reshape(4, 5, 1, 8, 8) / np.float32(127.5) - 1
    spread = reference.measure({**stored, "fan": fan}, 0)[-1]
    assert abs(spread.value - 1) < 4 * spread.standard_error < 1


# ------------------------------------------------------------------------------------------------------- diversity
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_spread_of_gaussian_members_is_their_share_of_the_variance(share):
    """x = sqrt(1 - share) a + sqrt(share) b with a shared: ratio = share, whatever the common covariance."""
    rng, scale = np.random.default_rng(4), np.linspace(0.2, 2, 12).reshape(3, 2, 2)
    common, own = rng.standard_normal((200, 1, 3, 2, 2)), rng.standard_normal((200, 6, 3, 2, 2))
    fan = 0.7 + scale * (np.sqrt(1 - share) * common + np.sqrt(share) * own)
    independent = 0.7 + scale * rng.standard_normal((1000, 3, 2, 2))
    value, error = spread_from_one_prior(fan, independent)
    assert abs(value - share) <= 4 * error < 0.15  # exact and without error for 0
    pairs = [np.square(i - j).sum() for k, i in enumerate(fan[0]) for j in fan[0][k + 1 :]]
    alone = np.square(independent[:, None] - independent[None]).sum((2, 3, 4))[np.triu_indices(1000, 1)]
    direct = spread_from_one_prior(np.stack([fan[0], fan[0]]), independent)[0]
    assert direct == pytest.approx(np.mean(pairs) / alone.mean(), rel=1e-9)


def test_spread_error_covers_its_scatter():
    rng = np.random.default_rng(5)
    found = np.array(
        [
            spread_from_one_prior(
                rng.standard_normal((12, 1, 4)) + rng.standard_normal((12, 5, 4)), 1.4 * rng.standard_normal((40, 4))
            )
            for _ in range(200)
        ]
    )
    assert 0.75 < found[:, 0].std(ddof=1) / found[:, 1].mean() < 1.33


def test_spread_rejects_too_few():
    with pytest.raises(ValueError, match="at least two"):
        spread_from_one_prior(np.zeros((2, 1, 4)), np.zeros((9, 4)))


# ------------------------------------------------------------------------------------------------------- protocols
@pytest.mark.parametrize("name", [field.name for field in fields(Protocol)])
def test_any_ingredient_changes_the_fingerprint(name):
    given = getattr(PROTOCOL, name)
    other = given + (1 if isinstance(given, int) else "x")
    assert replace(PROTOCOL, **{name: other}).fingerprint != PROTOCOL.fingerprint
    assert replace(PROTOCOL, **{name: given}).fingerprint == PROTOCOL.fingerprint


def test_fingerprint_is_stable_and_survives_storage():
    assert PROTOCOL.named("fid_inception") == f"fid_inception@{PROTOCOL.fingerprint}"
    assert len(PROTOCOL.fingerprint) == 8
    assert int(PROTOCOL.fingerprint, 16) >= 0
    assert Protocol.restore(PROTOCOL.metadata()) == PROTOCOL
    assert PROTOCOL.of(50_000) == PROTOCOL


def test_reference_ingredients_reach_the_protocol(reference, images):
    def changed(images=images, **changes) -> set[str]:
        """The protocol's attributes that differ."""
        other = ImagesReference.build(config(**changes), images, 300, SESSION).protocol
        return {f.name for f in fields(Protocol) if getattr(other, f.name) != getattr(reference.protocol, f.name)}

    train = images.train.copy()
    train[-1, 0, 0, 0] ^= 1  # an image that moments see, but not the first 200
    assert changed() == set()
    assert changed(quantise="truncate") == {"quantise"}
    assert changed(rows=100) == {"rows", "compared"}
    assert changed(seed=4) == {"weights"}
    assert changed(replace(images, train=train)) == {"weights", "statistics"}


def test_tables_refuse_to_mix_protocols():
    names = ["fid_inception@00000001", "kid_inception@00000002", "fid_inception@00000001", "spread_given_prior"]
    assert split(names[0]) == ("fid_inception", "00000001")
    assert split("spread_given_prior") == ("spread_given_prior", None)
    assert only(names, "fid_inception") == names[0]
    assert only(names, "spread_given_prior") == "spread_given_prior"
    assert only(names, "fid") is None
    with pytest.raises(ConfigError, match="2 protocols") as caught:
        only([*names, "fid_inception@00000003"], "fid_inception")
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------ statistics
def save_statistics(path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_statistics_are_read_from_a_path_or_the_folder_of_offline_files(tmp_path, monkeypatch):
    mu, sigma = np.arange(4, dtype=np.float32), np.eye(4)
    path = save_statistics(tmp_path / "real.npz", mu=mu, sigma=sigma)
    monkeypatch.setenv("HSIVI_DATA_DIR", str(tmp_path))
    for given in (path, "real.npz"):
        mean, covariance = read_statistics(given, 4)
        assert np.array_equal(mean, mu)
        assert np.array_equal(covariance, sigma)
        assert mean.dtype == covariance.dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(4)}, "cannot be read"),
        ({"mu": np.zeros(4), "sigma": np.eye(3)}, "shapes"),
        ({"mu": np.full(4, np.nan), "sigma": np.eye(4)}, "finite"),
        ({"mu": np.array([None] * 4), "sigma": np.eye(4)}, "cannot be read"),  # an object would be unpickled
    ],
)
def test_bad_statistics_are_refused_in_one_line(tmp_path, arrays, message):
    path = save_statistics(tmp_path / "real.npz", **arrays)
    with pytest.raises(ConfigError, match=message) as caught:
        read_statistics(path, 4)
    assert "\n" not in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_files_that_are_no_archives_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "real.npz").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        read_statistics(str(tmp_path / "real.npz"), 4)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="no such file"):
        read_statistics(str(tmp_path / "absent.npz"), 4)
    np.save(tmp_path / "array.npy", np.zeros(4))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_statistics(str(tmp_path / "array.npy"), 4)


# ------------------------------------------------------------------------------------------------------- Inception
@pytest.fixture(scope="module")
def inception() -> InceptionExtractor:
    return InceptionExtractor("generated", 0)


def test_official_weights_are_named_where_they_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.delenv("HSIVI_DATA_DIR", raising=False)

    def fail(*_, **__):
        raise OSError("<urlopen error [Errno -3] Temporary failure in name resolution>")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ConfigError, match="name resolution") as caught:
        official_weights()
    message = str(caught.value)
    assert "\n" not in message
    for part in ("HSIVI_DATA_DIR/inception/weights-inception-2015-12-05-6726825d.pth", "https://", "sha256 6726825d"):
        assert part in message
    monkeypatch.setenv("HSIVI_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=str(tmp_path / "inception")):
        official_weights()
    monkeypatch.setenv("HSIVI_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HSIVI_OFFLINE is set"):
        official_weights()


def test_official_weights_must_be_the_published_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setenv("HSIVI_DATA_DIR", str(tmp_path))
    path = tmp_path / "inception" / "weights-inception-2015-12-05-6726825d.pth"
    path.parent.mkdir()
    path.write_bytes(b"other")
    with pytest.raises(ConfigError, match="got sha256"):
        official_weights()
    monkeypatch.setattr(extractor_module, "SHA256", hashlib.sha256(b"other").hexdigest())
    assert official_weights() == path


def test_generated_inception_measures_images_through_the_loading_code(inception, tmp_path):
    """Twenty images in all: ten real ones, ten samples; the real statistics come from a file."""
    state = inception._network.state_dict()
    assert len(state) == 566  # as many as in the official file
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}
    path = save_statistics(tmp_path / "real.npz", mu=np.zeros(INCEPTION_FEATURES), sigma=np.eye(INCEPTION_FEATURES))
    features = {"kind": "inception", "weights": "generated", "statistics": path, "statistics_origin": "made up"}
    data = ImageSet(*some_images(10, 0), *some_images(10, 1))
    settings = config(features=features, rows=10)
    reference = ImagesReference.build(settings, data, 10, SESSION)
    assert reference.protocol.real_images is None
    assert reference.protocol.weights != inception.digest  # of another seed
    assert reference.protocol.statistics_origin == "made up"
    assert reference.arrays()["features"].dtype == np.float32
    opened = ImagesReference.restore(settings, reference.arrays(), reference.metadata())
    measured = opened.measure({"samples": some_images(10, 2)[0][None]}, 0)
    suffix = f"inception@{reference.protocol.fingerprint}"
    assert [m.metric for m in measured] == [f"{m}_{suffix}" for m in ("fid", "kid", "precision", "recall", "isc")]
    assert all(np.isfinite(m.value) for m in measured)
    assert np.trace(np.eye(INCEPTION_FEATURES)) < 4 * values(measured)["fid_inception"]
    assert measured[-1].value == pytest.approx(1)  # parts of one sample each


def test_inception_sees_one_channel_three_times_and_depends_on_weights(inception):
    grey = torch.from_numpy(some_images(2, 3)[0])
    features, logits = inception.extract(grey)
    assert (features.shape, features.dtype) == ((2, 2048), torch.float64)
    assert (logits.shape, logits.dtype) == ((2, 1008), torch.float32)
    torch.testing.assert_close(inception.extract(grey.repeat(1, 3, 1, 1)).features, features)
    assert 0.01 < features.std() < 100
    assert not torch.allclose(features[0], features[1])
    weights = {"a": torch.zeros(2), "b": torch.ones(2)}
    assert weights_digest(weights) == weights_digest(dict(reversed(weights.items())))
    for other in ({"a": torch.ones(2), "b": torch.zeros(2)}, {"a": torch.zeros(2).int(), "b": torch.ones(2)}):
        assert weights_digest(other) != weights_digest(weights)


def test_memory_maps_serve_as_images(tmp_path):
    images, _ = some_images(50, 3)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(features_of(mapped).mean, features_of(images).mean)
    namespace = SimpleNamespace(train=mapped, train_labels=np.arange(50) % 3)
    trainer = ClassifierTrainer(ImageClassifier(0, (1, 8, 8), 3, 4), namespace, 0, 1)
    assert np.isfinite(trainer.step())
