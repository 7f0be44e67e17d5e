"""Files that an experiment needs from elsewhere: which are there, which are downloaded, which its user must provide.

What `hsivi.sources` obtains, seen beforehand: nothing is downloaded, nothing is hashed, and torch is not loaded.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hsivi import layout
from hsivi.config import ROOT, read_mapping
from hsivi.data_config import ImageData, InceptionFeatures
from hsivi.experiment import Experiment

SOURCES = ROOT / "hsivi" / "data" / "sources.yaml"
INCEPTION = ("weights-inception-2015-12-05-6726825d.pth", 95_628_359)
"""Name and (about) length of the weights of torch-fidelity's Inception network."""
State = Literal["there", "download", "by hand", "other length"]


class Needed(NamedTuple):
    """One file.

    Attributes:
        name: what it is called, for people.
        bytes: its length, or 0 where that is not known.
        state: ``there``; ``download``, a run fetches it; ``by hand``; or ``other length``, there but not that file.
        place: where it is, will be, or belongs.
        origin: where it can be had.
    """

    name: str
    bytes: int
    state: State
    place: Path
    origin: str


def offline() -> bool:
    """Return whether the environment forbids downloads."""
    return os.environ.get("HSIVI_OFFLINE", "") not in ("", "0")


def own_folder() -> Path | None:
    """Return the folder of the user's own files, if the environment names one."""
    given = os.environ.get("HSIVI_DATA_DIR")
    return Path(given).expanduser() if given else None


def cache_folder() -> Path:
    """Return the folder where downloads are kept."""
    given = os.environ.get("HSIVI_CACHE_DIR")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "hsivi-bench"


def torch_folder() -> Path:
    """Return the folder where torch keeps downloaded weights, as ``torch.hub.get_dir`` finds it."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def listed() -> dict[str, Mapping[str, Any]]:
    """Return what `hsivi/data/sources.yaml` says of each published data set."""
    return read_mapping(SOURCES, "the list of published files", "see the checkout")


def needed(experiment: Experiment) -> Iterator[Needed]:
    """Yield the files that an experiment needs from elsewhere, less those of stages that are finished."""
    done = {name: layout.DatasetFiles(experiment.scale, experiment.name, name) for name in experiment.data.datasets}
    if isinstance(experiment.data, ImageData):
        if experiment.data.files == "official":
            for dataset, files in done.items():
                if not files.data.exists():
                    yield from _of_dataset(dataset)
        features = experiment.data.features
        if isinstance(features, InceptionFeatures):
            yield from _of_metrics(features)
    checkpoint = experiment.score_model.checkpoint if experiment.score_model is not None else None
    if checkpoint is not None and not all(files.score_model.exists() for files in done.values()):
        yield _provided("checkpoints", checkpoint.file, checkpoint.origin)


def _of_dataset(dataset: str) -> Iterator[Needed]:
    entry = listed()[dataset]
    own = own_folder()
    for file in entry["files"]:
        name, length = f"{dataset}/{file['name']}", int(file["bytes"])
        sources = file.get("sources", [])
        installed = [Path(source["path"]) for source in sources if "path" in source]
        places = [*([own / name] if own else []), cache_folder() / name, *installed]
        found = next((path for path in places if path.is_file()), None)
        if found is not None:
            state: State = "there" if found.stat().st_size == length else "other length"
            # What is damaged in the cache is fetched again.
            if state == "other length" and found != (own or Path()) / name:
                state = _fetched(bool(sources))
            yield Needed(name, length, state, found, entry["page"])
        elif _fetched(bool(sources)) == "download":
            yield Needed(name, length, "download", cache_folder() / name, entry["page"])
        else:
            yield Needed(name, length, "by hand", (own or Path("HSIVI_DATA_DIR")) / name, entry["page"])


def _fetched(listed: bool) -> State:
    return "download" if listed and not offline() else "by hand"


def _of_metrics(features: InceptionFeatures) -> Iterator[Needed]:
    own = own_folder()
    if features.weights == "official":
        name, length = INCEPTION
        places = [*([own / "inception" / name] if own else []), torch_folder() / name]
        found = next((path for path in places if path.is_file()), None)
        state = "there" if found is not None else _fetched(True)
        place = (own or Path("HSIVI_DATA_DIR")) / "inception" / name if state == "by hand" else places[-1]
        yield Needed(f"inception/{name}", length, state, found or place, "torch-fidelity's releases")
    if features.statistics is not None:
        name, origin = features.statistics, features.statistics_origin or "its authors"
        # Unlike checkpoints, they may lie at a path relative to where the run starts.
        yield _given(name, Path(name)) if Path(name).exists() else _provided("", name, origin)


def _provided(folder: str, name: str, origin: str) -> Needed:
    """Return a file or folder that only its user can provide, below HSIVI_DATA_DIR or anywhere."""
    own = own_folder()
    path = (own or Path("HSIVI_DATA_DIR")) / folder / name  # the name alone, where that is absolute
    label = str(Path(folder) / name)
    if path.exists() and (own is not None or path.is_absolute()):
        return _given(label, path)
    return Needed(label, 0, "by hand", path, origin)


def _given(name: str, path: Path) -> Needed:
    return Needed(name, path.stat().st_size if path.is_file() else 0, "there", path, "its user")
