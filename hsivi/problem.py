"""The problem a baseline is given: a counted score model and a time grid, or a target and a base; nothing of files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from hsivi import parallel
from hsivi.gaussian import DiagonalGaussian
from hsivi.nn.stacked import ReplicaStack
from hsivi.schedule import CosineSchedule, LinearBetaSchedule, QuadraticSchedule, Schedule
from hsivi.score_model import Counted, EvaluationCounter, NetworkScoreModel, ScoreModel, Single
from hsivi.score_model_config import ScheduleConfig, ScoreMLPConfig, ScoreModelConfig, UNetConfig
from hsivi.target import Target, Whitened

Map = Callable[[Tensor], Tensor]


@dataclass
class Budget:
    """What every problem has: a budget of evaluations, and a counter that enforces it.

    Attributes:
        nfe: T, the budget of function evaluations a sample.
        event_shape: shape of one sample.
        draw: returns n samples of the target itself for a key; what the control ``reference`` uses.
        counter: counts the evaluations of everything that is passed through `counted` or `counted_network`.
    """

    nfe: int
    event_shape: tuple[int, ...]
    draw: Callable[..., Tensor]
    counter: EvaluationCounter = field(init=False)

    def __post_init__(self) -> None:
        self.counter = EvaluationCounter(self.nfe)

    def counted(self, model: ScoreModel) -> ScoreModel:
        """Return ``model`` such that its evaluations count against the budget."""
        return Counted(model, self.counter)

    def counted_network(self, network: nn.Module) -> None:
        """Let every call of ``network`` count against the budget from now on."""
        network.register_forward_pre_hook(lambda *_: self.counter.add())


@dataclass
class Problem(Budget):
    """What a sampler of a diffusion may use.

    Attributes:
        teacher: the pre-trained score model as a stack of one, for methods that train; inputs (R, \\*batch, \\*event).
        levels: times s_0 <= ... <= s_T of the grid, float64; None where the budget is zero.
        training_draw: returns n training points for a key; None where there are none, since the target can be drawn.
        earlier: what a training with another budget learned, a state a training seed; empty unless the row's setting
            ``start_from`` asks for it.
        score_model: the pre-trained score model for sampling, counted; inputs (\\*batch, \\*event).
    """

    teacher: ScoreModel
    levels: Tensor | None
    training_draw: Callable[..., Tensor] | None = None
    earlier: Sequence[Mapping[str, Tensor]] = ()
    score_model: ScoreModel = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.score_model = self.counted(Single(self.teacher))

    @property
    def learn_from(self) -> Callable[..., Tensor]:
        """Returns n points that a method may learn from for a key: training points, or fresh draws of the target."""
        return self.training_draw or self.draw

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return self.teacher.schedule

    @property
    def grid(self) -> Tensor:
        """The levels of a problem that has some.

        Raises:
            ValueError: the budget is zero, so there is no grid.
        """
        if self.levels is None:
            raise ValueError(f"time grid: got a budget of {self.nfe}, expected at least 1; declare NFE = (0,) instead")
        return self.levels

    def copies(self, replicas: int) -> NetworkScoreModel:
        """Return trainable copies of the pre-trained network, one a replica.

        Raises:
            ValueError: the score model is a formula, not a network.
        """
        return self.network.copies(replicas)

    @property
    def network(self) -> NetworkScoreModel:
        """The pre-trained network.

        Raises:
            ValueError: the score model is a formula, not a network.
        """
        if not isinstance(self.teacher, NetworkScoreModel):
            raise ValueError(
                f"copies of the score model: got {type(self.teacher).__name__}, expected a network; this method needs "
                f"one to start from"
            )
        return self.teacher


@dataclass
class InferenceProblem(Budget):
    """What a method of variational inference may use.

    Attributes:
        target: the posterior, for points of shape (\\*batch, d).
        base: the bridge's base distribution, mean and std of shape (d,).
        diffused: exact score model of the target under a diffusion with alpha_bar(s) = 1 - s^2, where there is one.
    """

    target: Target
    base: DiagonalGaussian
    diffused: ScoreModel | None = None

    def in_coordinates(self, coordinates: Literal["raw", "base"]) -> tuple[Target, DiagonalGaussian, Map]:
        """Return target and base in ``raw`` or ``base`` (whitened) coordinates, and the map from there to raw ones."""
        if coordinates == "raw":
            return self.target, self.base, lambda x: x
        whitened = Whitened(self.target, self.base)
        standard = DiagonalGaussian(torch.zeros_like(self.base.mean), torch.ones_like(self.base.std))
        return whitened, standard, whitened.restore


SCHEDULES: dict[str, type[Schedule]] = {
    "quadratic": QuadraticSchedule,
    "linear_beta": LinearBetaSchedule,
    "cosine": CosineSchedule,
}


def build_schedule(config: ScheduleConfig) -> Schedule:
    """Return the noise schedule a configuration names."""
    return SCHEDULES[config.kind]()


def build_network(
    config: ScoreMLPConfig | UNetConfig, event_shape: tuple[int, ...], seeds: tuple[int, ...]
) -> ReplicaStack:
    """Return a freshly initialised stack of networks, one a seed."""
    if config.kind == "score_mlp":
        from hsivi.nn.score_mlp import ScoreMLP

        return ScoreMLP(seeds, event_shape[0], config.width, config.embedding_width)
    from hsivi.nn.unet import StackedUNet

    return StackedUNet(
        seeds,
        channels=config.channels,
        layers_per_block=config.layers_per_block,
        norm_groups=config.norm_groups,
        attention=config.attention,
        heads=config.heads,
        dropout=config.dropout,
        dialect=config.dialect,
        learned_variance=config.learned_variance,
        image_size=event_shape[-1],
        image_channels=event_shape[0],
    )


def build_score_model(config: ScoreModelConfig, event_shape: tuple[int, ...], seed: int) -> NetworkScoreModel:
    """Return a freshly initialised score model, a stack of one, on the computing device."""
    read = config.trainable
    network = build_network(read, event_shape, (seed,)).to(compute_device())
    return NetworkScoreModel(network, build_schedule(config.schedule), read.predicts, read.finest_scale)


def device_name() -> str:
    """Return the computing device as a reader knows it, with the model of a GPU."""
    device = compute_device()
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def compute_device() -> torch.device:
    """Return the device to compute on: a GPU where there is one, with several processes one each."""
    return torch.device("cuda", parallel.device_index()) if torch.cuda.is_available() else torch.device("cpu")
