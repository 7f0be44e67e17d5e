"""Running the examples of the documentation.

A block of Python is executed, in one namespace a page, and the block of text behind it is what it prints (with ``...``
for what may differ).  A block of shell is executed in a copy of the checkout, unless the line before it says why not:
``<!-- not run: reason -->``.
"""

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from hsivi.config import ROOT

DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md"))}
SHELL = re.compile(r"(?:^<!-- not run: (?P<reason>.*?) -->\n)?^```bash\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = "_said"


@dataclass(frozen=True)
class Shell:
    """A block of shell.

    Attributes:
        code: its lines.
        reason: why it is not run, or None where it is.
    """

    code: str
    reason: str | None


def shell_blocks(page: Path) -> list[Shell]:
    """Return the blocks of shell of a page."""
    return [Shell(found["code"], found["reason"]) for found in SHELL.finditer(page.read_text())]


def run_python(page: Path) -> int:
    """Run the blocks of Python of a page, compare what they print, and return how many there are.

    Raises:
        AssertionError: a block prints something else than the page says, or something that the page does not say.
    """
    python, text = CodeBlockParser("python", _execute), CodeBlockParser("text", _compare)
    document = Sybil(parsers=[python, text]).parse(page)
    count = 0
    for example in document.examples():
        count += example.region.parsed is not None and example.region.evaluator is _execute
        example.evaluate()
    _nothing_left(document.namespace)
    return count


def _execute(example: Example) -> None:
    _nothing_left(example.namespace)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        PythonEvaluator()(example)
    example.namespace[SAID] = said.getvalue()


def _compare(example: Example) -> None:
    """Compare a block of text with what the block of Python before it printed."""
    said, expected = example.namespace.pop(SAID, None), str(example.parsed)
    assert said is not None, f"line {example.line}: a block of text without a block of Python before it"
    same = doctest.OutputChecker().check_output(expected, said, doctest.ELLIPSIS)
    assert same, f"line {example.line}: the page says\n{expected}\nthe example prints\n{said}"


def _nothing_left(namespace: dict[str, object]) -> None:
    said = namespace.pop(SAID, "")
    assert not said, f"an example prints what the page does not say:\n{said}"


def run_shell(code: str, folder: Path) -> None:
    """Run the lines of a block of shell in a copy of the checkout.

    Raises:
        AssertionError: a command fails.
    """
    commands = folder / ".commands"
    commands.mkdir(exist_ok=True)
    for name, line in {
        "hsivi": f'exec {sys.executable} -m hsivi "$@"',
        "python": f'exec {sys.executable} "$@"',
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (commands / name).chmod(0o755)
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
