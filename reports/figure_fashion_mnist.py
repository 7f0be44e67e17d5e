"""Fashion-MNIST: samples of every sampler with five and ten function evaluations.

The arrangement of the paper's Figures 5 and 11 on a data set the paper does not have.  The n-th image of every panel
starts from the same x_T, except the target's own.  Images are uncurated: the first 36 of the first seed of sampling.
Where images are smaller than 32x32 (28x28 padded), the figure says so.
"""

from hsivi.experiment import Experiment
from reports._image_grid import draw

EXPERIMENT = "fashion_mnist"
OUTPUTS = ("figures/figure_fashion_mnist.png", "figures/figure_fashion_mnist.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, (5, 10), "figure_fashion_mnist")
