"""What a process of the command line is: threads, memory, and the processes beside it.  No torch until it is needed."""

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator, Sequence

from hsivi import overall
from hsivi.config import ConfigError


def limit_threads(threads: int) -> None:
    """Fix the number of threads before any numerical library starts its own: results may depend on it."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)


def compute_alike() -> None:
    """Make two runs on one GPU agree bit for bit, where PyTorch can; on the processor they do anyway.

    Some sums on a GPU are by default taken in the order in which threads arrive.  Whatever has no other way warns.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    import torch

    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next tensor instead of handing it back to the system.

    Activations of about a megabyte otherwise cost a page fault for every 4 KiB each time they are allocated: a third
    of the time of sampling with a small network.  Where the C library has no ``mallopt`` nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (trim_threshold, mmap_threshold):
            mallopt(parameter, 2**30)


def start_processes(arguments: Sequence[str], microbatches: int | None) -> None:
    """Become torchrun with the processes that HSIVI_DEVICES asks for.

    Arguments:
        arguments: of the command line.
        microbatches: of a training, which as many processes as possible share out evenly; None for any number.

    Raises:
        ConfigError: HSIVI_DEVICES is no number of processes.
    """
    devices = os.environ.get(overall.DEVICES, "1")
    if not devices.isdecimal() or devices == "0":
        raise ConfigError(f"{overall.DEVICES}: got {devices!r}, expected a whole number of at least 1; correct it")
    processes = int(devices) if microbatches is None else math.gcd(int(devices), microbatches)
    if processes > 1 and "RANK" not in os.environ:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        os.execv(sys.executable, [sys.executable, *launcher, "-m", "hsivi", *arguments])


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun started, if it did; otherwise nothing, and no torch is loaded."""
    if "RANK" not in os.environ:
        yield
        return
    from hsivi import parallel

    parallel.start()
    yield
    parallel.stop()
