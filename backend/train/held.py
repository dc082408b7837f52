"""How a run does on the people that it holds out, while it trains: losses on the averaged weights, and when to stop.

The same crops each time, as recorded: nothing is varied, dropped or drawn. It knows nothing of metrics: those are
`evaluate`'s, once the run is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Many
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from backend.data.recording import Recording, sequence
from backend.device import has_bf16
from backend.train.batch import Crop, answer, assemble, crop_at
from backend.train.config import TrainConfig
from backend.train.group import Group
from backend.train.losses import loss_names, mask_losses, task_losses
from backend.train.source import sensed
from backend.train.state import State

MOST = 64
"""Crops of each dataset, evenly spread, that a measurement looks at."""


class Held:
    """Crops of validation people, one behind the other."""

    def __init__(self, validation: Mapping[str, Many[Recording]], config: TrainConfig) -> None:
        self.config = config
        size = config.crops // config.accumulate
        self.batches: list[list[Crop]] = []
        for recordings in validation.values():
            cuts = [cut for one in recordings if sensed(one, config).tracks and (cut := sequence(sensed(one, config)))]
            crops = [crop_at(cut, start, config.slots) for cut in cuts for start in range(0, cut.length, config.slots)]
            chosen = [
                crops[i] for i in np.unique(np.linspace(0, len(crops) - 1, min(MOST, len(crops))).round().astype(int))
            ]
            self.batches += [chosen[i : i + size] for i in range(0, len(chosen), size)]

    @torch.no_grad()
    def losses(self, state: State, weights: dict[str, Tensor], group: Group) -> dict[str, float]:
        """By task and mask, the mean over the batches that have it of the averaged weights' loss.

        Processes share the batches, and all get the whole answer.
        """
        config, model = self.config, state.model
        names = [name for name in loss_names(config.model) if "/" not in name]
        total = torch.zeros(2, len(names), dtype=torch.float64, device=state.device)
        with _averaged(state):
            for i in range(group.rank, len(self.batches), group.world):
                rng = np.random.default_rng([config.seed, 79, i])  # for the patches of masks
                batch = assemble(self.batches[i], config.slots, config.model, rng).to(state.device)
                found = mask_losses(model, batch)
                if batch.targets and batch.present.any():
                    precise = not (config.bf16 and has_bf16(state.device))
                    with torch.autocast(state.device.type, torch.bfloat16, enabled=not precise):
                        answers = answer(model, batch)
                    found |= task_losses(model, answers, batch, weights, config)
                for n, name in enumerate(names):
                    if name in found:
                        total[:, n] += torch.stack([found[name].double(), total.new_ones(())])
        group.sum(total)
        return {name: float(t / c) for name, t, c in zip(names, *total.cpu(), strict=True) if c}


@contextmanager
def _averaged(state: State) -> Iterator[None]:
    """The model with its averaged weights, in eval mode; with its own weights afterwards."""
    own = {name: value.clone() for name, value in state.model.state_dict().items()}
    state.model.load_state_dict(state.average)
    state.model.eval()
    try:
        yield
    finally:
        state.model.load_state_dict(own)


def note(state: State, losses: Mapping[str, float]) -> float:
    """What a measurement comes to: the mean of the tasks' losses, each as a share of its first. Keeps the best weights.

    As shares of their first, nats and metres can be averaged, and no task outweighs another by its unit. The first
    is measured after a while, because an untrained model's loss says more of its initialisation than of the task.
    """
    watch = state.watch
    for name, loss in losses.items():
        watch.begun.setdefault(name, max(loss, 1e-6))
    value = float(np.mean([loss / watch.begun[name] for name, loss in losses.items()]))
    if value < watch.lowest:
        watch.lowest, watch.since = value, 0
        state.best = {name: weight.clone() for name, weight in state.average.items()}
    else:
        watch.since += 1
    return value
