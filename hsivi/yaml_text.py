"""YAML that people write, read within limits, so that no file can stop or crash who reads it.

Beyond what PyYAML's safe loader refuses: keys given twice, tags, nesting that overflows its stack, aliases that unfold
without end, and numbers that are not finite or need more than 64 bits.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""What reads YAML: libyaml where PyYAML has it, which is ten times as fast; every job reads every experiment."""
DEPTH, NODES, BYTES = 32, 100_000, 1 << 20
"""Limits: levels of nesting, nodes with all aliases unfolded, and length; experiments have 7, 2,000 and 6 kB."""
LARGEST = 2**63 - 1


class UnreadableError(ValueError):
    """Text that cannot be used; the message says what was found, and where."""


@dataclass
class _Open:
    """A collection whose end is yet to come."""

    mapping: bool
    anchor: str | None
    size: int = 1
    children: int = 0
    keys: set[tuple[str, bool]] = field(default_factory=set)


def load(text: str) -> Any:
    """Return what a text says, in dictionaries, lists and scalars.

    Raises:
        UnreadableError: it is no YAML, or beyond the limits.
    """
    try:
        _check(text)
        content = yaml.load(text, Loader=LOADER)
    except UnreadableError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or a number that is none
        raise UnreadableError(f"text that is not YAML ({' '.join(str(error).split())})") from error
    _check_numbers(content)
    return content


def _check(text: str) -> None:
    """Look at the parts one by one, before anything that recurses does."""
    opened: list[_Open] = [_Open(False, None)]
    sizes: dict[str | None, int] = {}
    for event in yaml.parse(text, Loader=LOADER):
        where = f"in line {event.start_mark.line + 1}" if event.start_mark else "somewhere"
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            raise UnreadableError(f"a tag {where} ({str(tag)[:60]!r})")
        if isinstance(event, yaml.CollectionEndEvent):
            closed = opened.pop()
            opened[-1].size += closed.size
            if closed.anchor:
                sizes[closed.anchor] = closed.size
        elif isinstance(event, yaml.NodeEvent):
            _check_key(opened[-1], event, where)
            opened[-1].children += 1
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append(_Open(isinstance(event, yaml.MappingStartEvent), event.anchor))
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor in {one.anchor for one in opened}:
                    raise UnreadableError(f"an alias {where} inside of what it stands for")
                opened[-1].size += sizes.get(event.anchor, 1)
            else:
                opened[-1].size += 1
        if len(opened) > DEPTH or sum(one.size for one in opened) > NODES:
            limit = f"more than {DEPTH} levels" if len(opened) > DEPTH else f"more than {NODES} parts"
            raise UnreadableError(f"{limit} {where}")


def _check_key(mapping: _Open, event: yaml.NodeEvent, where: str) -> None:
    """Refuse a key that the mapping has already: YAML forbids it, and PyYAML takes the last one silently."""
    if mapping.mapping and mapping.children % 2 == 0 and isinstance(event, yaml.ScalarEvent):
        key = (event.value, bool(event.style))  # "1" and 1 are two keys
        if key in mapping.keys:
            raise UnreadableError(f"the key {event.value[:60]!r} twice, again {where}")
        mapping.keys.add(key)


def _check_numbers(content: Any) -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            _check_numbers(key)
            _check_numbers(value)
    elif isinstance(content, list | tuple | set):
        for value in content:
            _check_numbers(value)
    elif isinstance(content, float) and not math.isfinite(content):
        raise UnreadableError(f"the number {content}, which is not finite")
    elif isinstance(content, int) and abs(content) > LARGEST:
        raise UnreadableError(f"a whole number of {content.bit_length()} bits, of which 64 can be used")
