"""What a batch costs: the mean loss of every task, unimodal head and mask.

It knows how answers meet their truth, and nothing of how losses are weighed against each other or of steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.model.contact import REACH
from backend.model.sensorlm import ModelConfig, SensorModel
from backend.tasks import MASKS, Classification, Regression, Task
from backend.train.batch import Answers, Batch
from backend.train.config import TrainConfig
from backend.train.text import TEXT


def loss_names(model: ModelConfig) -> tuple[str, ...]:
    """Every name that a loss may have, in one order: tasks, their unimodal heads, masks, text."""
    heads = tuple(f"{t}/{m}" for t in model.tasks for m in model.modalities if m in model.task(t).modalities)
    return (*model.tasks, *heads, *model.masks, *([] if model.language is None else [TEXT]))


def evened(
    task: Classification, amounts: Mapping[str, NDArray[np.floating]], chance: Mapping[str, float]
) -> NDArray[np.float32] | None:
    """Loss weights (N,) of the labels, evened out within each set, from how much of each (N,) a set has.

    `chance` is that of a set to be drawn. None where no set has any.
    """
    share, wanted = np.zeros((2, task.size))
    for of, amount in amounts.items():
        if amount.sum():
            share += chance[of] * amount / amount.sum()
            wanted += chance[of] * (amount > 0) / (amount > 0).sum()
    total = share.sum()
    return task.weights(share / total, np.where(share > 0, wanted / total, 1 / task.size)) if total else None


def mask_losses(model: SensorModel, batch: Batch) -> dict[str, Tensor]:
    """Mean loss by mask, over the patches of its frames, but for what the decoder sees less of than in whole frames."""
    losses = {}
    for name, patches in batch.masks.items():
        decoder, finer = model.decoder(name), MASKS[name].finer
        rows, columns = (side // finer for side in patches.mask.shape[1:])
        seen = [
            picture[:, row : row + rows, column : column + columns]
            for picture, (row, column) in zip(decoder.picture(patches.frames), patches.corner, strict=True)
        ]
        logit, inside = decoder(torch.stack(seen)), torch.zeros_like(patches.mask, dtype=torch.bool)
        high, wide = patches.frames.shape[1:3]
        for n, (row, column) in enumerate(patches.corner):
            inside[n, _within(row, rows, high, finer), _within(column, columns, wide, finer)] = True
        losses[name] = MASKS[name].loss(logit[inside], patches.mask[inside])
    return losses


def _within(first: int, cells: int, size: int, finer: int) -> slice:
    """Along one side, the part of a patch's mask whose cells see as much around them as in the whole frame."""
    low = 0 if first == 0 else REACH
    high = cells if first + cells == size else cells - REACH
    return slice(low * finer, high * finer)


def task_losses(
    model: SensorModel, answers: Answers, batch: Batch, weights: dict[str, Tensor], config: TrainConfig
) -> dict[str, Tensor]:
    """Mean loss by task of the decisions, and by `task/modality` of the unimodal heads (already weighted).

    A decision counts where serving would ask for it. Unimodal heads learn tasks that ask for their modality, part by
    part where the edges of labels mean something, else the window's label throughout; they are asked where something
    is known, and not at all where `auxiliary` is 0. Where nothing counts there is no loss: a zero would be taken for a
    task that has been learned.
    """
    losses = {}
    which, slot = answers.at.unbind(-1)
    for name, target_RLN in batch.targets.items():
        task = config.model.task(name)
        helping = [m for m in config.model.modalities if m in task.modalities and m in batch.windows]
        target = target_RLN[which, slot]
        counts = batch.asked[name][which, slot] & task.known(target)
        if counts.any():
            losses[name] = _mean_loss(task, answers.outputs.heads[name], target, counts, weights, config)
        for modality in helping if config.auxiliary else ():
            at = batch.windows[modality].where
            known = task.known(target_RLN[at[:, 0], at[:, 1]])
            if not known.any():
                continue
            at = at[known]
            vote, target = model.vote(modality, name, answers.tokens[modality][known]), target_RLN[at[:, 0], at[:, 1]]
            if isinstance(task, Classification):
                timed = task.none_label is None
                parts_nPN = batch.parts[name][at[:, 0], at[:, 1]] if timed else target[:, None].expand_as(vote)
                vote, target = vote.flatten(0, 1), parts_nPN.flatten(0, 1)
            loss = _mean_loss(task, vote, target, target.new_ones(len(target), dtype=torch.bool), weights, config)
            losses[f"{name}/{modality}"] = config.auxiliary * loss
    return losses


def _mean_loss(
    task: Task, said: Tensor, target: Tensor, counts: Tensor, weights: dict[str, Tensor], config: TrainConfig
) -> Tensor:
    """Mean over the rows that count, at least one, about which something is known."""
    if isinstance(task, Regression):
        loss = task.loss(said.float(), target)
    else:
        assert isinstance(task, Classification)
        target = target * (1 - config.smoothing) + config.smoothing / target.shape[-1] * target.sum(-1, keepdim=True)
        loss = task.loss(said.float(), target, weights[task.name])
    return loss.where(counts, loss.new_zeros(())).sum() / counts.sum()
