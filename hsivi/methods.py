"""Baselines as files: what the workflow needs to know about baselines/<name>.py without running it.

A baseline is found by its path.  Its facts are read from the source text, so that the Snakefile and the reports need
no torch: the module docstring, the literal constants ``TITLE``, ``CITATION``, ``NFE`` (budgets, where the
experiment's do not apply) and ``TASKS`` (the kinds of experiments it takes part in, ``diffusion`` if not given),
whether there is a function ``fit``, and the field names of a ``Config`` defined there.
"""

import ast
import contextlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hsivi import recipe
from hsivi.config import ROOT, ConfigError, check_choice, validate_config
from hsivi.experiment import Experiment, Method
from hsivi.recipe import Frozen


@dataclass(frozen=True)
class MethodInfo:
    """Facts about one baseline file.

    Attributes:
        name: file name without its ending.
        path: the file.
        title: name for people.
        citation: key of the reference.
        summary: first line of the module docstring.
        nfe: the budgets it always uses, or None if the experiment decides.
        tasks: kinds of experiments it can take part in.
        needs_fit: whether it has a ``fit``.
        config_fields: names of its settings.
        recipe: what validates its settings, where that needs no torch.
    """

    name: str
    path: Path
    title: str
    citation: str
    summary: str
    nfe: tuple[int, ...] | None
    tasks: tuple[str, ...]
    needs_fit: bool
    config_fields: tuple[str, ...]
    recipe: type[Frozen] | None


@dataclass(frozen=True)
class Cell:
    """One measured cell of the comparison.

    Attributes:
        scale: smoke, quick or paper.
        experiment: experiment name.
        dataset: data set name.
        label: row of the comparison.
        nfe: budget of function evaluations.
    """

    scale: str
    experiment: str
    dataset: str
    label: str
    nfe: int

    def command(self, stage: str) -> str:
        """Return the command line that makes this cell's output of a stage."""
        return (
            f"python -m hsivi {stage} --scale {self.scale} --experiment {self.experiment} --dataset {self.dataset} "
            f"--method {self.label} --nfe {self.nfe}"
        )


def method_files() -> dict[str, Path]:
    """Return the baseline files by name."""
    return {p.stem: p for p in sorted((ROOT / "baselines").glob("*.py")) if not p.stem.startswith("_")}


@cache
def describe(path: Path) -> MethodInfo:
    """Read the facts about a baseline from its source.

    Raises:
        ConfigError: the file is not valid Python or lacks what every baseline declares.
    """
    try:
        tree = ast.parse(path.read_text())
    except SyntaxError as error:
        raise ConfigError(
            f"baselines/{path.name}: got invalid Python in line {error.lineno}, expected Python; correct it"
        ) from error
    constants = _literals(tree)
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    docstring, fields = ast.get_docstring(tree), _config_fields(tree)
    needed = {
        "module docstring": docstring,
        "TITLE = '...'": isinstance(constants.get("TITLE"), str),
        "CITATION = '...'": isinstance(constants.get("CITATION"), str),
        "class Config": fields is not None,
        "function sample(problem, config, noise, state)": "sample" in functions,
    }
    for what, there in needed.items():
        if not there:
            raise ConfigError(f"baselines/{path.name}: got no {what}, expected one in every baseline; add it")
    assert docstring is not None and fields is not None
    return MethodInfo(
        name=path.stem,
        path=path,
        title=constants["TITLE"],
        citation=constants["CITATION"],
        summary=docstring.splitlines()[0],
        nfe=constants.get("NFE"),
        tasks=constants.get("TASKS", ("diffusion",)),
        needs_fit="fit" in functions,
        config_fields=fields,
        recipe=_recipe(tree),
    )


def _literals(tree: ast.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def _config_fields(tree: ast.Module) -> tuple[str, ...] | None:
    """Return the fields of ``class Config``, or of the recipe in ``Config = SomeRecipe``; None without a Config."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            annotated = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
            return tuple(target.id for target in annotated if isinstance(target, ast.Name))
    model = _recipe(tree)
    return tuple(model.model_fields) if model is not None else None


def _recipe(tree: ast.Module) -> type[Frozen] | None:
    """Return the model of `hsivi.recipe` in ``Config = SomeRecipe``, if there is one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "Config":
            found: type[Frozen] | None = (
                getattr(recipe, node.value.id, None) if isinstance(node.value, ast.Name) else None
            )
            return found
    return None


def check(experiment: Experiment) -> None:
    """Find mistakes in the settings of an experiment's cells before anything runs.

    Raises:
        ConfigError: a budget cannot be used, two rows have one name, or a method's settings are not known or not valid.
    """
    titles: dict[str, str] = {}
    for label in rows(experiment):
        if (other := titles.setdefault(title(experiment, label), label)) != label:
            raise ConfigError(
                f"{experiment.name}.yaml: methods: got the title {title(experiment, label)!r} for {other} and {label}, "
                f"expected a title for each; add a title to one of them"
            )
    for cell in cells(experiment):
        known, where = info(experiment, cell.label), f"{experiment.name}.yaml: {cell.label}"
        values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
        for key in values:
            check_choice(f"{where}: config key", key, known.config_fields)
        if known.recipe is not None:
            validate_config(known.recipe, values, where)
        check_budget(experiment, cell.label, cell.nfe)


def check_budget(experiment: Experiment, label: str, nfe: int) -> None:
    """Find out whether a row can use a budget.

    Raises:
        ConfigError: the method takes another number of evaluations, or the experiment has no time grid for it.
    """
    fixed = info(experiment, label).nfe
    if (nfe not in fixed) if fixed is not None else (nfe < 1):
        expected = f"one of {', '.join(map(str, fixed))}" if fixed is not None else "at least 1"
        raise ConfigError(f"{experiment.name}.yaml: {label}: got a budget of {nfe}, expected {expected}; change it")
    time_grid_name(experiment, label, nfe)


def rows(experiment: Experiment) -> dict[str, Method]:
    """Return the enabled rows of an experiment: those it configures, and every file that none of them uses.

    Raises:
        ConfigError: a row names a baseline that has no file, or one that cannot take part.
    """
    files = method_files()
    configured = dict(experiment.methods)
    used = set()
    for label, method in configured.items():
        name = method.baseline or label
        check_choice(f"{experiment.name}.yaml: methods.{label}.baseline", name, files)
        tasks = describe(files[name]).tasks
        if experiment.task not in tasks:
            raise ConfigError(
                f"{experiment.name}.yaml: methods.{label}: got baseline {name!r} for {', '.join(tasks)}, expected one "
                f"for {experiment.task}; remove the row"
            )
        used.add(name)
    others = {n: Method() for n in files if n not in used and experiment.task in describe(files[n]).tasks}
    return {label: method for label, method in {**others, **configured}.items() if method.enabled}


def info(experiment: Experiment, label: str) -> MethodInfo:
    """Return the facts about the baseline behind a row.

    Raises:
        ConfigError: there is no such row.
    """
    known = rows(experiment)
    check_choice("method", label, known)
    return describe(method_files()[known[label].baseline or label])


def cells(experiment: Experiment) -> list[Cell]:
    """Return every cell of an experiment in the order of the tables."""
    found = []
    for dataset in experiment.data.datasets:
        for label, method in rows(experiment).items():
            fixed = info(experiment, label).nfe
            budgets = fixed if fixed is not None else (method.nfe if method.nfe is not None else experiment.nfe)
            extra = () if fixed is not None else method.extra_nfe.get(dataset, ())
            for nfe in sorted({*budgets, *extra}):
                found.append(Cell(experiment.scale, experiment.name, dataset, label, nfe))
    return found


def time_grid_name(experiment: Experiment, label: str, nfe: int) -> str | None:
    """Return the name of the time grid of a cell, or None where there is none: no evaluations, or no diffusion.

    Raises:
        ConfigError: the experiment declares no grid for that budget.
    """
    if experiment.score_model is None or nfe == 0:
        return None
    grids = experiment.score_model.time_grids
    if nfe not in grids:
        raise ConfigError(
            f"{experiment.name}.yaml: time_grids: got no grid for NFE {nfe} (method {label}), expected one for every "
            f"budget; add '{nfe}: hsivi' or remove the budget"
        )
    return grids[nfe]


def title(experiment: Experiment, label: str) -> str:
    """Return how a row is called for people."""
    return rows(experiment)[label].title or info(experiment, label).title


def sample_sets(experiment: Experiment, label: str, nfe: int) -> int:
    """Return how many independent sample sets a run of a cell draws."""
    return rows(experiment)[label].sample_sets.get(nfe, experiment.sample_sets)
