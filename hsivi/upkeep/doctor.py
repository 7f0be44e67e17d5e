"""Checks of the environment before a run: what was found, whether it will do, and what to do where it will not.

Only the check of torch loads it, in a process of its own, so that a broken installation cannot end the others.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any, Literal, NamedTuple

from hsivi.config import ROOT
from hsivi.experiment import Experiment

Status = Literal["ok", "note", "problem"]
TORCH_CHECK = """
import json, sys
import torch
found = {"version": torch.__version__, "built_for": torch.version.cuda or torch.version.hip or "processors"}
a = torch.arange(6.0).reshape(2, 3)
found["product"] = (a @ a.T).tolist() == [[5.0, 14.0], [14.0, 50.0]]
found["gpus"] = []
if torch.cuda.is_available():
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        found["gpus"].append([facts.name, facts.total_memory])
try:
    import torchvision
    found["torchvision"] = torchvision.__version__
except Exception as error:
    found["torchvision_error"] = str(error)
print(json.dumps(found))
"""
TORCH_SECONDS = 120
"""Seconds after which loading torch is given up: from a cold network disk it takes a while."""
INSTALL = "run make environment, or pip install -c constraints.txt -e '.[run]'"


class Check(NamedTuple):
    """One check.

    Attributes:
        name: what was looked at.
        status: ``ok``; ``note``, worth knowing; or ``problem``, a run will fail or be wrong.
        found: what was found.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.status:8s} {self.name:12s} {self.found}"
        return f"{text}; {self.remedy}" if self.remedy else text


def examine(experiments: Sequence[Experiment], given_threads: str | None) -> Iterator[Check]:
    """Yield all checks, each when it is done.

    Arguments:
        experiments: what is to be run.
        given_threads: OMP_NUM_THREADS as the user has set it.
    """
    from hsivi.upkeep import doctor_run

    yield from python()
    yield from packages()
    found = ask_torch()
    yield from torch(found)
    yield from doctor_run.gpu(found, experiments)
    yield from doctor_run.cores(given_threads)
    yield from doctor_run.folders(experiments)
    yield from doctor_run.snakemake()
    yield from doctor_run.files(experiments)


def python() -> Iterator[Check]:
    """Yield the check of Python's version."""
    wanted = _project()["requires-python"].removeprefix(">=")
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _numbers(wanted):
        yield Check("Python", "problem", f"{found}, expected at least {wanted}", "run make PYTHON=/path/to/python")
    else:
        yield Check("Python", "ok", found)


def packages() -> Iterator[Check]:
    """Yield the checks of the packages: those that a run needs, those of tests and documentation, and the pins."""
    extras = {"": _project()["dependencies"], **_project()["optional-dependencies"]}
    run = [r for extra in ("", "figures", "run") for r in extras[extra] if not r.startswith("hsivi-bench")]
    other = [r for extra in ("docs", "dev") for r in extras[extra] if not r.startswith("hsivi-bench")]
    if missing := [name for name in map(_name, run) if _version(name) is None]:
        yield Check("packages", "problem", f"missing: {', '.join(missing)}", INSTALL)
    if old := [r for r in run if (v := _version(_name(r))) is not None and _numbers(v) < _numbers(_bound(r))]:
        found = ", ".join(f"{_name(r)} {_version(_name(r))}, expected at least {_bound(r)}" for r in old)
        yield Check("packages", "problem", found, INSTALL)
    if not missing and not old:
        yield Check("packages", "ok", f"all {len(run)} that a run needs")
    if absent := [name for name in map(_name, other) if _version(name) is None]:
        found = f"{len(absent)} of the tests and documentation are missing: {_some(absent)}"
        yield Check("packages", "note", found, "no run needs them; make environment installs them")
    yield from _pins()


def _pins() -> Iterator[Check]:
    """Yield the comparison of installed versions with the pins; a pinned package that is not installed says nothing."""
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    other = []
    for name, pinned in pins.items():
        found = _version(name)
        if found is not None and found.partition("+")[0] != pinned:  # "+cpu" names a build, not a version
            other.append(f"{name} {found} (pinned {pinned})")
    if other:
        remedy = "results may differ by rounding; make environment installs the pinned ones"
        yield Check("pins", "note", f"{len(other)} other versions than in constraints.txt: {_some(other)}", remedy)
    else:
        yield Check("pins", "ok", "installed versions are those of constraints.txt")


def ask_torch() -> dict[str, Any] | str:
    """Return what torch says of itself, or why it cannot be asked."""
    command = [sys.executable, "-c", TORCH_CHECK]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_SECONDS, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return f"loading it took more than {TORCH_SECONDS} s"
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return said[-1] if said else f"loading it ended with status {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def torch(found: dict[str, Any] | str) -> Iterator[Check]:
    """Yield the checks of torch and torchvision, from what `ask_torch` found."""
    wanted = next(_bound(r) for r in _project()["optional-dependencies"]["run"] if _name(r) == "torch")
    if isinstance(found, str):
        yield Check("torch", "problem", f"does not load: {found}", INSTALL)
        return
    if _numbers(found["version"]) < _numbers(wanted):
        yield Check("torch", "problem", f"{found['version']}, expected at least {wanted}", INSTALL)
    elif not found["product"]:
        yield Check("torch", "problem", f"{found['version']} multiplies two small matrices wrongly", INSTALL)
    else:
        yield Check("torch", "ok", f"{found['version']}, built for {_built(found['built_for'])}, multiplies correctly")
    if "torchvision" in found:
        yield Check("torchvision", "ok", found["torchvision"])
    else:
        said = " ".join(found["torchvision_error"].split())[:120]
        yield Check("torchvision", "problem", f"does not load beside this torch: {said}", INSTALL)


def _built(built_for: str) -> str:
    return built_for if built_for == "processors" else f"CUDA or ROCm {built_for}"


def exit_status(checks: Iterable[Check]) -> int:
    """Return 1 where there is a problem, else 0."""
    return int(any(check.status == "problem" for check in checks))


def _project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0]


def _bound(requirement: str) -> str:
    return requirement.partition(">=")[2] or "0"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, for comparison: 2.11.0+cpu is (2, 11, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
