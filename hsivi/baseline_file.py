"""Baselines as files: what baselines/<name>.py declares, read from its source without running it.

The Snakefile and the reports need no torch that way.  Read are the module docstring, the literal constants ``TITLE``,
``CITATION``, ``NFE`` (budgets, where the experiment's do not apply), ``TASKS`` (the kinds of experiments it takes part
in, ``diffusion`` if not given), ``LIMIT`` (False where more evaluations do not lead to the data) and ``BY_DEFAULT``
(False where only experiments that name the file run it), whether there is a function ``fit``, and the field names of a
``Config`` defined there.
"""

import ast
import contextlib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hsivi import recipe
from hsivi.config import ConfigError
from hsivi.experiment import TASKS
from hsivi.recipe import Frozen
from hsivi.score_model_config import one_of


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
        limit: whether its samples are the data's as evaluations grow, which the contract then checks.
        by_default: whether experiments run it that do not name it.
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
    limit: bool
    by_default: bool
    needs_fit: bool
    config_fields: tuple[str, ...]
    recipe: type[Frozen] | None


@cache
def describe(path: Path) -> MethodInfo:
    """Read the facts about a baseline from its source.

    Raises:
        ConfigError: the file is not valid Python or lacks what every baseline declares.
    """
    tree = parse(path)
    constants = _literals(tree, path.name)
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
        limit=constants.get("LIMIT", True),
        by_default=constants.get("BY_DEFAULT", True),
        needs_fit="fit" in functions,
        config_fields=fields,
        recipe=_recipe(tree),
    )


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a baseline file.

    Raises:
        ConfigError: it is not valid Python.
    """
    try:
        return ast.parse(path.read_text())
    except (SyntaxError, ValueError) as error:  # ValueError: bytes that are not text
        line = getattr(error, "lineno", None)
        where = f"in line {line} ({getattr(error, 'msg', error)})" if line else f"({error})"
        raise ConfigError(f"baselines/{path.name}: got invalid Python {where}, expected Python; correct it") from error


def _literals(tree: ast.Module, file: str) -> dict[str, Any]:
    """Return the constants that a file declares; those of `_DECLARED` have to be literals of the right kind."""
    found: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name) or node.value is None:
            continue
        with contextlib.suppress(ValueError):
            found[target.id] = ast.literal_eval(node.value)
        expected, fits = _DECLARED.get(target.id, ("", lambda value: True))
        if expected and not (target.id in found and fits(found[target.id])):
            raise ConfigError(
                f"baselines/{file}: got {target.id} = {ast.unparse(node.value)}, expected {expected}, spelt out "
                f"because it is read without running the file; change it"
            )
    return found


def _filled_with(values: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(values, tuple) and len(values) > 0 and all(fits(value) for value in values)


_DECLARED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "TITLE": ("a string", lambda value: isinstance(value, str) and bool(value)),
    "CITATION": ("a string", lambda value: isinstance(value, str)),
    "NFE": ("budgets such as (0,)", lambda value: _filled_with(value, lambda n: type(n) is int and n >= 0)),
    "TASKS": (f"a tuple with {one_of(TASKS)}", lambda value: _filled_with(value, lambda task: task in TASKS)),
    "LIMIT": ("True or False", lambda value: isinstance(value, bool)),
    "BY_DEFAULT": ("True or False", lambda value: isinstance(value, bool)),
}


def _config_fields(tree: ast.Module) -> tuple[str, ...] | None:
    """Return the fields of ``class Config``, or of the recipe in ``Config = SomeRecipe``; None without a Config."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            annotated = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
            return tuple(target.id for target in annotated if isinstance(target, ast.Name))
    model = _recipe(tree)
    return tuple(model.model_fields) if model is not None else None


def _recipe(tree: ast.Module) -> type[Frozen] | None:
    """Return the model in ``Config = SomeRecipe`` if a module of recipes has it; those need no torch."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "Config":
            found: type[Frozen] | None = (
                getattr(_recipes(tree, node.value.id), node.value.id, None)
                if isinstance(node.value, ast.Name)
                else None
            )
            return found
    return None


def _recipes(tree: ast.Module, name: str) -> ModuleType:
    """Return the module ``hsivi.*recipe`` that a file imports a name from, or `hsivi.recipe`."""
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or name not in [alias.name for alias in node.names]:
            continue
        if re.fullmatch(r"hsivi\.\w*recipe", module := node.module or ""):
            return importlib.import_module(module)
    return recipe
