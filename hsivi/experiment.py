"""The schema of an experiment: what workflows/experiments/*.yaml may say.  No torch here."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from hsivi.data_config import KNOWN_DATASETS, TARGETS, DataConfig
from hsivi.recipe import Count, Frozen
from hsivi.score_model_config import TIME_GRIDS, ScoreModelConfig, one_of

Scope = Literal["core", "full"]
"""What a run includes: what the default run shows, or every row and budget of an experiment."""
Task = Literal["diffusion", "inference"]
"""What a method is given: a score model at every time, or a target's density and a bridge."""
TASKS: tuple[str, ...] = get_args(Task)
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*(-[a-z0-9_]+)?$")]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"got {text[:60]!r}, expected characters that are printed, in one line")
    return text


Title = Annotated[str, AfterValidator(_printable)]
FileName = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]
"""Names that become folders; without a hyphen, which only rows have."""


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
    title: Title | None = None
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


class Timing(Frozen):
    """How sampling is timed  (HSIVI, Figure 13), with random weights, on which no duration depends.

    Attributes:
        nfe: budget of function evaluations.
        batch: images drawn at once.
        warm_up: runs before the clock starts.
        runs: timed runs.
    """

    nfe: Count
    batch: Count
    warm_up: Count
    runs: Annotated[int, Field(ge=3)]


class Experiment(Frozen):
    """One experiment at one scale.

    Attributes:
        name: as in the file's name.
        title: one line for people.
        source: where in the paper.
        by_default: whether a run that names no experiments includes it.
        scale: smoke, quick or paper.
        scope: which rows and budgets are meant.
        data: what is modelled.
        score_model: the diffusion model of the data; without one the experiment is about inference.
        seeds: one run of training and sampling each; mean and deviation are over these.
        train_once: whether only the first seed trains, so that deviations are over seeds of sampling.
        num_samples: samples a run draws for its metrics.
        sample_sets: independent sets of that many samples that a run's metrics are averaged over.
        nfe: default budgets, the paper's T.
        full_nfe: further default budgets in scope full.
        timing: how sampling is timed, if it is.
        methods: settings of rows; a file in baselines/ that none of them uses runs with the defaults.
        others: whether such files run at all, or ``methods`` names every row.
        recipes: named settings for methods; ``overrides`` refines them by data set and NFE.
    """

    name: FileName
    title: Title
    source: Title
    by_default: bool = True
    scale: Literal["smoke", "quick", "paper"]
    scope: Scope = "full"
    data: Annotated[DataConfig, Field(discriminator="kind")]
    score_model: ScoreModelConfig | None = None
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    train_once: bool = False
    num_samples: Annotated[int, Field(ge=10)]
    sample_sets: Count = 1
    nfe: Annotated[tuple[Count, ...], Field(min_length=1)]
    full_nfe: tuple[Count, ...] = ()
    timing: Timing | None = None
    methods: Mapping[Name, Method]
    others: bool = True
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
    def training_seeds(self) -> tuple[int, ...]:
        """The seeds with which methods train."""
        return self.seeds[:1] if self.train_once else self.seeds

    @property
    def pretrains(self) -> bool:
        """Whether it has a score model that is a network, trained here or elsewhere."""
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
    nfe: tuple[Annotated[int, Field(ge=0)], ...] | None = None
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
