"""The schema of a score model: schedule, network, and where its weights come from.  No torch here."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hsivi.recipe import Count, Frozen, PretrainRecipe

_ANY_SCHEDULE = ("hsivi", "full", "time_uniform", "logsnr", "fast_logsnr", "order2_logsnr", "order3_logsnr")
_OF_VARIANCES = ("var_quadratic", "var_linear", "var_quadratic_uncapped", "var_linear_uncapped")
_OF_INDICES = ("ddim_quad_floor", "quad_round", "uniform", "ends_included", "linear_floor", "iddim")
TIME_GRIDS = {
    "quadratic": (*_ANY_SCHEDULE, *_OF_VARIANCES),
    "linear_beta": (*_ANY_SCHEDULE, *_OF_VARIANCES, *_OF_INDICES),
    "cosine": (*_ANY_SCHEDULE, *_OF_INDICES),
}
"""Names of `hsivi.time_grid.grids`, here so that a misspelt one is found before anything runs."""


def one_of(known: Any) -> str:
    """Return the words "one of a, b, c"."""
    names = [str(k) for k in known]
    return "one of " + ", ".join(names) if names else "nothing, since none are defined"


class QuadraticScheduleConfig(Frozen):
    """See `hsivi.schedule.QuadraticSchedule`."""

    kind: Literal["quadratic"]


class LinearBetaScheduleConfig(Frozen):
    """See `hsivi.schedule.LinearBetaSchedule`."""

    kind: Literal["linear_beta"]


class CosineScheduleConfig(Frozen):
    """See `hsivi.schedule.CosineSchedule`."""

    kind: Literal["cosine"]


ScheduleConfig = QuadraticScheduleConfig | LinearBetaScheduleConfig | CosineScheduleConfig


class NetworkConfig(Frozen):
    """What `hsivi.score_model.NetworkScoreModel` makes of a network's output."""

    predicts: Literal["noise", "score"]
    finest_scale: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _scale_is_used(self) -> "NetworkConfig":
        if self.predicts == "score" and self.finest_scale:
            raise ValueError(f"finest_scale: got {self.finest_scale} with predicts: score, expected none; leave it out")
        return self


class ScoreMLPConfig(NetworkConfig):
    """See `hsivi.nn.score_mlp.ScoreMLP`."""

    kind: Literal["score_mlp"]
    width: Count = 128
    embedding_width: Annotated[int, Field(ge=2, multiple_of=2)] = 256


class UNetConfig(NetworkConfig):
    """See `hsivi.nn.unet.StackedUNet`."""

    kind: Literal["unet"]
    channels: tuple[Count, ...]
    layers_per_block: Count
    norm_groups: Count
    attention: tuple[Annotated[int, Field(ge=0)], ...] = ()
    heads: Count = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dialect: Literal["plain", "ho", "openai"] = "plain"
    learned_variance: bool = False


class ExactConfig(Frozen):
    """No network: the score of the data under noise is known, as for a mixture of Gaussians."""

    kind: Literal["exact"]


class CheckpointConfig(Frozen):
    """A published network that is used as it is; see `hsivi.nn.importers`.

    Attributes:
        layout: how its file names the weights.
        file: name of the file or folder below ``<HSIVI_DATA_DIR>/checkpoints``, or a path.
        sha256: digest of the file, or None where none is published.
        origin: where it comes from, for people.
    """

    layout: Literal["ddpm_torch", "improved_diffusion", "diffusers"]
    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    origin: str


class ScoreModelConfig(Frozen):
    """The diffusion whose score model the samplers are given.

    Attributes:
        schedule: noise schedule of the diffusion.
        network: architecture of the score model, the layers and the critic.
        pretrain: how the score model is trained, where it is a network and no checkpoint is given.
        checkpoint: a published network that is taken instead.
        time_grids: time grid of each budget, for rows without one of their own.
    """

    schedule: Annotated[ScheduleConfig, Field(discriminator="kind")]
    network: Annotated[ScoreMLPConfig | UNetConfig | ExactConfig, Field(discriminator="kind")]
    pretrain: PretrainRecipe | None = None
    checkpoint: CheckpointConfig | None = None
    time_grids: Mapping[Count, str]

    @model_validator(mode="after")
    def _grids_exist(self) -> "ScoreModelConfig":
        for nfe, grid in self.time_grids.items():
            if grid not in TIME_GRIDS[self.schedule.kind]:
                raise ValueError(f"time_grids.{nfe}: got {grid!r}, expected {one_of(TIME_GRIDS[self.schedule.kind])}")
        return self

    @model_validator(mode="after")
    def _networks_are_trained(self) -> "ScoreModelConfig":
        given = [name for name in ("pretrain", "checkpoint") if getattr(self, name) is not None]
        if len(given) != (0 if self.exact else 1):
            wanted = "neither: there is nothing to train" if self.exact else "one of them"
            raise ValueError(
                f"score_model: got {' and '.join(given) or 'neither pretrain nor checkpoint'} with network.kind "
                f"{self.network.kind!r}, expected {wanted}"
            )
        return self

    @property
    def exact(self) -> bool:
        """Whether the score is a formula."""
        return isinstance(self.network, ExactConfig)

    @property
    def trainable(self) -> ScoreMLPConfig | UNetConfig:
        """The network.

        Raises:
            ValueError: the score is a formula.
        """
        if isinstance(self.network, ExactConfig):
            raise ValueError("score_model: got an exact one, expected a network; there is nothing to train")
        return self.network
