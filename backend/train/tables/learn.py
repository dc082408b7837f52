"""Training one model of the tables: the product's own training step, fed from sequences that were cut once.

What a step is, is `loop`; who is in which role, `people`; what is measured afterwards, `measure`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from pathlib import Path

import numpy as np
import torch

from backend.checkpoint import Checkpoint, save_checkpoint
from backend.data.recording import Sequence
from backend.model.sensorlm import SensorModel
from backend.tasks import TASKS, Classification
from backend.train.batch import Crop, crop
from backend.train.config import TrainConfig
from backend.train.loop import run_steps
from backend.train.losses import evened
from backend.train.run import put_in_weights, take_out_weights
from backend.train.source import Mixture
from backend.train.state import STATE, load_state, new_state
from broker.errors import ConfigError

Report = Callable[[dict[str, float]], None]


class Cuts(Mixture):
    """Crops of sequences that were cut in advance, every set as often as its weight says."""

    def __init__(self, sequences: Mapping[str, Many[Sequence]], config: TrainConfig) -> None:
        self.config = config
        self.sequences = {name: of for name, of in sequences.items() if of}
        self.shares = shares(self.sequences, config)
        self.says = self._spoken()

    def _spoken(self) -> dict[str, float]:
        """By task, the share of draws that teach it, in units of the mean share."""
        says: dict[str, float] = {}
        for name, share in self.shares.items():
            for task in self.config.model.tasks:
                if any(task in one.targets for one in self.sequences[name]):
                    says[task] = says.get(task, 0.0) + share
        mean = sum(says.values()) / max(len(says), 1)
        return {task: share / mean for task, share in says.items()}

    def draw(self, rng: np.random.Generator, count: int) -> list[Crop]:
        """So many crops."""
        names = list(self.sequences)
        crops = []
        for i in rng.choice(len(names), count, p=list(self.shares.values())):
            of = self.sequences[names[i]]
            crops.append(crop(of[int(rng.integers(len(of)))], self.config.slots, rng))
        return crops


def shares(sequences: Mapping[str, Many[Sequence]], config: TrainConfig) -> dict[str, float]:
    """By set, the chance that a crop is drawn from it."""
    weight = {name: config.datasets[name] for name in sequences}
    return {name: w / sum(weight.values()) for name, w in weight.items()}


def label_weights(sequences: Mapping[str, Many[Sequence]], config: TrainConfig) -> dict[str, torch.Tensor]:
    """Of every classification, the weight of each label in the loss: evened out within each set, as `run` does."""
    weights, chance = {}, shares(sequences, config)
    for name in config.model.tasks:
        task = config.model.task(name)
        if not isinstance(task, Classification):
            continue
        columns, amounts = TASKS[name].columns(task.outputs), {}
        for of, found in sequences.items():
            truths = [one.targets[name] for one in found if name in one.targets]
            amounts[of] = sum((truth.sum(0) for truth in truths), np.zeros(TASKS[name].size))[columns]
        even = evened(task, amounts, chance)
        weights[name] = torch.ones(task.size) if even is None else torch.from_numpy(even)  # nothing tells of the task
    return weights


def learn(
    config: TrainConfig,
    sequences: Mapping[str, Many[Sequence]],
    folder: Path,
    report: Report,
    encoders: SensorModel | None = None,
) -> tuple[SensorModel, float]:
    """A trained model and the seconds that its steps took; a run that was interrupted goes on.

    It begins with the encoders of a model, where one is given, and where all that it sees is tokens they stay as they
    are.

    Raises:
        KeyboardInterrupt: it is interrupted now; all is saved.
        ConfigError: the model that is given lacks an encoder.
    """
    torch.set_num_threads(1)
    weights = label_weights(sequences, config)
    if config.start and "heads" not in config.frees:
        weights = {task: torch.ones_like(weight_N) for task, weight_N in weights.items()}
    begun = (folder / STATE).is_file()
    state = load_state(config, folder) if begun else new_state(config)
    if config.start and not begun:
        put_in_weights(state, weights)
    if encoders is not None and not begun:
        if lacking := [m for m in config.model.modalities if m not in encoders.config.modalities]:
            raise ConfigError(f"encoders: none for {lacking[0]}; give a model that has {', '.join(lacking)}")
        weight = {f"encoders.{k}": v for k, v in encoders.encoders.state_dict().items()}
        for of in (state.model.state_dict(), state.average):
            for name in of.keys() & weight.keys():
                of[name].copy_(weight[name])
    if all(series.encoded for of in sequences.values() for one in of for series in one.series):
        state.model.encoders.requires_grad_(False)
        state.model.unimodal.requires_grad_(False)  # they are there for the encoders' sake
    began = time.monotonic() - state.seconds
    if not state.done(config) and not run_steps(state, Cuts(sequences, config), weights, config, folder, report):
        raise KeyboardInterrupt
    state.model.load_state_dict(state.weights())
    take_out_weights(state.model, weights)
    return state.model.eval(), time.monotonic() - began


def keep(model: SensorModel, config: TrainConfig, folder: Path) -> None:
    """The checkpoint, in place of the state that training resumes from."""
    save_checkpoint(Checkpoint(model, record={"config": config.to_json()}), folder)
    (folder / STATE).unlink(missing_ok=True)
