"""Moments of labelled recordings: what a model sees of them, and what can be asked about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from backend.data.observed import Observed, observe
from backend.data.recording import Recording, Sequence
from backend.dialogue.items import Item, draw
from backend.model.history import Context, History
from backend.model.sensorlm import Predictor
from backend.tasks import Classification
from edge.clock import SECOND

LABELS = ("label", "caption")
"""Kinds whose answer no line holds: the sensors' tokens do."""


def moments_of(
    recording: Recording,
    predictor: Predictor,
    count: int,
    asked: int,
    share: float,
    rng: np.random.Generator,
) -> Iterator[tuple[Context, list[Item]]]:
    """So many moments of a recording, evenly over its labels, with questions about each, a share of them labels."""
    observed, labels = observe(recording, predictor.encoders, int(rng.integers(SECOND))), labels_of(predictor)
    if observed is None:
        return
    one = observed.sequence
    for i in sorted(_slots(observed, labels, count, rng)):
        situation = observed.at(i, labels)
        items = []
        for _ in range(asked):
            kind = LABELS[int(rng.random() < 0.15)] if rng.random() < share else None
            item = draw(situation, rng, kind=kind)
            if item is not None and item.known:
                items.append(item)
        if items:
            yield context_at(one, i, predictor), items


def labels_of(predictor: Predictor) -> dict[str, dict[str, str]]:
    """By task, the labels that a model can tell, in words."""
    return {name: dict(task.words) for name, task in predictor.tasks.items() if isinstance(task, Classification)}


def context_at(one: Sequence, i: int, predictor: Predictor) -> Context:
    """What a decision about slot i may see."""
    history = History(predictor.slots)
    for back in range(max(0, i - predictor.slots), i + 1):
        slot = one.slot + back
        windows = [s.window(back, slot, one.hop_ns) for s in one.series if s.present[back]]
        if windows:
            history.add(predictor.encode_windows(windows))
    return history.at(one.slot + i)


def _slots(observed: Observed, labels: Mapping[str, Any], count: int, rng: np.random.Generator) -> set[int]:
    """Slots in which a window is there, each label as often as another where there are enough."""
    one, there = observed.sequence, observed.there
    told = [one.majority(task)[there] for task in labels if task in one.targets]
    if not told:
        return set(rng.permutation(there)[:count].tolist())
    found: set[int] = set()
    order = rng.permutation(len(there))
    groups = [there[order][said[order] == label] for said in told for label in np.unique(said) if label >= 0]
    for turn in range(count):
        for group in groups:
            if turn < len(group) and len(found) < count:
                found.add(int(group[turn]))
    return found
