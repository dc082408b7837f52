"""Scores of a set of decisions: pure functions of probabilities, labels and whose they are.

They know nothing of models, datasets or files. P is a number of decisions, N of labels. Three things are an F1:
`macro_f1` is the mean over labels, whatever the confidence; `window_f1` is of windows in which an event is told of,
above a threshold; and the F1 of whole events in a stream, with a tolerance in time, is `event_f1` of
`benchmarks.event_stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

RESAMPLES = 1000


def confusion(said_P: Ints, true_P: Ints, labels: int) -> Ints:
    """(labels, labels) counts, rows are true."""
    return np.bincount(true_P * labels + said_P, minlength=labels * labels).reshape(labels, labels)


def accuracy(table_NN: Ints) -> float:
    """Share of decisions that are right."""
    return float(np.trace(table_NN) / max(table_NN.sum(), 1))


def recalls(table_NN: Ints) -> Floats:
    """(N,) share of each label's windows that were found; NaN for a label that does not occur."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.diag(table_NN) / table_NN.sum(1))


def f1s(table_NN: Ints) -> Floats:
    """(N,) F1 of each label; NaN for a label that neither occurs nor was said."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * np.diag(table_NN) / (table_NN.sum(0) + table_NN.sum(1)))


def macro_f1(table_NN: Ints) -> float:
    """Mean F1 over the labels that occur."""
    occurs = table_NN.sum(1) > 0
    return float(np.mean(f1s(table_NN)[occurs])) if occurs.any() else 0.0


def balanced_accuracy(table_NN: Ints) -> float:
    """Mean recall over the labels that occur."""
    return float(np.nanmean(recalls(table_NN))) if table_NN.sum() else 0.0


def calibration_error(probs_PN: Floats, true_P: Ints, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence from accuracy over bins of equal width."""
    confidence, right = probs_PN.max(-1), probs_PN.argmax(-1) == true_P
    bucket = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[bucket == b].mean() - right[bucket == b].mean()) * (bucket == b).mean()
        for b in range(bins)
        if (bucket == b).any()
    ]
    return float(sum(gaps))


def found(probs_PN: Floats, true_P: Ints, none: int | None, threshold: float) -> Ints:
    """(P, 3) of each decision, 0 or 1: whether it finds an event that is there, tells of one at all, and one is there.

    It tells of an event at or above the threshold, unless its label is none; one of the wrong label finds nothing.
    """
    said_P = probs_PN.argmax(-1)
    nothing = -1 if none is None else none
    tells_P = (said_P != nothing) & (probs_PN.max(-1) >= threshold)
    return np.stack([tells_P & (said_P == true_P), tells_P, true_P != nothing], -1).astype(np.int64)


def window_f1(found_3: Ints) -> float:
    """F1 of windows in which an event is told of, over all events alike, from the sums of `found`."""
    hits, told, there = found_3.tolist()
    return float(2 * hits / max(told + there, 1))


def best_threshold(probs_PN: Floats, true_P: Ints, none: int) -> float:
    """The threshold of 0.20..0.95 with the highest `window_f1`; of equals the highest: fewest false events."""
    grid = np.round(np.arange(0.2, 0.951, 0.01), 2)
    f1 = [window_f1(found(probs_PN, true_P, none, float(t)).sum(0)) for t in grid]
    return float(grid[len(grid) - 1 - int(np.argmax(f1[::-1]))])


def by_class(table_NN: Ints, labels: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and count of each label that occurs or was said."""
    said = table_NN.sum(0)
    return {
        label: {
            "precision": _round(table_NN[i, i] / max(said[i], 1)),
            "recall": _round(table_NN[i, i] / max(table_NN[i].sum(), 1)),
            "f1": _round(f1s(table_NN)[i]),
            "n": int(table_NN[i].sum()),
        }
        for i, label in enumerate(labels)
        if table_NN[i].sum() or said[i]
    }


def by_person(said_P: Ints, true_P: Ints, person_P: NDArray[np.str_]) -> dict[str, Any]:
    """Accuracy of each person, the worst of them and their spread (standard deviation)."""
    right = {str(p): float((said_P == true_P)[person_P == p].mean()) for p in np.unique(person_P)}
    worst = min(right, key=lambda p: right[p])
    return {
        "accuracy": {p: _round(a) for p, a in right.items()},
        "worst": {"person": worst, "accuracy": _round(right[worst])},
        "spread": _round(float(np.std(list(right.values())))),
    }


def intervals(
    said_P: Ints,
    true_P: Ints,
    person_P: NDArray[np.str_],
    labels: int,
    found_P3: Ints | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """95 % intervals of the scores by a bootstrap over persons, who differ more than windows do.

    None for a single person: nobody can be told how another one differs. `found_P3` is for `window_f1`.
    """
    people = np.unique(person_P)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(people), size=len(people)) for _ in range(RESAMPLES)]
    tables = np.stack([confusion(said_P[person_P == p], true_P[person_P == p], labels) for p in people])
    scored: list[tuple[str, Callable[[Ints], float], Ints]] = [
        ("accuracy", accuracy, tables),
        ("balanced_accuracy", balanced_accuracy, tables),
        ("macro_f1", macro_f1, tables),
    ]
    if found_P3 is not None:
        scored.append(("window_f1", window_f1, np.stack([found_P3[person_P == p].sum(0) for p in people])))
    limits: dict[str, list[float] | None] = {}
    for name, score, parts in scored:
        low, high = np.percentile([score(parts[of].sum(0)) for of in drawn], [2.5, 97.5])
        limits[name] = [_round(low), _round(high)] if len(people) > 1 else None
    return {"level": 0.95, "units": len(people), **limits}


def figures(probs_PN: Floats, true_P: Ints, found_P3: Ints | None = None) -> dict[str, Any]:
    """How right a set of decisions is; `window_f1` is told of those whose `found_P3` is given."""
    table = confusion(probs_PN.argmax(-1), true_P, probs_PN.shape[1])
    return {
        "n": len(true_P),
        "accuracy": _round(accuracy(table)),
        "balanced_accuracy": _round(balanced_accuracy(table)),
        "macro_f1": _round(macro_f1(table)),
        **({} if found_P3 is None else {"window_f1": _round(window_f1(found_P3.sum(0)))}),
        "ece": _round(calibration_error(probs_PN, true_P)),
    }


def report(
    probs_PN: Floats,
    true_P: Ints,
    person_P: NDArray[np.str_],
    labels: tuple[str, ...],
    found_P3: Ints | None = None,
) -> dict[str, Any]:
    """Everything that is said about one set of decisions; `found_P3` where they tell of events."""
    said_P = probs_PN.argmax(-1)
    table = confusion(said_P, true_P, len(labels))
    majority = np.bincount(true_P, minlength=len(labels)).max() / max(len(true_P), 1)
    return {
        **figures(probs_PN, true_P, found_P3),
        "majority": {"accuracy": _round(majority)},
        "interval": intervals(said_P, true_P, person_P, len(labels), found_P3),
        "by_class": by_class(table, labels),
        "by_person": by_person(said_P, true_P, person_P),
        "confusion": table.tolist(),
    }


def view(probs_PN: Floats, true_P: Ints, labels: tuple[str, ...], group_of: Mapping[str, str]) -> dict[str, Any]:
    """Accuracy of a coarser question: probabilities of a group's labels add up; truths in no group are left out."""
    groups = sorted({group_of[label] for label in labels if label in group_of})
    member_NG = np.array([[float(group_of.get(label) == group) for group in groups] for label in labels])
    asked_P = member_NG[true_P].any(-1)
    said_P, want_P = (probs_PN[asked_P] @ member_NG).argmax(-1), member_NG[true_P[asked_P]].argmax(-1)
    table = confusion(said_P, want_P, len(groups))
    return {
        "n": int(asked_P.sum()),
        "labels": groups,
        "accuracy": _round(accuracy(table)),
        "balanced_accuracy": _round(balanced_accuracy(table)),
    }


def regression(error_P: Floats, person_P: NDArray[np.str_], metric: str, seed: int = 0) -> dict[str, Any]:
    """Everything that is said about one set of estimates, from how far each is off in the metric's unit."""
    people = np.unique(person_P)
    by = {str(p): error_P[person_P == p] for p in people}
    rng = np.random.default_rng(seed)
    sums, counts = (np.array([f(e) for e in by.values()], float) for f in (np.sum, len))
    drawn = rng.integers(len(people), size=(RESAMPLES, len(people)))
    low, high = np.percentile(sums[drawn].sum(-1) / counts[drawn].sum(-1), [2.5, 97.5])
    means = {p: float(e.mean()) for p, e in by.items()}
    worst = max(means, key=lambda p: means[p])
    return {
        "n": len(error_P),
        metric: _round(error_P.mean()),
        "percentiles": [_round(v) for v in np.percentile(error_P, range(0, 101, 5))],
        "interval": {
            "level": 0.95,
            "units": len(people),
            metric: [_round(low), _round(high)] if len(people) > 1 else None,
        },
        "by_person": {
            metric: {p: _round(m) for p, m in means.items()},
            "worst": {"person": worst, metric: _round(means[worst])},
            "spread": _round(float(np.std(list(means.values())))),
        },
    }


def overlap(cells_P2: Mapping[str, Ints], seed: int = 0) -> dict[str, Any]:
    """Intersection over union of masks, from each person's cells: in both masks, and in either."""
    table_P2 = np.array(list(cells_P2.values()))
    drawn = np.random.default_rng(seed).integers(len(table_P2), size=(RESAMPLES, len(table_P2)))
    low, high = np.percentile(iou(table_P2[drawn].sum(1)), [2.5, 97.5])
    by = dict(zip(cells_P2, iou(table_P2).tolist(), strict=True))
    worst = min(by, key=lambda p: by[p])
    return {
        "iou": _round(float(iou(table_P2.sum(0)))),
        "interval": {
            "level": 0.95,
            "units": len(by),
            "iou": [_round(low), _round(high)] if len(by) > 1 else None,
        },
        "by_person": {
            "iou": {p: _round(value) for p, value in by.items()},
            "worst": {"person": worst, "iou": _round(by[worst])},
            "spread": _round(float(np.std(list(by.values())))),
        },
    }


def iou(cells: Ints) -> Floats:
    """The share of what is in either mask that is in both, from cells (..., 2); two empty masks agree."""
    both, either = cells[..., 0], cells[..., 1]
    return np.asarray(np.where(either > 0, both / np.maximum(either, 1), 1.0))


def _round(value: float | np.floating) -> float:
    return round(float(value), 4)
