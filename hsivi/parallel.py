"""Several processes that train one model or draw its samples, one a device: ``torchrun ... -m hsivi fit ...``.

The command line starts torchrun itself where the environment has HSIVI_DEVICES=N; ``make reproduce DEVICES=N`` sets it.

A batch is cut into a fixed number of micro-batches, each with its own random numbers, and the processes share them
out.  What is learned therefore does not depend on the number of processes, up to the order of summation.  Samples are
shared out in whole batches, and the noise of each belongs to its number, so they do not depend on it at all.  Without
torchrun there is one process, and nothing here does anything.
"""

import math
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
        # What is on the processor (flags, samples) goes by gloo, gradients on GPUs by NCCL.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


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
    return _rank() == 0


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
    return range(_rank(), microbatches, processes())


def own_rows(count: int, batch: int) -> range:
    """Return the samples, of ``count``, that this process draws: whole batches side by side, in the order of ranks."""
    return _rows(_rank(), count, batch)


def gather_rows(own: Tensor, count: int, batch: int) -> Tensor:
    """Return the samples of all processes on the first, and on another those that it gave.

    Arguments:
        own: what this process drew of its `own_rows`, on the processor, one a row.
        count: samples of all processes.
        batch: as for `own_rows`.
    """
    if not is_first():
        if len(own):
            dist.send(own.contiguous(), 0)
        return own
    parts = [own]
    for rank in range(1, processes()):
        if rows := len(_rows(rank, count, batch)):
            parts.append(own.new_empty(rows, *own.shape[1:]))
            dist.recv(parts[-1], rank)
    return torch.cat(parts)


def first_problem(own: str | None) -> str | None:
    """Return what is wrong in the first process in which something is, or None; all have to ask, and hear the same."""
    if not dist.is_initialized():
        return own
    somewhere = torch.tensor(int(own is not None))
    dist.all_reduce(somewhere, dist.ReduceOp.MAX)
    if not somewhere:
        return None
    every: list[str | None] = [None] * processes()
    dist.all_gather_object(every, own)
    return next(problem for problem in every if problem is not None)


def average_(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their averages over the processes."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= processes()


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _rows(rank: int, count: int, batch: int) -> range:
    batches = math.ceil(count / batch)
    begin, end = (min(math.ceil(batches * r / processes()) * batch, count) for r in (rank, rank + 1))
    return range(begin, end)
