"""How well a label is told that was taught by a few windows, what became of those known before, and how sure to be.

A recording is learned from or measured by, never both; so is a person of whom something is rehearsed. P is a number of
decisions, N of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from backend.tasks import Classification
from backend.train import scores
from backend.train.evaluate import best_temperature
from backend.train.teach import Head, Shown, learned

SHOTS = (1, 5, 10, 20)
FOLDS, DRAWS = 5, 3
Floats = NDArray[np.floating]
Held = Mapping[str, tuple[Tensor, Shown]]
"""By data set, decisions about people who are not rehearsed: the head's vectors, and the truth."""


@dataclass(frozen=True)
class Material:
    """What is taught, `x` (T, d) and `shown`, and what is rehearsed beside it, `rehearsed_x` (R, d) and `rehearsed`."""

    x: Tensor
    shown: Shown
    rehearsed_x: Tensor
    rehearsed: Shown

    def head(self, start: Head, taught: NDArray[np.int64], rehearsed: NDArray[np.int64]) -> Head:
        """What is learned from these rows of both."""
        return learned(
            start,
            (self.x[taught], self.shown.label[taught]),
            (self.rehearsed_x[rehearsed], self.rehearsed.label[rehearsed]),
        )


@dataclass(frozen=True)
class Aside:
    """Probabilities (., N) of decisions by heads that had not learned from their recording or person, and the truth."""

    taught: Floats
    taught_label: NDArray[np.int64]
    rehearsed: Floats
    rehearsed_label: NDArray[np.int64]


def folds_of(shown: Shown) -> NDArray[np.int64]:
    """(P,) the fold in which each decision is measured by: whole units in turn, label by label. -1, never, where a
    label has no other unit to be learned from.
    """
    fold, turn = np.full(len(shown), -1), 0
    for label in np.unique(shown.label):
        units = np.unique(shown.unit[shown.label == label])
        for unit in units if len(units) > 1 else ():
            fold[(shown.unit == unit) & (shown.label == label)] = turn % FOLDS
            turn += 1
    return fold


def examine_taught(
    material: Material, start: Head, before: Head, held: Held, labels: Sequence[str]
) -> tuple[dict[str, Any], Aside]:
    """`taught`: scores of what was recorded, by recordings left out (None where no label has two); `curve`: the same
    with fewer windows to learn from, and of `held`. `before` is the head as it was.
    """
    shown, rehearsed = material.shown, material.rehearsed
    fold = folds_of(shown)
    _, unit = np.unique(rehearsed.unit, return_inverse=True)
    said, said_rehearsed = np.zeros((len(shown), len(labels))), np.zeros((len(rehearsed), len(labels)))
    for k in range(FOLDS):
        head = material.head(start, np.flatnonzero(fold != k), np.flatnonzero(unit % FOLDS != k))
        said[fold == k] = head.probs(material.x[fold == k])
        said_rehearsed[unit % FOLDS == k] = head.probs(material.rehearsed_x[unit % FOLDS == k])
    mine = np.flatnonzero(fold >= 0)
    aside = Aside(said[mine], shown.label[mine], said_rehearsed, rehearsed.label)
    report: dict[str, Any] = {"taught": None, "curve": []}
    if len(mine):
        report["taught"] = {
            "unit": "recording",
            **_scores(said[mine], shown.label[mine], shown.unit[mine], labels),
            "before": scores.figures(before.probs(material.x[mine]), shown.label[mine]),
        }
        report["curve"] = [_with_few(n, material, start, held, fold) for n in SHOTS if n <= _least(shown, fold)]
    return report, aside


def _scores(probs_PN: Floats, true_P: NDArray[np.int64], unit_P: NDArray[np.str_], labels: Sequence[str]) -> Any:
    said = scores.report(probs_PN, true_P, unit_P, tuple(labels))
    return {key: said[key] for key in ("n", "accuracy", "balanced_accuracy", "interval", "by_class") if key in said}


def _least(shown: Shown, fold: NDArray[np.int64]) -> int:
    """Windows that every label has to learn from in every fold."""
    return min(
        int(((shown.label == label) & (fold != k)).sum())
        for label in np.unique(shown.label)
        for k in np.unique(fold[fold >= 0])
    )


def _with_few(n: int, material: Material, start: Head, held: Held, fold: NDArray[np.int64]) -> dict[str, Any]:
    """`taught`: mean recall of labels in recordings left out, learned from `n` windows of each; `known`: accuracy of
    `held`. Both are means over draws of the windows, whose standard deviation is the spread.
    """
    label, everything = material.shown.label, np.arange(len(material.rehearsed))
    mine, recalls, known = np.flatnonzero(fold >= 0), [], []
    for draw in range(DRAWS):
        rng, said = np.random.default_rng([draw, n]), np.full(len(label), -1)
        for k in np.unique(fold[mine]):
            chosen = [rng.permutation(np.flatnonzero((label == one) & (fold != k)))[:n] for one in np.unique(label)]
            head = material.head(start, np.concatenate(chosen), everything)
            said[fold == k] = head.probs(material.x[fold == k]).argmax(-1)
            right = [head.probs(x).argmax(-1) == shown.label for x, shown in held.values()]
            known += [float(np.concatenate(right).mean())] if right else []
        recalls.append(
            float(np.mean([(said[mine] == one)[label[mine] == one].mean() for one in np.unique(label[mine])]))
        )
    row = {"windows": n, "taught": round(float(np.mean(recalls)), 4), "spread": round(float(np.std(recalls)), 4)}
    return {**row, "known": round(float(np.mean(known)), 4) if known else None}


def forgetting(held: Held, before: Head, after: Head, labels: Sequence[str], added: Sequence[str]) -> dict[str, Any]:
    """By data set, scores of what was known, before and after, among all labels; and how much is taken for new."""
    new, found = [labels.index(label) for label in added], {}
    for name, (x, shown) in held.items():
        probs = {"before": before.probs(x), "after": after.probs(x)}
        found[name] = {
            "n": len(shown),
            "people": len(np.unique(shown.unit)),
            "taken_for_new": round(float(np.isin(probs["after"].argmax(-1), new).mean()), 4),
            **{when: _scores(said, shown.label, shown.unit, labels) for when, said in probs.items()},
        }
    return found


def calibrated(aside: Aside, recorded: NDArray[np.bool_], task: Classification, before: float) -> tuple[float, float]:
    """Temperature and threshold, by decisions about what was not learned from.

    `recorded` (R,): what is rehearsed of real people. Simulated ones are too easy, and would make the model sure of
    itself: where there are no others, the temperature may rise above what it was `before`, and not fall.
    """
    some = recorded if recorded.any() else np.ones_like(recorded)
    probs = np.concatenate([aside.taught, aside.rehearsed[some]])
    true = np.concatenate([aside.taught_label, aside.rehearsed_label[some]])
    temperature = best_temperature(probs, true)
    if not recorded.any() and len(recorded):
        temperature = max(temperature, before)
    none = task.none_index
    if none is None or not len(true):
        return temperature, task.rule.on
    every = np.concatenate([aside.taught, aside.rehearsed]) ** (1 / temperature)
    return temperature, scores.best_threshold(
        every / every.sum(-1, keepdims=True), np.concatenate([aside.taught_label, aside.rehearsed_label]), none
    )
