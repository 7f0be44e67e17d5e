"""Baselines in experiments: which rows and cells there are, found by the paths of baselines/<name>.py.

A baseline is found by its path, and its facts are read from the source text (`hsivi.baseline_file`), so that the
Snakefile and the reports need no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from hsivi.baseline_file import MethodInfo as MethodInfo
from hsivi.baseline_file import describe as describe
from hsivi.config import ROOT, ConfigError, check_choice, validate_config
from hsivi.experiment import Experiment, Method


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
    folder = ROOT / "baselines"
    return dict(_listed(folder, folder.stat().st_mtime_ns))


@cache
def _listed(folder: Path, _: int) -> tuple[tuple[str, Path], ...]:
    """List the files of a folder, again only when its time stamp says that one came or went: every cell asks."""
    return tuple((p.stem, p) for p in sorted(folder.glob("*.py")) if not p.stem.startswith("_"))


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
        starts_from(experiment, cell)
    timed_cells(experiment)


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
    """Return the rows of an experiment in its scope: those it configures, and files that none of them uses.

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
    others = _others(experiment, {n: describe(path) for n, path in files.items() if n not in used})
    every = {**others, **configured}
    return {
        label: method
        for label, method in every.items()
        if method.enabled and (experiment.scope == "full" or method.scope == "core")
    }


def _others(experiment: Experiment, unused: Mapping[str, MethodInfo]) -> dict[str, Method]:
    """Return a row of defaults for each file that no row of an experiment uses and that takes part unasked."""
    unasked = [n for n, known in unused.items() if known.by_default and experiment.task in known.tasks]
    return dict.fromkeys(unasked, Method()) if experiment.others else {}


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
            own = _budgets(experiment, method) | {*method.extra_nfe.get(dataset, ())}
            for nfe in sorted(own if fixed is None else fixed):
                found.append(Cell(experiment.scale, experiment.name, dataset, label, nfe))
    return found


def timed_cells(experiment: Experiment) -> list[Cell]:
    """Return the cells whose sampling is timed: every row at the budget of ``timing``, in the order of the tables.

    Raises:
        ConfigError: the experiment cannot be timed, since its data are no images or its score is a formula.
    """
    if experiment.timing is None:
        return []
    if experiment.data.kind != "images" or not experiment.pretrains:
        raise ConfigError(
            f"{experiment.name}.yaml: timing: got it with data of kind {experiment.data.kind!r}, expected images and a "
            f"network; remove the section"
        )
    return [cell for cell in cells(experiment) if cell.nfe == experiment.timing.nfe]


def starts_from(experiment: Experiment, cell: Cell) -> list[Cell]:
    """Return the cell whose training is where a cell's training starts, if its setting ``start_from`` names one.

    Raises:
        ConfigError: the experiment does not train the row with that budget, or trainings start from one another.
    """
    earlier = experiment.recipe_values(cell.label, cell.dataset, cell.nfe).get("start_from")
    if earlier is None:
        return []
    wanted = replace(cell, nfe=earlier)
    known = [c for c in cells(experiment) if (c.dataset, c.label) == (cell.dataset, cell.label)]
    if wanted not in known or earlier == cell.nfe:
        budgets = ", ".join(str(c.nfe) for c in known if c.nfe != cell.nfe) or "no other"
        raise ConfigError(
            f"{experiment.name}.yaml: {cell.label}: got start_from {earlier} at NFE {cell.nfe}, expected another "
            f"budget of that row (it has {budgets}); add the budget or change start_from"
        )
    chain = [cell.nfe]
    while earlier is not None:
        chain.append(earlier)
        if len(set(chain)) < len(chain):
            raise ConfigError(
                f"{experiment.name}.yaml: {cell.label}: got start_from in a circle, NFE {', '.join(map(str, chain))}, "
                f"expected a first training; remove one of them"
            )
        earlier = experiment.recipe_values(cell.label, cell.dataset, earlier).get("start_from")
    return [wanted]


def _budgets(experiment: Experiment, method: Method) -> set[int]:
    core = experiment.nfe if method.nfe is None else method.nfe
    further = experiment.full_nfe if method.nfe is None and method.full_nfe is None else method.full_nfe or ()
    return {*core, *(further if experiment.scope == "full" else ())}


def time_grid_name(experiment: Experiment, label: str, nfe: int) -> str | None:
    """Return the name of the time grid of a cell, or None where there is none: no evaluations, or no diffusion.

    Raises:
        ConfigError: the experiment declares no grid for that budget.
    """
    if experiment.score_model is None or nfe == 0:
        return None
    own = rows(experiment)[label].grid
    if isinstance(own, str):
        return own
    grids = own if own is not None else experiment.score_model.time_grids
    if nfe not in grids:
        raise ConfigError(
            f"{experiment.name}.yaml: time_grids: got no grid for NFE {nfe} (method {label}), expected one for every "
            f"budget; add '{nfe}: hsivi' or remove the budget"
        )
    return grids[nfe]


def protocol(experiment: Experiment, label: str) -> str:
    """Return the protocol of a row: common or as_published."""
    return rows(experiment)[label].protocol


def title(experiment: Experiment, label: str) -> str:
    """Return how a row is called for people."""
    return rows(experiment)[label].title or info(experiment, label).title


def sample_sets(experiment: Experiment, label: str, nfe: int) -> int:
    """Return how many independent sample sets a run of a cell draws."""
    return rows(experiment)[label].sample_sets.get(nfe, experiment.sample_sets)
