"""Published tables and figures drawn again from the records and arrays beside them, after a change to ``reports/``."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hsivi import layout
from hsivi.config import SCALES, check_choice, load_experiment
from hsivi.experiment import Experiment
from hsivi.publishing import manifest
from hsivi.publishing.figures import as_published, published_experiments
from hsivi.publishing.publish import KEPT, drawn
from hsivi.reading import NotStoredError
from hsivi.rendering import in_parallel, render


def publish_again(scale: str, folder: Path) -> Iterator[str]:
    """Draw the published tables and figures of a scale again, list all files anew, and yield lines for people.

    A figure whose arrays are not published stays as it is.

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
            chosen = drawn(experiments)
            stored = list(in_parallel(partial(_drawn, scale, experiments), [report.name for report in chosen]))
        for report, is_stored in zip(chosen, stored, strict=True):
            if not is_stored:
                yield f"{report.name}: its arrays are not published; left as it is"
                continue
            for name in report.shown(names):
                for file in (file for file in report.files if file.endswith(KEPT)):
                    old, new = folder / scale / name / file, Path(work) / scale / file
                    if not old.exists() or old.read_bytes() != new.read_bytes():
                        old.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(new, old)
                        yield f"wrote {old}"
    yield f"wrote {manifest.write(folder / scale)}"


def _drawn(scale: str, experiments: list[Experiment], name: str) -> bool:
    """Draw a table or figure; return whether all that it shows is published."""
    try:
        render(name, scale, experiments)
    except NotStoredError:
        return False
    return True
