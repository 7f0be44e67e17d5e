"""Cutting a file of arrays to the parts that reports look at.  No torch here.

A reduced file has the name and the format of the full one, so the same code reads it: each array keeps its dtype and
its values, cut to the part that was looked at, and what reports derive from large arrays is kept in place of these.
The metadata are the full file's, and ``reduced``: the full file's SHA-256, and for each array the shapes of both.
"""

from pathlib import Path

from hsivi.arrays import load_metadata, map_arrays, save_arrays
from hsivi.provenance import file_digest
from hsivi.reading import Look


def reduce(source: Path, target: Path, look: Look) -> None:
    """Write what was looked at of a file.

    Arguments:
        source: the full file, or one that was reduced before: the new one says what it is of the full one.
        target: where the reduced one goes.
        look: what was looked at.
    """
    arrays, metadata = map_arrays(source), load_metadata(source)
    kept = {name: arrays[name][tuple(map(slice, box))] for name, box in look.boxes.items()}
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    before = metadata.get("reduced") or {"sha256": file_digest(source), "arrays": {}, "left_out": (), "derived": ()}
    full = shapes | {name: facts["full"] for name, facts in before["arrays"].items()}
    facts = {
        "sha256": before["sha256"],
        "arrays": {name: {"full": full[name], "kept": list(kept[name].shape)} for name in kept},
        "left_out": sorted({*full, *before["left_out"]} - {*kept, *before["derived"]}),
        "derived": sorted(look.derived),
    }
    save_arrays(target, kept | look.derived, metadata | {"reduced": facts})
    target.chmod(0o644)  # safetensors keeps its files to their owner


def merged(looks: list[dict[Path, Look]]) -> dict[Path, Look]:
    """Return what several readers looked at together."""
    together: dict[Path, Look] = {}
    for one in looks:
        for path, look in one.items():
            here = together.setdefault(path, Look())
            here.derived |= look.derived
            for name, box in look.boxes.items():
                here.extend(name, box)
    return together
