"""How two records, timings or notes of one job differ, in words."""

from collections.abc import Mapping
from typing import Any

CIRCUMSTANCES = ("seconds", "environment", "commit", "command", "device", "sha256")
"""What may differ between two records of one cell that say the same."""


def words(stage: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return in words how two contents differ, nothing where they say the same.

    Arguments:
        stage: the stage that wrote them.
        ours: what is here.
        theirs: what is there.
    """
    if stage == "time":  # a duration belongs to its machine: two of them never say the same
        return [] if ours == theirs else _fields(ours, theirs)
    if stage != "measure":  # a note says of which file it is; the rest is circumstances
        return [] if ours.get("sha256") == theirs.get("sha256") else ["digest"]
    kept = [{k: v for k, v in content.items() if k not in CIRCUMSTANCES} for content in (ours, theirs)]
    found = [name for name in _fields(*kept) if name != "measurements"]
    return found + _numbers(*kept)


def _fields(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    names = {**ours, **theirs}
    return [name for name in names if ours.get(name) != theirs.get(name) and name != "sha256"]


def _numbers(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the first measurement that differs, and how many more do."""
    here, there = ({(m["metric"], m["seed"]): m for m in c.get("measurements", ())} for c in (ours, theirs))
    differing = [key for key in {**here, **there} if here.get(key) != there.get(key)]
    if not differing:
        return []
    metric, seed = differing[0]
    values = [found.get(differing[0], {}).get("value", "nothing") for found in (here, there)]
    more = f" (and {len(differing) - 1} more numbers)" if len(differing) > 1 else ""
    return [f"{metric} of seed {seed}: {values[0]} here, {values[1]} there{more}"]
