"""A small convolutional classifier of 8x8 digits, whose features are what image metrics are computed on.

The usual Inception network knows nothing of 8x8 images, so a network trained on this very data takes its place.  Its
numbers are comparable with each other, never with a published FID, which is why metrics carry its name.
"""

import torch
from torch import Tensor, nn

from hsivi.data.digits import NUM_CLASSES, Digits
from hsivi.nn.unet import draw_weights
from hsivi.optimise import Optimiser
from hsivi.rng import generator

FEATURES = 48
"""Number of features of an image."""


class DigitClassifier(nn.Module):
    """Two convolutions, pooling, two convolutions, a dense layer (the features) and a dense layer (the logits).

    Arguments:
        seed: the weights before training depend on it alone.
        width: channels of the first two convolutions; the other two have twice as many.
    """

    def __init__(self, seed: int, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(2 * width * 16, FEATURES),
            nn.LayerNorm(FEATURES, elementwise_affine=False),
            nn.GELU(),
        )
        self.head = nn.Linear(FEATURES, NUM_CLASSES)
        draw_weights(self, seed)

    def features(self, images: Tensor) -> Tensor:
        """Return what the last layer sees of images (n, 1, 8, 8) in [-1, 1], shape (n, `FEATURES`)."""
        output: Tensor = self.body(images)
        return output

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images (n, 1, 8, 8) in [-1, 1], shape (n, 10)."""
        output: Tensor = self.head(self.features(images))
        return output


def train_classifier(
    digits: Digits, seed: int, epochs: int, batch: int, learning_rate: float
) -> tuple[DigitClassifier, float]:
    """Train a classifier on the training images by cross-entropy, with Adam and a cosine-decayed rate.

    Arguments:
        digits: the data; the held-out part is looked at once, at the end.
        seed: seed of weights and batches.
        epochs: passes over the training images.
        batch: images an update; what is left over at the end of a pass is skipped.
        learning_rate: Adam's initial rate.

    Returns:
        The classifier and the share of held-out images it recognises.
    """
    classifier = DigitClassifier(seed)
    images, labels = torch.from_numpy(digits.train), torch.from_numpy(digits.train_labels)
    updates = len(images) // batch
    optimiser = Optimiser(classifier.parameters(), learning_rate, (0.9, 0.99), "cosine", epochs * updates)
    for epoch in range(epochs):
        order = torch.from_numpy(generator(seed, "classifier", epoch).permutation(len(images)))
        for rows in order[: updates * batch].view(updates, batch):
            optimiser.descend(nn.functional.cross_entropy(classifier(images[rows]), labels[rows]))
            optimiser.advance()
    classifier.requires_grad_(False)
    predicted = classifier(torch.from_numpy(digits.held_out)).argmax(1)
    return classifier, float((predicted == torch.from_numpy(digits.held_out_labels)).float().mean())
