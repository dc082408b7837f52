"""Measuring a checkpoint: the windows of recordings through `Predictor` and `History`, as serving would decide them.

It also calibrates: temperature per task and event threshold on validation people. It knows nothing of MQTT; that
streamed results equal these is proved by a test.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data import DATASETS
from backend.data.recording import Recording, Sequence, sequence
from backend.model.history import Context, History, StreamTokens
from backend.model.sensorlm import Predictor
from backend.moment import StreamWindow
from backend.tasks import TASKS
from backend.train import scores

BATCH = 128
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Decided:
    """Decisions of one task over recordings: probabilities (P, labels), true labels, and whose they are."""

    probs: Floats
    true: NDArray[np.int64]
    person: NDArray[np.str_]
    recording: NDArray[np.str_]
    slot: NDArray[np.int64]


def cut_all(recordings: Many[Recording]) -> list[Sequence]:
    """Windows on the grid of event time, as the device would cut them."""
    return [s for s in map(sequence, recordings) if s is not None]


def decide(
    predictor: Predictor,
    sequences: Many[Sequence],
    task: str,
    keep: Callable[[StreamWindow], bool] = lambda window: True,
    shuffle: int | None = None,
) -> Decided:
    """Decide every labelled slot of every sequence, with at most the context that serving has.

    `keep` drops streams; `shuffle` (a seed) exchanges the windows of moments at random, so that only chance and the
    labels' frequencies are left to score.
    """
    windows, homes = _windows(sequences, keep)
    tokens = [t for at in range(0, len(windows), BATCH) for t in predictor.encode_windows(windows[at : at + BATCH])]
    if shuffle is not None:
        tokens = _shuffled(tokens, shuffle)
    rows: dict[int, list[int]] = {}
    for n, home in enumerate(homes):
        rows.setdefault(home, []).append(n)
    contexts: list[Context] = []
    about: list[tuple[int, str, str, int]] = []
    for home, chosen in rows.items():
        one = sequences[home]
        if task not in one.targets:
            continue
        history, true = History(predictor.config.slots), one.majority(task)
        for slot in sorted({tokens[n].slot for n in chosen}):
            history.add(tokens[n] for n in chosen if tokens[n].slot == slot)
            if true[slot - one.slot] >= 0:
                contexts.append(history.at(slot))
                about.append((int(true[slot - one.slot]), one.person, one.name, slot))
    probs, made = _probabilities(predictor, contexts, task)
    about = [about[n] for n in made]
    true_P, person_P, name_P, slot_P = zip(*about, strict=True) if about else ((), (), (), ())
    return Decided(probs, np.array(true_P, np.int64), np.array(person_P), np.array(name_P), np.array(slot_P, np.int64))


def _windows(sequences: Many[Sequence], keep: Callable[[StreamWindow], bool]) -> tuple[list[StreamWindow], list[int]]:
    windows, homes = [], []
    for home, one in enumerate(sequences):
        for moment in one.moments():
            kept = [w for w in moment.windows if keep(w)]
            windows += kept
            homes += [home] * len(kept)
    return windows, homes


def _shuffled(tokens: list[StreamTokens], seed: int) -> list[StreamTokens]:
    """The same rows with the contents of each stream exchanged among them."""
    rng = np.random.default_rng(seed)
    done = list(tokens)
    for key in {t.key for t in tokens}:
        mine = [n for n, t in enumerate(tokens) if t.key == key]
        for n, other in zip(mine, rng.permutation(mine), strict=True):
            done[n] = replace(tokens[n], tokens=tokens[other].tokens, quality=tokens[other].quality)
    return done


def _probabilities(predictor: Predictor, contexts: list[Context], task: str) -> tuple[Floats, list[int]]:
    probs, made = [], []
    for at in range(0, len(contexts), BATCH):
        for n, decision in enumerate(predictor.decide(contexts[at : at + BATCH])):
            if task in decision:
                probs.append(list(decision[task].probs.values()))
                made.append(at + n)
    return np.array(probs, np.float64).reshape(len(probs), len(TASKS[task].labels)), made


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


def calibrate(predictor: Predictor, validation: dict[str, list[Sequence]]) -> None:
    """Set the predictor's (and so its checkpoint's) temperature and threshold of every task from validation people.

    Temperatures come from recorded sets alone where a task has any: simulated people are too easy, and would make the
    model sure of itself. Thresholds come from all sets, because silence and background are best simulated.
    """
    for task in predictor.config.tasks:
        mine = {name: [s for s in found if task in s.targets] for name, found in validation.items()}
        recorded = [s for name, found in mine.items() if DATASETS[name].unseen is None for s in found]
        everything = [s for found in mine.values() for s in found]
        predictor.temperatures.pop(task, None)
        found = decide(predictor, recorded or everything, task)
        predictor.temperatures[task] = best_temperature(found.probs, found.true)
        none = TASKS[task].none_index
        if none is None or not len(found.true):
            predictor.thresholds[task] = TASKS[task].rule.on
        else:
            found = decide(predictor, everything, task)
            predictor.thresholds[task] = scores.best_threshold(found.probs, found.true, none)


def measure(predictor: Predictor, sequences: Many[Sequence], task: str) -> dict[str, Any]:
    """The whole report on one task: all sensors, each device alone, and shuffled sensors beside the majority label."""
    everything = decide(predictor, sequences, task)
    if not len(everything.true):
        return {"task": task, "n": 0}
    labels = TASKS[task].labels
    result = scores.report(everything.probs, everything.true, everything.person, labels)
    shuffled = decide(predictor, sequences, task, shuffle=1)
    result["shuffled"] = {"accuracy": round(float((shuffled.probs.argmax(-1) == shuffled.true).mean()), 4)}
    devices = sorted({s.device for one in sequences for s in one.series})
    if len(devices) > 1:
        result["devices"] = {"both" if len(devices) == 2 else "all": _brief(everything, labels)}
        for device in devices:
            alone = decide(predictor, sequences, task, keep=partial(_is_of, device))
            if len(alone.true):
                result["devices"][device] = _brief(alone, labels)
    none = TASKS[task].none_index
    if none is not None:
        threshold = predictor.thresholds.get(task, TASKS[task].rule.on)
        result["event_detection"] = {
            "f1": round(scores.event_f1(everything.probs, everything.true, none, threshold), 4),
            "threshold": threshold,
        }
        result["f1"] = result["event_detection"]["f1"]
    return {"task": task, "labels": list(labels), **result}


def _is_of(device: str, window: StreamWindow) -> bool:
    return window.device == device


def _brief(decided: Decided, labels: tuple[str, ...]) -> dict[str, Any]:
    whole = scores.report(decided.probs, decided.true, decided.person, labels)
    return {key: whole[key] for key in ("n", "accuracy", "balanced_accuracy", "macro_f1", "ece", "interval")}


def pooled(decided: Decided, task: str, truth: dict[str, int]) -> Decided:
    """One decision per recording from those of its windows. `truth` is by recording."""
    none = TASKS[task].none_index
    names = sorted(truth)
    probs = np.stack([_agreed(decided.probs[decided.recording == name], none) for name in names])
    person = dict(zip(decided.recording, decided.person, strict=True))
    return Decided(
        probs,
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
