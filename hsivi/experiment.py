"""The schema of an experiment: what workflows/experiments/*.yaml may say.  No torch here."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from hsivi.data_config import KNOWN_DATASETS, TARGETS, DataConfig
from hsivi.recipe import Count, Frozen, PretrainRecipe

_ANY_SCHEDULE = (
    *("hsivi", "full", "time_uniform", "logsnr", "fast_logsnr", "order2_logsnr", "order3_logsnr"),
    *("var_quadratic", "var_linear", "var_quadratic_uncapped", "var_linear_uncapped"),
)
TIME_GRIDS = {
    "quadratic": _ANY_SCHEDULE,
    "linear_beta": (
        *_ANY_SCHEDULE,
        "ddim_quad_floor",
        "quad_round",
        "uniform",
        "ends_included",
        "linear_floor",
        "iddim",
    ),
}
"""Names of `hsivi.time_grid.grids`, here so that a misspelt one is found before anything runs."""


Scope = Literal["core", "full"]
"""What a run includes: what the default run shows, or every row and budget of an experiment."""
Task = Literal["diffusion", "inference"]
"""What a method is given: a score model at every time, or a target's density and a bridge."""
TASKS: tuple[str, ...] = get_args(Task)
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*(-[a-z0-9_]+)?$")]


class QuadraticScheduleConfig(Frozen):
    """See `hsivi.schedule.QuadraticSchedule`."""

    kind: Literal["quadratic"]


class LinearBetaScheduleConfig(Frozen):
    """See `hsivi.schedule.LinearBetaSchedule`."""

    kind: Literal["linear_beta"]


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


class ExactConfig(Frozen):
    """No network: the score of the data under noise is known, as for a mixture of Gaussians."""

    kind: Literal["exact"]


class Method(Frozen):
    """One row of the comparison: a file in baselines/ with its settings.

    Attributes:
        baseline: the file's name; by default the row's own name.
        title: name for people; by default the file's.
        scope: the smallest scope that includes the row.
        protocol: ``common``, the same checkpoint and noise for all and the grid its paper recommends, or
            ``as_published``, the settings of its official code.
        grid: time grid, for all budgets or by budget; by default the experiment's.
        nfe: budgets in function evaluations; by default the experiment's.
        full_nfe: further budgets in scope full; by default the experiment's, unless ``nfe`` is given.
        extra_nfe: further budgets on some data sets.
        sample_sets: number of sample sets for a budget, where it differs from the experiment's.
        recipe: name of an entry of ``recipes`` that sets the baseline's Config.
        config: further values of the baseline's Config.
        enabled: whether the row is run at this scale.
    """

    baseline: Name | None = None
    title: str | None = None
    scope: Scope = "core"
    protocol: Literal["common", "as_published"] = "common"
    grid: str | Mapping[Count, str] | None = None
    nfe: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    full_nfe: tuple[Count, ...] | None = None
    extra_nfe: Mapping[str, tuple[Count, ...]] = Field(default_factory=dict)
    sample_sets: Mapping[Count, Count] = Field(default_factory=dict)
    recipe: str | None = None
    config: Mapping[str, Any] = Field(default_factory=dict)
    enabled: bool = True


class ScoreModelConfig(Frozen):
    """The diffusion whose score model the samplers are given.

    Attributes:
        schedule: noise schedule of the diffusion.
        network: architecture of the score model, the layers and the critic.
        pretrain: how the score model is trained, where it is a network.
        time_grids: time grid of each budget, for rows without one of their own.
    """

    schedule: Annotated[QuadraticScheduleConfig | LinearBetaScheduleConfig, Field(discriminator="kind")]
    network: Annotated[ScoreMLPConfig | UNetConfig | ExactConfig, Field(discriminator="kind")]
    pretrain: PretrainRecipe | None = None
    time_grids: Mapping[Count, str]

    @model_validator(mode="after")
    def _grids_exist(self) -> "ScoreModelConfig":
        for nfe, grid in self.time_grids.items():
            if grid not in TIME_GRIDS[self.schedule.kind]:
                raise ValueError(f"time_grids.{nfe}: got {grid!r}, expected {one_of(TIME_GRIDS[self.schedule.kind])}")
        return self

    @model_validator(mode="after")
    def _networks_are_trained(self) -> "ScoreModelConfig":
        if (self.pretrain is None) != self.exact:
            raise ValueError(
                f"pretrain: got {'a recipe' if self.exact else 'none'} with network.kind {self.network.kind!r}, "
                f"expected {'none: there is nothing to train' if self.exact else 'a recipe'}"
            )
        return self

    @property
    def exact(self) -> bool:
        """Whether the score is a formula."""
        return isinstance(self.network, ExactConfig)

    @property
    def trained(self) -> tuple[ScoreMLPConfig | UNetConfig, PretrainRecipe]:
        """The network and how it is trained.

        Raises:
            ValueError: the score is a formula.
        """
        if isinstance(self.network, ExactConfig) or self.pretrain is None:
            raise ValueError("score_model: got an exact one, expected a network; there is nothing to train")
        return self.network, self.pretrain


class Experiment(Frozen):
    """One experiment at one scale.

    Attributes:
        name: as in the file's name.
        title: one line for people.
        source: where in the paper.
        scale: smoke, quick or paper.
        scope: which rows and budgets are meant.
        data: what is modelled.
        score_model: the diffusion model of the data; without one the experiment is about inference.
        seeds: one run of training and sampling each; mean and deviation are over these.
        num_samples: samples a run draws for its metrics.
        sample_sets: independent sets of that many samples that a run's metrics are averaged over.
        nfe: default budgets, the paper's T.
        full_nfe: further default budgets in scope full.
        methods: settings of rows; a file in baselines/ that none of them uses runs with the defaults.
        recipes: named settings for methods; ``overrides`` refines them by data set and NFE.
    """

    name: Name
    title: str
    source: str
    scale: Literal["smoke", "quick", "paper"]
    scope: Scope = "full"
    data: Annotated[DataConfig, Field(discriminator="kind")]
    score_model: ScoreModelConfig | None = None
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    num_samples: Annotated[int, Field(ge=100)]
    sample_sets: Count = 1
    nfe: Annotated[tuple[Count, ...], Field(min_length=1)]
    full_nfe: tuple[Count, ...] = ()
    methods: Mapping[Name, Method]
    recipes: Mapping[str, "NamedRecipe"] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _references_exist(self) -> "Experiment":
        for label, method in self.methods.items():
            if method.recipe is not None and method.recipe not in self.recipes:
                raise ValueError(f"methods.{label}.recipe: got {method.recipe!r}, expected {one_of(self.recipes)}")
            unknown = set(method.extra_nfe) - set(self.data.datasets)
            if unknown:
                raise ValueError(
                    f"methods.{label}.extra_nfe: got {sorted(unknown)}, expected {one_of(self.data.datasets)}"
                )
            self._check_grids(label, method)
        for name, recipe in self.recipes.items():
            for override in recipe.overrides:
                unknown = set(override.datasets or ()) - set(KNOWN_DATASETS[self.data.kind])
                if unknown:
                    raise ValueError(
                        f"recipes.{name}.overrides: got data sets {sorted(unknown)}, expected "
                        f"{one_of(KNOWN_DATASETS[self.data.kind])}"
                    )
        return self

    @model_validator(mode="after")
    def _data_and_score_model_agree(self) -> "Experiment":
        model, kind = self.score_model, self.data.kind
        if model is None and kind not in TARGETS:
            raise ValueError(f"score_model: got none with data of kind {kind!r}, expected one")
        if model is not None and model.exact != (kind in TARGETS):
            raise ValueError(
                f"score_model: got network.kind {model.network.kind!r} with data of kind {kind!r}, expected "
                f"{'exact, or no score_model' if kind in TARGETS else 'a network'}"
            )
        if model is not None and kind == "posterior":
            raise ValueError("score_model: got one with data of kind 'posterior', expected none: it has no exact one")
        return self

    def _check_grids(self, label: str, method: Method) -> None:
        used = method.grid.values() if isinstance(method.grid, Mapping) else [method.grid] if method.grid else []
        known = TIME_GRIDS[self.score_model.schedule.kind] if self.score_model else ()
        for name in used:
            if name not in known:
                raise ValueError(f"methods.{label}.grid: got {name!r}, expected {one_of(known)}")

    @property
    def task(self) -> Task:
        """What its methods are given."""
        return "inference" if self.score_model is None else "diffusion"

    @property
    def pretrains(self) -> bool:
        """Whether it has a score model that is trained."""
        return self.score_model is not None and not self.score_model.exact

    @property
    def diffusion(self) -> ScoreModelConfig:
        """The score model of an experiment that has one.

        Raises:
            ValueError: it has none.
        """
        if self.score_model is None:
            raise ValueError(f"{self.name}: got an experiment without score_model, expected one with; ask `task` first")
        return self.score_model

    def recipe_values(self, label: str, dataset: str, nfe: int) -> dict[str, Any]:
        """Return the Config values of one cell: its recipe, the recipe's overrides, then its own ``config``."""
        method = self.methods.get(label, Method())
        values: dict[str, Any] = {}
        if method.recipe is not None:
            recipe = self.recipes[method.recipe]
            values.update(recipe.values)
            for override in recipe.overrides:
                if override.applies(dataset, nfe):
                    values.update(override.values)
        return {**values, **method.config}


class Override(Frozen):
    """Values that replace a recipe's on some data sets and budgets.

    Attributes:
        datasets: where; everywhere if not given.
        nfe: at which budgets; at all if not given.
        values: what is replaced.
    """

    datasets: tuple[str, ...] | None = None
    nfe: tuple[int, ...] | None = None
    values: Mapping[str, Any]

    def applies(self, dataset: str, nfe: int) -> bool:
        """Return whether the override holds for a cell."""
        return (self.datasets is None or dataset in self.datasets) and (self.nfe is None or nfe in self.nfe)


class NamedRecipe(Frozen):
    """A named set of Config values.

    Attributes:
        values: the values.
        overrides: exceptions, later ones win.
    """

    values: Mapping[str, Any]
    overrides: tuple[Override, ...] = ()


def one_of(known: Any) -> str:
    """Return the words "one of a, b, c"."""
    names = [str(k) for k in known]
    return "one of " + ", ".join(names) if names else "nothing, since none are defined"
