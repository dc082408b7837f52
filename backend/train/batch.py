"""Batches of sequences: crops of recordings, augmented, with streams dropped, and their way through the model.

A crop of L slots is encoded once per window and fused at every slot with the slots before it, so that L decisions cost
L encodings. Fusion here and in serving is the same `SensorModel.fuse`; only the tensors are assembled otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pydantic.dataclasses
import torch
from torch import Tensor
from torch.nn import functional as F

from backend.choices import CHECKED, Count, Share
from backend.data.recording import Masks, Sequence, Series
from backend.model.adapter import FuseBatch
from backend.model.contact import REACH
from backend.model.sensorlm import ModelConfig, Outputs, SensorModel
from backend.tasks import MASKS, TASKS, Classification, Task
from backend.tasks.task import Placed
from backend.train.augment import AUGMENTATIONS, UNMIRRORED, AugmentConfig
from broker.errors import DataError


@pydantic.dataclasses.dataclass(config=CHECKED)
class DropConfig:
    """Chances that a sequence loses a stream: wholly, from some slot on, or in single windows.

    `modality`: that a stream's placement is not told. `most`: streams that a crop keeps at most, drawn at random.
    """

    whole: Share = 0.3
    onwards: Share = 0.1
    windows: Share = 0.03
    modality: Share = 0.15
    most: Count = 6


@dataclass(frozen=True)
class Windows:
    """All windows of one modality in a batch, (n, ...) by shape; `where` (n, 3): sequence, slot and row of each.

    `encoded`: they are an encoder's tokens (n, K, d) already.
    """

    values: tuple[Tensor, ...]
    rate: float
    where: Tensor
    encoded: bool = False

    def to(self, device: torch.device) -> Windows:
        """The same on a device."""
        return Windows(tuple(x.to(device) for x in self.values), self.rate, self.where.to(device), self.encoded)


PATCH = 24
"""Cells along a side of what is seen of a frame where a mask is learned: most of a frame is empty."""
TOUCHED = 0.85
"""Share of the patches that lie about something of the mask."""


@dataclass(frozen=True)
class Patches:
    """Whole frames (n, H, W, C) in the modality's units, the first cell of a patch of each, and the patch's mask."""

    frames: Tensor
    corner: list[tuple[int, int]]
    mask: Tensor

    def to(self, device: torch.device) -> Patches:
        """The same on a device."""
        return Patches(self.frames.to(device), self.corner, self.mask.to(device))


@dataclass(frozen=True)
class Batch:
    """R crops of L slots with up to M streams each.

    `windows` by modality; `modality`, `placement` (R, M) indices; `quality`, `present` (R, L, M); `targets` by task
    (R, L, size) and, of classifications, `parts` (R, L, PARTS, labels): `Task.unknown` where nothing is known. `asked`
    (R, L) by task: where serving would ask it, for what it has. `streams`: whose the rows of each crop are.
    """

    windows: dict[str, Windows]
    modality: Tensor
    placement: Tensor
    quality: Tensor
    present: Tensor
    targets: dict[str, Tensor]
    parts: dict[str, Tensor]
    asked: dict[str, Tensor]
    streams: Many[Many[Placed]]
    masks: dict[str, Patches] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same on a device; this very batch where it is there."""
        if device == self.present.device:
            return self

        def there(of: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: one.to(device) for name, one in of.items()}

        return Batch(
            {name: windows.to(device) for name, windows in self.windows.items()},
            self.modality.to(device),
            self.placement.to(device),
            self.quality.to(device),
            self.present.to(device),
            there(self.targets),
            there(self.parts),
            there(self.asked),
            self.streams,
            {name: patches.to(device) for name, patches in self.masks.items()},
        )


@dataclass(frozen=True)
class Crop:
    """L slots of a sequence, or of two sequences laid over each other (motion of one, sound of another).

    `dataset` is that of the first.
    """

    dataset: str
    series: tuple[Series, ...]
    starts: tuple[int, ...]
    targets: dict[str, np.ndarray]
    parts: dict[str, np.ndarray]
    masks: Mapping[str, Masks] = field(default_factory=dict)


def crop(sequence: Sequence, slots: int, rng: np.random.Generator) -> Crop:
    """A random part of `slots` slots; a shorter sequence is taken whole and ends unlabelled."""
    return crop_at(sequence, int(rng.integers(0, max(sequence.length - slots, 0) + 1)), slots)


def crop_at(sequence: Sequence, start: int, slots: int) -> Crop:
    """The part of `slots` slots from a slot on; what lies beyond the end is unlabelled."""
    stop = start + slots
    targets = {task: _padded(of[start:stop], slots, TASKS[task].unknown) for task, of in sequence.targets.items()}
    parts = {task: _padded(of.dense(start, stop, TASKS[task].size), slots, 0.0) for task, of in sequence.parts.items()}
    return Crop(sequence.dataset, sequence.series, (start,) * len(sequence.series), targets, parts, sequence.masks)


def _padded(truth: np.ndarray, slots: int, unknown: float) -> np.ndarray:
    widths = ((0, slots - len(truth)), *((0, 0),) * (truth.ndim - 1))
    return np.pad(truth, widths, constant_values=unknown)


def overlay(first: Crop, second: Crop) -> Crop:
    """Both crops as one group: all streams, and the labels of both where only one has the task."""
    return Crop(
        first.dataset,
        first.series + second.series,
        first.starts + second.starts,
        {**second.targets, **first.targets},
        {**second.parts, **first.parts},
    )


def assemble(
    crops: Many[Crop],
    slots: int,
    config: ModelConfig,
    rng: np.random.Generator,
    augment: AugmentConfig | None = None,
    drop: DropConfig | None = None,
    varied: Mapping[str, AugmentConfig] = MappingProxyType({}),
) -> Batch:
    """Tensors of the crops; `augment` and `drop` None leave the windows as recorded, and tokens are never varied.

    `varied`: by dataset, what stands in the place of `augment`.

    Raises DataError where some of a modality is tokens, and some is windows.
    """
    shape = (len(crops), slots, max(len(c.series) for c in crops))
    modality, placement = (np.zeros((shape[0], shape[2]), np.int64) for _ in range(2))
    quality, present = np.zeros(shape, np.float32), np.zeros(shape, bool)
    values: dict[tuple[Any, ...], list[np.ndarray]] = {}
    where: dict[tuple[Any, ...], list[np.ndarray]] = {}
    rates: dict[str, float] = {}
    encoded = _encoded(crops)
    unasked: list[frozenset[str]] = [frozenset()] * len(crops)
    mirrored = [False] * len(crops)
    streams: list[list[Placed]] = [[] for _ in crops]
    for r, one in enumerate(crops):
        if one.masks and not one.targets:
            continue  # nothing to decide: its frames are learned from as they are
        own = None if any(series.encoded for series in one.series) else varied.get(one.dataset, augment)
        sided = any(TASKS[task].sided for task in one.targets if task in config.tasks)
        sided = sided or any(series.modality in UNMIRRORED for series in one.series)
        mirror = mirrored[r] = own is not None and rng.random() < own.mirror and not sided
        dropped = _dropped(one, slots, rng, drop)
        hidden, unasked[r] = _hidden(one, config, rng)
        dropped[:, hidden] = True
        m = 0  # the row: streams that say nothing have none, for fusion costs as much with empty rows
        for series, start, dropped_L in zip(one.series, one.starts, dropped.T, strict=True):
            chosen = np.flatnonzero(series.present[start : start + slots])
            chosen = chosen[~dropped_L[chosen]]
            if not len(chosen):
                continue
            x_L = series.values[start + chosen].astype(np.float32) * np.float32(series.scale)
            if own is not None:
                x_L = AUGMENTATIONS[series.modality](x_L, rng, own, mirror)
            kind = (series.modality, *x_L.shape[1:-1])
            values.setdefault(kind, []).append(x_L)
            where.setdefault(kind, []).append(np.stack([np.full_like(chosen, r), chosen, np.full_like(chosen, m)], -1))
            rates[series.modality] = series.rate
            modality[r, m] = config.modalities.index(series.modality)
            known = drop is None or rng.random() > drop.modality
            placement[r, m] = config.placement(series.placement) if known else 0
            quality[r, chosen, m], present[r, chosen, m] = series.quality[start + chosen], True
            streams[r].append((series.modality, series.placement))
            m += 1
    windows = {}
    for name, rate in rates.items():
        kinds = [kind for kind in values if kind[0] == name]
        stacked = tuple(torch.from_numpy(_stacked(values[kind])) for kind in kinds)
        places = np.concatenate([one for kind in kinds for one in where[kind]])
        windows[name] = Windows(stacked, rate, torch.from_numpy(places), encoded[name])
    rows = int(present.any((0, 1)).sum())
    about = [torch.from_numpy(a[..., :rows]) for a in (modality, placement, quality, present)]
    targets, parts = _labels(crops, slots, config, unasked, mirrored)
    asked = {name: _asked(TASKS[name], present, streams) for name in targets}
    masks = _patches(crops, slots, config, rng)
    return Batch(windows, about[0], about[1], about[2], about[3], targets, parts, asked, streams, masks)


def _encoded(crops: Many[Crop]) -> dict[str, bool]:
    """By modality, whether its windows are tokens."""
    found: dict[str, bool] = {}
    for series in (series for one in crops for series in one.series):
        if found.setdefault(series.modality, series.encoded) != series.encoded:
            raise DataError(f"{series.modality}: tokens and windows in one batch; encode all sets, or none")
    return found


def _asked(task: Task, present_RLM: np.ndarray, streams: Many[Many[Placed]]) -> Tensor:
    """(R, L) bool: where the streams that deliver in a slot are enough to ask the task."""
    asked_RL = np.zeros(present_RLM.shape[:2], bool)
    for asked_L, present_LM, placed in zip(asked_RL, present_RLM, streams, strict=True):
        told: dict[bytes, bool] = {}  # by which streams deliver: mostly the same ones
        for slot, pattern in enumerate(present_LM):
            key = pattern.tobytes()
            if key not in told:
                told[key] = task.tells([stream for stream, there in zip(placed, pattern, strict=False) if there])
            asked_L[slot] = told[key]
    return torch.from_numpy(asked_RL)


def _stacked(values: Many[np.ndarray]) -> np.ndarray:
    """All windows of a modality and shape; channels that only some streams have are 0 in the others."""
    most = max(x.shape[-1] for x in values)
    padded = [np.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, most - x.shape[-1]),)) for x in values]
    return np.concatenate(padded).astype(np.float32)


def _dropped(one: Crop, slots: int, rng: np.random.Generator, drop: DropConfig | None) -> np.ndarray:
    """(slots, M) windows to leave out; at least one stream of the crop stays whole but for single windows."""
    dropped = np.zeros((slots, len(one.series)), bool)
    if drop is None:
        return dropped
    stays = int(rng.integers(len(one.series)))
    if len(one.series) > drop.most:
        others = rng.permutation([m for m in range(len(one.series)) if m != stays])
        dropped[:, others[drop.most - 1 :]] = True
    for m in range(len(one.series)):
        if m != stays and rng.random() < drop.whole:
            dropped[:, m] = True
        elif m != stays and rng.random() < drop.onwards:
            dropped[int(rng.integers(slots)) :, m] = True
    dropped |= rng.random(dropped.shape) < drop.windows
    return dropped


def _hidden(one: Crop, config: ModelConfig, rng: np.random.Generator) -> tuple[list[int], frozenset[str]]:
    """Streams to leave out because they hold a task's answer, or else the tasks not to ask: half and half."""
    kinds = {series.modality for series in one.series}
    given = {name for name in config.tasks if name in one.targets and TASKS[name].given_by & kinds}
    if not given:
        return [], frozenset()
    if rng.random() < 0.5:
        return [], frozenset(given)
    holding = frozenset().union(*(TASKS[name].given_by for name in given))
    return [m for m, series in enumerate(one.series) if series.modality in holding], frozenset()


def _labels(
    crops: Many[Crop], slots: int, config: ModelConfig, unasked: Many[frozenset[str]], mirrored: Many[bool]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """`Batch.targets` and `Batch.parts` of the tasks that some crop is labelled for, over the model's own outputs."""
    both: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for name in config.tasks:
        task = TASKS[name]
        columns = task.columns(config.task(name).outputs)
        in_mirror = task.in_mirror[columns] if isinstance(task, Classification) else columns
        for kind, found in zip(("targets", "parts"), both, strict=True):
            labelled = {
                r: getattr(one, kind)[name]
                for r, one in enumerate(crops)
                if name in getattr(one, kind) and name not in unasked[r]
            }
            if labelled:
                shape = (len(crops), slots, *next(iter(labelled.values())).shape[1:-1], len(columns))
                stacked = np.full(shape, task.unknown, np.float32)
                for r, truth in labelled.items():
                    stacked[r] = truth[..., in_mirror if mirrored[r] else columns]
                found[name] = torch.from_numpy(stacked)
    return both


def _patches(crops: Many[Crop], slots: int, config: ModelConfig, rng: np.random.Generator) -> dict[str, Patches]:
    """`Batch.masks`: a patch of every frame that has a mask. Masks are read here, and no more of them are held."""
    found = {}
    for name in config.masks:
        having = [one for one in crops if name in one.masks]
        read = [one.masks[name].at(one.masks[name].known(one.starts[0], one.starts[0] + slots)) for one in having]
        if not sum(len(frames) for frames, _ in read):
            continue
        frames, masks = (np.concatenate(both) for both in zip(*read, strict=True))
        finer = MASKS[name].finer
        side = np.minimum(PATCH, frames.shape[1:3])
        corner, cut = [], []
        for mask in masks:
            middle = rng.integers(frames.shape[1:3])
            touched = np.argwhere(mask)
            if len(touched) and rng.random() < TOUCHED:
                middle = touched[rng.integers(len(touched))] // finer
            row, column = np.clip(
                middle - REACH - rng.integers(np.maximum(side - 2 * REACH, 1)), 0, frames.shape[1:3] - side
            )
            corner.append((int(row), int(column)))
            fine = [slice(at * finer, (at + cells) * finer) for at, cells in zip((row, column), side, strict=True)]
            cut.append(mask[tuple(fine)])
        found[name] = Patches(torch.from_numpy(frames), corner, torch.from_numpy(np.stack(cut)).float())
    return found


@dataclass(frozen=True)
class Answers:
    """The model over a batch: `outputs` of the decisions `at` (n, 2) = sequence, slot; by modality the `tokens`
    (n, K, d) of all windows, in the batch's order.

    A head speaks of the decisions alone in whose crop the truth of its task is known; of the others it says zeros, and
    a task of which nothing is known has no head here.
    """

    outputs: Outputs
    at: Tensor
    tokens: dict[str, Tensor]


def answer(model: SensorModel, batch: Batch, most: int = 0) -> Answers:
    """Encode every window once, and fuse at every slot that has a window; at `most` of them at random, if it is set."""
    config = model.config
    sequences, slots, rows = batch.present.shape
    device = batch.present.device
    tokens = torch.zeros(sequences, slots, rows, config.tokens, config.dim, device=device)
    quality, every = batch.quality, {}
    for name, windows in batch.windows.items():
        encoded = [
            (x, x.new_ones(len(x))) if windows.encoded else model.encode(name, x, windows.rate) for x in windows.values
        ]
        tokens_nKd, trust_n = (torch.cat(parts) for parts in zip(*encoded, strict=True))
        index = tuple(windows.where.unbind(-1))
        tokens_nKd, trust_n = tokens_nKd.float(), trust_n.float()
        tokens = tokens.index_put(index, tokens_nKd)
        quality = quality.index_put(index, quality[index] * trust_n)
        every[name] = tokens_nKd
    lags = config.slots + 1

    def history(x_RLM: Tensor) -> Tensor:
        """(R, L, lags x M, ...): each slot beside those before it, oldest first."""
        rest = x_RLM.dim() - 2
        padded = F.pad(x_RLM, (*(0, 0) * rest, config.slots, 0))
        return padded.unfold(1, lags, 1).movedim(-1, 2).flatten(2, 3)

    at = batch.present.any(-1).nonzero()
    if 0 < most < len(at):
        at = at[torch.randperm(len(at))[:most].sort().values.to(device)]
    which, slot = at.unbind(-1)
    age = torch.arange(config.slots, -1, -1, device=device).repeat_interleave(rows).expand(len(at), -1)
    fused = FuseBatch(
        history(tokens)[which, slot],
        batch.modality.repeat(1, lags)[which],
        batch.placement.repeat(1, lags)[which],
        age,
        history(quality)[which, slot],
        history(batch.present.float())[which, slot] > 0,
    )
    known = {name: model.tasks[name].known(target).any(-1)[which] for name, target in batch.targets.items()}
    known = {name: known_n for name, known_n in known.items() if known_n.any()}
    return Answers(model.fuse(fused, known), at, every)
