"""Records: one JSON file for each measured cell, and the small notes beside every other output.

A record holds what is needed to trace a number and to make it again, and the digest of its own content, so that an
edit by hand shows.  It never holds the paper's number: claims meet records only in the reports.  Nothing here needs
torch.
"""

import contextlib
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hsivi.config import ConfigError, validate_config
from hsivi.recipe import Frozen
from hsivi.writing import write_text


class Measurement(Frozen):
    """One number.

    Attributes:
        seed: seed of training and sampling.
        metric: name, carrying what changes the number.
        value: the number.
        standard_error: of the value, from repeated sample sets or the estimator itself; None where neither exists.
        num_samples: samples the metric saw.
        floor: mean value for samples of the target itself, None where the target cannot be drawn.
        floor_std: standard deviation of a single such value.
    """

    seed: int
    metric: str
    value: Annotated[float, Field(allow_inf_nan=False)]
    standard_error: float | None
    num_samples: int
    floor: float | None = None
    floor_std: float | None = None


class Record(Frozen):
    """One measured cell.

    Attributes:
        schema_version: version of this layout.
        experiment, dataset, label, baseline, scale: which cell.
        nfe: function evaluations a sample, counted.
        trainings: independent trainings behind the seeds: one where they are seeds of sampling only, none where the
            method learns nothing.
        time_grid: name of the time grid.
        levels: its times s_0, ..., s_T; empty where there is none.
        protocol: ``common`` or ``as_published``, see `hsivi.experiment.Method`.
        status: ``ok``; ``declined`` where the method does not apply; ``failed``, see `hsivi.failure`.
        reason: why it was declined, or failed.
        config: the method's full settings.
        measurements: the numbers, empty unless the status is ok.
        seconds: durations: training of all seeds, sampling of all seeds, measuring.
        device: where it ran.
        dtype: of the samples.
        environment: hardware and versions.
        commit: of the checkout when the samples were drawn.
        digests: of the settings and the code (keys ``settings`` and ``code``) and of every input file (by path).
        command: makes this cell again.
        sha256: of the canonical JSON of everything else; empty in a record that was never written.
    """

    schema_version: Literal[2] = 2
    experiment: str
    dataset: str
    label: str
    baseline: str
    title: str
    scale: str
    nfe: int
    trainings: int | None = None
    time_grid: str | None
    levels: tuple[float, ...] = ()
    protocol: Literal["common", "as_published"] = "common"
    status: Literal["ok", "declined", "failed"]
    reason: str | None = None
    config: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    seconds: Mapping[str, float]
    device: str
    dtype: str
    environment: Mapping[str, Any]
    commit: str
    digests: Mapping[str, str]
    command: str
    sha256: str = ""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically.

    Raises:
        ValueError: a number is not finite.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ConfigError: the file is missing or not a JSON object.
    """
    return _parsed(path, _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: got no such file, expected it to be made before; run snakemake") from error
    except UnicodeError as error:
        raise ConfigError(
            f"{path}: got bytes that are not UTF-8, expected a JSON object; delete the file and run again"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: got {error.strerror}, expected a readable file; correct that") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: got broken JSON in line {error.lineno}; delete the file and run again") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: got JSON that is nested too deeply, expected a JSON object; delete the file and run again"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: got {type(content).__name__}, expected an object; delete the file and run again")
    return content


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of a record, its own digest left out."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_record(path: Path, record: Record) -> None:
    """Write a record with the digest of its content."""
    content = record.model_dump(mode="json")
    write_json(path, content | {"sha256": content_digest(content)})


_edited_allowed: ContextVar[bool] = ContextVar("edited_allowed", default=False)


@contextlib.contextmanager
def edited_allowed() -> Iterator[None]:
    """Let `read_record` pass edited records in this block, for who looks for them and goes on."""
    token = _edited_allowed.set(True)
    try:
        yield
    finally:
        _edited_allowed.reset(token)


def read_record(path: Path) -> Record:
    """Read and check one record.

    Raises:
        ConfigError: as `read_json`; the record has another version, or was edited since it was written.
    """
    record, intact = _checked(path, _text(path))
    if not intact and not _edited_allowed.get():
        raise ConfigError(
            f"{path}: got content that differs from its digest, expected it as it was measured; somebody edited it, so "
            f"measure it again: rm {shlex.quote(str(path))} && make reproduce SCALE={shlex.quote(record.scale)} "
            f"EXPERIMENTS={shlex.quote(record.experiment)}"
        )
    return record


@cache
def _checked(path: Path, text: str) -> tuple[Record, bool]:
    """Return a record, and whether it has its digest: once for each text, since reports read a record a dozen times."""
    content = _parsed(path, text)
    version = content.get("schema_version")
    if isinstance(version, int) and version < 2:
        raise ConfigError(
            f"{path}: got a record of version {version}, which has no digest of its own, expected version 2; run "
            f"snakemake, which measures again and trains nothing"
        )
    record: Record = validate_config(Record, content, str(path))
    return record, record.sha256 == content_digest(content)
