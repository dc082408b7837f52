"""What a trained model knows already, drawn again: decisions to rehearse while it learns something new, and those of
other people to tell whether it has forgotten.

Simulated sets need no folder and are drawn in small; recorded ones are taken from the folders given. Of both only sets
that the model learned from, because others would say how it does elsewhere. How anything is learned it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from backend.data import DATASETS, synthetic
from backend.data.aloud import counted, read_aloud
from backend.data.recording import Recording
from backend.model.history import StreamTokens
from backend.model.sensorlm import Predictor
from backend.tasks import Classification
from backend.tasks.task import Placed
from backend.train.evaluate import Encoded, cut_each, encode
from backend.train.teach import Shown, decisions, joined
from broker.errors import DataError
from edge.simulator import SCENES

SIMULATED, SECONDS = (4, 3), 32
"""Simulated people to rehearse by and to measure by, and how long each is watched."""
RECORDED = 40
"""Recordings of a set to rehearse, and to measure by."""


@dataclass
class Known:
    """By data set, what to rehearse and what to measure by; `left_out` says why others are not there."""

    rehearsed: dict[str, Shown] = field(default_factory=dict)
    held: dict[str, Shown] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def rehearse(
    predictor: Predictor,
    task: str,
    labels: Many[str],
    placed: frozenset[Placed],
    record: dict[str, Any],
    roots: Many[Path],
    console: Console,
) -> Known:
    """Decisions of a task that the model makes already; a `Shown.label` is an index of `labels`.

    `record` is what the checkpoint remembers of its training. Each set is seen through all senses that the model has,
    and again through those that are `placed` alone, so that what is missing tells nothing.
    """
    known = Known()
    mine = set(predictor.tasks[task].outputs)
    people = record.get("people", {})
    for name in people or [one for one, row in DATASETS.items() if row.unseen is not None]:
        row = DATASETS.get(name)
        if row is None or task not in row.tasks or not mine & {*(row.tasks[task] or predictor.tasks[task].outputs)}:
            continue
        if row.unseen is not None:
            roles = _simulated(name, predictor)
        else:
            try:
                roles = _recorded(name, roots, set(people[name]["train"]), console)
            except DataError as error:
                known.left_out[name] = str(error)
                continue
        for recordings, into in zip(roles, (known.rehearsed, known.held), strict=True):
            with counted(f"{name}, what it knows", len(recordings), console) as done:
                encoded = encode(predictor, cut_each(_each(recordings, done)))
            if shown := _shown(predictor, task, labels, encoded, placed):
                into[name] = shown
    return known


def _each(recordings: Iterable[Recording], done: Callable[[], None]) -> Iterator[Recording]:
    for one in recordings:
        yield one
        done()


def _simulated(name: str, predictor: Predictor) -> tuple[list[Recording], list[Recording]]:
    scene = next(one for one in SCENES if synthetic.name_of(one) == name)
    seeds = synthetic.TRAINING_SEEDS[: SIMULATED[0]], synthetic.UNSEEN_SEEDS[: SIMULATED[1]]
    senses = tuple(predictor.encoders)
    some = ([synthetic.scene_recording(seed, SECONDS, scene=scene, senses=senses) for seed in of] for of in seeds)
    return next(some), next(some)


def _recorded(
    name: str, roots: Many[Path], learned_from: set[str], console: Console
) -> tuple[list[Recording], list[Recording]]:
    """Of those that the model learned from, and of others; if there are none, a third of the former.

    Raises DataError where no root has the set.
    """
    reason = DataError("no folder is given by --data")
    for root in roots:
        try:
            found = read_aloud(name, DATASETS[name].read, root, console)
        except DataError as error:
            reason = error
            continue
        units = sorted({one.person for one in found})
        others = {unit for unit in units if unit not in learned_from} or set(units[::3])
        rng = np.random.default_rng(0)
        apart: tuple[list[Recording], list[Recording]] = ([], [])
        for i in rng.permutation(len(found)):
            role = apart[found[i].person in others]
            if len(role) < RECORDED:
                role.append(found[i])
        return apart
    raise reason


def _shown(
    predictor: Predictor, task: str, labels: Many[str], encoded: Encoded, placed: frozenset[Placed]
) -> Shown | None:
    """Both views of the sequences' decisions about labels that the model has."""
    whole = predictor.config.whole(task)
    assert isinstance(whole, Classification)
    old = predictor.tasks[task].outputs
    place = np.array([labels.index(label) if label in old else -1 for label in whole.labels] + [-1])
    found = []
    for one, tokens in zip(encoded.sequences, encoded.tokens, strict=True):
        if task not in one.targets:
            continue
        alike = _alike(tokens, placed)
        for view in [tokens] if len(alike) in (0, len(tokens)) else [tokens, alike]:
            contexts = decisions(whole, predictor.slots, view)
            slots = np.array([context.slot - one.slot for context in contexts], np.int64)
            label = place[one.majority(task)[slots]]
            known = np.flatnonzero(label >= 0)
            units = np.full(len(known), one.person)
            found.append(Shown(tuple(contexts[i] for i in known), label[known], units))
    whole_set = joined(found)
    return whole_set if len(whole_set) else None


def _alike(tokens: Many[StreamTokens], placed: frozenset[Placed]) -> list[StreamTokens]:
    """Windows of what was recorded: of its modalities those so placed, of a modality that is not, all."""
    there = {(one.modality, one.placement) for one in tokens}
    exact = {modality for modality, _ in there & placed}
    senses = {modality for modality, _ in placed}
    return [
        one
        for one in tokens
        if ((one.modality, one.placement) in placed if one.modality in exact else one.modality in senses)
    ]
