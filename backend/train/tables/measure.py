"""Measuring a model on whole people: the metric of each, calibration, floors, and what the gate looked at.

Windows are encoded once and fused at every slot by the batch path of training (`batch.answer`), without augmentation
and without drops: many times as fast as one decision after another, and the same answers (a test compares them with
`evaluate.decide`). It knows nothing of how a model came to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.data.recording import Sequence
from backend.model.sensorlm import SensorModel
from backend.tasks import TASKS, Classification, Regression, Task
from backend.train import scores
from backend.train.batch import answer, assemble, crop
from backend.train.evaluate import best_temperature
from backend.train.tables.columns import Column
from backend.train.tables.people import sensed

Floats = NDArray[np.floating]
SLOTS = 128
"""Slots in a batch: that of one long sequence, or of several short ones."""


@dataclass(frozen=True)
class Said:
    """Answers to one column: `said` (P, D), logits of a classification, else values in the task's unit; `true` (P,)
    indices of labels, or (P, D) with NaN; whose they are and at which slot of which recording; `gate` (P,) by modality.
    """

    said: Floats
    true: NDArray[Any]
    person: NDArray[np.str_]
    at: NDArray[np.str_]
    gate: dict[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """Of one column: the temperature that logits are divided by, and the confidence from which on an event is told."""

    temperature: float = 1.0
    threshold: float | None = None


def task_of(column: Column) -> Task:
    """The column's task over the outputs that its set tells of."""
    return TASKS[column.task].only(column.outputs) if column.outputs else TASKS[column.task]


def answers(model: SensorModel, sequences: Iterable[Sequence], columns: Many[Column]) -> dict[str, Said]:
    """By column's name, what the model says of every slot in which serving would ask and the truth is known.

    All columns are of the set that the sequences are of. Streams that hold a column's answer are left out for it.
    """
    config, every = model.config, list(sequences)
    found: dict[str, Said] = {}
    for hidden in {TASKS[one.task].given_by & set(config.modalities) for one in columns}:
        mine = [one for one in columns if TASKS[one.task].given_by & set(config.modalities) == hidden]
        senses = [m for m in config.modalities if m not in hidden]
        pieces: dict[str, list[Said]] = {one.name: [] for one in mine}
        cut = (sensed(one, senses, [c.task for c in mine]) for one in every)
        for group in _batched(one for one in cut if one is not None):
            for name, piece in _answered(model, group, mine).items():
                pieces[name].append(piece)
        found |= {name: _joined(of) for name, of in pieces.items() if of}
    return found


def _batched(sequences: Iterable[Sequence]) -> Iterator[list[Sequence]]:
    group: list[Sequence] = []
    for one in sequences:
        longest = max(one.length, *(g.length for g in group), 0)
        if group and longest * (len(group) + 1) > SLOTS:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


@torch.inference_mode()
def _answered(model: SensorModel, group: list[Sequence], columns: Many[Column]) -> dict[str, Said]:
    slots, rng = max(one.length for one in group), np.random.default_rng(0)
    batch = assemble([crop(one, slots, rng) for one in group], slots, model.config, rng)
    if not batch.targets or not batch.present.any():
        return {}
    outputs = answer(model, batch)
    which, slot = (i.numpy() for i in outputs.at.unbind(-1))
    lags = model.config.slots + 1
    modality_PS = batch.modality.repeat(1, lags)[outputs.at[:, 0]]
    found = {}
    for column in columns:
        name = column.task
        if name not in batch.targets or name not in outputs.outputs.heads:
            continue
        said_PD, target_PD = outputs.outputs.heads[name].float(), batch.targets[name][which, slot]
        said, true, known = _over(model.tasks[name], task_of(column), said_PD, target_PD)
        counts = known & batch.asked[name][which, slot].numpy()
        gate_PS = outputs.outputs.gate[name]
        gate = {
            m: (gate_PS * (modality_PS == i)).sum(-1).numpy()[counts] for i, m in enumerate(model.config.modalities)
        }
        chosen = np.flatnonzero(counts)
        found[name] = (
            column.name,
            Said(
                said[chosen],
                true[chosen],
                np.array([group[which[p]].person for p in chosen], np.str_),
                np.array([f"{group[which[p]].name}/{slot[p]}" for p in chosen], np.str_),
                gate,
            ),
        )
    return dict(found.values())


def _over(
    mine: Task, wanted: Task, said_PD: torch.Tensor, target_PD: torch.Tensor
) -> tuple[Floats, NDArray[Any], NDArray[np.bool_]]:
    """What is said and true over the wanted outputs, and where something is known; what a model lacks it never says."""
    if isinstance(mine, Classification) and isinstance(wanted, Classification):
        place = [mine.labels.index(label) if label in mine.labels else -1 for label in wanted.labels]
        said, target = (
            np.concatenate([x.numpy(), np.full((len(x), 1), fill)], 1)[:, place]
            for x, fill in ((said_PD, -30.0), (target_PD, 0.0))
        )
        return said, target.argmax(-1), target.sum(-1) > 0
    assert isinstance(mine, Regression)
    columns = mine.columns(wanted.outputs)
    true = target_PD.numpy()[:, columns]
    return mine.values(said_PD).numpy()[:, columns], true, np.isfinite(true).any(-1)


def _joined(pieces: Many[Said]) -> Said:
    def whole(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one, name) for one in pieces])

    gate = {m: np.concatenate([one.gate[m] for one in pieces]) for m in pieces[0].gate}
    return Said(whole("said"), whole("true"), whole("person"), whole("at"), gate)


def probabilities(said: Said, temperature: float) -> Floats:
    """(P, labels), rows sum to one."""
    scaled = said.said / temperature
    scaled = np.exp(scaled - scaled.max(-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(-1, keepdims=True))


def calibrated(column: Column, validation: Said) -> Calibration:
    """Temperature, and the threshold of a task that has "no event" among its set's labels, from validation people."""
    task = task_of(column)
    if not isinstance(task, Classification) or not len(validation.true):
        return Calibration()
    temperature = best_temperature(probabilities(validation, 1.0), validation.true)
    if task.metric != "window_f1":
        return Calibration(temperature)
    none = task.none_index
    probs = probabilities(validation, temperature)
    found = task.rule.on if none is None else scores.best_threshold(probs, validation.true, none)
    return Calibration(temperature, found)


def losses(column: Column, said: Said, calibration: Calibration) -> Floats:
    """(P,) what each answer costs: -log of the truth's probability, or the distance in the metric's unit."""
    task = task_of(column)
    if isinstance(task, Regression):
        return task.distances(said.said, said.true)
    probs = probabilities(said, calibration.temperature)
    return np.asarray(-np.log(np.maximum(probs[np.arange(len(probs)), said.true], 1e-9)))


def score(task: Task, answers_PD: Floats, true: NDArray[Any], threshold: float | None) -> float:
    """The task's metric (Appendix C) of some answers: probabilities of a classification, values of a regression.

    NaN where it has none: an F1 of events where there are none.
    """
    if isinstance(task, Regression):
        return float(np.nanmean(task.distances(answers_PD, true)))
    assert isinstance(task, Classification)
    if task.metric == "window_f1":
        found = scores.found(answers_PD, true, task.none_index, 0.0 if threshold is None else threshold).sum(0)
        return scores.window_f1(found) if found[-1] else np.nan
    table = scores.confusion(answers_PD.argmax(-1), true, len(task.labels))
    return scores.balanced_accuracy(table) if task.metric == "balanced_accuracy" else scores.accuracy(table)


def by_person(column: Column, said: Said, calibration: Calibration) -> dict[str, float]:
    """The metric of every person who has one."""
    task = task_of(column)
    classes = isinstance(task, Classification)
    answers_PD = probabilities(said, calibration.temperature) if classes else said.said
    mine = {str(p): said.person == p for p in np.unique(said.person)}
    found = {p: score(task, answers_PD[at], said.true[at], calibration.threshold) for p, at in mine.items()}
    return {p: round(value, 5) for p, value in found.items() if np.isfinite(value)}


def constant(column: Column, train: Iterable[Sequence], test: Said) -> dict[str, float]:
    """The metric of every person for the answer that is always the same: the training people's commonest label or mean
    truth.
    """
    task, truth = task_of(column), [one.targets[column.task] for one in train if column.task in one.targets]
    target = np.concatenate(truth)[:, TASKS[column.task].columns(task.outputs)]
    if isinstance(task, Classification):
        count = np.bincount(target[target.sum(-1) > 0].argmax(-1), minlength=task.size)
        said = np.eye(task.size)[np.full(len(test.true), count.argmax())] * 60.0
    else:
        known = np.isfinite(target)
        mean = np.where(known, target, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        said = np.broadcast_to(mean, test.true.shape)
    return by_person(column, replace(test, said=said), Calibration(threshold=0.0))


def calibration_errors(column: Column, said: Said, calibration: Calibration) -> dict[str, float]:
    """Expected calibration error as learned and after the temperature; nothing of a regression."""
    if not isinstance(task_of(column), Classification):
        return {}
    before, after = (
        scores.calibration_error(probabilities(said, t), said.true) for t in (1.0, calibration.temperature)
    )
    return {"before": round(before, 4), "after": round(after, 4), "temperature": calibration.temperature}


def shuffled(sequences: Many[Sequence], seed: int) -> list[Sequence]:
    """The same with each stream's windows exchanged at random over all people and times: only chance is left to score.

    A window takes its quality with it. Windows of other shapes stay among themselves.
    """
    rng = np.random.default_rng([seed, 80])
    kinds: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for n, one in enumerate(sequences):
        for m, series in enumerate(one.series):
            kinds.setdefault((series.key, series.scale, *series.values.shape[1:]), []).append((n, m))
    streams = [list(one.series) for one in sequences]
    for places in kinds.values():
        windows, trust = (
            np.concatenate([getattr(streams[n][m], kind)[streams[n][m].present] for n, m in places])
            for kind in ("values", "quality")
        )
        order = rng.permutation(len(windows))
        used = 0
        for n, m in places:
            series = streams[n][m]
            values, quality = series.values.copy(), series.quality.copy()
            drawn = order[used : used + int(series.present.sum())]
            values[series.present], quality[series.present] = windows[drawn], trust[drawn]
            used += len(drawn)
            streams[n][m] = replace(series, values=values, quality=quality)
    return [replace(one, series=tuple(series)) for one, series in zip(sequences, streams, strict=True)]
