"""``hsivi explain``: where a number comes from."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsivi import layout, methods
from hsivi.config import ConfigError, check_choice
from hsivi.methods import Cell
from hsivi.record import Measurement, Record
from hsivi.tidy import tidy
from reports import _evidence
from reports._evidence import Finding
from reports._fid import DATASETS
from reports._place import Place, place, record_cell
from reports._present import loaded
from reports._records import claims, summary
from reports._tables import Source, number


@dataclass(frozen=True)
class Origin:
    """Where one number comes from.

    Attributes:
        key: of the number.
        text: mean ± standard deviation over seeds, or what stands in its place.
        mean: over seeds; None where the method declined or failed.
        sd: standard deviation over seeds; None for fewer than two.
        se: standard error of the mean; None for fewer than two seeds.
        values: what was measured with each seed.
        path: of the record.
        record: the record.
        logs: log files of the jobs that led to it, and whether they are there.
        holds: for the record itself, its code, its settings and every input, whether its digest still holds.
        published: what the papers print for the same data set, method and NFE.
    """

    key: str
    text: str
    mean: float | None
    sd: float | None
    se: float | None
    values: tuple[Measurement, ...]
    path: str
    record: Record
    logs: dict[str, bool]
    holds: dict[str, str]
    published: list[dict[str, Any]]


@dataclass(frozen=True)
class Explanation:
    """What was asked for, and where its numbers come from."""

    place: Place
    origins: tuple[Origin, ...]

    @property
    def json(self) -> str:
        """Everything, for machines."""
        origins = [
            {
                **{name: value for name, value in vars(origin).items() if name not in ("record", "values")},
                "values": [value.model_dump(mode="json") for value in origin.values],
                "record": origin.record.model_dump(mode="json", exclude={"measurements"}),
            }
            for origin in self.origins
        ]
        return json.dumps({**asdict(self.place), "origins": origins}, indent=2)


def explain(asked: str, scale: str) -> Explanation:
    """Explain a number.

    Arguments:
        asked: its key, or its place in a table; see `reports._place`.
        scale: of the run.

    Raises:
        ConfigError: there is no such number.
    """
    there = place(asked, scale)
    return Explanation(there, tuple(_origin(source, scale) for source in there.sources))


def _origin(source: Source, scale: str) -> Origin:
    cell = record_cell(source, scale)
    path = layout.CellFiles(cell).record
    if not path.exists():
        run = f"make reproduce SCALE={scale} SCOPE=full EXPERIMENTS={cell.experiment}"
        raise ConfigError(f"{path}: got no such record, expected that of {source.key}; run {run}")
    records, findings = _evidence.read([cell])
    if cell not in records:
        raise ConfigError(f"{findings[0].where}: {findings[0].words}")
    record = records[cell]
    values = tuple(m for m in record.measurements if m.metric == source.metric)
    if record.status == "ok":
        check_choice("metric", source.metric, tuple(dict.fromkeys(m.metric for m in record.measurements)))
    row = summary(tidy([record.model_copy(update={"measurements": values})])).to_dict("records")
    several = len(values) > 1
    return Origin(
        key=source.key,
        text=number(row[0]).text if row else f"{record.status}: {record.reason}",
        mean=row[0]["mean"] if row else None,
        sd=row[0]["sd"] if several else None,
        se=row[0]["se"] if several else None,
        values=values,
        path=str(path),
        record=record,
        logs={str(log): log.exists() for log in _logs(cell)},
        holds=_holds(cell, record, findings),
        published=_published(source),
    )


def _logs(cell: Cell) -> Iterator[Path]:
    """Yield where the stages that lead to a record write what they say."""
    experiment = loaded(cell.experiment, cell.scale)
    folder = layout.metrics_table(cell.scale).parent / ".logs"
    for stage in ("data", *(["pretrain"] if experiment.pretrains else []), "reference"):
        yield folder / stage / cell.experiment / f"{cell.dataset}.log"
    for stage in (*(["fit"] if methods.info(experiment, cell.label).needs_fit else []), "sample", "measure"):
        yield folder / stage / cell.experiment / cell.dataset / f"{cell.label}-nfe{cell.nfe}.log"


def _holds(cell: Cell, record: Record, findings: Sequence[Finding]) -> dict[str, str]:
    """Return for each digest whether it holds, given what reading the record found."""
    own = "; ".join(finding.words for finding in findings) or "holds"
    old = _evidence.outdated(record, cell)
    states = {
        what: "other than in the checkout: stale" if what in old else "as in the checkout" for what in _evidence.OWN
    }
    digests, names = _evidence.Digests(), _evidence.inputs(record)
    digests.read(names)
    found = {name: digests.of(name) for name in names}
    inputs = {
        name: "not there" if found[name] is None else "holds" if found[name] == wanted else "edited or made again since"
        for name, wanted in names.items()
    }
    return {"record": own, **states, **inputs}


def _published(source: Source) -> list[dict[str, Any]]:
    """Return what the papers print for a data set, method and NFE, whatever the metric: it may not be the same one."""
    known = claims()
    names = {source.method.replace("-", "_"), source.method.partition("-")[0]}
    dataset = DATASETS.get(source.dataset, source.dataset)
    known = known[
        (known.dataset == dataset)
        & known.method.isin(names)
        & (pd.to_numeric(known.nfe, errors="coerce") == source.nfe)
    ]
    rows = known[["source", "table", "method", "metric", "value", "sd", "note"]].to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def lines(explanation: Explanation) -> list[str]:
    """Return what is printed."""
    there = explanation.place
    said = [there.where, *([f"  shows {there.text}"] if there.text is not None else [])]
    if not explanation.origins:
        said.append("  no record stands behind it: it is a word, a number that a paper prints, or from a note")
    for origin in explanation.origins:
        said += ["", *_about(origin)]
    return said


def _about(origin: Origin) -> Iterator[str]:
    record = origin.record
    yield f"{origin.key} = {origin.text}"
    yield from _numbers(origin)
    yield f"  record     {origin.path}"
    for name, there in origin.logs.items():
        yield f"  log        {name}{'' if there else ' (not there)'}"
    yield f"  method     {record.title} (baselines/{record.baseline}.py), protocol {record.protocol.replace('_', ' ')}"
    yield f"  settings   {json.dumps(dict(record.config))}"
    if record.time_grid:
        yield f"  time grid  {record.time_grid}: {', '.join(f'{level:g}' for level in record.levels) or 'no levels'}"
    if record.trainings is not None:
        yield f"  trainings  {record.trainings}"
    took = ", ".join(f"{stage} {seconds:g} s" for stage, seconds in record.seconds.items())
    yield f"  took       {took or 'unknown'} (all seeds together)"
    yield f"  made on    {_machine(record)}"
    yield f"  commit     {record.commit or 'unknown'}"
    for name, state in origin.holds.items():
        digest = record.sha256 if name == "record" else record.digests.get(name, "")
        yield f"  digest     {name} {digest[:16]}: {state}"
    for row in origin.published:
        sd = f" ± {row['sd']:g}" if row["sd"] is not None else ""
        note = f" ({row['note']})" if row["note"] else ""
        yield f"  published  {row['source']} {row['table']}, {row['metric']}: {row['value']:g}{sd}{note}"
    yield f"  make again {record.command}"


def _numbers(origin: Origin) -> Iterator[str]:
    if origin.mean is not None:
        spread = f", sd {origin.sd:.6g}, se {origin.se:.6g}" if origin.sd is not None and origin.se is not None else ""
        yield f"  mean {origin.mean:.6g}{spread}, n {len(origin.values)}"
    for value in origin.values:
        error = f" ± {value.standard_error:.3g} (s.e.)" if value.standard_error is not None else ""
        yield f"  seed {value.seed}: {value.value:.10g}{error}, {value.num_samples:,} samples"
    floors = [value.floor for value in origin.values if value.floor is not None]
    if floors:
        sds = [value.floor_std for value in origin.values if value.floor_std is not None]
        yield f"  floor {np.mean(floors):.6g}{f' ± {np.mean(sds):.3g}' if sds else ''} (draws of the target itself)"


def _machine(record: Record) -> str:
    made = record.environment
    packages = ", ".join(f"{name} {version}" for name, version in dict(made.get("packages", {})).items())
    what = [record.device or "unknown device", record.dtype, made.get("processor"), made.get("platform")]
    python = f"Python {made['python']}" if "python" in made else None
    return ", ".join(str(part) for part in (*what, python, packages) if part)
