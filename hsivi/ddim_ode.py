"""The ODE that DDIM solves at eta = 0: data to x_T and back, and the way between two x_T.

With w = sigma / sqrt(alpha_bar), the noise-to-signal ratio, one step of DDIM is Euler's method for

    d(x / sqrt(alpha_bar)) / dw = eps(x, s)                                      (Song et al., 2021, eq. (13) and (14))

so x_T is a code of x_0: solving from s_0 to s_T encodes, solving back decodes  (section 4.3 and 5.4).  Both directions
evaluate at the end where a step begins, so they undo each other up to the error of the method, of order one.
"""

from collections import deque

import torch
from torch import Tensor

from hsivi.reverse_process import implicit
from hsivi.score_model import ScoreModel


def encode(score_model: ScoreModel, levels: Tensor, x: Tensor) -> Tensor:
    """Return x_T of points at level s_0, with the shape of ``x``; T evaluations.

    At the clean level there is no noise to predict, and no network was asked for it.  Where the grid starts there, the
    first step asks at s_1 instead: eps is of size sigma, so this changes x_T by the order of w_1^2.

    Arguments:
        score_model: asked at s_0 (or s_1), s_1, ..., s_{T-1}.
        levels: s_0..s_T, float64.
        x: shape (n, \\*event).
    """
    schedule = score_model.schedule
    signal, sigma = schedule.alpha_bar(levels).sqrt(), schedule.sigma(levels)
    x_scale = (signal[1:] / signal[:-1]).tolist()
    noise_scale = (sigma[1:] - sigma[:-1] * signal[1:] / signal[:-1]).tolist()
    asked = levels.clone()
    if levels[0] == schedule.clean:
        asked[0] = levels[1]
    for t in range(len(levels) - 1):
        x = x_scale[t] * x + noise_scale[t] * score_model.noise(x, asked[t])
    return x


def decode(
    score_model: ScoreModel, levels: Tensor, x: Tensor, clip: float | None = None, rederive_noise: bool = False
) -> Tensor:
    """Return x_0 of x_T, with the shape of ``x``; T evaluations.

    Arguments:
        score_model: asked at s_T, ..., s_1.
        levels: s_0..s_T, float64.
        x: shape (n, \\*event).
        clip: bound on the absolute value of the denoised x0, or None; clipped steps cannot be undone.
        rederive_noise: as for `hsivi.reverse_process.implicit`.
    """
    path = implicit(score_model, levels, x, 0.0, None, lambda t: torch.zeros_like(x), clip, rederive_noise)
    return deque(path, maxlen=1).pop()


def interpolate(start: Tensor, end: Tensor, points: int) -> Tensor:
    """Return ``points`` points on the arc from ``start`` to ``end``, ends included  (Song et al., 2021, eq. (67)).

    The arc, unlike the chord, keeps the norm of two x_T of equal norm, which is what N(0, I) in many dimensions has.
    Where both have one direction the arc is the chord; opposite directions have no arc, and get the chord too.

    Arguments:
        start: shape (n, \\*event).
        end: likewise.
        points: at least two.

    Returns:
        Shape (n, points, \\*event).
    """
    first, last = start.flatten(1).double(), end.flatten(1).double()
    u, v = (x / x.norm(dim=1, keepdim=True) for x in (first, last))
    # The half-angle is exact for small angles, where the arccosine of the inner product is not (Kahan).
    angle = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))[:, None]
    share = torch.linspace(0, 1, points, dtype=torch.float64, device=start.device)
    sine = angle.sin()
    arc = sine > 1e-7
    weights = [torch.where(arc, (a * angle).sin() / sine.where(arc, 1), a) for a in (1 - share, share)]
    between = weights[0][..., None] * first[:, None] + weights[1][..., None] * last[:, None]
    return between.reshape(len(start), points, *start.shape[1:]).to(start)
