"""Where a number comes from: digests of code and settings, versions, hardware, commit.

Digests decide what is computed again.  The code digest of a file covers the file and everything of this project it
imports, directly or not, so editing one baseline changes its own cells only.  The commit is recorded but decides
nothing.  Nothing here needs torch.
"""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hsivi.config import ROOT

PACKAGES = ("torch", "torchvision", "diffusers", "torch-fidelity", "numpy", "scipy", "scikit-learn", "snakemake")


def digest(value: Any) -> str:
    """Return a short digest of a value that JSON can hold; key order does not matter."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def imported_files(path: Path) -> frozenset[Path]:
    """Return a source file and every project file it imports, directly or not."""
    found, queue = {path}, [path]
    while queue:
        for imported in _imports(queue.pop()):
            if imported not in found:
                found.add(imported)
                queue.append(imported)
    return frozenset(found)


@cache  # a file is imported by many, and each of them asks
def _imports(path: Path) -> tuple[Path, ...]:
    """Return the project files that a source file imports itself."""
    return tuple(_imported(path))


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield statements and those inside them; expressions, which are most of a tree, import nothing."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(statement, name, []))


def _imported(path: Path) -> Iterator[Path]:
    for node in _statements(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            stem = ROOT.joinpath(*name.split("."))
            yield from (p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file())


PLUMBING = tuple(
    ROOT / "hsivi" / f"{name}.py"
    for name in (
        "baseline_file",
        "config",
        "data_config",
        "experiment",
        "layout",
        "methods",
        "overall",
        "provenance",
        "record",
        "reporting",
        "yaml_text",
    )
)
"""Files that find, check and store things but compute nothing; what they hand on is in the digest of settings."""


def code_digest(*paths: Path) -> str:
    """Return a digest of the given source files and all project files they import, less the plumbing."""
    files = sorted({file for path in paths for file in imported_files(path)} - set(PLUMBING))
    return digest([[str(file.relative_to(ROOT)), _source_digest(file, file.stat().st_mtime_ns)] for file in files])


@cache
def _source_digest(path: Path, _: int) -> str:
    """Return a file's digest, again only when its time stamp says that it was written: every job of a stage asks."""
    return file_digest(path)


def stage_file(stage: str) -> Path:
    """Return the source file of a stage."""
    return ROOT / "hsivi" / "stages" / f"{stage}.py"


def environment() -> dict[str, Any]:
    """Return hardware and versions: what a reader needs to judge a duration or to rebuild the stack."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": versions,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def git_commit() -> str:
    """Return the checkout's commit, marked ``+changes`` where the tree differs from it, or ``unknown``."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
