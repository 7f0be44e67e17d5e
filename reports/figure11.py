"""Figure 11: MNIST, samples of every sampler with ten function evaluations.

The n-th image of every panel starts from the same x_T, except the target's own.  Images are uncurated: the first 36 of
the first seed of sampling.  The paper shows DDPM, DDIM and HSIVI-SM.  Where images are smaller than the paper's 32x32
(28x28 padded), the figure says so.
"""

from hsivi.experiment import Experiment
from reports._image_grid import draw

EXPERIMENT = "mnist"
OUTPUTS = ("figures/figure11.png", "figures/figure11.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, (10,), "figure11")
