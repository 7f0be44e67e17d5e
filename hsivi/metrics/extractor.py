"""Networks whose features image metrics compare: the data set's own classifier, or Inception as torch-fidelity has it.

Both see whole numbers in 0..255, so that every image is compared as a file would store it.
"""

import copy
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from hsivi import provenance
from hsivi.config import ConfigError
from hsivi.nn.image_classifier import ImageClassifier
from hsivi.problem import compute_device
from hsivi.rng import generator

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the official Inception weights; its beginning is part of the file's name."""
INCEPTION_FEATURES = 2_048
"""Number of Inception's features of an image."""


class Extracted(NamedTuple):
    """What a network makes of n images.

    Attributes:
        features: shape (n, d), float64.
        logits: shape (n, classes), float32, of networks that the Inception score is defined for; else None.
    """

    features: Tensor
    logits: Tensor | None


class Extractor(Protocol):
    """A network.

    Attributes:
        name: what metrics are named after.
        digest: of its weights.
        batch: images that it should be given at once; no result depends on it but by rounding.
    """

    name: str
    digest: str
    batch: int

    def extract(self, images: Tensor) -> Extracted:
        """Return what the network makes of uint8 images, shape (n, C, H, W), on the processor's own memory."""
        ...


class ClassifierExtractor:
    """Features of a classifier in float64, so that neither batches nor the order of sums show.

    Arguments:
        name: see `Extractor`.
        classifier: left as it is.
    """

    def __init__(self, name: str, classifier: ImageClassifier) -> None:
        self.name, self.batch = name, 500
        self.digest = weights_digest(classifier.state_dict())
        self._network = copy.deepcopy(classifier).requires_grad_(False).double().to(compute_device())

    @torch.no_grad()
    def extract(self, images: Tensor) -> Extracted:
        """See `Extractor`."""
        return Extracted(self._network.features(images.to(compute_device()).double() / 127.5 - 1).cpu(), None)


class InceptionExtractor:
    """Inception-v3 of 2015 as published FIDs use it: 2,048 features, and logits without a bias for the score.

    Images are enlarged to 299x299 as TensorFlow 1 did; one channel is shown three times.  The network computes in
    float32, as published values do.

    Arguments:
        weights: ``official``, or ``generated``: random ones in the same layout, for trials only.
        seed: seed of generated weights.

    Raises:
        ConfigError: the official weights cannot be had, or are not the published ones.
    """

    name = "inception"

    def __init__(self, weights: Literal["official", "generated"], seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = official_weights() if weights == "official" else generated_weights(seed, Path(folder))
            self._network = _torch_fidelity().FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
            )
        self.digest = weights_digest(self._network.state_dict())
        self._network.to(compute_device())
        self.batch = 250 if compute_device().type == "cuda" else 25

    @torch.no_grad()
    def extract(self, images: Tensor) -> Extracted:
        """See `Extractor`."""
        coloured = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        features, logits = self._network(coloured.to(compute_device()))
        return Extracted(features.cpu().double(), logits.cpu())


def weights_digest(weights: dict[str, Tensor]) -> str:
    """Return twelve hexadecimal digits that stand for weights, their names and their types."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        array = weights[name].cpu().contiguous().numpy()
        sha.update(f"{name} {array.dtype} {array.shape} ".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()[:12]


def official_weights() -> Path:
    """Return the file of the official weights: from HSIVI_DATA_DIR, or torch's cache, or downloaded into the cache.

    Raises:
        ConfigError: the file cannot be downloaded, or is not the published one.
    """
    url = _torch_fidelity().URL_INCEPTION_V3
    name = Path(url).name
    given = os.environ.get("HSIVI_DATA_DIR")
    own = Path(given).expanduser() / "inception" / name if given else None
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    path = own if own is not None and own.exists() else cached
    if not path.exists():
        place = own or f"HSIVI_DATA_DIR/inception/{name}, where HSIVI_DATA_DIR is a folder that you choose and set"
        try:
            if os.environ.get("HSIVI_OFFLINE", "") not in ("", "0"):
                raise OSError("HSIVI_OFFLINE is set")
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=SHA256, progress=False)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"Inception weights: got no copy ({' '.join(str(error).split())}), expected {name} with sha256 "
                f"{SHA256}; download it from {url} and put it at {place}"
            ) from error
    # torch-fidelity unpickles the file, which could run anything: only the published one is let through.
    if (found := provenance.file_digest(path)) != SHA256:
        raise ConfigError(f"{path}: got sha256 {found}, expected {SHA256}; replace it by the file at {url}")
    return path


def generated_weights(seed: int, folder: Path) -> Path:
    """Write random weights in the layout and types of the official file.

    Convolutions are scaled to keep the size of what passes through them (He et al., 2015), and the normalisations do
    nothing, so features neither vanish nor overflow.

    Returns:
        The file, in ``folder``.
    """
    network = _torch_fidelity().FeatureExtractorInceptionV3

    class Layout(network):  # type: ignore[misc, valid-type]
        """The network without weights: its constructor asks for a file, which nothing is taken from."""

        def load_state_dict(self, state: Any) -> None:
            """Keep what there is."""

    path = folder / "weights.pth"
    torch.save({}, path)
    with torch.device("meta"):
        layout = Layout("layout", ["2048"], feature_extractor_weights_path=str(path)).state_dict()
    torch.save({name: _random(seed, name, value) for name, value in layout.items()}, path)
    return path


def _random(seed: int, name: str, like: Tensor) -> Tensor:
    if like.ndim < 2:
        constant = torch.ones if name.endswith(("weight", "running_var")) else torch.zeros
        return constant(like.shape, dtype=like.dtype)
    scale = np.float32(np.sqrt(2 / like[0].numel()))
    drawn = generator(seed, "inception", name).standard_normal(tuple(like.shape), "float32") * scale
    return torch.from_numpy(cast(Any, drawn)).to(like.dtype)


def _torch_fidelity() -> Any:
    from torch_fidelity import feature_extractor_inceptionv3  # takes a second, so only those who need it pay

    return feature_extractor_inceptionv3
