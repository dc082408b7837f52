"""Where training draws from: the people who may be learned from, and fresh cuts of their recordings.

Splitting is by person everywhere: all devices and recordings of a person fall on the same side. It knows nothing of
the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from backend.data import DATASETS
from backend.data.recording import Recording, Sequence, Track, sequence
from backend.train.augment_audio import at_another_speed, followed_by
from backend.train.batch import Crop, crop, overlay
from backend.train.config import TrainConfig
from broker.errors import ConfigError, DataError
from edge.clock import SECOND

Of = TypeVar("Of", Recording, Sequence)
"""What is split: recordings, or what was cut of them. Both say whose they are, and of which published fold."""


@dataclass(frozen=True)
class Split(Generic[Of]):
    """Recordings by role. `test` is never looked at in training, `validation` only for calibration."""

    train: list[Of]
    validation: list[Of]
    test: list[Of]


def split(recordings: Many[Of], config: TrainConfig) -> Split[Of]:
    """By person: the people of `config.fold` are the test; of the rest a share, at least one, is validation.

    Where the publishers gave folds, fold i of theirs is fold i of ours, and validation is drawn from within the rest.
    """
    people = sorted({r.person for r in recordings})
    published = sorted({r.fold for r in recordings if r.fold is not None})
    test: set[str] = set()
    if config.fold >= 0:
        if published:
            wanted = published[config.fold % len(published)]
            test = {r.person for r in recordings if r.fold == wanted}
        else:
            test = set(people[config.fold :: config.folds])
    rest = [p for p in people if p not in test]
    rng = np.random.default_rng([config.seed, 77])
    count = max(round(len(rest) * config.validation), config.validation > 0 and len(rest) > 2)
    held = set(rng.permutation(rest)[:count].tolist())
    return Split(
        [r for r in recordings if r.person not in test | held],
        [r for r in recordings if r.person in held],
        [r for r in recordings if r.person in test],
    )


RATES = {"imu": slice(3, 6), "gps": slice(3, 4)}
"""Channels that are told per second: turning rates, and the speed over ground."""


def faster(recording: Recording, factor: float) -> Recording:
    """The recording as if everything had happened `factor` times as fast: its times, turning rates and speeds.

    Places, orientations and all that is labelled stay as they are, and so do accelerations, most of which is gravity.
    """
    start = recording.tracks[0].t[0]

    def at(t: np.ndarray) -> np.ndarray:
        return np.asarray(start + np.rint((t - start) / factor), np.int64)

    def moved(track: Track) -> Track:
        rates = RATES.get(track.stream.modality)
        if rates is None:
            return replace(track, t=at(track.t))
        values = np.asarray(track.values, np.float32) * np.float32(track.scale)
        values[:, rates] *= np.float32(factor)
        return replace(track, t=at(track.t), values=values, scale=1.0)

    labels = {task: truth.moved(at) for task, truth in recording.labels.items()}
    return replace(recording, tracks=tuple(map(moved, recording.tracks)), labels=labels)


def sensed(recording: Recording, config: TrainConfig) -> Recording:
    """The recording with the tracks that the model has encoders for."""
    tracks = tuple(track for track in recording.tracks if track.stream.modality in config.model.modalities)
    return replace(recording, tracks=tracks)


SLOT_S = 0.5
"""Seconds from one slot to the next."""
TRIES = 16
"""Phases of every recording at which a window of sound is looked for before there is said to be none."""


def chances(config: TrainConfig, found: Mapping[str, Many[Recording]]) -> dict[str, float]:
    """Of each dataset, the chance that a crop is drawn from it.

    By weight times the square root of its seconds (`sampling` root: a set ten times as long is drawn three times as
    often), by weight alone (even), or by weight times seconds (size: every second is as likely as any other).
    """
    power = {"root": 0.5, "even": 0.0, "size": 1.0}[config.sampling]
    weight = {name: config.datasets[name] * _seconds(of, config) ** power for name, of in found.items()}
    return {name: w / sum(weight.values()) for name, w in weight.items()}


def _seconds(recordings: Many[Recording], config: TrainConfig) -> float:
    """How long the recordings last, of which the model senses something."""
    first = [one.tracks[0] for one in (sensed(r, config) for r in recordings) if one.tracks]
    return sum(max(float(one.t[-1] - one.t[0]) / SECOND, one.stream.hop_s) for one in first)  # one row lasts, too


def with_steps(config: TrainConfig, splits: Mapping[str, Split[Recording]]) -> TrainConfig:
    """The configuration with its `epochs`, if it has any, as steps.

    An epoch is as many crops as the training recordings of all sets would be cut into, without gaps. Crops are drawn
    at random, so that on average every window is seen once an epoch where `sampling` is size and weights are equal.
    Measurements, unless they are told otherwise, come once an epoch then.
    """
    if not config.epochs:
        return config
    slots = sum(_seconds(one.train, config) for one in splits.values()) / SLOT_S
    epoch = max(1, math.ceil(slots / config.slots / config.crops))
    return replace(config, steps=epoch * config.epochs, measure_every=config.measure_every or epoch)


class Source:
    """Crops of one dataset's training recordings. Raises DataError where there is nothing to cut.

    Sound is cut afresh for every draw, at a new phase and speed. Whatever else costs more to cut, and is cut
    `config.phases` times in advance, motion (and what was recorded with it) at other speeds, too. Recordings with sound
    among others are cut once. `done` is called after each, because drives are rendered as they are cut.
    """

    def __init__(
        self, recordings: Many[Recording], config: TrainConfig, done: Callable[[], None] = lambda: None
    ) -> None:
        self.config = config
        self.recordings = [heard for heard in (sensed(one, config) for one in recordings) if heard.tracks]
        kinds = {track.stream.modality for r in self.recordings for track in r.tracks}
        self.fresh = kinds == {"audio"}
        self.sound, self.motion = "audio" in kinds, kinds == {"imu"}
        self.moving = "imu" in kinds and not self.sound
        rng = np.random.default_rng([config.seed, 78])
        self.cuts: list[Sequence] = []
        if not self.fresh:
            phases = 1 if self.sound else config.phases
            for one in self.recordings:
                cuts = (self._cut(one, rng) for _ in range(phases))
                self.cuts += [c for c in cuts if c is not None]
                done()
        if self.fresh:
            found = any(self._cut(one, rng) is not None for _ in range(TRIES) for one in self.recordings)
        else:
            found = bool(self.cuts)
        if not found:
            held = ", ".join(sorted(kinds))
            raise DataError(
                f"{', '.join(sorted({r.dataset for r in recordings}))}: {len(recordings)} recordings to train on hold "
                f"{held} and no whole window; take the set out of `datasets`, or get longer recordings"
            )

    def _cut(self, one: Recording, rng: np.random.Generator) -> Sequence | None:
        shift = int(rng.integers(SECOND))
        if self.fresh:
            return sequence(self._sound(one, rng), shift)
        if self.moving:
            one = faster(one, math.exp(rng.uniform(-self.config.stretch, self.config.stretch)))
        return sequence(one, shift)

    def _sound(self, one: Recording, rng: np.random.Generator) -> Recording:
        """The recording at another speed, and at times another one after it."""
        variety = self.config.augment.sound
        one = at_another_speed(one, variety, rng)
        if rng.random() < variety.followed and "event-detection" in one.labels:
            other = self.recordings[rng.integers(len(self.recordings))]
            one = followed_by(one, at_another_speed(other, variety, rng), variety, rng)
        return one

    def draw(self, rng: np.random.Generator) -> Crop:
        """One random crop."""
        while True:
            if self.fresh:
                found = self._cut(self.recordings[rng.integers(len(self.recordings))], rng)
            else:
                found = self.cuts[rng.integers(len(self.cuts))]
            if found is not None:
                return crop(found, self.config.slots, rng)


class Mixture:
    """All sources of a run; a draw picks one by `chances`."""

    def __init__(self, sources: dict[str, Source], config: TrainConfig) -> None:
        self.sources, self.config = sources, config
        self.chance = list(chances(config, {name: s.recordings for name, s in sources.items()}).values())
        self.sounds = [s for s in sources.values() if s.fresh]
        self.says = self._says()

    def _says(self) -> dict[str, float]:
        """By task or mask, the share of draws that teach it, in units of the mean share."""
        says: dict[str, float] = {}
        for chance, source in zip(self.chance, self.sources.values(), strict=True):
            taught = {name for one in source.recordings for name in (*one.labels, *one.masks)}
            for name in (*self.config.model.tasks, *self.config.model.masks):  # in order: sums round as they go
                if name in taught:
                    says[name] = says.get(name, 0.0) + chance
        mean = sum(says.values()) / max(len(says), 1)
        return {name: share / mean for name, share in says.items()}

    def draw(self, rng: np.random.Generator, count: int) -> list[Crop]:
        """As many crops."""
        sources = list(self.sources.values())
        crops = []
        for i in rng.choice(len(sources), count, p=self.chance):
            one = sources[i].draw(rng)
            if sources[i].motion and self.sounds and rng.random() < self.config.overlay:
                one = overlay(one, self.sounds[rng.integers(len(self.sounds))].draw(rng))
            crops.append(one)
        return crops


def check_folds(config: TrainConfig, found: Mapping[str, Many[Recording]]) -> None:
    """Raise ConfigError for a number of folds that the data cannot be split into, before anything is trained."""
    for name, recordings in found.items():
        published = sorted({r.fold for r in recordings if r.fold is not None})
        people = len({r.person for r in recordings})
        if published and len(published) != config.folds:
            folds = ", ".join(map(str, published))
            raise ConfigError(f"--folds {config.folds}: {name} comes in folds {folds}; use --folds {len(published)}")
        if people < config.folds:
            raise ConfigError(f"--folds {config.folds}: {name} has {people} {DATASETS[name].unit}; use fewer folds")


def split_all(config: TrainConfig, found: Mapping[str, Many[Recording]]) -> dict[str, Split[Recording]]:
    """The recordings of every dataset that show something of what the model has to answer, split by person.

    Raises DataError when nobody is left to learn from.
    """
    wanted = {*config.model.tasks, *config.model.masks}
    splits = {
        name: split([one for one in recordings if wanted & {*one.labels, *one.masks}], config)
        for name, recordings in found.items()
    }
    for name, one in splits.items():
        if not one.train:
            raise DataError(f"{name}: no {DATASETS[name].unit} is left to train on; use fewer folds or more data")
        if not any(sensed(recording, config).tracks for recording in one.train):
            senses = " or ".join(config.model.modalities)
            raise DataError(f"{name}: nothing that it holds here is {senses}; take the set out of `datasets`")
    return splits
