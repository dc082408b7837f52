"""Measuring a checkpoint: the windows of recordings through `Predictor` and `History`, as serving would decide them.

It also calibrates: temperature per task and event threshold on validation people. It knows nothing of MQTT; that
streamed results equal these is proved by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backend.answer import Estimation
from backend.data import DATASETS
from backend.data.recording import Recording, Sequence, sequence
from backend.model.history import Context, History, StreamTokens
from backend.model.sensorlm import Predictor
from backend.moment import StreamWindow
from backend.tasks import MASKS, TASKS, Classification, Regression, Task
from backend.train import scores

BATCH = 128
FRAMES = 32
"""Frames whose masks are in memory at once."""
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Decided:
    """Answers of one task over recordings, over `outputs`, the labels or points asked for; and whose they are.

    Of a classification, `said` is (P, labels) probabilities and `true` (P,) label indices; of a regression both are
    (P, points x axes), NaN where nothing is known. `threshold` is the confidence from which on an answer tells of an
    event; None for a task whose every label counts at any confidence.
    """

    outputs: tuple[str, ...]
    said: Floats
    true: NDArray[Any]
    person: NDArray[np.str_]
    recording: NDArray[np.str_]
    slot: NDArray[np.int64]
    threshold: float | None = None


def cut_each(recordings: Iterable[Recording]) -> Iterator[Sequence]:
    """Windows on the grid of event time, as the device would cut them; each recording's when they are asked for."""
    return (s for s in map(sequence, recordings) if s is not None)


def cut_all(recordings: Iterable[Recording]) -> list[Sequence]:
    """As `cut_each`, all in memory."""
    return list(cut_each(recordings))


@dataclass(frozen=True)
class Encoded:
    """Sequences, and the tokens of each one's windows in order of time: encoded once, decided upon many times.

    The sequences are without their samples and masks, which nobody asks for any more.
    """

    sequences: tuple[Sequence, ...]
    tokens: tuple[tuple[StreamTokens, ...], ...]


def encode(predictor: Predictor, sequences: Iterable[Sequence]) -> Encoded:
    """The windows of all streams that the model has encoders for, a batch at a time: what is read is not kept.

    A batch may be of many sequences: a set of clips has few windows in each.
    """
    seen: list[Sequence] = []
    found: list[list[StreamTokens]] = []

    def windows() -> Iterator[tuple[list[StreamTokens], StreamWindow]]:
        """Every window, and where its tokens belong."""
        for one in sequences:
            seen.append(
                replace(one, series=tuple(replace(s, values=s.values[:0].copy()) for s in one.series), masks={})
            )
            found.append([])
            for moment in one.moments():
                yield from ((found[-1], w) for w in moment.windows if w.modality in predictor.encoders)

    every = windows()
    while batch := list(islice(every, BATCH)):
        for (home, _), tokens in zip(batch, predictor.encode_windows([w for _, w in batch]), strict=True):
            home.append(tokens)
    return Encoded(tuple(seen), tuple(map(tuple, found)))


def _joined(many: Iterable[Encoded]) -> Encoded:
    every = tuple(many)
    return Encoded(sum((one.sequences for one in every), ()), sum((one.tokens for one in every), ()))


def decide(
    predictor: Predictor,
    encoded: Encoded,
    name: str,
    outputs: tuple[str, ...] = (),
    *,
    keep: Callable[[StreamTokens], bool] = lambda window: True,
    shuffle: int | None = None,
) -> Decided:
    """Decide every slot of every sequence about which the truth is known, with at most the context that serving has.

    `outputs` are the labels or points to choose among and to measure (none given: the model's own); what the model does
    not know of them it never says. `keep` drops streams; `shuffle` (a seed) exchanges the windows of moments at random,
    so that only chance and the labels' frequencies are left to score.
    """
    whole = predictor.config.whole(name)
    outputs, given_by = outputs or predictor.tasks[name].outputs, whole.given_by
    kept = [
        (one, [t for t in tokens if t.modality not in given_by and keep(t)])
        for one, tokens in zip(encoded.sequences, encoded.tokens, strict=True)
        if name in one.targets
    ]
    if shuffle is not None:
        kept = _shuffled(kept, shuffle)
    contexts: list[Context] = []
    about: list[tuple[Any, str, str, int]] = []
    for one, tokens in kept:
        history, (known, true) = History(predictor.config.slots), _truth(one, whole, outputs)
        for slot, now in groupby(tokens, key=attrgetter("slot")):
            history.add(now)
            if known[slot - one.slot]:
                contexts.append(history.at(slot))
                about.append((true[slot - one.slot], one.person, one.name, slot))
    said, made = _said(predictor, contexts, name, outputs)
    about = [about[n] for n in made]
    true_P, person_P, name_P, slot_P = zip(*about, strict=True) if about else ((), (), (), ())
    kind = np.int64 if isinstance(TASKS[name], Classification) else np.float64
    arrays = np.array(true_P, kind), np.array(person_P), np.array(name_P), np.array(slot_P, np.int64)
    return Decided(outputs, said, *arrays, _threshold(predictor, TASKS[name]))


def _threshold(predictor: Predictor, task: Task) -> float | None:
    if not isinstance(task, Classification) or task.none_label is None:
        return None
    return predictor.thresholds.get(task.name, task.rule.on)


def _truth(one: Sequence, task: Task, outputs: tuple[str, ...]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """(L,) whether the truth of each slot is known, and the truth over these outputs."""
    columns = task.columns(outputs)
    if isinstance(task, Classification):
        place = np.full(task.size + 1, -1)  # the last one is that of -1, the unlabelled
        place[columns] = np.arange(len(columns))
        true = place[one.majority(task.name)]
        return true >= 0, true
    true = one.targets[task.name][:, columns]
    return np.asarray(np.isfinite(true).any(-1)), true


def _shuffled(kept: Many[tuple[Sequence, list[StreamTokens]]], seed: int) -> list[tuple[Sequence, list[StreamTokens]]]:
    """The same rows with the contents of each stream exchanged among them, over all sequences."""
    rng = np.random.default_rng(seed)
    rows = [row for _, tokens in kept for row in tokens]
    done = list(rows)
    for key in dict.fromkeys(row.key for row in rows):
        mine = [n for n, row in enumerate(rows) if row.key == key]
        for n, other in zip(mine, rng.permutation(mine), strict=True):
            done[n] = replace(rows[n], tokens=rows[other].tokens, quality=rows[other].quality)
    exchanged = iter(done)
    return [(one, list(islice(exchanged, len(tokens)))) for one, tokens in kept]


def _said(
    predictor: Predictor, contexts: list[Context], name: str, outputs: tuple[str, ...]
) -> tuple[Floats, list[int]]:
    """What the model says over these outputs, (P, ...), and about which of the contexts."""
    said, made = [], []
    for at in range(0, len(contexts), BATCH):
        for n, answers in enumerate(predictor.decide(contexts[at : at + BATCH])):
            if name in answers:
                answer = answers[name]
                said.append(answer.values if isinstance(answer, Estimation) else list(answer.probs.values()))
                made.append(at + n)
    task, everything = predictor.tasks[name], predictor.config.whole(name)
    whole = np.full((len(said), everything.size), 0.0 if isinstance(task, Classification) else np.nan)
    whole[:, everything.columns(task.outputs)] = np.array(said, np.float64).reshape(len(said), task.size)
    chosen = whole[:, everything.columns(outputs)]
    if isinstance(task, Classification):
        chosen = chosen / np.maximum(chosen.sum(-1, keepdims=True), 1e-9)
    return chosen, made


def best_temperature(probs_PN: Floats, true_P: NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood, of 0.2..4 in steps of 3 %."""
    if not len(true_P):
        return 1.0
    logits = np.log(np.maximum(probs_PN, 1e-12))
    grid = 0.2 * 1.03 ** np.arange(102)

    def surprise(temperature: float) -> float:
        scaled = logits / temperature
        scaled = scaled - scaled.max(-1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(-1)) - scaled[np.arange(len(true_P)), true_P]).mean())

    return round(float(grid[np.argmin([surprise(float(t)) for t in grid])]), 4)


def calibrate(predictor: Predictor, validation: Mapping[str, Iterable[Recording]]) -> None:
    """Set the predictor's (and so its checkpoint's) temperature and threshold of every task from validation people.

    Temperatures come from recorded sets alone where a task has any: simulated people are too easy, and would make the
    model sure of itself. Thresholds come from all sets, because silence and background are best simulated. Recordings
    about which nothing is to be chosen are not cut.
    """
    chosen = {name for name, task in predictor.tasks.items() if isinstance(task, Classification)}
    encoded = {
        of: encode(predictor, cut_each(one for one in recordings if chosen & one.labels.keys()))
        for of, recordings in validation.items()
    }
    for name, task in predictor.tasks.items():
        if not isinstance(task, Classification):
            continue
        mine = {of: found for of, found in encoded.items() if any(name in one.targets for one in found.sequences)}
        recorded = _joined(found for of, found in mine.items() if DATASETS[of].unseen is None)
        everything = _joined(mine.values())
        predictor.temperatures.pop(name, None)
        found = decide(predictor, recorded if recorded.sequences else everything, name)
        predictor.temperatures[name] = best_temperature(found.said, found.true)
        none = task.none_index
        if none is None or not len(found.true):
            predictor.thresholds[name] = task.rule.on
        else:
            found = decide(predictor, everything, name)
            predictor.thresholds[name] = scores.best_threshold(found.said, found.true, none)


def measure(predictor: Predictor, encoded: Encoded, name: str, outputs: tuple[str, ...] = ()) -> dict[str, Any]:
    """The whole report on one task: all sensors, each device and each modality alone, and two floors.

    The floors are shuffled sensors, and always the same answer: the majority label, or the mean of the truth.
    `never_said` are labels or points that the model does not know.
    """
    everything = decide(predictor, encoded, name, outputs)
    if not len(everything.true):
        return {"task": name, "n": 0}
    task = predictor.config.whole(name).only(everything.outputs)
    shuffled = _figures(task, decide(predictor, encoded, name, outputs, shuffle=1))
    result = _whole(task, everything)
    if strangers := [one for one in everything.outputs if one not in predictor.tasks[name].outputs]:
        result["never_said"] = strangers
    if isinstance(task, Classification) and task.views:
        said, true = everything.said, everything.true
        result["views"] = {
            view: scores.view(said, true, task.labels, group_of) for view, group_of in task.views.items()
        }
    result["shuffled"] = {key: shuffled[key] for key in dict.fromkeys((task.metric, "accuracy")) if key in shuffled}
    for by, of in (("devices", "device"), ("modalities", "modality")):
        kinds = sorted(
            {getattr(s, of) for one in encoded.sequences for s in one.series if s.modality in task.modalities}
        )
        if len(kinds) < 2:
            continue
        result[by] = {"both" if len(kinds) == 2 else "all": _brief(task, result)}
        for kind in kinds:
            alone = decide(predictor, encoded, name, outputs, keep=partial(_has, of, kind))
            if len(alone.true):
                result[by][kind] = _brief(task, _whole(task, alone))
    if everything.threshold is not None:
        result["threshold"] = everything.threshold
    return {"task": name, "metric": task.metric, **result}


def measure_mask(predictor: Predictor, sequences: Iterable[Sequence], name: str) -> dict[str, Any]:
    """The whole report on one mask, over all cells of all frames: drawn by the model, and three floors.

    The floors are another frame's mask (`shuffled`), a threshold (`bicubic`), and that nothing is there (`majority`).
    """
    rng, count = np.random.default_rng(1), 0
    cells: dict[str, dict[str, NDArray[np.int64]]] = {}
    for one in (s for s in sequences if name in s.masks):
        slots = rng.permutation(one.masks[name].known())
        for at in range(0, len(slots), FRAMES):
            frames, masks = one.masks[name].at(slots[at : at + FRAMES])
            true, drawn = masks > 0, predictor.draw(name, frames)
            floor = MASKS[name].floor(torch.from_numpy(frames)).numpy()
            said = {"": drawn, "shuffled": np.roll(drawn, 1, 0), "bicubic": floor, "majority": np.zeros_like(true)}
            count += len(true)
            for by, mask in said.items():
                people = cells.setdefault(by, {})
                both_either = np.array([(mask & true).sum(), (mask | true).sum()])
                people[one.person] = people.get(one.person, np.zeros(2, np.int64)) + both_either
    if not count:
        return {"task": name, "n": 0}
    result = {by: scores.overlap(people) for by, people in cells.items()}
    floors = {by: {"iou": result[by]["iou"]} for by in ("shuffled", "bicubic", "majority")}
    return {"task": name, "metric": MASKS[name].metric, "n": count, **result[""], **floors}


def headline(task: Task, decided: Decided) -> float:
    """The task's metric of a set of answers."""
    return float(_figures(task, decided)[task.metric])


def _figures(task: Task, decided: Decided) -> dict[str, Any]:
    """The scores of a set of answers, without intervals and without a word on who and what."""
    if isinstance(task, Regression):
        return {task.metric: round(float(task.distances(decided.said, decided.true).mean()), 4)}
    return scores.figures(decided.said, decided.true, _found(task, decided))


def _found(task: Task, decided: Decided) -> NDArray[np.int64] | None:
    """(P, 3) `scores.found`; None where no answer tells of an event."""
    if decided.threshold is None:
        return None
    assert isinstance(task, Classification)
    return scores.found(decided.said, decided.true, task.none_index, decided.threshold)


def _whole(task: Task, decided: Decided) -> dict[str, Any]:
    """All scores of a set of answers, and their intervals."""
    if isinstance(task, Regression):
        said, true = decided.said, decided.true
        result = scores.regression(task.distances(said, true), decided.person, task.metric)
        known = np.isfinite(true)
        mean = np.where(known, true, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        always = task.distances(np.broadcast_to(mean, true.shape), true)
        return {**result, "constant": {task.metric: round(float(always.mean()), 4)}}
    assert isinstance(task, Classification)
    result = scores.report(decided.said, decided.true, decided.person, task.labels, _found(task, decided))
    return {"labels": list(task.labels), **result}


def _brief(task: Task, whole: Mapping[str, Any]) -> dict[str, Any]:
    """The headline of all scores of a set of answers."""
    keys = ("n", task.metric, "accuracy", "balanced_accuracy", "macro_f1", "window_f1", "ece", "interval")
    return {key: whole[key] for key in dict.fromkeys(keys) if key in whole}


def _has(attribute: str, value: str, window: StreamTokens) -> bool:
    return bool(getattr(window, attribute) == value)


def pooled(decided: Decided, none: int | None, truth: dict[str, int]) -> Decided:
    """One decision per recording from those of its windows. `truth` is by recording."""
    names = sorted(truth)
    probs = np.array([_agreed(decided.said[decided.recording == name], none) for name in names])
    person = dict(zip(decided.recording, decided.person, strict=True))
    return Decided(
        decided.outputs,
        probs.reshape(-1, len(decided.outputs)),
        np.array([truth[n] for n in names], np.int64),
        np.array([person[n] for n in names]),
        np.array(names),
        np.zeros(len(names), np.int64),
    )


def _agreed(probs_LN: Floats, none: int | None) -> Floats:
    """(N,) geometric mean over windows, which no single certain window can overrule; what is silent has no say.

    Never `none`: a recording that is all silence counts whole.
    """
    if none is None:
        votes_LN = probs_LN
    else:
        heard_L = probs_LN[:, none] < 0.5
        votes_LN = probs_LN[heard_L] if heard_L.any() else probs_LN
    mean_N: Floats = np.exp(np.log(np.maximum(votes_LN, 1e-9)).mean(0))
    if none is not None:
        mean_N[none] = 0.0
    return np.asarray(mean_N / mean_N.sum())
