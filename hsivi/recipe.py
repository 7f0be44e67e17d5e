"""Hyper-parameters of training, as data.  Nothing here needs torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(gt=0, lt=1)]


class Frozen(BaseModel):
    """Base of all configuration: immutable, and a key that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LearningRates(Frozen):
    """How learning rates change over a training.

    Attributes:
        schedule: ``constant``, ``cosine`` from one to ``final_rate``, or ``exponential`` decay to ``final_rate``.
        final_rate: factor on the learning rates at the end; above zero where decay is exponential.
        warm_up: updates over which the learning rates rise linearly.
    """

    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    final_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    warm_up: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _end_fits_decay(self) -> "LearningRates":
        if self.schedule == "constant" and self.final_rate:
            raise ValueError("final_rate: got one with schedule 'constant', expected none; remove it")
        if self.schedule == "exponential" and not self.final_rate:
            raise ValueError("final_rate: got 0 with schedule 'exponential', expected a positive number; give one")
        return self


class Hardware(Frozen):
    """How a training uses the machine.

    Attributes:
        precision: of the networks' arithmetic; parameters, losses and averages are float32 in either case.
        channels_last: whether images lie in memory channel by channel of a pixel, as tensor cores want them.
        compile: whether networks are compiled, in joint training the losses with their gradients, and shared rollouts;
            it takes a C++ compiler and, where the code is not in PyTorch's cache, up to minutes.
        microbatches: parts that a batch is cut into, one after another on one device, shared out over several.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    microbatches: Count = 1


class PretrainRecipe(LearningRates, Hardware):
    """Pre-training of a score model.

    Attributes:
        iterations: number of updates.
        batch: samples an update.
        samples_per_time: samples that share one diffusion time, so that one embedding serves them.
        learning_rate: Adam's highest rate.
        clip_norm: largest norm of a gradient, or None for any.
        ema: decay of the parameter average that is kept as the result, or None for the last iterate.
        adam_betas: Adam's decay rates.
        flip: whether images are mirrored left to right at random.
    """

    iterations: Count
    batch: Count
    samples_per_time: Count = 1
    learning_rate: Positive
    clip_norm: Positive | None = None
    ema: Decay | None = None
    adam_betas: tuple[Decay, Decay] = (0.9, 0.99)
    flip: bool = False

    @model_validator(mode="after")
    def _whole_groups(self) -> "PretrainRecipe":
        if self.batch % self.samples_per_time:
            raise ValueError(
                f"batch: got {self.batch} with samples_per_time {self.samples_per_time}, expected a multiple of it"
            )
        if (self.batch // self.samples_per_time) % self.microbatches:
            raise ValueError(
                f"batch: got {self.batch} with microbatches {self.microbatches}, expected a multiple of it"
            )
        return self


class Recipe(LearningRates, Hardware):
    """Joint training of HSIVI-SM (Algorithm 2).

    Attributes:
        iterations: number of updates of the layers, the paper's "iterations".
        batch: chains an update of the layers uses.
        critic_batch: chains an update of the critic uses.
        critic_updates: updates of the critic after each update of the layers.
        critic_warmup: updates of the critic before the first update of the layers.
        learning_rate: Adam's highest rate for the layers.
        critic_learning_rate: Adam's highest rate for the critic.
        variance_learning_rate: Adam's highest rate for the layers' variance; by default that of the layers.
        variance: what is learned of it: ``diagonal``, a factor on each coordinate's, ``isotropic``, one factor for all
            (Table 3), or ``fixed``, nothing.
        clip_norm: largest norm of each network's gradient, or None for any.
        ema: decay of the average of the layers' parameters that is sampled from, or None for the last iterate.
        beta_power: p in the weight beta(t) = (1 - alpha_bar(s_t))^p; 1 in the paper, 2 in the authors' image code.
        eta: DDIM's noise level that initialises the layers.
        final_noise: whether the last layer adds its noise when sampling.
        rollout: ``independent`` uses one layer of every simulated chain, ``shared`` uses all of them.
        antithetic: whether every noise is used with both signs.
        adam_betas: Adam's decay rates for both optimisers.
        amsgrad: whether Adam divides by the largest second moment so far.
        start_from: number of layers of an earlier training of the same row where layers and critic start, or None for
            the score model.
    """

    iterations: Count
    batch: Count
    critic_batch: Count
    critic_updates: Count
    critic_warmup: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive
    critic_learning_rate: Positive
    variance_learning_rate: Positive | None = None
    variance: Literal["diagonal", "isotropic", "fixed"] = "diagonal"
    clip_norm: Positive | None = None
    ema: Decay | None = None
    beta_power: Annotated[float, Field(ge=0)] = 1.0
    eta: Positive
    final_noise: bool = True
    rollout: Literal["independent", "shared"] = "independent"
    antithetic: bool = False
    adam_betas: tuple[Decay, Decay] = (0.9, 0.99)
    amsgrad: bool = False
    start_from: Count | None = None

    @model_validator(mode="after")
    def _whole_microbatches(self) -> "Recipe":
        for name in ("batch", "critic_batch"):
            if getattr(self, name) % self.microbatches:
                raise ValueError(
                    f"{name}: got {getattr(self, name)} with microbatches {self.microbatches}, expected a multiple"
                )
        return self


class SequentialRecipe(Frozen):
    """Sequential training of HSIVI (Algorithm 1), layer by layer.

    Attributes:
        objective: ``sm`` for SIVI-SM, ``lb`` for SIVI-LB.
        bridge: ``geometric`` (Example 1) or ``diffusion`` (Example 2, needs a target whose diffused scores are known).
        ends_at_base: whether the geometric bridge's first distribution is the base itself.
        coordinates: ``raw``, or ``base`` for u = (x - mean) / std of the bridge's base distribution.
        hidden: hidden widths of the layers' means.
        critic_hidden: hidden widths of the critic.
        residual: which layers' means are residual: ``all``, ``all_but_first`` where the layer next to the prior is not,
            or ``none``.
        log_variance: initial log-variance of every layer.
        iterations: number of updates of each layer.
        batch: samples an update uses.
        auxiliaries: K of SIVI-LB, or None for all others of the batch.
        target: what SIVI-LB uses of the bridge, its ``density`` or its ``score`` alone (eq. (7)).
        critic: what the critic's network is: ``g`` of Proposition 1, or ``f`` = S - g of eq. (4).
        critic_updates: updates of the critic before each update of the layer.
        critic_warm_start: whether the critic starts where that of the layer before ended.
        learning_rate: Adam's initial rate for the layers.
        critic_learning_rate: Adam's initial rate for the critic.
        schedule: decay of both learning rates within each layer's training.
        ema: decay of the average of a layer's parameters that is kept, or None for the last iterate.
        adam_betas: Adam's decay rates.
        compile: whether losses with their gradients are compiled, for each layer anew; see `Hardware`.
    """

    objective: Literal["sm", "lb"]
    bridge: Literal["geometric", "diffusion"] = "geometric"
    ends_at_base: bool = False
    coordinates: Literal["raw", "base"] = "raw"
    hidden: tuple[Count, ...]
    critic_hidden: tuple[Count, ...] = ()
    residual: Literal["all", "all_but_first", "none"] = "all"
    log_variance: float = 0.0
    iterations: Count
    batch: Annotated[int, Field(ge=2)]
    auxiliaries: Count | None = None
    target: Literal["density", "score"] = "density"
    critic: Literal["g", "f"] = "g"
    critic_updates: Count = 1
    critic_warm_start: bool = False
    learning_rate: Positive
    critic_learning_rate: Positive | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    ema: Decay | None = None
    adam_betas: tuple[Decay, Decay] = (0.9, 0.99)
    compile: bool = False

    @model_validator(mode="after")
    def _settings_are_used(self) -> "SequentialRecipe":
        if self.objective == "sm" and (self.critic_learning_rate is None or not self.critic_hidden):
            raise ValueError(
                "objective: got 'sm' without critic_learning_rate and critic_hidden, expected both; add them"
            )
        unused = {
            "objective 'lb'": {
                "critic_hidden",
                "critic_learning_rate",
                "critic",
                "critic_updates",
                "critic_warm_start",
            },
            "objective 'sm'": {"auxiliaries", "target"},
            "bridge 'diffusion'": {"ends_at_base"},
        }
        for setting, names in unused.items():
            key, value = setting.replace("'", "").split()
            changed = sorted(n for n in names if getattr(self, n) != type(self).model_fields[n].default)
            if getattr(self, key) == value and changed:
                raise ValueError(f"{changed[0]}: got a value with {setting}, expected none: it is not used; remove it")
        if self.bridge == "diffusion" and self.coordinates == "base":
            raise ValueError("coordinates: got 'base' with bridge 'diffusion', expected 'raw', which its scores are in")
        if self.bridge == "diffusion" and self.objective == "lb" and self.target == "density":
            raise ValueError("target: got 'density' with bridge 'diffusion', expected 'score'; it has scores only")
        return self
