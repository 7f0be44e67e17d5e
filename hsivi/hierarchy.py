"""Hierarchies of conditional Gaussian layers: with shared parameters, initialised by DDIM, and with independent ones.

With shared parameters layer t is q_t(x_t | x_{t+1}) = N(mu_t(x_{t+1}), diag(c_t^2 exp(log_variance))) (E.2) with

    x0 = (x_{t+1} - sigma_{t+1} eps) / sqrt(alpha_bar_{t+1}),  eps = eps_phi(x_{t+1}, s_{t+1})
    mu_t = sqrt(alpha_bar_t) x0 + sqrt(sigma_t^2 - c_t^2) eps
    c_t = eta (sigma_t / sigma_{t+1}) sqrt(1 - alpha_bar_{t+1} / alpha_bar_t),

that is, DDIM's generalised step (Song et al., 2021, eq. (12) and (16)) as a parametrisation that training keeps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from hsivi.gaussian import DiagonalGaussian
from hsivi.nn.mlp import MLP
from hsivi.schedule import Schedule
from hsivi.score_model import NetworkScoreModel, ScoreAtLevels, ScoreModel

StepNoise = Callable[[int], Tensor]
"""Returns the noise of the transition to x_t, standard normal with the shape of x_t, for t."""
Conditional = Callable[[Tensor, Tensor], DiagonalGaussian]
"""Returns q_t(. | x_{t+1} = z) for z and t."""


class DDIMCoefficients:
    """The numbers of the DDIM-eta step between neighbouring levels, computed in float64.

    Attributes (each of shape (T,), indexed by the layer t):
        x_scale: factor of x_{t+1} in mu_t.
        noise_scale: factor of eps in mu_t.
        std: c_t.
    """

    def __init__(self, schedule: Schedule, levels: Tensor, eta: float) -> None:
        s = levels.double()
        alpha_bar, noise_std = schedule.alpha_bar(s), schedule.sigma(s)
        ratio = alpha_bar[1:] / alpha_bar[:-1]
        std = eta * noise_std[:-1] / noise_std[1:] * (1 - ratio).sqrt()
        self.x_scale = ratio.rsqrt()
        self.noise_scale = (noise_std[:-1].square() - std.square()).clamp_min(0).sqrt() - noise_std[1:] * ratio.rsqrt()
        self.std = std


class DDIMHierarchy(nn.Module):
    """T layers with one network, initialised at DDIM-eta and learned from there.

    Arguments:
        score_model: the (stacked) network that becomes eps_phi; its parameters are trained.
        levels: s_0..s_T, float64.
        eta: DDIM's noise level, positive.
        log_variance: initial log-variance phi^sigma with shape (R, \\*event), shared by all layers.

    Raises:
        ValueError: eta is not positive, so that the layers would have no density.
    """

    x_scale: Tensor
    noise_scale: Tensor
    std: Tensor
    levels: Tensor

    def __init__(self, score_model: NetworkScoreModel, levels: Tensor, eta: float, log_variance: Tensor) -> None:
        super().__init__()
        if eta <= 0:
            raise ValueError(f"eta: got {eta}, expected a positive number; a layer without noise has no density")
        self.score_model = score_model
        self.network = score_model.network
        self.log_variance = nn.Parameter(log_variance)
        coefficients = DDIMCoefficients(score_model.schedule, levels, eta)
        for name in ("x_scale", "noise_scale", "std"):
            self.register_buffer(name, getattr(coefficients, name).to(log_variance), persistent=False)
        self.register_buffer("levels", levels.to(log_variance), persistent=False)

    @property
    def num_layers(self) -> int:
        """T."""
        return len(self.std)

    @property
    def score_model(self) -> ScoreModel:
        """What says eps_phi; setting it, to one that counts for example, replaces it."""
        return self._score_model

    @score_model.setter
    def score_model(self, score_model: ScoreModel) -> None:
        self._score_model: ScoreModel = score_model
        self._at_levels: ScoreAtLevels | None = None

    def select(self, parameters: Mapping[str, Tensor], replica: int) -> dict[str, Tensor]:
        """Return, of the parameters by name, those of one replica as the parameters of a stack of one."""
        network = {k.removeprefix("network."): v for k, v in parameters.items() if k.startswith("network.")}
        return {f"network.{name}": value for name, value in self.network.select(network, replica).items()} | {
            "log_variance": parameters["log_variance"][replica : replica + 1].clone()
        }

    def conditional(self, z: Tensor, t: Tensor) -> DiagonalGaussian:
        """Return q_t(. | x_{t+1} = z).

        Arguments:
            z: shape (R, \\*batch, \\*event).
            t: layer indices that broadcast against \\*batch (or (R, \\*batch)).
        """
        return self.layers()(z, t)

    def layers(self) -> Conditional:
        """Return `conditional` for many calls while the parameters do not change."""
        if self._at_levels is None:
            self._at_levels = self.score_model.at(self.levels[1:])
        model, expand, deviation = self._at_levels.now(), self.score_model.expand, self._deviation()

        def conditional(z: Tensor, t: Tensor) -> DiagonalGaussian:
            mean = expand(self.x_scale[t]) * z + expand(self.noise_scale[t]) * model.noise(z, t)
            factor = deviation.reshape(len(deviation), *(1,) * (z.ndim - deviation.ndim), *deviation.shape[1:])
            return DiagonalGaussian(mean, expand(self.std[t]) * factor)

        return conditional

    def stds(self) -> Tensor:
        """Return the standard deviations of all layers, shape (R, T, \\*event)."""
        return self.score_model.expand(self.std) * self._deviation()[:, None]

    def _deviation(self) -> Tensor:
        """Return the factor on c_t that is learned, shape (R, \\*event)."""
        return torch.exp(0.5 * self.log_variance)

    def propagate(self, x: Tensor, start: int, stop: int, noise: StepNoise) -> Iterator[Tensor]:
        """Yield x_{start-1}, ..., x_stop from x = x_start; ``noise(t)`` has the shape of ``x``."""
        conditional = self.layers()
        for t in reversed(range(stop, start)):
            x = conditional(x, torch.tensor([t], device=x.device)).rsample(noise(t))
            yield x


class IndependentHierarchy(nn.Module):
    """T layers with parameters of their own, for sequential training  (HSIVI, E.1).

    Layer t is q_t(x_t | x_{t+1}) = N(mu_t(x_{t+1}), diag exp(log_variance_t)) with mu_t(x) = x + MLP_t(x) where the
    layer is residual and mu_t(x) = MLP_t(x) where it is not.

    Arguments:
        seeds: one seed a replica.
        dim: d.
        hidden: hidden widths of the networks.
        residual: whether each layer t = 0..T-1 is residual.
        log_variance: initial log-variance of all layers.
    """

    def __init__(
        self, seeds: tuple[int, ...], dim: int, hidden: tuple[int, ...], residual: Sequence[bool], log_variance: float
    ) -> None:
        super().__init__()
        self.residual = tuple(residual)
        widths = (dim, *hidden, dim)
        self.networks = nn.ModuleList(MLP(seeds, f"mean.{t}", widths) for t in range(len(self.residual)))
        start = torch.full((len(seeds), dim), log_variance)
        self.log_variances = nn.ParameterList(start.clone() for _ in self.residual)

    @property
    def num_layers(self) -> int:
        """T."""
        return len(self.residual)

    def layer_parameters(self, t: int) -> dict[str, nn.Parameter]:
        """Return the parameters of layer t by name."""
        prefix = f"networks.{t}."
        own = {name: p for name, p in self.named_parameters() if name.startswith(prefix)}
        return {**own, f"log_variances.{t}": self.log_variances[t]}

    def select(self, replica: int) -> dict[str, Tensor]:
        """Return the parameters of one replica as those of a stack of one."""
        return {name: p.detach()[replica : replica + 1].clone() for name, p in self.named_parameters()}

    def conditional(self, z: Tensor, t: int) -> DiagonalGaussian:
        """Return q_t(. | x_{t+1} = z) for z of shape (R, n, d)."""
        mean = self.networks[t](z)
        std = torch.exp(0.5 * self.log_variances[t])[:, None]
        return DiagonalGaussian(z + mean if self.residual[t] else mean, std)

    def propagate(self, x: Tensor, start: int, stop: int, noise: StepNoise) -> Iterator[Tensor]:
        """Yield x_{start-1}, ..., x_stop from x = x_start; ``noise(t)`` has the shape of ``x``."""
        for t in reversed(range(stop, start)):
            x = self.conditional(x, t).rsample(noise(t))
            yield x
