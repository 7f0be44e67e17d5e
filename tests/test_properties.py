"""What is written comes back, and what was damaged is refused in one line: for inputs that nobody thought of."""

import copy
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hsivi import methods
from hsivi.arrays import load_arrays, load_metadata, map_arrays, save_arrays
from hsivi.config import ROOT, ConfigError, at_scale, parse_experiment, validate_config
from hsivi.record import Measurement, Record, read_record, write_record
from hsivi.schedule import CosineSchedule, LinearBetaSchedule, QuadraticSchedule, Schedule
from hsivi.stages import settings as digests
from hsivi.time_grid import grids, time_grid
from reports import _claims_file
from reports._ledger import FILE as LEDGER
from reports._ledger import Ledger
from tests import malformed
from tests.test_provenance import some_record

quietly = settings(
    phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # a file is written anew each time
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)  # fmt: skip
trees = st.recursive(scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=4), t, max_size=3))
words = st.text(st.characters(codec="utf-8"), max_size=20)


def tried(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the one line with which it refuses its input."""
    try:
        return call()
    except ValueError as error:
        text = str(error)
        assert "got" in text and text.isprintable() and len(text) <= 1100, text
        return error


def places(node: Any, place: malformed.Place = ()) -> list[malformed.Place]:
    """Return every place of a tree but its root."""
    own = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, value in own for found in [(*place, key), *places(value, (*place, key))]]


@st.composite
def damaged(draw: st.DrawFn, tree: Any) -> Any:
    """Draw a tree in which one or two places have something else."""
    changed = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(places(changed)))
        node = changed
        for key in above:
            node = node[key]
        if draw(st.booleans()):
            node[last] = draw(trees)
        else:
            del node[last]
    return changed


@given(
    shipped=st.sampled_from(malformed.trees()),
    title=words.filter(str.isprintable),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4),
    number=st.integers(10, 10**6),
    flow=st.booleans(),
)
@quietly
def test_an_experiment_comes_back(
    shipped: tuple[str, Any], title: str, seeds: list[int], number: int, flow: bool, tmp_path: Path
) -> None:
    """As its own dump, whatever the text, and whichever of YAML's styles it is written in."""
    name, tree = shipped
    path = tmp_path / f"{name}.yaml"
    content = {**tree, "title": title, "seeds": seeds, "num_samples": number}
    path.write_text(yaml.safe_dump(content, default_flow_style=flow, allow_unicode=flow))
    experiment = parse_experiment(path, "smoke")
    assert (experiment.title, list(experiment.seeds), experiment.num_samples) == (title, seeds, number)
    again = experiment.model_dump(mode="json", exclude={"scale", "scope"}, exclude_defaults=True)
    path.write_text(yaml.safe_dump(again))  # not JSON, whose 1e-06 is a word in YAML
    assert parse_experiment(path, "smoke") == experiment
    for cell in methods.cells(experiment)[:2]:
        assert digests.of_sample(parse_experiment(path, "smoke"), cell) == digests.of_sample(experiment, cell)


@given(data=st.data(), shipped=st.sampled_from(malformed.trees()))
@quietly
def test_a_damaged_experiment_is_read_or_refused_in_one_line(
    data: st.DataObject, shipped: tuple[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / f"{shipped[0]}.yaml"
    path.write_text(yaml.safe_dump(data.draw(damaged(shipped[1]))))
    found = tried(lambda: parse_experiment(path, "smoke"))
    assert isinstance(found, ConfigError) or found.name, "no error of another kind"


LEDGER_TREE = at_scale(yaml.safe_load(LEDGER.read_text()), "quick")


@given(tree=damaged(LEDGER_TREE))
def test_a_damaged_ledger_is_read_or_refused_in_one_line(tree: Any) -> None:
    found = tried(lambda: validate_config(Ledger, tree, "ledger.yaml"))
    assert isinstance(found, ConfigError) or found.version == len(found.changes)


measurements = st.builds(
    Measurement,
    seed=st.integers(0, 2**31), metric=words, value=st.floats(allow_nan=False, allow_infinity=False),
    standard_error=st.none() | st.floats(0, 1e300), num_samples=st.integers(0, 10**9),
    floor=st.none() | st.floats(-1e300, 1e300), floor_std=st.none() | st.floats(0, 1e300),
)  # fmt: skip
records = st.builds(
    some_record,
    title=words, reason=st.none() | words, command=words, measurements=st.lists(measurements, max_size=3).map(tuple),
    config=st.dictionaries(words, scalars, max_size=3), digests=st.dictionaries(words, words, max_size=3),
    seconds=st.dictionaries(words, st.floats(0, 1e9), max_size=2), levels=st.lists(st.floats(-1, 1e3)).map(tuple),
    environment=st.dictionaries(words, trees, max_size=2), nfe=st.integers(0, 1000),
)  # fmt: skip


@given(record=records)
@quietly
def test_a_record_comes_back(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, record)
    read = read_record(path)
    assert read.model_copy(update={"sha256": ""}) == record
    before = path.read_bytes()
    write_record(path, read)
    assert path.read_bytes() == before


@given(record=records, data=st.data())
@quietly
def test_a_damaged_record_is_refused_in_one_line(record: Record, data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, record)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 2))
    new = data.draw(st.sampled_from([b"", b"\x00", b"\xff", b"9", b'"', b"}", b"x"]))
    path.write_bytes(content[:at] + (new + content[at + 1 :] if data.draw(st.booleans()) else new))
    found = tried(lambda: read_record(path))
    if not isinstance(found, ConfigError):
        assert json.loads(path.read_bytes()) == json.loads(content), "what is read is what was measured"


CLAIMS = list(csv.reader(io.StringIO((ROOT / "claims" / "claims.csv").read_text())))


@given(
    row=st.integers(1, len(CLAIMS) - 1),
    column=st.integers(0, len(CLAIMS[0]) - 1),
    value=words | st.sampled_from(["nan", "-inf", "1"]),
)
@quietly
def test_a_damaged_line_of_the_claims_is_read_or_refused_in_one_line(
    row: int, column: int, value: str, tmp_path: Path
) -> None:
    lines = [list(line) for line in CLAIMS[:1] + CLAIMS[row : row + 1]]
    lines[1][column] = value
    path = tmp_path / "claims.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    found = tried(lambda: _claims_file.read(path))
    if isinstance(found, ConfigError):
        assert str(found).startswith("claims.csv: row 2")
    else:
        assert len(found) == 1 and np.isfinite(found.value[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got columns"), ("a,b\n", "got columns"), ('"', "not CSV|got columns"), ("{head}\n1,2\n", "got 2 fields"),
        ('{head}\n"a\n', "not CSV"), ("{head}\n" + "x" * 200_000, "not CSV"),
    ],
)  # fmt: skip
def test_claims_that_are_no_table_are_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    path.write_text(text.format(head=",".join(CLAIMS[0])))
    with pytest.raises(ConfigError, match=said):
        _claims_file.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not CSV"):
        _claims_file.read(path)
    with pytest.raises(ConfigError, match="No such file"):
        _claims_file.read(tmp_path / "nowhere.csv")


schedules: st.SearchStrategy[Schedule] = (
    st.builds(QuadraticSchedule, s_min=st.floats(1e-4, 0.1), s_max=st.floats(0.2, 1 - 1e-6))
    | st.builds(
        LinearBetaSchedule,
        beta_min=st.floats(1e-6, 1e-3),
        beta_max=st.floats(2e-3, 0.1),
        num_levels=st.integers(2, 2000),
    )
    | st.builds(CosineSchedule, num_levels=st.integers(2, 2000))
)


@given(schedule=schedules, steps=st.integers(-1, 1200), data=st.data())
@settings(max_examples=200)
def test_a_time_grid_rises_from_end_to_end_or_is_refused(schedule: Schedule, steps: int, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(grids(schedule))))
    levels = tried(lambda: time_grid(schedule, name, steps))
    if isinstance(levels, ValueError):
        assert f"got {steps} steps" in str(levels)
        return
    assert levels.shape == (steps + 1,) and levels.dtype == torch.float64 and levels.isfinite().all()
    gaps = levels.diff()
    assert bool((gaps >= 0 if grids(schedule)[name].repeats else gaps > 0).all())
    assert schedule.clean <= levels[0] <= schedule.lowest < levels[-1]


stored = st.dictionaries(
    st.text("abc/_. \u00e9", min_size=1, max_size=6).filter(lambda name: name != "__metadata__"),
    st.sampled_from(["u1", "<i8", "<f2", "<f4", "<f8"]).flatmap(
        lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=3,
)


@given(given_arrays=stored, metadata=st.dictionaries(words, scalars, max_size=2))
@quietly
def test_arrays_come_back(given_arrays: dict[str, Any], metadata: dict[str, Any], tmp_path: Path) -> None:
    """To the bit, with what is not a number and without dimensions, read at once or when they are used."""
    path = tmp_path / "x.safetensors"
    save_arrays(path, given_arrays, metadata)
    assert load_metadata(path) == metadata
    for read in (load_arrays, map_arrays):
        found = read(path)
        assert set(found) == set(given_arrays)
        for name, array in given_arrays.items():
            assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
            assert found[name].tobytes() == array.tobytes()


@given(given_arrays=stored.filter(bool), data=st.data())
@quietly
def test_damaged_arrays_are_refused_in_one_line(
    given_arrays: dict[str, Any], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    save_arrays(path, given_arrays)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))] + data.draw(st.sampled_from([b"", b"x"])))
    for read in (load_arrays, map_arrays):
        found = tried(lambda read=read: read(path))  # type: ignore[misc]
        # One byte for another may be another number: the digest in the note tells.
        assert isinstance(found, ConfigError) or path.stat().st_size == len(content)
