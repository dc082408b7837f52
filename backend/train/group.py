"""The processes that train one model together, and what they say to each other: sums, and waiting.

`torchrun --nproc-per-node N -m backend.cli train ...` starts them. Each handles its parts of a step, all hold the same
weights, and the first alone writes and prints. It knows nothing of models or data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from backend.train.config import TrainConfig
from broker.errors import ConfigError

PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: the first calibrates and measures alone."""


@dataclass(frozen=True)
class Group:
    """This process's place among `world` processes; alone it talks to nobody."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def sum(self, flat: Tensor) -> None:
        """Replace `flat` by its sum over all processes."""
        if self.world > 1:
            with _in_company():
                dist.all_reduce(flat)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        raised = torch.tensor(float(flag), device=device)
        self.sum(raised)
        return bool(raised > 0)

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.world > 1:
            with _in_company():
                dist.barrier()


ALONE = Group()


@contextmanager
def _in_company() -> Iterator[None]:
    """What PyTorch raises when another process has ended is an interruption of this one."""
    try:
        yield
    except RuntimeError:
        raise KeyboardInterrupt("another process of this training has ended") from None


def device_of(config: TrainConfig) -> torch.device:
    """The device that a configuration trains on; raises ConfigError for a GPU that is not there."""
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise ConfigError("device is 'cuda', but PyTorch sees no GPU here; use --set device=cpu")
    return (
        torch.device("cuda", torch.cuda.current_device()) if there and config.device != "cpu" else torch.device("cpu")
    )


@contextmanager
def joined(config: TrainConfig) -> Iterator[Group]:
    """The group that torchrun started this process in, or `ALONE`.

    Raises ConfigError where the parts of a step cannot be shared evenly.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world == 1:
        yield ALONE
        return
    if config.accumulate % world:
        raise ConfigError(
            f"accumulate is {config.accumulate}, which {world} processes cannot share evenly; "
            f"use --set accumulate={world}, or a multiple of it"
        )
    gpu = device_of(config).type == "cuda"
    if gpu:
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise ConfigError(f"process {local + 1} of this machine has no GPU of its own, it has {gpus}; start fewer")
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield Group(rank, world)
    finally:
        dist.destroy_process_group()
