"""A convolutional classifier of images up to 64x64, whose features stand in for Inception's on small images.

It is trained on the very data set that is modelled.  Its numbers are comparable with each other, never with a
published FID, which is why metrics carry its name and the digest of its weights.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hsivi.checkpoint import Session
from hsivi.config import ConfigError
from hsivi.data import in_units
from hsivi.nn.unet import draw_weights
from hsivi.optimise import NonFiniteLoss, Optimiser
from hsivi.problem import compute_device
from hsivi.rng import generator

if TYPE_CHECKING:
    from hsivi.data.images import ImageSet

FEATURES = 64
"""Number of features of an image."""
GROUPS = 4
FINEST = 4
"""Height and width of what the dense layer sees."""
BATCH = 128
LEARNING_RATE = 2e-3
BETAS = (0.9, 0.999)


class ImageClassifier(nn.Module):
    """Convolutions at ever coarser resolutions, a dense layer (the features) and a dense layer (the logits).

    Two convolutions of ``width`` channels, two of twice as many, then one of four times as many at each resolution
    down to 4x4; a maximum over 2x2 pixels halves the resolution.  Convolutions are group-normalised.

    Arguments:
        seed: the weights before training depend on it alone.
        image_shape: (C, H, W) of the images; H = W, a power of two, at least 8.
        classes: number of classes.
        width: channels of the first two convolutions; a multiple of 4.

    Raises:
        ValueError: the images do not fit the network.
    """

    def __init__(self, seed: int, image_shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        halvings = (height // FINEST).bit_length() - 1
        if height != breadth or height != FINEST * 2**halvings or halvings < 1:
            raise ValueError(
                f"image classifier: got images of shape {image_shape}, expected a square whose side is a power of two "
                f"and at least 8; pad or reduce the images"
            )
        self.image_shape, self.classes, self.width = image_shape, classes, width
        widths = [[width, width], [2 * width, 2 * width], *[[4 * width]] * max(halvings - 1, 1)]
        layers: list[nn.Module] = []
        for level, outputs in enumerate(widths):
            if 0 < level <= halvings:
                layers.append(nn.MaxPool2d(2))
            for output in outputs:
                layers += [nn.Conv2d(channels, output, 3, padding=1), nn.GroupNorm(GROUPS, output), nn.GELU()]
                channels = output
        self.body = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(channels * FINEST**2, FEATURES),
            nn.LayerNorm(FEATURES, elementwise_affine=False),
            nn.GELU(),
        )
        self.head = nn.Linear(FEATURES, classes)
        draw_weights(self, seed)

    def features(self, images: Tensor) -> Tensor:
        """Return what the last layer sees of images (n, C, H, W) in [-1, 1], shape (n, `FEATURES`)."""
        output: Tensor = self.body(images)
        return output

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images (n, C, H, W) in [-1, 1], shape (n, classes)."""
        output: Tensor = self.head(self.features(images))
        return output


@dataclass
class ClassifierTrainer:
    """Cross-entropy on the training images, with Adam and a cosine-decayed rate; see `hsivi.checkpoint.Resumable`.

    Every epoch visits the images in an order of its own; what is left over at its end is skipped.

    Attributes:
        classifier: what is trained.
        images: the data.
        seed: seed of the batches.
        epochs: passes over the training images.
        iteration: updates done.
    """

    classifier: ImageClassifier
    images: "ImageSet"
    seed: int
    epochs: int
    iteration: int = 0
    _epoch: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        self.batch = min(BATCH, len(self.images.train))
        self.updates = len(self.images.train) // self.batch
        self._optimiser = Optimiser(self.classifier.parameters(), LEARNING_RATE, BETAS, "cosine", self.iterations)

    @property
    def iterations(self) -> int:
        """Updates of the whole training."""
        return self.epochs * self.updates

    def step(self) -> float:
        """Take one step and return the loss.

        Raises:
            NonFiniteLoss: the loss is infinite or undefined.
        """
        rows = self._rows()
        device = self.classifier.head.weight.device
        images = in_units(torch.from_numpy(self.images.train[rows]).to(device))
        labels = torch.from_numpy(self.images.train_labels[rows]).to(device)
        loss = nn.functional.cross_entropy(self.classifier(images), labels)
        if not loss.isfinite():
            raise NonFiniteLoss(
                f"image classifier: got loss {loss.item()} at iteration {self.iteration}, expected a finite number; "
                f"look at the images"
            )
        self._optimiser.descend(loss)
        self._optimiser.advance()
        self.iteration += 1
        return float(loss.detach())

    def _rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        epoch, update = divmod(self.iteration, self.updates)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = generator(self.seed, "classifier", epoch).permutation(len(self.images.train))
        return np.sort(self._order[update * self.batch : (update + 1) * self.batch])  # files are read in order

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        return {
            "iteration": self.iteration,
            "classifier": self.classifier.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.iteration = state["iteration"]
        self.classifier.load_state_dict(state["classifier"])
        self._optimiser.load_state_dict(state["optimiser"])


def train_classifier(
    images: "ImageSet", seed: int, epochs: int, width: int, session: Session
) -> tuple[ImageClassifier, float]:
    """Train a classifier on the training images.

    Arguments:
        images: the data; the held-out part is looked at once, at the end.
        seed: seed of weights and batches.
        epochs: passes over the training images.
        width: channels of the classifier's first convolutions.
        session: reports progress and can be resumed.

    Returns:
        The classifier, on the computing device, and the share of held-out images it recognises.

    Raises:
        ConfigError: the data set has no labels.
    """
    if not len(images.train_labels) or not len(images.held_out_labels):
        raise ConfigError(
            "data.features: got a classifier for images without labels, expected labelled images; set kind: inception"
        )
    labels = np.concatenate([images.train_labels, images.held_out_labels])
    classifier = ImageClassifier(seed, images.train.shape[1:], int(labels.max()) + 1, width).to(compute_device())
    trainer = ClassifierTrainer(classifier, images, seed, epochs)
    session.train(trainer, trainer.iterations, lambda loss: f", loss {loss:.3f}")
    classifier.requires_grad_(False)
    return classifier, _accuracy(classifier, images)


def _accuracy(classifier: ImageClassifier, images: "ImageSet", batch: int = 1_000) -> float:
    right = 0
    for start in range(0, len(images.held_out), batch):
        block = torch.from_numpy(np.array(images.held_out[start : start + batch]))
        predicted = classifier(in_units(block.to(classifier.head.weight.device))).argmax(1).cpu().numpy()
        right += int((predicted == images.held_out_labels[start : start + batch]).sum())
    return right / len(images.held_out)
