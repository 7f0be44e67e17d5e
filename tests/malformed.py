"""Malformed experiment files, derived from the shipped ones by operators; the same ones in every run."""

import copy
import itertools
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hsivi.config import ROOT, at_scale

FILES = sorted((ROOT / "workflows" / "experiments").glob("*.yaml"))
FREE = {"config", "values", "seed", "title", "source", "by_default", "others", "enabled", "ema"}
"""Keys whose values the schema leaves open, or may be anything of their kind: an operator might do no harm."""
REQUIRED = ("name", "title", "source", "data", "seeds", "num_samples", "nfe", "methods")
SECTIONS = (("data",), ("score_model",), ("score_model", "schedule"), ("score_model", "network"), ("timing",))
LOOK_ALIKES = {"a": "\u0430", "e": "\u0435", "o": "\u043e", "s": "\u0455", "m": "\uff4d"}
"""Cyrillic and full-width letters that look like Latin ones."""

Place = tuple[str | int, ...]
Case = tuple[str, bytes]
"""What was done, and the file's content."""


EMPTY: Case = ("empty", b"")


@cache
def trees() -> tuple[tuple[str, Any], ...]:
    """Return each shipped experiment as the tree that one scale sees."""
    return tuple((path.stem, at_scale(yaml.safe_load(path.read_text()), "smoke")) for path in FILES)


def numbers(node: Any, place: Place = ()) -> Iterator[Place]:
    """Yield where a tree has numbers that the schema knows."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in FREE:
                yield from numbers(value, (*place, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from numbers(value, (*place, index))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield place


def _at(tree: Any, place: Place) -> Any:
    for key in place:
        tree = tree.get(key) if isinstance(tree, dict) else tree[key]
        if tree is None:
            return None
    return tree


def _set(tree: Any, place: Place, value: Any) -> bytes:
    changed = copy.deepcopy(tree)
    _at(changed, place[:-1])[place[-1]] = value
    return _text(changed)


def _text(tree: Any) -> bytes:
    dumped: str = yaml.dump(tree, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    return dumped.encode()


def _numbers_replaced(change: Callable[[Any], Any], each: int = 3) -> Iterator[Case]:
    for name, tree in trees():
        places = list(numbers(tree))
        for place in random.Random(name).sample(places, min(each, len(places))):
            yield f"{name}: {place}", _set(tree, place, change(_at(tree, place)))


def _missing_keys() -> Iterator[Case]:
    for name, tree in trees():
        for key in REQUIRED:
            yield f"{name}: without {key}", _text({k: v for k, v in tree.items() if k != key})


def _renamed_keys(rename: Callable[[str], str]) -> Iterator[Case]:
    for name, tree in trees():
        places = [(*section, key) for section in ((), *SECTIONS) for key in _at(tree, section) or ()]
        for place in random.Random(name).sample(places, 4):
            section = _at(tree, place[:-1])
            renamed = {rename(key) if key == place[-1] else key: value for key, value in section.items()}
            changed = _set(tree, place[:-1], renamed) if place[:-1] else _text(renamed)
            yield f"{name}: {place}", changed


def _look_alike(key: str) -> str:
    return "".join(LOOK_ALIKES.get(letter, letter) for letter in key)


def _sections_replaced(value: Any) -> Iterator[Case]:
    for name, tree in trees():
        for key in ("data", "methods", "seeds", "nfe"):
            yield f"{name}: {key}", _set(tree, (key,), value)


def _lines(change: Callable[[list[str], random.Random], None]) -> Iterator[Case]:
    for path in FILES:
        lines = path.read_text().splitlines(keepends=True)
        change(lines, random.Random(path.stem))
        yield path.stem, "".join(lines).encode()


def _tab(lines: list[str], draw: random.Random) -> None:
    number = draw.choice([i for i, line in enumerate(lines) if line.startswith("  ") and ":" in line])
    lines[number] = "\t" + lines[number].lstrip()


def _twice(lines: list[str], draw: random.Random) -> None:
    lines.append(
        draw.choice([line for line in lines if line.startswith(("name:", "title:", "source:", "num_samples:"))])
    )


def _unclosed(lines: list[str], draw: random.Random) -> None:
    lines.append(f"extra: {draw.choice(['[1, 2', '{a: 1', '&', '*', '@x', '`x', '%x', 'a: b: c'])}\n")


def _added(text: str) -> Iterator[Case]:
    for path in FILES[:4]:
        yield f"{path.stem} with {text[:20]!r}", path.read_bytes() + text.encode()


def _inserted(junk: bytes) -> Iterator[Case]:
    for path in FILES:
        content = path.read_bytes()
        at = random.Random(path.stem).randrange(len(content))
        yield f"{path.stem}: {junk!r} at {at}", content[:at] + junk + content[at:]


def _encoded(encoding: str) -> Iterator[Case]:
    for path in FILES[:4]:
        text = path.read_text().replace("title: ", "title: \u00e9", 1)
        yield f"{path.stem} in {encoding}", text.encode(encoding, errors="replace")


def _tags() -> Iterator[Case]:
    for tag in (
        "!!python/object/apply:os.system ['touch hacked']", "!!python/name:os.system", "!!python/tuple [1]",
        "!!python/object/new:subprocess.Popen [[touch, hacked]]", "!!binary Zm9v", "!!timestamp x", "!!bool x",
        "!own 1", "!!set {a}", "!!int ''", "!!float x",
    ):  # fmt: skip
        yield from _added(f"extra: {tag}\n")


def _laughs() -> str:
    letters = "abcdefghijklmnopqrst"
    lines = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in itertools.pairwise(letters)]
    return "\n".join(lines) + "\n"


def _whole() -> Iterator[Case]:
    contents = {
        "empty": b"", "comment": b"# nothing\n", "null": b"null\n", "list": b"- 1\n- 2\n", "word": b"experiment\n",
        "number": b"1\n", "document markers": b"---\n---\n", "only scales": b"{smoke: [], quick: [], paper: []}\n",
        "scales of words": b"{smoke: a, quick: b, paper: c}\n", "junk": bytes(random.Random(0).randbytes(4096)),
        "zeros": bytes(4096), "elf": b"\x7fELF\x02\x01\x01" + bytes(64), "gzip": b"\x1f\x8b\x08" + bytes(64),
        "brackets": b"a: " + b"[" * 300_000, "closed brackets": b"a: " + b"[" * 300_000 + b"]" * 300_000,
        "braces": b"{a: " * 100_000, "dashes": b"- " * 200_000,
        "indents": b"".join(b" " * i + b"a:\n" for i in range(500)),
        "question marks": b"? " * 100_000, "long": b"# " + b"x" * (2 << 20), "long key": b"x" * 500_000 + b": 1\n",
        "laughs": _laughs().encode(), "alias of itself": b"a: &a [*a]\n", "merge of itself": b"a: &a {<<: *a}\n",
        "no such alias": b"a: *b\n", "merge of a number": b"<<: 5\n", "no date": b"a: 2001-99-99\n",
        "digits": b"a: " + b"9" * 10_000 + b"\n", "list as key": b"? [a]\n: 1\n", "numbers as keys": b"1: 2\n3: 4\n",
        "surrogates": b'a: "\\ud800"\n', "line break in a key": b'"a\\nb": 1\n', "terminal": b'"\\e[2J": 1\n',
        "overridden by direction": '"\u202eeman": 1\n'.encode(), "equals": b"a: =\n",
        "two documents": b"a: 1\n---\nb: 2\n",
        "escape": b"a: \x1b[31m\n", "delete": b"a: \x7f\x00\n",
    }  # fmt: skip
    yield from contents.items()


OPERATORS: dict[str, Callable[[], Iterator[Case]]] = {
    "word for a number": lambda: _numbers_replaced(lambda value: "many"),
    "list for a number": lambda: _numbers_replaced(lambda value: [value]),
    "mapping for a number": lambda: _numbers_replaced(lambda value: {"value": value}),
    "truth for a number": lambda: _numbers_replaced(lambda value: True),
    "negative": lambda: _numbers_replaced(lambda value: -abs(value) - 1),
    "not a number": lambda: _numbers_replaced(lambda value: float("nan")),
    "infinite": lambda: _numbers_replaced(lambda value: float("inf")),
    "huge": lambda: _numbers_replaced(lambda value: 10**30),
    "negative and huge": lambda: _numbers_replaced(lambda value: -(10**30)),
    "nothing for a number": lambda: _numbers_replaced(lambda value: None),
    "path for a number": lambda: _numbers_replaced(lambda value: "../../etc/passwd"),
    "missing key": _missing_keys,
    "misspelt key": lambda: _renamed_keys(lambda key: key + "z"),
    "look-alike key": lambda: _renamed_keys(
        lambda key: _look_alike(key) if _look_alike(key) != key else key + "\u200b"
    ),
    "nothing for a section": lambda: _sections_replaced(None),
    "word for a section": lambda: _sections_replaced("all"),
    "number for a section": lambda: _sections_replaced(3),
    "path for a name": lambda: (
        (f"{name}: {other!r}", _set(tree, ("name",), other))
        for (name, tree), other in zip(
            trees(), ["../x", "/etc/passwd", "a/b", "..", "", "a b", "A", "a-b", "x\n", "a;b", "$(x)"], strict=True
        )
    ),
    "title that steers": lambda: (
        (f"{name}: {other!r}", _set(tree, ("title",), other))
        for (name, tree), other in zip(
            trees(), ["a\nb", "\x1b[2J", "\u202eneman", "\u200b", "\u2028"] * 2 + ["\r"], strict=True
        )
    ),
    "another file's name": lambda: ((name, _set(tree, ("name",), "other")) for name, tree in trees()),
    "path for a data set": lambda: ((name, _set(tree, ("data", "datasets"), ["../x"])) for name, tree in trees()),
    "path for a row": lambda: ((name, _set(tree, ("methods",), {"../ddim": {}})) for name, tree in trees()),
    "tab": lambda: _lines(_tab),
    "key twice": lambda: _lines(_twice),
    "unclosed": lambda: _lines(_unclosed),
    "nul byte": lambda: _inserted(b"\x00"),
    "no UTF-8": lambda: _inserted(b"\xff\xfe\xfa"),
    "latin-1": lambda: _encoded("latin-1"),
    "utf-16": lambda: _encoded("utf-16"),
    "tags": _tags,
    "laughs": lambda: _added(_laughs()),
    "whole files": _whole,
}


def put(case: Case, folder: Path) -> Path:
    """Write a case as the only experiment of a checkout, under the name of the file that it was made from."""
    experiments = folder / "workflows" / "experiments"
    experiments.mkdir(parents=True, exist_ok=True)
    for path in experiments.iterdir():
        path.unlink()
    stem = case[0].partition(":")[0].partition(" ")[0]
    path = experiments / f"{stem if stem in {file.stem for file in FILES} else 'broken'}.yaml"
    path.write_bytes(case[1])
    return path
