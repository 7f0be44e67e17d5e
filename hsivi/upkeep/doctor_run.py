"""Checks of what a run will meet: GPU, cores, memory, disk, folders, Snakemake, and files from elsewhere."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hsivi import layout, run_lock
from hsivi.config import SCALES
from hsivi.experiment import Experiment
from hsivi.planning import downloads, plan, work
from hsivi.planning.plan_text import size
from hsivi.upkeep import machine
from hsivi.upkeep.doctor import INSTALL, Check

GPU_TRACES = (Path("/dev/nvidia0"), Path("/dev/kfd"))
"""Device files of the drivers of NVIDIA and AMD."""
MEMORY = {"smoke": 1.1e9, "quick": 2e9, "paper": 2e9}
"""Bytes of memory of a job: measured peaks are 1.0 GB at scale smoke (MNIST) and 1.85 GB at quick (2-D data)."""
PUBLISHED_MEMORY = 32e9
"""With networks of the published sizes: a guess, they have not been run."""
TEMPORARY = 1e9
"""Bytes that packages take while they are unpacked in the temporary folder."""


def gpu(found: dict[str, Any] | str, experiments: Sequence[Experiment]) -> Iterator[Check]:
    """Yield the check of GPUs, from what torch says of itself."""
    needing = [one.name for one in experiments if work.has_published_size(one)]
    gpus = found["gpus"] if isinstance(found, dict) else []
    traces = [path for path in GPU_TRACES if path.exists()]
    if gpus:
        yield Check("GPU", "ok", ", ".join(f"{name} with {size(memory)}" for name, memory in gpus))
    elif isinstance(found, dict) and traces and found["built_for"] == "processors":
        text = f"there is one ({traces[0]}), but this torch is built for processors"
        yield Check("GPU", "note", text, "install a build of torch for it (see pytorch.org)")
    elif isinstance(found, dict) and traces:
        remedy = "check CUDA_VISIBLE_DEVICES, and that the driver is not older than the build"
        yield Check("GPU", "note", f"there is one ({traces[0]}), but torch does not see it", remedy)
    else:
        yield Check("GPU", "ok", "none found, jobs run on processors")
    if needing and not gpus:
        text = f"{', '.join(needing)} at scale {experiments[0].scale} would take weeks or more on processors"
        yield Check("GPU", "note", text, "run hsivi plan for hours, or use a machine with a GPU")


def cores(given_threads: str | None) -> Iterator[Check]:
    """Yield the checks of cores and threads."""
    there, usable = machine.cores() or 1, machine.usable_cores()
    if usable is not None and usable < there:
        most = max(int(usable), 1)
        text = f"this process may use {usable:g} of {there} cores"
        yield Check("cores", "note", text, f"run make reproduce CORES={most}: Snakemake counts {there}")
    else:
        yield Check("cores", "ok", f"{there}")
    if given_threads is not None:
        text = f"OMP_NUM_THREADS={given_threads} is set, and has no effect: jobs set it to their --threads"
        yield Check("threads", "note", text)


def folders(experiments: Sequence[Experiment]) -> Iterator[Check]:
    """Yield the checks of memory, of free disk and of write access."""
    yield _memory(experiments)
    made = plan.make(experiments)
    files = [file for file in plan.files(experiments) if file.state == "download"]
    wanted = {
        "results": (layout.results_folder(), made.bytes),
        "cache": (downloads.cache_folder(), float(sum(file.bytes for file in files))),
        "temporary": (Path(tempfile.gettempdir()), TEMPORARY),
    }
    for name, (folder, needed) in wanted.items():
        yield _disk(name, folder, needed)
    for name, folder in (("results", layout.results_folder()), ("reports", layout.reports_folder())):
        yield _writable(name, folder)


def _memory(experiments: Sequence[Experiment]) -> Check:
    there, at_once = machine.usable_memory(), max(int(machine.usable_cores() or 1), 1)
    published = any(work.has_published_size(one) for one in experiments)
    a_job = PUBLISHED_MEMORY if published else MEMORY[experiments[0].scale]
    basis = "a guess" if published else "as measured on 2-D data"
    needs = f"a job takes up to {size(a_job)} ({basis}), {at_once} at once"
    if there is None:
        return Check("memory", "note", f"the system does not say how much is free; {needs}")
    found = f"{size(there)} free; {needs}"
    if there < a_job:
        remedy = "close other programs, use a larger machine, or raise microbatches in the recipe"
        return Check("memory", "problem" if not published else "note", found, remedy)
    if there < a_job * at_once:
        return Check("memory", "note", found, f"run make reproduce CORES={int(there // a_job)}")
    return Check("memory", "ok", found)


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _disk(name: str, folder: Path, needed: float) -> Check:
    free = shutil.disk_usage(existing(folder)).free
    found = f"{size(free)} free for {folder}"
    if needed:
        found += f", about {size(needed)} needed"
    if free < needed:
        remedies = {
            "results": f"free some (hsivi clean --dry-run lists what can go), or set {layout.RESULTS} to a larger disk",
            "cache": "set HSIVI_CACHE_DIR to a folder on a larger disk",
            "temporary": "set TMPDIR to a folder on a larger disk",
        }
        return Check("disk", "note" if name == "temporary" else "problem", found, remedies[name])
    return Check("disk", "ok", found)


def _writable(name: str, folder: Path) -> Check:
    place = existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-"):
            pass
    except OSError as error:
        variable = layout.RESULTS if name == "results" else layout.REPORTS
        remedy = f"correct its permissions, or set {variable} to a folder that can be written to"
        return Check(name, "problem", f"{place} cannot be written to ({error.strerror})", remedy)
    return Check(name, "ok", f"{folder} can be written to")


def snakemake() -> Iterator[Check]:
    """Yield the checks of Snakemake: that it is there, its profile, and a lock of another run."""
    if shutil.which("snakemake") is None:
        remedy = f"{INSTALL}, and put that environment's bin folder on the PATH (make does)"
        yield Check("Snakemake", "note", "is not on the PATH", remedy)
    profile, own = os.environ.get("SNAKEMAKE_PROFILE"), Path("profiles") / "default" / "profile.yaml"
    if profile:
        text = f"SNAKEMAKE_PROFILE={profile} applies, and {own} beside it"
        yield Check("profile", "note", text, "unset it to use this project's alone")
    elif own.is_file():
        yield Check("profile", "ok", f"{own}")
    else:
        yield Check("profile", "problem", f"no {own} in this folder", "start in the root of the checkout")
    yield _lock()


def _lock() -> Check:
    for scale in SCALES:
        at_work = [*run_lock.holders(layout.run_lock(scale)), *run_lock.holders(layout.jobs_lock(scale))]
        if at_work:
            processes = ", ".join(map(str, sorted(set(at_work))))
            return Check(
                "lock", "note", f"a run of scale {scale} is under way here (process {processes})", "wait for its end"
            )
    if any(run_lock.SNAKEMAKE.glob("*.lock")):
        return Check("lock", "ok", "left behind by a run that was killed; the next one removes it")
    return Check("lock", "ok", "no other run in this folder")


def files(experiments: Sequence[Experiment]) -> Iterator[Check]:
    """Yield a check for each experiment of the files that it needs from elsewhere."""
    if downloads.offline():
        yield Check("downloads", "note", "HSIVI_OFFLINE is set: nothing is downloaded")
    own = downloads.own_folder()
    if own is not None and not own.is_dir():
        text = f"HSIVI_DATA_DIR={own} is no folder"
        yield Check("own files", "problem", text, "create it, or unset the variable")
    for experiment in experiments:
        needed = list(downloads.needed(experiment))
        if not needed:
            yield Check("files", "ok", f"{experiment.name} needs none from elsewhere")
        for file in needed:
            yield _file(experiment.name, file)


def _file(experiment: str, file: downloads.Needed) -> Check:
    length = f" ({size(file.bytes)})" if file.bytes else ""
    what = f"{experiment}: {file.name}{length}"
    if file.state == "there":
        return Check("files", "ok", f"{what} is there, {file.place}; a run checks its hash")
    if file.state == "download":
        return Check("files", "ok", f"{what} will be downloaded")
    if file.state == "other length":
        remedy = f"replace it by the file of {file.origin}"
        return Check("files", "problem", f"{what}: {file.place} has another length", remedy)
    remedy = f"get it from {file.origin} and put it at {file.place}"
    if downloads.own_folder() is None:
        remedy += ", where HSIVI_DATA_DIR is a folder that you choose and set"
    return Check("files", "problem", f"{what} is not there", remedy)
