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
        source: the full file.
        target: where the reduced one goes.
        look: what was looked at.
    """
    full = map_arrays(source)
    kept = {name: full[name][tuple(map(slice, box))] for name, box in look.boxes.items()}
    facts = {
        "sha256": file_digest(source),
        "arrays": {name: {"full": list(full[name].shape), "kept": list(kept[name].shape)} for name in kept},
        "left_out": sorted(set(full) - set(kept)),
        "derived": sorted(look.derived),
    }
    save_arrays(target, kept | look.derived, load_metadata(source) | {"reduced": facts})
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
