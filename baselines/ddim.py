"""Denoising diffusion implicit models: a deterministic step at eta = 0, ancestral sampling at eta = 1.

    x_s = sqrt(alpha_bar_s) x0 + sqrt(sigma_s^2 - c^2) eps + c z,   c = eta sqrt(beta_{r|s}) sigma_s / sigma_r

with eps the predicted noise in x_r and x0 the denoised x_r (Song et al., 2021, eq. (12) and (16)).  Official code clips
nothing; others clip x0, and keep eps or derive it from the clipped x0 again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from hsivi.ddim_ode import decode, encode, interpolate
from hsivi.noise import SampleNoise
from hsivi.problem import Problem
from hsivi.reverse_process import implicit
from hsivi.score_model import Single

TITLE = "DDIM"
CITATION = "song2021denoising"
RECONSTRUCTIONS = 64
PAIRS = 6
POINTS = 11
"""Points of one interpolation, ends included."""


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        eta: share of the posterior's standard deviation that is added as noise.
        clip: bound on the absolute value of the denoised x0, or None for no bound.
        rederive_noise: whether eps is derived from the clipped x0 again, so that both belong to the same x_r.
    """

    eta: NonNegativeFloat = 0.0
    clip: PositiveFloat | None = None
    rederive_noise: bool = False

    def __post_init__(self) -> None:
        if self.rederive_noise and self.clip is None:
            raise ValueError("rederive_noise: got true without clip, expected the bound on x0 that it is derived from")


def sample(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0."""
    start, options = noise.prior(), (config.clip, config.rederive_noise)
    return implicit(problem.score_model, problem.grid, start, config.eta, None, noise.step, *options)


def illustrate(problem: Problem, config: Config, noise: SampleNoise, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return reconstructions of data and interpolations, which only the deterministic sampler has.

    Where the grid ends at a noisy level, data are taken to be points of that level: their image under the ODE is
    compared with themselves, so the noise they lack does not count as an error.

    Returns:
        ``reconstruction_original``, ``reconstruction_encoded`` (x_T) and ``reconstruction_decoded``, each of shape
        (64, \\*event), and ``interpolation`` (6, 11, \\*event): samples from x_T between those of samples 0 and 1, of 2
        and 3, and so on.  Nothing for eta > 0.
    """
    if config.eta > 0:
        return {}
    model, levels = Single(problem.teacher), problem.grid

    def decoded(x: Tensor) -> Tensor:
        return decode(model, levels, x, config.clip, config.rederive_noise)

    original = problem.draw(RECONSTRUCTIONS, "illustrate")
    encoded = encode(model, levels, original)
    starts = noise.prior()[: 2 * PAIRS]
    between = interpolate(starts[0::2], starts[1::2], POINTS)
    return {
        "reconstruction_original": original,
        "reconstruction_encoded": encoded,
        "reconstruction_decoded": decoded(encoded),
        "interpolation": decoded(between.flatten(0, 1)).reshape(between.shape),
    }
