"""Records of timings: one JSON file for each timed cell.  No torch here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hsivi.config import validate_config
from hsivi.recipe import Frozen
from hsivi.record import read_json

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TimingRecord(Frozen):
    """How long one cell takes to draw a batch.

    Attributes:
        schema_version: version of this layout.
        experiment, dataset, label, baseline, title, scale: which cell.
        nfe: function evaluations a sample, counted.
        batch: images drawn at once.
        warm_up: runs before the clock started.
        runs: timed runs.
        status: ``ok``, or ``declined`` where the method does not apply or cannot be timed.
        reason: why it was declined.
        seconds: of sampling a batch, from x_T to x_0: ``median``, ``mean``, ``p95`` and ``std`` over the runs.
        setup_seconds: median of what the method did before it asked for x_T; not in ``seconds``.
        images_per_second: batch over median.
        forward_seconds: median of one forward pass of the network for the batch.
        forward_equivalents: cost in forward passes, at least ``nfe`` up to noise.
        peak_memory_bytes: see ``peak_memory_kind``.
        peak_memory_kind: as in `hsivi.timing.Durations`.
        weights: random, on which no duration depends.
        parameters: of the network.
        device: where it ran.
        threads: of the processor.
        stage_seconds: how long the whole measurement took, with what precedes the runs.
        environment: hardware and versions.
        commit: of the checkout.
        digests: of the settings and the code (keys ``settings`` and ``code``).
        command: makes this record again.

    The numbers are None, and ``seconds`` is empty, where the status is not ok.
    """

    schema_version: Literal[1] = 1
    experiment: str
    dataset: str
    label: str
    baseline: str
    title: str
    scale: str
    nfe: int
    batch: int
    warm_up: int
    runs: int
    status: Literal["ok", "declined"]
    reason: str | None = None
    seconds: Mapping[str, Seconds] = Field(default_factory=dict)
    setup_seconds: Seconds | None = None
    images_per_second: Seconds | None = None
    forward_seconds: Seconds | None = None
    forward_equivalents: Seconds | None = None
    peak_memory_bytes: int | None = None
    peak_memory_kind: Literal["device_allocated", "process_resident"] | None = None
    weights: Literal["random"] = "random"
    parameters: int
    device: str
    threads: int
    stage_seconds: Seconds
    environment: Mapping[str, Any]
    commit: str
    digests: Mapping[str, str]
    command: str


def read_timing(path: Path) -> TimingRecord:
    """Read and check the record of a timing.

    Raises:
        ConfigError: the file is missing or is no such record.
    """
    found: TimingRecord = validate_config(TimingRecord, read_json(path), str(path))
    return found
