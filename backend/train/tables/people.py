"""The people of the tables: read or rendered once, cut into windows once, and kept in a folder as plain arrays.

Every set becomes sequences of whole people. Who is left out follows from the seed: the people of fold s are the test of
seed s. It knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from backend.data import DATASETS
from backend.data.recording import Parts, Recording, Sequence, Series, Values, sequence
from backend.data.synthetic import HOME, TRAINING_SEEDS, scene_recording
from backend.tasks import TASKS, Classification
from backend.train.tables.columns import AS_USUAL, COLUMNS, OTHER_DEVICE, Column
from broker.errors import CheckpointError, DataError
from edge.frames import resize

PARTED = {"rgbd_7scenes": 6}
"""A set of one recording, in so many stretches: its "people" are parts of the way through one room, and no people."""
FORMAT = 2


@dataclass(frozen=True)
class Amount:
    """How much is taken: simulated `people` of `seconds` each, and at most `slots` windows of every recorded person."""

    people: int
    seconds: int
    slots: int


def senses_and_tasks(dataset: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the columns ask of a set."""
    mine = [one for one in COLUMNS if one.dataset == dataset]
    senses = tuple(dict.fromkeys(sense for one in mine for sense in one.senses))
    return senses, tuple(one.task for one in mine)


def files_of(dataset: str, amount: Amount) -> int:
    """How many files a set is kept in: one for each simulated person, who takes seconds to render, or one."""
    return amount.people if DATASETS[dataset].unseen else 1


def read(dataset: str, amount: Amount, root: Path | None, number: int = 0) -> Iterator[Sequence]:
    """The sequences of a set, or of one simulated person, with the senses and the truths that the columns ask of it.

    Raises DataError where a recorded set is not found under `root`, or cannot be read.
    """
    senses, tasks = senses_and_tasks(dataset)
    if DATASETS[dataset].unseen:
        scene = dataset.removeprefix("synthetic").lstrip("_") or HOME
        person = scene_recording(TRAINING_SEEDS[number], amount.seconds, scene=scene, senses=senses)
        yield from _cut([_asked(person, senses, tasks)])
    else:
        recordings = (_asked(one, senses, tasks) for one in _recorded(dataset, root))
        yield from _shortened(list(_cut(recordings)), amount.slots)


def _cut(recordings: Iterable[Recording]) -> Iterator[Sequence]:
    return (s for s in map(sequence, recordings) if s is not None)


def _recorded(dataset: str, root: Path | None) -> Iterator[Recording]:
    if root is None:
        raise DataError(f"{dataset}: is recorded, and no folder of data is given; name it by --data")
    for one in DATASETS[dataset].read(root):
        yield from _stretches(one, PARTED[dataset]) if dataset in PARTED else (one,)


def _asked(one: Recording, senses: tuple[str, ...], tasks: tuple[str, ...]) -> Recording:
    tracks = tuple(track for track in one.tracks if track.stream.modality in senses)
    return replace(one, tracks=tracks, labels={task: one.labels[task] for task in tasks if task in one.labels})


def _stretches(one: Recording, parts: int) -> Iterator[Recording]:
    """Equal parts of a recording of rows, each of a "person" of its own."""
    edges = np.linspace(0, len(one.tracks[0].t), parts + 1).astype(int)
    for n, (first, last) in enumerate(pairwise(edges)):
        rows = np.arange(first, last)
        tracks = tuple(replace(t, t=t.t[rows], values=np.asarray(t.values[rows])) for t in one.tracks)  # type: ignore[index]
        labels = {
            task: Values(truth.t[rows], truth.values[rows])
            for task, truth in one.labels.items()
            if isinstance(truth, Values)
        }
        yield replace(one, name=f"{one.name}-{n}", person=f"{one.person}-{n}", tracks=tracks, labels=labels)


def _shortened(sequences: list[Sequence], slots: int) -> Iterator[Sequence]:
    """At most so many slots of each person, an equal share of every recording: labels may come one by one."""
    count = {p: sum(s.person == p for s in sequences) for p in {s.person for s in sequences}}
    for one in sequences:
        yield part(one, 0, max(8, slots // count[one.person]))


def part(one: Sequence, start: int, stop: int) -> Sequence:
    """Some slots of a sequence."""
    series = tuple(
        replace(s, values=s.values[start:stop], quality=s.quality[start:stop], present=s.present[start:stop])
        for s in one.series
    )
    targets = {task: truth[start:stop] for task, truth in one.targets.items()}
    parts = {task: Parts(of.labels, of.share[start:stop]) for task, of in one.parts.items()}
    return replace(one, slot=one.slot + start, series=series, targets=targets, parts=parts)


def sensed(one: Sequence, senses: Many[str], tasks: Many[str]) -> Sequence | None:
    """The sequence with these senses and truths alone; None where none of either is left."""
    series = tuple(s for s in one.series if s.modality in senses)
    targets = {task: truth for task, truth in one.targets.items() if task in tasks}
    parts = {task: of for task, of in one.parts.items() if task in tasks}
    return replace(one, series=series, targets=targets, parts=parts) if series and targets else None


def heard(one: Sequence, columns: Many[Column]) -> Sequence:
    """The truth of each column of this set where its main sense delivers, and unknown elsewhere.

    Every row has that sense, so all rows of a column are measured on the same windows, whatever else they see.
    """
    for column in columns:
        if column.dataset == one.dataset and column.task in one.targets:
            main = [s.present for s in one.series if s.modality == column.main]
            one = _known_at(one, column.task, np.any([np.zeros(one.length, bool), *main], 0))
    return one


def _known_at(one: Sequence, task: str, slots_L: NDArray[np.bool_]) -> Sequence:
    """A task's truth in these slots alone."""
    truth = one.targets[task].copy()
    truth[~slots_L] = TASKS[task].unknown
    parts = dict(one.parts)
    if task in parts:
        share = parts[task].share.copy()
        share[~slots_L] = 0
        parts[task] = Parts(parts[task].labels, share)
    return replace(one, targets={**one.targets, task: truth}, parts=parts)


def other_device(one: Sequence) -> Sequence:
    """The same through sensors of another make, which no model has learned from.

    The phone's inertial axes are a quarter turn about z off, the gaze tracker is not calibrated (0.8 of the way, 0.1
    off), the panel has half as many cells each way, and pictures are darker by a third.
    """
    return replace(one, series=tuple(VARIANTS[s.modality](s) if s.modality in VARIANTS else s for s in one.series))


def _turned(one: Series) -> Series:
    x, y, z = np.moveaxis(one.values.reshape(*one.values.shape[:-1], -1, 3), -1, 0)
    return replace(one, values=np.stack([y, -x, z], -1).reshape(one.values.shape))


def _uncalibrated(one: Series) -> Series:
    return replace(one, values=(one.values.astype(np.float32) * 0.8 + 0.1).astype(one.values.dtype))


def _coarser(one: Series) -> Series:
    size = (one.values.shape[1] // 2, one.values.shape[2] // 2)
    smaller = np.stack([resize(frame, size) for frame in one.values])
    whole = np.issubdtype(one.values.dtype, np.integer)
    return replace(one, values=(np.rint(smaller) if whole else smaller).astype(one.values.dtype))


def _darker(one: Series) -> Series:
    return replace(one, values=(one.values.astype(np.float32) * 2 / 3).astype(one.values.dtype))


VARIANTS: dict[str, Callable[[Series], Series]] = {
    "imu": _turned,
    "gaze": _uncalibrated,
    "capacitance": _coarser,
    "image": _darker,
}


def shots(sequences: Many[Sequence], task: str, count: int, context: int, seed: int) -> list[Sequence]:
    """Labelled windows, each with the context that a decision sees: `count` of every label, or in all of a regression.

    Each is a sequence of at most `context` + 1 slots, of which the last alone has its truth.
    """
    rng = np.random.default_rng([seed, 79])
    known = [(n, slot, label) for n, one in enumerate(sequences) for slot, label in _known(one, task)]
    chosen: list[tuple[int, int]] = []
    for wanted in sorted({label for _, _, label in known}):
        of = [(n, slot) for n, slot, label in known if label == wanted]
        chosen += [of[i] for i in rng.permutation(len(of))[:count]]
    return [_window(sequences[n], task, slot, context) for n, slot in chosen]


def _known(one: Sequence, task: str) -> list[tuple[int, int]]:
    """Slots in which a stream delivers and the truth is known, with the label (0 of a regression)."""
    there = np.any([s.present for s in one.series], 0)
    if isinstance(TASKS[task], Classification):
        label = one.majority(task)
    else:
        label = np.where(np.isfinite(one.targets[task]).any(-1), 0, -1)
    return [(int(slot), int(label[slot])) for slot in np.flatnonzero(there & (label >= 0))]


def _window(one: Sequence, task: str, slot: int, context: int) -> Sequence:
    found = part(one, max(0, slot - context), slot + 1)
    found = _known_at(found, task, np.arange(found.length) == found.length - 1)
    parts = {task: found.parts[task]} if task in found.parts else {}
    return replace(found, targets={task: found.targets[task]}, parts=parts)


class People:
    """The sets at hand, read once per process; what is read or rendered is kept in `folder` for the other processes."""

    def __init__(self, folder: Path, amount: Amount, root: Path | None) -> None:
        self.folder, self.amount, self.root = folder, amount, root
        self._found: dict[tuple[str, str], list[Sequence]] = {}
        self._seen: dict[tuple[str, str, str], list[Sequence]] = {}

    def path(self, dataset: str, number: int = 0) -> Path:
        """One of the files of a set: another one where other columns or amounts are asked for."""
        asked = json.dumps([FORMAT, asdict(self.amount), senses_and_tasks(dataset)])
        return self.folder / f"{dataset}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}" / f"{number}.npz"

    def lacks(self, dataset: str) -> str:
        """Why a set is not at hand; empty where it is, or was when it was read."""
        if self.path(dataset).is_file():
            return ""
        try:
            next(_recorded(dataset, self.root), None)  # listed, not cut: that is a cell's work
        except DataError as error:
            return str(error)
        return ""

    def prepare(self, dataset: str, number: int) -> None:
        """Read or render one file's worth, if nobody has."""
        if not self.path(dataset, number).is_file():
            save(list(read(dataset, self.amount, self.root, number)), self.path(dataset, number))

    def tokens(self, encoders: str, dataset: str, variant: str) -> Path:
        """The file of a set as the encoders of that digest see it."""
        return self.folder / f"tokens-{FORMAT}-{encoders[:12]}" / f"{dataset}{'-other' * bool(variant)}.npz"

    def seen_by(self, encoders: str, dataset: str, variant: str) -> list[Sequence]:
        """The set's sequences as tokens, which a cell has encoded before.

        Raises CheckpointError where they have been removed since.
        """
        key = (encoders, dataset, variant)
        if key not in self._seen:
            if not (path := self.tokens(*key)).is_file():
                cells = self.folder.parent / "cells" / "data" / "tokens"
                raise CheckpointError(f"{path}: is missing; remove {cells}, too, and tokens are made anew")
            self._seen[key] = load(path)
        return self._seen[key]

    def of(self, dataset: str, variant: str = AS_USUAL) -> list[Sequence]:
        """The set's sequences, as usual or through other sensors."""
        if (dataset, variant) not in self._found:
            if variant == OTHER_DEVICE:
                found = [other_device(one) for one in self.of(dataset)]
            else:
                found = []
                for number in range(files_of(dataset, self.amount)):
                    self.prepare(dataset, number)
                    found += load(self.path(dataset, number))
            self._found[dataset, variant] = found
        return self._found[dataset, variant]


def save(sequences: Many[Sequence], path: Path) -> None:
    """All arrays in one compressed file, the rest as JSON beside them; complete or not at all."""
    arrays: dict[str, NDArray[Any]] = {}
    about = []
    for n, one in enumerate(sequences):
        for m, series in enumerate(one.series):
            arrays |= {f"{n}/{m}/{k}": getattr(series, k) for k in ("values", "quality", "present")}
        arrays |= {f"{n}/{task}": truth for task, truth in one.targets.items()}
        for task, of in one.parts.items():
            arrays |= {f"{n}/{task}/labels": of.labels, f"{n}/{task}/share": of.share}
        kept = ("name", "dataset", "person", "slot", "hop_ns", "fold")
        told = ("device", "name", "modality", "placement", "rate", "scale", "encoded")
        streams = [[getattr(s, k) for k in told] for s in one.series]
        about.append([{k: getattr(one, k) for k in kept}, streams, list(one.targets), list(one.parts)])
    path.parent.mkdir(parents=True, exist_ok=True)
    part_ = path.with_suffix(".part.npz")
    np.savez_compressed(part_, about=np.array(json.dumps(about)), **cast(Mapping[str, Any], arrays))
    part_.replace(path)


def load(path: Path) -> list[Sequence]:
    """What `save` wrote."""
    found = []
    with np.load(path, allow_pickle=False) as arrays:
        for n, (kept, streams, tasks, parted) in enumerate(json.loads(str(arrays["about"]))):
            get = partial(_array, arrays, n)
            series = tuple(
                Series(d, name, m, p, rate, get(f"{i}/values"), scale, get(f"{i}/quality"), get(f"{i}/present"), seen)
                for i, (d, name, m, p, rate, scale, seen) in enumerate(streams)
            )
            targets = {task: get(task) for task in tasks}
            parts = {task: Parts(get(f"{task}/labels"), get(f"{task}/share")) for task in parted}
            found.append(Sequence(series=series, targets=targets, parts=parts, **kept))
    return found


def _array(arrays: Mapping[str, NDArray[Any]], n: int, name: str) -> NDArray[Any]:
    return arrays[f"{n}/{name}"]
