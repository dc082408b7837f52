"""Domain-specific baselines: hand-made statistics of the newest window of one sense, and a forest or a ridge.

No context, no learned features: what the field did before networks, and what Table 1's first row stands for. Numbers of
a window are its facts (`edge.facts`) and plain statistics; a classification is a forest's, a regression a ridge's or a
forest's, whichever is nearer on validation people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Many
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.recording import Sequence, Series
from backend.tasks import TASKS, Classification, Regression
from backend.train.tables.columns import Column
from backend.train.tables.measure import Said, task_of
from edge.facts import facts
from edge.frames import resize
from edge.stream import Stream, Window

BLOCKS = 8
"""A picture is told as the means of so many blocks along each side."""
BANDS = 24
"""A spectrum is told in so many bands, from low to high each half as wide again as the one before."""
TREES = 200
FAR = 5.0
"""Deviations beyond which a ridge takes a number for this far: an almost constant one would lead it anywhere."""

Floats = NDArray[np.float32]


def statistics(series: Series, slot: int) -> list[float]:
    """Facts and statistics of one window."""
    x = series.values[slot].astype(np.float32) * np.float32(series.scale)
    size = (x.shape[-3], x.shape[-2]) if x.ndim > 2 else (0, 0)
    stream = Stream(series.name, series.modality, series.placement, size=size)
    told = list(facts(Window(stream, 0, series.rate, x, float(series.quality[slot]))).values())
    if x.ndim > 2:
        frame = x[-1] if x.ndim == 4 else x
        return [*told, *resize(frame, (BLOCKS, BLOCKS)).ravel().tolist()]
    spread = np.concatenate([x.mean(0), x.std(0), x.min(0), x.max(0), x[-1]])  # the newest is what is asked about
    return [*told, *spread.tolist(), *_bands(x[:, 0]).tolist()]


def _bands(x_T: Floats) -> Floats:
    """(BANDS,) log power of the first channel, in bands that widen."""
    power = np.abs(np.fft.rfft(x_T - x_T.mean())) ** 2
    edges = np.unique(np.geomspace(1, len(power), BANDS + 1).astype(int))
    found = np.zeros(BANDS, np.float32)
    for i, (low, high) in enumerate(pairwise(edges)):
        found[i] = np.log(power[low:high].mean() + 1e-9)
    return found


def rows(sequences: Iterable[Sequence], column: Column, keys: Many[str]) -> Iterator[tuple[list[float], Any, str, str]]:
    """Of every slot that has a window of the main sense and a known truth: numbers, truth, person, place.

    Streams of the sense stand side by side by `keys`; one that says nothing in a slot is zeros.
    """
    task, whole = task_of(column), TASKS[column.task]
    index, classes = whole.columns(task.outputs), isinstance(task, Classification)
    for one in sequences:
        mine = {s.key: s for s in one.series if s.modality == column.main}
        if column.task not in one.targets or not mine:
            continue
        target = one.targets[column.task][:, index]
        known = target.sum(-1) > 0 if classes else np.isfinite(target).any(-1)
        for slot in np.flatnonzero(known & np.any([s.present for s in mine.values()], 0)):
            told = {key: statistics(s, int(slot)) for key, s in mine.items() if s.present[slot]}
            silent = [0.0] * max(map(len, told.values()))
            numbers = [value for key in keys for value in told.get(key, silent)]
            yield numbers, target[slot].argmax() if classes else target[slot], one.person, f"{one.name}/{slot}"


def fitted(
    column: Column, train: Many[Sequence], validation: Many[Sequence], test: Many[Sequence], seed: int
) -> tuple[Said, Said | None]:
    """What the baseline says of the test people, and of those of validation; logits of a classification are log-shares
    of trees.

    It learns from training people alone, as every row does; without validation people a regression is the ridge's.

    Raises ImportError without scikit-learn.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    keys = sorted({s.key for one in (*train, *test) for s in one.series if s.modality == column.main})
    x, true, _, _ = _table(rows(train, column, keys))
    x_test, true_test, person, at = _table(rows(test, column, keys))
    other = _table(rows(validation, column, keys)) if validation else None
    task = task_of(column)
    if isinstance(task, Classification):
        forest = ExtraTreesClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed)
        forest.fit(x, true)

        def says(x_PF: NDArray[Any]) -> NDArray[Any]:
            probs = np.full((len(x_PF), task.size), 1e-4)
            probs[:, forest.classes_] += forest.predict_proba(x_PF)
            return np.asarray(np.log(probs))
    else:
        assert isinstance(task, Regression)
        known = np.isfinite(true)
        mean = np.where(known, true, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        filled = np.where(known, true, mean)
        near = FunctionTransformer(np.clip, kw_args={"a_min": -FAR, "a_max": FAR})
        model = make_pipeline(StandardScaler(), near, RidgeCV(np.geomspace(1.0, 1e5, 11))).fit(x, filled)
        if other is not None:
            trees = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=seed).fit(x, filled)
            errors = [np.nanmean(task.distances(one.predict(other[0]), other[1])) for one in (model, trees)]
            model = (model, trees)[int(np.argmin(errors))]
        says = model.predict
    said = Said(says(x_test), true_test, person, at)
    if other is None:
        return said, None
    x_other, true_other, person, at = other
    return said, Said(says(x_other), true_other, person, at)


def _table(found: Iterable[tuple[list[float], Any, str, str]]) -> tuple[NDArray[Any], ...]:
    x, true, person, at = zip(*found, strict=True)
    return np.array(x, np.float32), np.array(true), np.array(person, np.str_), np.array(at, np.str_)
