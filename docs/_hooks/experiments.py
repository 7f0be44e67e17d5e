"""The experiments: what workflows/experiments/*.yaml say at each scale, as tables."""

import html
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from hsivi.config import SCALES, experiment_files, load_experiment
from hsivi.experiment import Experiment, Method
from hsivi.methods import Cell, cells, info, rows, time_grid_name, title
from hsivi.problem import build_schedule
from hsivi.score_model_config import CosineScheduleConfig, LinearBetaScheduleConfig, QuadraticScheduleConfig
from hsivi.time_grid import grids as time_grids

NOTHING = "–"
SHARED = ("kind", "datasets", "seed")
"""Settings of data that are said elsewhere, or tell nothing."""


def overview() -> str:
    """Return one line for every experiment."""
    lines = ["| experiment | what | in the paper | runs |", "| --- | --- | --- | --- |"]
    for name in experiment_files():
        found = load(name, "quick")
        when = "by default" if found.by_default else "when named"
        lines.append(f"| [`{name}`](#{name}) | {found.title} | {found.source} | {when} |")
    return "\n".join(lines)


def budgets(name: str) -> str:
    """Return the tables of one experiment: budgets by scale, trainings, rows."""
    at = [load(name, scale) for scale in SCALES]
    parts = [_by_scale("", _facts(at)), _trainings(at), _details("All rows of the comparison", _rows(name))]
    return "\n\n".join(part for part in parts if part)


def grids() -> str:
    """Return the rule of every time grid of every noise schedule."""
    schedules = {
        "quadratic": QuadraticScheduleConfig(kind="quadratic"),
        "linear_beta": LinearBetaScheduleConfig(kind="linear_beta"),
        "cosine": CosineScheduleConfig(kind="cosine"),
    }
    known: dict[tuple[str, str], list[str]] = {}
    for kind, config in schedules.items():
        for name, grid in time_grids(build_schedule(config)).items():
            known.setdefault((name, grid.summary), []).append(kind)
    lines = ["| grid | schedules | levels |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {', '.join(kinds)} | {_text(rule)} |" for (name, rule), kinds in sorted(known.items())]
    return "\n".join(lines)


@cache
def load(name: str, scale: str, scope: str = "full") -> Experiment:
    """Read one experiment, once."""
    return load_experiment(name, scale, scope)


def _facts(at: list[Experiment]) -> dict[str, list[str]]:
    """Return what the three scales say, by what it is."""
    facts: dict[str, Callable[[Experiment], str]] = {
        "data sets": lambda e: ", ".join(e.data.datasets),
        "seeds": lambda e: _list(e.seeds),
        "trainings of a method": lambda e: "one for all seeds" if e.train_once else "one a seed",
        "samples a seed": lambda e: (
            f"{e.sample_sets} x {e.num_samples:,}" if e.sample_sets > 1 else f"{e.num_samples:,}"
        ),
        "evaluations": lambda e: _list(e.nfe),
        "further in scope full": lambda e: _list(e.full_nfe),
        "score model": _score_model,
        "pre-training": _pretraining,
        "cells, scope core": lambda e: str(len(cells(load(e.name, e.scale, "core")))),
        "cells, scope full": lambda e: str(len(cells(e))),
    }
    settings = dict.fromkeys(key for e in at for key in e.data.model_dump() if key not in SHARED)
    for key in settings:
        facts[key.replace("_", " ")] = lambda e, key=key: _value(getattr(e.data, key, None))  # type: ignore[misc]
    return {what: [tell(e) for e in at] for what, tell in facts.items() if any(tell(e) != NOTHING for e in at)}


def _score_model(experiment: Experiment) -> str:
    model = experiment.score_model
    if model is None:
        return NOTHING
    own = model.network.model_dump(exclude={"kind", "predicts", "dialect", "learned_variance", "dropout", "heads"})
    shape = "; ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in own.items() if value)
    return f"{model.network.kind}, {model.schedule.kind}" + (f" ({shape})" if shape else "")


def _pretraining(experiment: Experiment) -> str:
    model = experiment.score_model
    if model is None or not experiment.pretrains:
        return NOTHING
    if model.pretrain is None:
        return "none, published weights"
    recipe = model.pretrain
    return f"{recipe.iterations:,} updates of {recipe.batch}, rate {recipe.learning_rate:g}"


def _trainings(at: list[Experiment]) -> str:
    """Return what is spent on every training, for the rows whose settings say so."""
    spent: dict[tuple[str, str], list[str]] = {}
    for k, experiment in enumerate(at):
        for cell in cells(experiment):
            text = _spent(experiment, cell)
            if text is not None and cell.dataset == experiment.data.datasets[0]:
                line = spent.setdefault((title(experiment, cell.label), str(cell.nfe)), [NOTHING] * len(at))
                line[k] = text
    head = "What a training costs: updates x batch, and updates of the critic for each, where there is one."
    table = {f"{row} | {nfe}": values for (row, nfe), values in sorted(spent.items(), key=_by_row)}
    return f"{head}\n\n{_by_scale('row | T', table)}" if table else ""


def _by_row(item: tuple[tuple[str, str], list[str]]) -> tuple[str, int]:
    (row, nfe), _ = item
    return row, int(nfe)


def _spent(experiment: Experiment, cell: Cell) -> str | None:
    values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
    if "iterations" not in values or "batch" not in values:
        return None
    critic = values.get("critic_updates", 1 if values.get("critic_hidden") else 0)
    return f"{values['iterations']:,} x {values['batch']}" + (f", {critic}" if critic else "")


def _rows(name: str) -> str:
    lines = ["| row | title | scope | evaluations | time grid | settings |", "| --- | --- | --- | --- | --- | --- |"]
    for label, scales in _labels(name).items():
        found = load(name, "quick" if "quick" in scales else scales[-1])
        method = rows(found)[label]
        only = "" if set(scales) == set(SCALES) else f" ({', '.join(scales)})"
        own = sorted({cell.nfe for cell in cells(found) if cell.label == label})
        used = dict.fromkeys(time_grid_name(found, label, nfe) or NOTHING for nfe in own)
        scope = method.scope + (", as published" if method.protocol == "as_published" else "")
        lines.append(
            f"| `{label}` | {_text(title(found, label))}{only} | {scope} | {_list(own)} | {_codes(used)} | "
            f"{_settings(method, info(found, label).name)} |"
        )
    return "\n".join(lines)


def _labels(name: str) -> dict[str, list[str]]:
    """Return the rows and the scales that have them."""
    found: dict[str, list[str]] = {}
    for scale in SCALES:
        for label in rows(load(name, scale)):
            found.setdefault(label, []).append(scale)
    return found


def _settings(method: Method, baseline: str) -> str:
    recipe = [f"recipe {method.recipe}"] if method.recipe else []
    own = [f"{key} {_value(value)}" for key, value in method.config.items()]
    return _text("; ".join([f"{baseline}.py", *recipe, *own]))


def _by_scale(corner: str, lines: dict[str, list[str]]) -> str:
    columns = corner.count("|") + 1 + len(SCALES)
    head = [f"| {corner} | {' | '.join(SCALES)} |", "|" + " --- |" * columns]
    return "\n".join([*head, *(f"| {what} | {' | '.join(map(_text, values))} |" for what, values in lines.items())])


def _details(heading: str, body: str) -> str:
    indented = "\n".join(f"    {line}" if line else "" for line in body.splitlines())
    return f'??? note "{heading}"\n\n{indented}'


def _codes(names: Iterable[str]) -> str:
    return ", ".join(name if name == NOTHING else f"`{name}`" for name in names)


def _list(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values)) or NOTHING


def _value(value: Any) -> str:
    """Return a setting in words."""
    if value is None:
        return NOTHING
    if hasattr(value, "model_dump"):
        value = {key: v for key, v in value.model_dump().items() if v is not None}
    if isinstance(value, dict):
        return ", ".join(
            str(v) if key == "kind" else f"{key.replace('_', ' ')} {_value(v)}" for key, v in value.items()
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    return html.escape(text, quote=False).replace("|", r"\|")
