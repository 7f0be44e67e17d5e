"""Several processes that train one model, one a device: ``torchrun --nproc-per-node N -m hsivi fit ...``.

The command line starts torchrun itself where the environment has HSIVI_DEVICES=N; ``make reproduce DEVICES=N`` sets it.

A batch is cut into a fixed number of micro-batches, each with its own random numbers, and the processes share them
out.  What is learned therefore does not depend on the number of processes, up to the order of summation.  Without
torchrun there is one process, and nothing here does anything.
"""

import os
from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist


def start() -> None:
    """Join the processes that torchrun started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(device_index())
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def stop() -> None:
    """Leave the group, after everybody has come this far."""
    if dist.is_initialized():
        meet()
        dist.destroy_process_group()


def meet() -> None:
    """Wait until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def device_index() -> int:
    """Return which of this machine's devices belongs to the process."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def processes() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the one that writes files and progress."""
    return not dist.is_initialized() or dist.get_rank() == 0


def own_share(microbatches: int) -> range:
    """Return the micro-batches that this process works on.

    Raises:
        ValueError: they cannot be shared out evenly.
    """
    if microbatches % processes():
        raise ValueError(
            f"microbatches: got {microbatches} for {processes()} processes, expected a multiple; change the number of "
            f"processes, or microbatches in the recipe"
        )
    return range(dist.get_rank() if dist.is_initialized() else 0, microbatches, processes())


def average_(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their averages over the processes."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= processes()
