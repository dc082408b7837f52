"""Stage 2's own loss: answers in words to the tasks' prompts, after what the sensors say (paper, Eq. 3).

The same decisions that the heads learn from are asked about in one of the tasks' wordings; where no sensor of a task is
there, the right answer is that nobody can tell. It knows nothing of how a language model is conditioned.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backend.data.instructions import instruction
from backend.dialogue.items import UNANSWERABLE
from backend.model.sensorlm import SensorModel
from backend.tasks import TASKS
from backend.train.batch import Answers, Batch
from backend.train.config import TrainConfig

TEXT = "text"
"""The loss's name beside those of tasks."""


def text_loss(
    model: SensorModel, answers: Answers, batch: Batch, config: TrainConfig, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Mean loss per token of the answers to `config.texts` prompts; nothing where there is nothing to ask.

    Tasks take turns, so that what many crops show does not fill the prompts.
    """
    language = model.language
    if language is None or not config.texts:
        return {}
    chosen, prompts, right = [], [], []
    for row, name in _asked(answers, batch, config, rng):
        task, target = model.tasks[name], None
        if name in batch.targets:
            where = tuple(answers.at[row].tolist())
            if bool(batch.asked[name][where]):
                target = batch.targets[name][where].cpu().numpy()
        one = instruction(task, target, rng)
        if one.answer:
            chosen.append(row)
            prompts.append(language.tokens(one.prompt))
            right.append(language.answer(one.answer))
    if not chosen:
        return {}
    latents_BQd = answers.outputs.latents[torch.tensor(chosen, device=answers.outputs.latents.device)]
    return {TEXT: language.loss(latents_BQd, prompts, right)}


def _asked(answers: Answers, batch: Batch, config: TrainConfig, rng: np.random.Generator) -> list[tuple[int, str]]:
    """Decisions (row of `answers.at`) and the task that each is asked about, of which a share cannot be told."""
    which, slot = (index.cpu() for index in answers.at.unbind(-1))
    told: dict[str, list[int]] = {}
    for name, asked_RL in batch.asked.items():
        known_RL = config.model.task(name).known(batch.targets[name].flatten(0, 1)).view(asked_RL.shape)
        rows = (asked_RL & known_RL).cpu()[which, slot].nonzero().flatten()
        if len(rows):
            told[name] = rows.tolist()
    found = []
    for n in range(config.texts):
        if rng.random() < UNANSWERABLE and (one := _untold(answers, batch, config, rng)) is not None:
            found.append(one)
        elif told:
            name = list(told)[n % len(told)]
            found.append((told[name][rng.integers(len(told[name]))], name))
    return found


def _untold(answers: Answers, batch: Batch, config: TrainConfig, rng: np.random.Generator) -> tuple[int, str] | None:
    """A decision and a task that none of the streams which deliver at its time tells; None where all tell all."""
    row = int(rng.integers(len(answers.at)))
    which, slot = answers.at[row].tolist()
    delivers = batch.present[which, slot].tolist()
    there = [stream for stream, is_there in zip(batch.streams[which], delivers, strict=False) if is_there]
    untold = [name for name in config.model.tasks if not TASKS[name].tells(there)]
    return (row, untold[int(rng.integers(len(untold)))]) if untold else None
