"""Training in several processes, each on its share of every batch, under `torchrun`.

Gradients and normalisation statistics are averaged after each backward pass, so all processes hold the same weights
at every step. On one machine with few cores this also beats one process with many threads: processes meet once a
step, threads at every operation.
"""

from __future__ import annotations

import datetime
import os

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = datetime.timedelta(days=7)
"""How long processes wait for one another. The others wait for the first while it renders the samples, which may take
days on few cores; by default they would give up after 30 minutes. If one dies, `torchrun` ends the others at once."""


def start(device: torch.device) -> None:
    """Join the group that `torchrun` describes; without one there is a single process and nothing to do. Of several
    GPUs each process takes the one of its number on the machine."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device.type == "cuda" and device.index is None:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(backend_of(device), timeout=PATIENCE)
        if device.type == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // dist.get_world_size()))


def backend_of(device: torch.device) -> str:
    """What carries tensors between processes that train on a device; flags are on the CPU in any case."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


def stop() -> None:
    """Leave the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def place() -> tuple[int, int]:
    """(this process's number, how many there are)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _average(tensors: list[Tensor]) -> None:
    flat = torch.cat([t.flatten() for t in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


@torch.no_grad()
def average(network: nn.Module) -> None:
    """Average gradients and floating-point buffers over the processes, in place."""
    if dist.is_initialized():
        # Every process draws the same sensors for a step, so the same parameters have gradients everywhere.
        _average([p.grad for p in network.parameters() if p.grad is not None])
        _average([b for b in network.buffers() if b.is_floating_point()])


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process: the same answer in all of them."""
    if not dist.is_initialized():
        return flag
    value = torch.tensor([float(flag)])
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value)


def barrier() -> None:
    """Wait for all processes."""
    any_process(False)
