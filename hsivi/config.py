"""Reading experiments: one YAML file describes one experiment at the scales smoke, quick and paper.

Wherever a value differs between scales, the file gives a mapping with exactly the keys ``smoke``, ``quick`` and
``paper`` in its place, so that the file reads like the paper's hyper-parameter tables.  A key that is not declared in
`hsivi.experiment` is an error.  Nothing here needs torch: the Snakefile and the reports import this module.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from hsivi import yaml_text
from hsivi.experiment import Experiment, Scope
from hsivi.recipe import Frozen
from hsivi.score_model_config import one_of

SCALES = ("smoke", "quick", "paper")
SCOPES: tuple[str, ...] = get_args(Scope)
ROOT = Path(__file__).resolve().parent.parent
"""The checkout: experiments, baselines and reports are found here, results go to the working directory."""
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls keys that are not declared."""
LONGEST = 120
"""How much of a value an error message shows."""


class ConfigError(ValueError):
    """Input of the user's that cannot be used; the message says what was given, expected, and what to do.

    It is one line: whatever a name or a value holds, such as line breaks or what steers a terminal, is spelt out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message if len(message) <= 1000 else f"{message[:500]} ... {message[-450:]}"))


def one_line(text: str) -> str:
    """Return a text with everything spelt out that a terminal does not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def experiment_files() -> dict[str, Path]:
    """Return the experiment files by name."""
    return {path.stem: path for path in sorted((ROOT / "workflows" / "experiments").glob("*.yaml"))}


def default_experiments(scale: str) -> list[str]:
    """Return the experiments of a run that names none; errors as `load_experiment`."""
    return [name for name in experiment_files() if load_experiment(name, scale).by_default]


def load_experiment(name: str, scale: str, scope: str = "full") -> Experiment:
    """Read one experiment at one scale, with the rows and budgets of a scope.

    Raises:
        ConfigError: there is no such experiment, scale or scope, or the file cannot be used.
    """
    files = experiment_files()
    check_choice("experiment", name, files)
    experiment = parse_experiment(files[name], scale, scope)
    if experiment.name != name:
        raise ConfigError(
            f"{files[name].name}: name: got {experiment.name!r}, expected {name!r}, as the file is called; change one"
        )
    return experiment


def parse_experiment(path: Path, scale: str, scope: str = "full") -> Experiment:
    """Read an experiment from a file; errors as `load_experiment`."""
    check_choice("scale", scale, SCALES)
    check_choice("scope", scope, SCOPES)
    content = at_scale(read_mapping(path, "an experiment; check the path", "see workflows/experiments"), scale)
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name} at scale {scale}: got {type(content).__name__}, expected a mapping; correct it")
    try:
        experiment = Experiment.model_validate({**content, "scale": scale, "scope": scope})
    except ValidationError as error:
        raise ConfigError(f"{path.name} at scale {scale}: {_first_error(error)}") from error
    _refuse_truth_for_numbers(content, experiment, f"{path.name} at scale {scale}")
    return experiment


def read_mapping(path: Path, expected: str, example: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Arguments:
        path: the file.
        expected: what it is and what to do where it is not there, for the message.
        example: where to look for one, for the message.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    try:
        content = yaml_text.load(_text(path))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: got no such file, expected {expected}") from error
    except yaml_text.UnreadableError as error:
        raise ConfigError(f"{path}: got {error}, expected YAML; correct that place") from error
    except OSError as error:
        raise ConfigError(f"{path}: got {error.strerror}, expected a file that can be read; correct that") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: got {type(content).__name__}, expected a mapping; {example}")
    return content


def _text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        OSError: it cannot be read.
        yaml_text.UnreadableError: it is no plain file, is too long, or is not UTF-8.
    """
    kind = path.stat()
    if not path.is_file():
        raise yaml_text.UnreadableError("a folder" if path.is_dir() else "something that is no plain file")
    if kind.st_size > yaml_text.BYTES:
        raise yaml_text.UnreadableError(f"{kind.st_size} bytes, more than {yaml_text.BYTES}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise yaml_text.UnreadableError(f"bytes that are not UTF-8, from byte {error.start} on") from error


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
        near = difflib.get_close_matches(str(given)[:LONGEST], list(known), 1)
        hint = f"did you mean {near[0]!r}?" if near else "choose a listed name"
        raise ConfigError(f"{what}: got {_short(given)}, expected {one_of(known)}; {hint}")


def validate_config(kind: type[Frozen] | Any, values: Mapping[str, Any], where: str) -> Any:
    """Build a pydantic model or dataclass from values, with one-line errors."""
    try:
        made = TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_error(error)}") from error
    _refuse_truth_for_numbers(values, made, where)
    return made


def _refuse_truth_for_numbers(given: Any, made: Any, where: str) -> None:
    """Raise `ConfigError` where pydantic has made a number of ``true`` or ``false``.

    Its own strictness would refuse lists for tuples as well, and ``1e-3``, which is a text to YAML.
    """
    for place in _changed_truths(given, made):
        raise ConfigError(f"{where}: {'.'.join(place)}: got true or false, expected a number; correct the value")


def _changed_truths(given: Any, made: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(given, bool):
        if isinstance(made, int | float) and not isinstance(made, bool):
            yield place
    elif isinstance(given, Mapping):
        inside = made if isinstance(made, Mapping) else getattr(made, "__dict__", {})
        for key, value in given.items():
            yield from _changed_truths(value, inside.get(key), (*place, str(key)))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        for index, (value, own) in enumerate(zip(given, made, strict=False)):
            yield from _changed_truths(value, own, (*place, str(index)))


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= LONGEST else said[:LONGEST] + "..."


def _first_error(error: ValidationError) -> str:
    # A misspelt key is unknown under one name and missing under another; the first says more.
    first = min(error.errors(include_url=False), key=lambda one: one["type"] not in UNKNOWN)
    where = " ".join(".".join(str(part) for part in first["loc"]).split())  # a key may hold line breaks
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] in UNKNOWN:
        return f"{where}: got a key that is not known, expected a declared one; correct its spelling or remove it{more}"
    if first["type"] == "missing":
        return f"{where}: got nothing, expected a value; add the key{more}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where + ': ' if where else ''}{message}; correct the file{more}"
    message = message[0].lower() + message[1:]
    return f"{where}: got {_short(first['input'])}, expected: {message}; correct the value{more}"
