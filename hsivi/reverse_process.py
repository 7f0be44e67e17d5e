"""Gaussian steps back from x_{t+1} to x_t: what DDPM, DDIM and the samplers with other variances have in common.

From level r = s_{t+1} to level s = s_t, with alpha_{r|s} = alpha_bar_r / alpha_bar_s, beta_{r|s} = 1 - alpha_{r|s},
the predicted noise eps in x_r and the denoised x0 = (x_r - sigma_r eps) / sqrt(alpha_bar_r), the means are

    ancestral   [sqrt(alpha_bar_s) beta_{r|s} x0 + sqrt(alpha_{r|s}) sigma_s^2 x_r] / sigma_r^2
    implicit    sqrt(alpha_bar_s) x0 + sqrt(sigma_s^2 - c^2) eps,   c = eta sqrt(beta_{r|s}) sigma_s / sigma_r

(Ho et al., 2020, eq. (7); Song et al., 2021, eq. (12) and (16), both on a subsequence of levels).  At eta = 1 they
agree as long as x0 and eps belong together.  They no longer do once x0 is clipped, unless eps is derived from it again.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from hsivi.hierarchy import DDIMCoefficients, StepNoise
from hsivi.score_model import ScoreModel


def ancestral(
    score_model: ScoreModel, levels: Tensor, x: Tensor, std: Sequence[float], noise: StepNoise, clip: float | None
) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0 with ancestral means; one evaluation a step.

    Arguments:
        score_model: asked at s_T, ..., s_1.
        levels: s_0..s_T, float64.
        x: x_T, shape (n, \\*event).
        std: standard deviation of the step to x_t for t = 0..T-1; zero draws no noise.
        noise: of the steps.
        clip: bound on the absolute value of the denoised x0, or None.
    """
    alpha_bar = score_model.schedule.alpha_bar(levels).tolist()
    variance = score_model.schedule.sigma(levels).square().tolist()
    for t in reversed(range(len(std))):
        x0 = score_model.denoised(x, levels[t + 1])
        if clip is not None:
            x0 = x0.clamp(-clip, clip)
        ratio = alpha_bar[t + 1] / alpha_bar[t]
        mean = (alpha_bar[t] ** 0.5 * (1 - ratio) * x0 + ratio**0.5 * variance[t] * x) / variance[t + 1]
        x = mean + std[t] * noise(t) if std[t] > 0 else mean
        yield x


def implicit(
    score_model: ScoreModel,
    levels: Tensor,
    x: Tensor,
    eta: float,
    std: Sequence[float] | None,
    noise: StepNoise,
    clip: float | None,
    rederive_noise: bool = False,
) -> Iterator[Tensor]:
    """Yield x_{T-1}, ..., x_0 with implicit means; one evaluation a step.

    Arguments:
        score_model: asked at s_T, ..., s_1.
        levels: s_0..s_T, float64.
        x: x_T, shape (n, \\*event).
        eta: share of the posterior's standard deviation that the means make room for.
        std: standard deviation of the step to x_t for t = 0..T-1, or None for DDIM's c; zero draws no noise.
        noise: of the steps.
        clip: bound on the absolute value of the denoised x0, or None.
        rederive_noise: whether eps is derived from the clipped x0 again, eps = (x_r - sqrt(alpha_bar_r) x0) / sigma_r.
    """
    step = DDIMCoefficients(score_model.schedule, levels, eta)
    x_scale, noise_scale = step.x_scale.tolist(), step.noise_scale.tolist()
    stds = step.std.tolist() if std is None else std
    signal = score_model.schedule.alpha_bar(levels).sqrt().tolist()
    sigma = score_model.schedule.sigma(levels)
    direction = (sigma[:-1].square() - step.std.square()).clamp_min(0).sqrt().tolist()
    sigmas = sigma.tolist()
    for t in reversed(range(len(stds))):
        eps = score_model.noise(x, levels[t + 1])
        if clip is None:
            mean = x_scale[t] * x + noise_scale[t] * eps
        else:
            x0 = ((x - sigmas[t + 1] * eps) / signal[t + 1]).clamp(-clip, clip)
            if rederive_noise:
                eps = (x - signal[t + 1] * x0) / sigmas[t + 1]
            mean = signal[t] * x0 + direction[t] * eps
        x = mean + stds[t] * noise(t) if stds[t] > 0 else mean
        yield x
