"""Origins: whether a product was made with this checkout's code and settings.  No torch here.

Records and timings carry digests of both.  A note carries a commit: git says whether the stage's source files, and the
experiment's file, were then what they are now.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hsivi import methods, provenance
from hsivi.config import ROOT, ConfigError, parse_experiment
from hsivi.experiment import Experiment
from hsivi.merging.product import Product
from hsivi.stages import settings


class UntoldError(Exception):
    """Nothing says with which code and settings a product was made; the message says why."""


def differences(product: Product, content: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between what made a product and this checkout; nothing where they agree.

    Arguments:
        product: what was made.
        content: its record, timing or note.

    Raises:
        UntoldError: a note names no commit that this checkout knows.
    """
    if product.stage in ("measure", "time"):
        digests = content.get("digests", {})
        return [name for name, digest in expected_digests(product).items() if digests.get(name) != digest]
    commit = str(content.get("commit") or "unknown")
    if not _known(commit):
        raise UntoldError(f"its commit is {commit[:60]!r}")
    found = ["code"] if _changed_since(commit, _source_files(product)) else []
    before = _experiment_at(commit, product.experiment)
    return found if settings_digest(product, before) == settings_digest(product) else [*found, "settings"]


def expected_digests(product: Product) -> dict[str, str]:
    """Return the digests ``settings`` and ``code`` that a record or timing made here would have."""
    stages = ("sample", "measure") if product.stage == "measure" else (product.stage,)
    code = provenance.code_digest(*map(provenance.stage_file, stages), *_baseline(product))
    return {"settings": settings_digest(product), "code": code}


def settings_digest(product: Product, experiment: Experiment | None = None) -> str:
    """Return the digest of what decides a product, in its own experiment or in another version of it."""
    experiment = experiment or product.experiment
    if product.cell is None:
        of = {"data": settings.of_data, "pretrain": settings.of_score_model, "reference": settings.of_reference}
        return of[product.stage](experiment)
    of_cell = {"fit": settings.of_fit, "sample": settings.of_sample, "time": settings.of_time}
    return of_cell.get(product.stage, settings.of_sample)(experiment, product.cell)


def _baseline(product: Product) -> list[Path]:
    return [methods.info(product.experiment, product.cell.label).path] if product.cell else []


def _source_files(product: Product) -> tuple[str, ...]:
    """Return the source files that `provenance.code_digest` covers, relative to the checkout."""
    starts = [provenance.stage_file(product.stage), *_baseline(product)]
    files = {file for path in starts for file in provenance.imported_files(path)} - set(provenance.PLUMBING)
    return tuple(sorted(str(file.relative_to(ROOT)) for file in files))


def _git(*arguments: str) -> str | None:
    """Return what git says, or None where it fails; what a record names never gets here unless it is a digest."""
    try:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, UnicodeDecodeError, subprocess.CalledProcessError):
        return None


@cache
def _known(commit: str) -> bool:
    if len(commit) not in (40, 64) or set(commit) - set("0123456789abcdef"):
        return False
    # A copy without a history of its own may lie in another repository.
    top = _git("rev-parse", "--show-toplevel")
    return (
        top is not None
        and Path(top.strip()).resolve() == ROOT.resolve()
        and _git("cat-file", "-e", f"{commit}^{{commit}}") is not None
    )


@cache
def _changed_since(commit: str, files: tuple[str, ...]) -> bool:
    return _git("diff", "--quiet", commit, "--", *files) is None


@cache
def _text_at(commit: str, file: str) -> str | None:
    return _git("show", f"{commit}:{file}")


def _experiment_at(commit: str, now: Experiment) -> Experiment:
    """Return an experiment as its file was at a commit.

    Raises:
        UntoldError: there was none, or it cannot be read any more.
    """
    text = _text_at(commit, f"workflows/experiments/{now.name}.yaml")
    if text is None:
        raise UntoldError(f"commit {commit[:12]} has no experiment {now.name!r}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{now.name}.yaml"
        path.write_text(text)
        try:
            return parse_experiment(path, now.scale)
        except ConfigError as error:
            raise UntoldError(f"the experiment of commit {commit[:12]} cannot be read any more") from error
