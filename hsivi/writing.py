"""Files that are there as a whole or not at all: written under another name beside their own, and renamed at the end.

A killed process leaves that other name behind; the next run removes it (`hsivi.run_lock`), and so does ``hsivi clean``.
"""

import contextlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".partial"
UNFINISHED = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(SUFFIX)}")
"""Names that `unfinished` gives."""


def unfinished(path: Path) -> Path:
    """Return the name of a file that becomes ``path``: beside it, hidden, and nobody else's."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")


@contextlib.contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[Path]:
    """Give the name of a file to write, which becomes ``path`` if the block ends well and goes away otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(path)
    try:
        yield partial
    except BaseException:  # a full disk, Ctrl-C
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step: readers see the old content or the new, never a part."""
    with whole_or_not_at_all(path) as partial:
        partial.write_text(text)
