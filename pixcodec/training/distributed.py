"""Training by several processes: `torchrun --nproc-per-node N -m pixcodec train RECIPE ...`.

Every process has the whole network and its own batches; gradients are averaged before each step, so all of them stay
the same.  A recipe's batch is what one process sees.  Only the first process reports, validates and writes.
"""

from __future__ import annotations

import atexit
import os
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import distributed, nn

from pixcodec.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PATIENCE = timedelta(hours=2)  # while the first process prepares pictures or validates


def begin(device: torch.device) -> torch.device:
    """Join the other processes if `torchrun` started this one; the device that is this process's own.

    Raises:
        TrainingError: there are fewer GPUs than processes.
    """
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        return device
    if device.type == "cuda":
        number = int(os.environ["LOCAL_RANK"])
        if number >= torch.cuda.device_count():
            raise TrainingError(
                f"each process needs a GPU of its own, found {torch.cuda.device_count()}; start as many processes"
            )
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        # What an optimizer imports keeps a reference to the group when it comes after it; gloo's threads then outlive
        # the group and abort the process when they meet an interpreter that is ending.
        import_module("torch._dynamo")
        # What is agreed upon stays on the processor, so that no step waits for a GPU to say what time it is.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        atexit.register(distributed.destroy_process_group)
    return device


def rank() -> int:
    """Which process this is, from 0."""
    return distributed.get_rank() if _several() else 0


def world() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if _several() else 1


def agree(value: float) -> float:
    """The first process's value, for what all must decide alike."""
    if world() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return float(shared)


def anyone(asked: bool) -> bool:  # noqa: FBT001 - a question's answer
    """Whether any process answers with yes."""
    if world() == 1:
        return asked
    shared = torch.tensor(asked, dtype=torch.int32)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return bool(shared)


@contextmanager
def first_goes_first() -> Iterator[None]:
    """What is inside is done by the first process, and then by the others, who find what it left on disk.

    Where the first one fails the others wait until `torchrun` ends them.
    """
    if rank() > 0:
        agree(0)
    yield
    if rank() == 0:
        agree(0)


def share_weights(network: nn.Module) -> None:
    """Give all processes the first one's weights."""
    if world() == 1:
        return
    weights = [p.data for p in network.parameters()]
    flat = _flat(weights)
    distributed.broadcast(flat, 0)
    _put(flat, weights)


def average_gradients(network: nn.Module) -> None:
    """Replace each gradient by its mean over all processes."""
    if world() == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = _flat(gradients)
    distributed.all_reduce(flat)
    flat /= world()
    _put(flat, gradients)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _put(flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
