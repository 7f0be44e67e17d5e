"""The contract of a baseline's file: what can be said before its sampler runs."""

import ast
import re
from functools import cache

from hsivi import methods
from hsivi.baseline_file import describe, parse
from hsivi.config import ROOT, SCALES, check_choice, experiment_files, load_experiment
from hsivi.contract.case import Broken
from hsivi.contract.subject import DoesNotApply, Subject, accepted
from hsivi.experiment import Experiment, Method
from hsivi.new_baseline import NAME
from hsivi.sampler import make_config

ABOVE = ("baseline_file", "config", "contract", "data", "layout", "methods", "record", "sampler", "stages")
"""What knows baselines, and is not known to them."""


def name(subject: Subject) -> str | None:
    """Find a file name that cannot be a row's name."""
    stem = subject.path.stem
    return None if NAME.fullmatch(stem) else f"got {stem!r}, expected a name such as my_sampler; rename the file"


def python(subject: Subject) -> str | None:
    """Find a syntax error."""
    parse(subject.path)
    return None


def declarations(subject: Subject) -> str | None:
    """Find what is missing, or is no literal."""
    describe(subject.path)
    return None


def citation(subject: Subject) -> str | None:
    """Find a citation without an entry in the bibliography."""
    keys = tuple(re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "references.bib").read_text(), re.MULTILINE))
    try:
        check_choice("CITATION", subject.info.citation, keys)
    except ValueError as error:
        return f"{error}; a reference that is new goes into references.bib"
    return None


def imports(subject: Subject) -> str | None:
    """Find an import of what baselines are not to know."""
    for node in ast.walk(parse(subject.path)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = ["baselines"]
        else:
            continue
        for module in found:
            package, _, rest = module.partition(".")
            if package in ("baselines", "reports", "tests") or (package == "hsivi" and rest.startswith(ABOVE)):
                return (
                    f"got an import of {module} in line {node.lineno}, expected modules of hsivi that know no "
                    f"baselines, such as hsivi.problem, noise, schedule, hierarchy; copy what you need"
                )
    return None


def loading(subject: Subject) -> str | None:
    """Find an exception at import."""
    assert subject.baseline is not None
    return None


def settings(subject: Subject) -> str | None:
    """Find settings that its Config refuses."""
    for case in [*subject.offered, *subject.images]:
        assert case.config is not None
    return None


def rows(subject: Subject) -> str | None:
    """Find a row of an experiment that this file could not serve: its title, its budgets, its settings."""
    if subject.path not in methods.method_files().values():
        raise DoesNotApply("not checked, the file is not in baselines/ of this checkout")
    for experiment in _experiments():
        found = methods.rows(experiment)
        other = experiment.methods.get(subject.path.stem, Method()).baseline
        if other not in (None, subject.path.stem) and experiment.task in subject.info.tasks:
            return f"got a name under which {experiment.name}.yaml runs {other}, expected one of its own; rename it"
        labels = [label for label, row in found.items() if (row.baseline or label) == subject.path.stem]
        if not labels:
            continue
        others = {methods.title(experiment, label): label for label in found if label not in labels}
        for title in (methods.title(experiment, label) for label in labels):
            if title in others:
                return f"got the title {title!r} of {others[title]}, expected one of its own; change TITLE"
        for cell in methods.cells(experiment):
            if cell.label in labels:
                methods.check_budget(experiment, cell.label, cell.nfe)
                values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
                make_config(subject.baseline, values, f"{experiment.name}.yaml: {cell.label}")
    return None


@cache
def _experiments() -> list[Experiment]:
    return [load_experiment(name, scale) for name in experiment_files() for scale in SCALES]


def offers(subject: Subject) -> str | None:
    """Find a file that declines everything."""
    cases = [*subject.offered, *subject.images]
    if accepted(cases):
        return None
    return (
        f"got a reason not to run on every problem and time grid of the contract ({cases[-1].offer[1]}), expected None "
        f"for some; let skip return a reason only where the method cannot work"
    )


def fit(subject: Subject) -> str | None:
    """Find a training that fails, or returns something else than one state a seed."""
    if not subject.info.needs_fit:
        raise DoesNotApply("it has no fit")
    for case in subject.main:
        try:
            assert case.states
        except Broken as error:
            return f"{error} ({case.label})"
    return None
