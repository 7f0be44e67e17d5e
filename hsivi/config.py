"""Experiments as data: one YAML file describes one experiment at the scales smoke, quick and paper.

Wherever a value differs between scales, the file gives a mapping with exactly the keys ``smoke``, ``quick`` and
``paper`` in its place, so that the file reads like the paper's hyper-parameter tables.  A key that is not declared
below is an error.  Nothing here needs torch: the Snakefile and the reports import this module.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from hsivi.recipe import Count, Frozen, PretrainRecipe

SCALES = ("smoke", "quick", "paper")
ROOT = Path(__file__).resolve().parent.parent
"""The checkout: experiments, baselines and reports are found here, results go to the working directory."""

ToyName = Literal["checkerboard", "swissroll", "circles", "moons"]
DigitsName = Literal["digits"]
KNOWN_DATASETS = {"toy2d": get_args(ToyName), "digits": get_args(DigitsName)}
TIME_GRIDS = {"quadratic": ("hsivi", "full"), "linear_beta": ("hsivi", "ddim_quad", "full")}
"""Names of `hsivi.schedule.Schedule.time_grid`, here so that a misspelt one is found before anything runs."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*(-[a-z0-9_]+)?$")]


class ConfigError(ValueError):
    """Input of the user's that cannot be used; the message says what was given, expected, and what to do."""


class ToyData(Frozen):
    """2-D data that can be drawn at will.

    Attributes:
        datasets: names of the targets.
        seed: seed of the reference draw.
        reference_draws: size of the draw that fixes the transform and the metrics' references.
        floor_pairs: pairs of target samples that measure each metric's floor.
    """

    kind: Literal["toy2d"]
    datasets: tuple[ToyName, ...]
    seed: int
    reference_draws: Annotated[int, Field(ge=100_000)]
    floor_pairs: Count


class DigitsData(Frozen):
    """scikit-learn's handwritten digits.

    Attributes:
        datasets: one name.
        seed: seed of the split.
        held_out_fraction: share of the images that are never trained on.
        classifier_epochs: training length of the classifier whose features the metrics use.
    """

    kind: Literal["digits"]
    datasets: tuple[DigitsName, ...]
    seed: int
    held_out_fraction: Annotated[float, Field(gt=0, lt=1)]
    classifier_epochs: Count


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


class Method(Frozen):
    """One row of the comparison: a file in baselines/ with its settings.

    Attributes:
        baseline: the file's name; by default the row's own name.
        nfe: budgets in function evaluations; by default the experiment's.
        extra_nfe: further budgets on some data sets.
        sample_sets: number of sample sets for a budget, where it differs from the experiment's.
        recipe: name of an entry of ``recipes`` that sets the baseline's Config.
        config: further values of the baseline's Config.
        enabled: whether the row is run at this scale.
    """

    baseline: Name | None = None
    nfe: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    extra_nfe: Mapping[str, tuple[Count, ...]] = Field(default_factory=dict)
    sample_sets: Mapping[Count, Count] = Field(default_factory=dict)
    recipe: str | None = None
    config: Mapping[str, Any] = Field(default_factory=dict)
    enabled: bool = True


class Experiment(Frozen):
    """One experiment at one scale.

    Attributes:
        name: as in the file's name.
        title: one line for people.
        source: where in the paper.
        scale: smoke, quick or paper.
        data: what is modelled.
        schedule: noise schedule of the diffusion.
        network: architecture of the score model, the layers and the critic.
        pretrain: how the score model is trained.
        seeds: one run of training and sampling each; mean and deviation are over these.
        num_samples: samples a run draws for its metrics.
        sample_sets: independent sets of that many samples that a run's metrics are averaged over.
        nfe: default budgets.
        time_grids: time grid of each budget.
        methods: settings of rows; a file in baselines/ that is not mentioned runs with the defaults.
        recipes: named settings for methods; ``overrides`` refines them by data set and NFE.
    """

    name: Name
    title: str
    source: str
    scale: Literal["smoke", "quick", "paper"]
    data: Annotated[ToyData | DigitsData, Field(discriminator="kind")]
    schedule: Annotated[QuadraticScheduleConfig | LinearBetaScheduleConfig, Field(discriminator="kind")]
    network: Annotated[ScoreMLPConfig | UNetConfig, Field(discriminator="kind")]
    pretrain: PretrainRecipe
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    num_samples: Annotated[int, Field(ge=100)]
    sample_sets: Count = 1
    nfe: Annotated[tuple[Count, ...], Field(min_length=1)]
    time_grids: Mapping[Count, str]
    methods: Mapping[Name, Method]
    recipes: Mapping[str, "NamedRecipe"] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _references_exist(self) -> "Experiment":
        for label, method in self.methods.items():
            if method.recipe is not None and method.recipe not in self.recipes:
                raise ValueError(f"methods.{label}.recipe: got {method.recipe!r}, expected {_one_of(self.recipes)}")
            unknown = set(method.extra_nfe) - set(self.data.datasets)
            if unknown:
                raise ValueError(
                    f"methods.{label}.extra_nfe: got {sorted(unknown)}, expected {_one_of(self.data.datasets)}"
                )
        for name, recipe in self.recipes.items():
            for override in recipe.overrides:
                unknown = set(override.datasets or ()) - set(KNOWN_DATASETS[self.data.kind])
                if unknown:
                    raise ValueError(
                        f"recipes.{name}.overrides: got data sets {sorted(unknown)}, expected "
                        f"{_one_of(KNOWN_DATASETS[self.data.kind])}"
                    )
        for nfe, grid in self.time_grids.items():
            if grid not in TIME_GRIDS[self.schedule.kind]:
                raise ValueError(f"time_grids.{nfe}: got {grid!r}, expected {_one_of(TIME_GRIDS[self.schedule.kind])}")
        return self

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


def experiment_files() -> dict[str, Path]:
    """Return the experiment files by name."""
    return {path.stem: path for path in sorted((ROOT / "workflows" / "experiments").glob("*.yaml"))}


def load_experiment(name: str, scale: str) -> Experiment:
    """Read one experiment at one scale.

    Raises:
        ConfigError: there is no such experiment or scale, or the file cannot be used.
    """
    files = experiment_files()
    check_choice("experiment", name, files)
    return parse_experiment(files[name], scale)


def parse_experiment(path: Path, scale: str) -> Experiment:
    """Read an experiment from a file; errors as `load_experiment`."""
    check_choice("scale", scale, SCALES)
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: got no such file, expected an experiment; check the path") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"{path}: got text that is not YAML ({problem}), expected YAML; correct that place"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: got {type(content).__name__}, expected a mapping; see workflows/experiments")
    try:
        return Experiment.model_validate({**at_scale(content, scale), "scale": scale})
    except ValidationError as error:
        raise ConfigError(f"{path.name} at scale {scale}: {_first_error(error)}") from error


def at_scale(node: Any, scale: str) -> Any:
    """Replace every mapping whose keys are exactly the scales by its value at ``scale``."""
    if isinstance(node, dict):
        if set(node) == set(SCALES):
            return at_scale(node[scale], scale)
        return {key: at_scale(value, scale) for key, value in node.items()}
    if isinstance(node, list):
        return [at_scale(value, scale) for value in node]
    return node


def check_choice(what: str, given: str, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Raise `ConfigError` unless ``given`` is one of ``known``, and suggest the nearest name."""
    if given not in known:
        near = difflib.get_close_matches(str(given), list(known), 1)
        hint = f"did you mean {near[0]!r}?" if near else "choose a listed name"
        raise ConfigError(f"{what}: got {given!r}, expected {_one_of(known)}; {hint}")


def validate_config(kind: type[Frozen] | Any, values: Mapping[str, Any], where: str) -> Any:
    """Build a pydantic model or dataclass from values, with one-line errors."""
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_error(error)}") from error


def _one_of(known: Any) -> str:
    names = [str(k) for k in known]
    return "one of " + ", ".join(names) if names else "nothing, since none are defined"


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}: got a key that is not known, expected a declared one; correct its spelling or remove it{more}"
    if first["type"] == "missing":
        return f"{where}: got nothing, expected a value; add the key{more}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where + ': ' if where else ''}{message}; correct the file{more}"
    message = message[0].lower() + message[1:]
    return f"{where}: got {first['input']!r}, expected: {message}; correct the value{more}"
