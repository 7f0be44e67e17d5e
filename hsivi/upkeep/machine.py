"""What this process may use of the machine: cores and memory, under the limits of its control group.  No torch here.

A container sees all cores and all memory of its host.  What it may use stands in its control group: version 2 in
``/sys/fs/cgroup/<group>/cpu.max`` and ``memory.max``, version 1 in folders of each controller (Linux kernel
documentation, "Control Group v2" and "CFS Bandwidth Control").  A limit of a parent holds for its children too.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")


def cores() -> int | None:
    """Return the number of cores that the system has, or None where it does not say."""
    return os.cpu_count()


def usable_cores() -> float | None:
    """Return how many cores this process may keep busy, or None where the system does not say."""
    found = [float(len(os.sched_getaffinity(0)))] if hasattr(os, "sched_getaffinity") else []
    if (count := cores()) is not None:
        found.append(float(count))
    for folder in _folders("cpu"):
        quota, period = _numbers(folder / "cpu.max") or (0.0, 0.0)
        if not period:
            quota = next(iter(_numbers(folder / "cpu.cfs_quota_us")), 0.0)
            period = next(iter(_numbers(folder / "cpu.cfs_period_us")), 0.0)
        if quota > 0 and period > 0 and math.isfinite(quota):
            found.append(quota / period)
    return min(found, default=None)


def usable_memory() -> float | None:
    """Return how many more bytes this process may use, or None where the system does not say."""
    found = []
    for line in _read(MEMORY).splitlines():
        if line.startswith("MemAvailable:"):
            found.append(float(line.split()[1]) * 1024)
    for folder in _folders("memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most = next(iter(_numbers(folder / limit)), math.inf)
            if math.isfinite(most):
                found.append(max(most - next(iter(_numbers(folder / used)), 0.0), 0.0))
    return min(found, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of its parents, for one controller."""
    for line in _read(MEMBERSHIP).splitlines():
        number, controllers, group = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            base = GROUPS
        elif controller in controllers.split(","):
            base = GROUPS / controller
        else:
            continue
        folder = base / group.strip("/")
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(base))


def _numbers(path: Path) -> tuple[float, ...]:
    """Return the numbers in a file, ``max`` as infinity; nothing where there is no such file."""
    try:
        return tuple(math.inf if word == "max" else float(word) for word in _read(path).split())
    except ValueError:
        return ()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
