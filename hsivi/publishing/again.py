"""Published results published again, from the records and arrays that are there, after a change to ``reports/``."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hsivi import layout
from hsivi.arrays import load_metadata
from hsivi.config import SCALES, check_choice, load_experiment
from hsivi.experiment import Experiment
from hsivi.publishing import manifest, reduction
from hsivi.publishing.figures import as_published, published_experiments
from hsivi.publishing.publish import KEPT, drawn
from hsivi.reading import Looks, NotStoredError, watched
from hsivi.rendering import in_parallel, render


def publish_again(scale: str, folder: Path) -> Iterator[str]:
    """Draw the published tables and figures of a scale again, and yield lines for people.

    Arrays are cut to what figures look at now, and all files are listed anew.  A figure that looks at more than is
    published stays as it is, and so do all arrays of its experiments, but for those of new rows that were never cut:
    without a figure that looks at them they are not kept.

    Arguments:
        scale: smoke, quick or paper.
        folder: of the reference results of all scales.

    Raises:
        ConfigError: nothing of the scale is published there.
    """
    check_choice(f"scale in {folder}", scale, tuple(name for name in SCALES if (folder / name).is_dir()))
    with tempfile.TemporaryDirectory(prefix="hsivi-again-") as work:
        with layout.folders(folder, Path(work)):
            names = published_experiments(scale, folder)
            experiments = [as_published(load_experiment(name, scale, "core"))[0] for name in names]
            chosen, work_on = drawn(experiments), partial(_drawn, scale, experiments)
            found = dict(zip(chosen, in_parallel(work_on, chosen), strict=True))
        left: set[str] = set()
        for report, looks in found.items():
            if looks is None:
                left |= set(report.shown(names))
                yield f"{report.name}: its arrays are not published; left as it is"
                continue
            for name in report.shown(names):
                for file in (file for file in report.files if file.endswith(KEPT)):
                    old, new = folder / scale / name / file, Path(work) / scale / file
                    if not old.exists() or old.read_bytes() != new.read_bytes():
                        old.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(new, old)
                        yield f"wrote {old}"
    places = [folder / scale / name for name in left]
    for path, look in reduction.merged([looks for looks in found.values() if looks is not None]).items():
        if any(path.is_relative_to(place) for place in places):
            continue
        before = path.stat().st_size
        reduction.reduce(path, path, look)
        if (now := path.stat().st_size) < before:
            yield f"wrote {path}: {before - now:,} bytes less"
    for path in sorted((folder / scale).rglob("*.safetensors")):
        if "reduced" not in load_metadata(path):
            path.unlink()
            yield f"{path}: no figure that could be drawn looks at it; not kept"
    yield f"wrote {manifest.write(folder / scale)}"


def _drawn(scale: str, experiments: list[Experiment], name: str) -> Looks | None:
    """Draw a report; return what it looked at, or None where that is not published."""
    with watched() as looks:
        try:
            render(name, scale, experiments)
        except NotStoredError:
            return None
    return looks
