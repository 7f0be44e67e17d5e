"""The method as one would first write it down from the paper: what the suite's speed is measured against.

Modules of `torch.nn`, one seed, one time embedding a sample, new chains for every update, `torch.optim.Adam`.  Nothing
here is used by the suite; tests hold it and the suite's trainers to the same expected gradients.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from hsivi.nn.score_mlp import sinusoidal_embedding

FINEST_SCALE = 0.05
"""w of `hsivi.score_model.NetworkScoreModel`, as in the experiment."""


class ScoreNetwork(nn.Module):
    """The 2-D network of Appendix E.2.1: noise predicted for x of shape (B, d) at times of shape (B,)."""

    def __init__(self, dim: int = 2, width: int = 128, embedding_width: int = 256) -> None:
        super().__init__()
        self.embedding_width = embedding_width
        self.embed_x = nn.Linear(dim, width)
        self.embed_t = nn.Sequential(nn.Linear(embedding_width, width), nn.GELU(), nn.Linear(width, width))
        self.decode = nn.Sequential(
            nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the network's output, shape of ``x``."""
        output: Tensor = self.decode(self.embed_x(x) + self.embed_t(sinusoidal_embedding(time, self.embedding_width)))
        return output


class Joint:
    """Algorithm 2 with shared parameters and SIVI-SM, at the settings of Appendix E.2.1.

    Attributes:
        layers: eps_phi, starts at the teacher.
        critic: g of Proposition 1 in units of the noise, starts at the teacher.
        log_variance: phi^sigma, shape (d,).
    """

    def __init__(
        self,
        teacher: ScoreNetwork,
        levels: Tensor,
        batch: int = 64,
        critic_updates: int = 3,
        learning_rate: float = 2e-4,
        critic_learning_rate: float = 5e-4,
    ) -> None:
        self.teacher, self.batch, self.critic_updates = teacher, batch, critic_updates
        self.layers, self.critic = ScoreNetwork(), ScoreNetwork()
        self.layers.load_state_dict(teacher.state_dict())
        self.critic.load_state_dict(teacher.state_dict())
        self.log_variance = nn.Parameter(torch.zeros(2))
        self.variance = levels.square().float()  # 1 - alpha_bar(s) = s^2
        self.sigma, self.root = self.variance.sqrt(), (1 - self.variance).sqrt()
        ratio = (self.root[1:] / self.root[:-1]).square()
        self.std = self.sigma[:-1] / self.sigma[1:] * (1 - ratio).sqrt()
        self.optimiser = torch.optim.Adam([*self.layers.parameters(), self.log_variance], learning_rate, (0.9, 0.99))
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), critic_learning_rate, (0.9, 0.99))

    def noise(self, network: ScoreNetwork, x: Tensor, level: Tensor) -> Tensor:
        """Return the predicted noise of x of shape (B, d) at levels of shape (B,)."""
        sigma = self.sigma[level, None]
        return network(x, 1000 * self.variance[level]) * sigma / (sigma.square() + FINEST_SCALE**2).sqrt()

    def score(self, network: ScoreNetwork, x: Tensor, level: Tensor) -> Tensor:
        """Return S or g at x of shape (B, d)."""
        return -self.noise(network, x, level) / self.sigma[level, None]

    def conditional(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q_t(. | x_{t+1} = z), shape (B, d)."""
        eps = self.noise(self.layers, z, t + 1)
        clean = (z - self.sigma[t + 1, None] * eps) / self.root[t + 1, None]
        direction = (self.variance[t] - self.std[t].square()).clamp_min(0).sqrt()[:, None]
        return self.root[t, None] * clean + direction * eps, self.std[t, None] * torch.exp(0.5 * self.log_variance)

    @torch.no_grad()
    def mixing(self) -> tuple[Tensor, Tensor]:
        """Simulate chains and return x_{t+1} and t ~ U{0..T-1} for each, shapes (B, d) and (B,)."""
        layers = len(self.std)
        t = torch.randint(layers, (self.batch,))
        x = torch.randn(self.batch, 2)
        chosen = x.clone()
        for layer in reversed(range(1, layers)):
            mean, std = self.conditional(x, torch.full((self.batch,), layer))
            x = mean + std * torch.randn_like(mean)
            chosen = torch.where((t == layer - 1)[:, None], x, chosen)
        return chosen, t

    def step(self) -> None:
        """Update the critic a few times and the layers once."""
        for _ in range(self.critic_updates):
            z, t = self.mixing()
            with torch.no_grad():
                mean, std = self.conditional(z, t)
                noise = torch.randn_like(mean)
            error = self.score(self.critic, mean + std * noise, t) + noise / std
            loss = (self.variance[t] * error.square().sum(1)).mean()
            self.critic_optimiser.zero_grad()
            loss.backward()
            self.critic_optimiser.step()
        z, t = self.mixing()
        mean, std = self.conditional(z, t)
        noise = torch.randn_like(mean)
        x = mean + std * noise
        target, critic = self.score(self.teacher, x, t), self.score(self.critic, x, t)
        loss = (self.variance[t] * ((target - critic) * (target + critic + 2 * noise / std)).sum(1)).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def perceptron(*widths: int) -> nn.Sequential:
    """Return linear maps of the given widths with ReLU between them."""
    maps: list[nn.Module] = []
    for width, following in pairwise(widths):
        maps += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*maps[:-1])


class Sequential:
    """One layer of Algorithm 1: layer t is trained while those above it, t + 1 to T - 1, are fixed.

    Arguments:
        above: networks of the layers t + 1 to T - 1.
        score: S_t, for SIVI-SM.
        log_density: log p_t, for SIVI-LB; None for SIVI-SM.
        hidden: hidden widths of the layer.
        critic_hidden: hidden widths of f.
        batch: samples an update, and the draws of SIVI-LB's inner mean.
        learning_rate: of the layer.
        critic_learning_rate: of f.
    """

    def __init__(
        self,
        above: list[nn.Module],
        score: Callable[[Tensor], Tensor],
        log_density: Callable[[Tensor], Tensor] | None,
        dim: int,
        hidden: tuple[int, ...],
        critic_hidden: tuple[int, ...],
        batch: int,
        learning_rate: float,
        critic_learning_rate: float = 0.0,
    ) -> None:
        self.above, self.score, self.log_density, self.dim, self.batch = above, score, log_density, dim, batch
        self.mean = perceptron(dim, *hidden, dim)
        self.log_variance = nn.Parameter(torch.zeros(dim))
        self.optimiser = torch.optim.Adam([*self.mean.parameters(), self.log_variance], learning_rate, (0.9, 0.99))
        if log_density is None:
            self.critic = perceptron(dim, *critic_hidden, dim)
            self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), critic_learning_rate, (0.9, 0.99))

    @torch.no_grad()
    def mixing(self, draws: int) -> Tensor:
        """Return x_{t+1} of shape (draws, d)."""
        x = torch.randn(draws, self.dim)
        for mean in reversed(self.above):
            x = x + mean(x) + torch.randn_like(x)
        return x

    def step(self) -> None:
        """Update the critic, where there is one, and the layer once."""
        loss = self._score_matching() if self.log_density is None else self._lower_bound(self.log_density)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def _sample(self) -> tuple[Tensor, Tensor, Tensor]:
        z = self.mixing(self.batch)
        std = torch.exp(0.5 * self.log_variance)
        noise = torch.randn_like(z)
        return z + self.mean(z) + std * noise, noise, std

    def _score_matching(self) -> Tensor:
        with torch.no_grad():
            x, noise, std = self._sample()
        critic_loss = (self.score(x) - self.critic(x) + noise / std).square().sum(1).mean()
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        self.critic_optimiser.step()
        x, noise, std = self._sample()
        f, target = self.critic(x), self.score(x)
        return (f * (2 * target - f + 2 * noise / std)).sum(1).mean()

    def _lower_bound(self, log_density: Callable[[Tensor], Tensor]) -> Tensor:
        x, noise, std = self._sample()
        own = torch.distributions.Normal(x - std * noise, std).log_prob(x).sum(1)
        others = self.mixing(self.batch - 1)
        centre = others + self.mean(others)
        rest = torch.distributions.Normal(centre, std).log_prob(x[:, None]).sum(2)
        mixture = torch.logsumexp(torch.cat([own[:, None], rest], 1), 1) - math.log(self.batch)
        return (mixture - log_density(x)).mean()
