"""Figure 6 on MNIST: paths of HSIVI-SM from one x_T with different seeds.

Rows are samples that start from the same x_T and differ in the noise of the layers only; columns are times from x_T to
x_0.  The paper shows CelebA with ten layers.  "spread given x_T" is the mean squared distance of the x_0 of one x_T
over that of independent samples, ± its standard error: 0 for a deterministic sampler as DDIM, 1 where x_T does not
matter.  Samples are of the first seed of sampling and of one training.
"""

from hsivi.experiment import Experiment
from reports._fan import draw

EXPERIMENT = "mnist"
OUTPUTS = ("figures/figure6_mnist.png", "figures/figure6_mnist.svg")


def render(scale: str, experiment: Experiment) -> None:
    """Draw the figure."""
    draw(scale, experiment, "figure6_mnist")
