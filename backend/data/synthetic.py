"""synthetic: the scenes of the simulator as data sets, all sensors of a scene recorded at once.

`synthetic` is the home; any other scene has its name behind (`synthetic_drive`). Only here are many senses truly joint.
Training and measuring use seeds that never meet, and neither uses the small seeds that the demonstration shows. Nothing
is read from disk: a track is rendered when its values are used, and only the latest tracks are kept in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Lazy
from backend.data.recording import Recording, Recordings, Segments, Track, Values
from backend.tasks import TASKS, Classification
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.sensors import Reading
from edge.simulator import SCENES, Audible, Flaws, Stage
from edge.windows import Stream

Times = NDArray[np.int64]

NAME = "synthetic"
HOME = "home"
TRAINING_SEEDS = range(10_000, 10_064)
UNSEEN_SEEDS = range(20_000, 20_012)
SECONDS = 64
START = 1_767_225_600_000_000_000
"""2026-01-01 00:00 UTC, ns: the scenes are functions of absolute time."""

_RATES = {"imu": 100, "gps": 5, "gaze": 60, "pose": 30, "video": 8}  # Hz; audio has the modality's own
_FRAME_HZ = 2
_FRAME_SHIFT_NS = SECOND // 4
"""Of a sensor that gives four frames a second a window shows every other one: these."""
_TRUTH_HZ = {"pose-estimation": 20, "gaze-estimation": 20, "3d-reconstruction": 20}  # maps are those of the frames

# Each sensor has a share of these: noise and drift in the modality's units, jitter in seconds, share of holes.
_WORST = {
    "imu": (0.05, 0.05, 0.008, 0.0),
    "gps": (0.0, 1.0, 0.02, 0.0),
    "gaze": (0.0, 0.0, 0.004, 0.0),
    "pose": (0.02, 0.02, 0.008, 0.0),
    "image": (0.04, 0.03, 0.03, 0.0),
    "video": (0.04, 0.03, 0.03, 0.0),
    "depth": (0.02, 0.01, 0.03, 0.08),
    "thermal": (0.3, 0.5, 0.05, 0.0),
    "capacitance": (0.01, 0.01, 0.01, 0.0),
    "camera": (0.03, 0.03, 0.03, 0.0),
    "lidar": (0.02, 0.0, 0.01, 0.05),
}
# Number type and scale of what the wire has as floats, where integers are fine enough and half as large.
_KEPT: dict[str, tuple[str, float]] = {"camera": ("i2", 2.0**-14), "lidar": ("u2", 1e-3)}
_KEPT_IN: dict[tuple[str, str], tuple[str, float]] = {(HOME, "lidar"): ("u1", 1 / 32)}  # a room is less than 8 m long


def name_of(scene: str) -> str:
    """The name of a scene's data set."""
    return NAME if scene == HOME else f"{NAME}_{scene}"


def modalities(scene: str = HOME) -> tuple[str, ...]:
    """What a scene's sensors measure."""
    there = {modality for _, modality, _ in SCENES[scene](0).streams()}
    return tuple(name for name in MODALITIES if name in there)


def tasks(scene: str = HOME) -> tuple[str, ...]:
    """The tasks of which a scene knows the truth."""
    known = SCENES[scene](0).tasks
    return tuple(name for name in TASKS if name in known)


def training(root: Path, scene: str = HOME, senses: tuple[str, ...] | None = None) -> Recordings:
    """The people to learn from, with all senses of the scene or some; `root` is not used."""
    return Recordings(scene_recording(seed, scene=scene, senses=senses) for seed in TRAINING_SEEDS)


def unseen(root: Path, scene: str = HOME, senses: tuple[str, ...] | None = None) -> Recordings:
    """Other people, to measure on; `root` is not used."""
    return Recordings(scene_recording(seed, scene=scene, senses=senses) for seed in UNSEEN_SEEDS)


def scene_recording(
    seed: int,
    seconds: int = SECONDS,
    start: int = START,
    scene: str = HOME,
    senses: tuple[str, ...] | None = None,
) -> Recording:
    """One scene from `start` (ns UTC, a whole second) on, through sensors whose flaws follow from the seed.

    `senses` are the modalities to record; all that the scene has where it is not given.
    """
    stage, rng = SCENES[scene](seed), np.random.default_rng([seed, 9])
    tracks, taken = [], set()
    for device, modality, placement in stage.streams():
        stream = Stream(f"{modality}-{placement}" if (device, modality) in taken else modality, modality, placement)
        taken.add((device, modality))
        one = _Track(scene, seed, modality, placement, start, seconds, _flaws(modality, rng))
        if senses is None or modality in senses:
            tracks.append(Track(device, stream, one.stamps(), one.rows(), one.kept[1]))
    labels = {task: _truth(stage, task, start, seconds) for task in tasks(scene)}
    return Recording(f"{scene}-{seed}", name_of(scene), f"seed-{seed}", tuple(tracks), labels)


def _flaws(modality: str, rng: np.random.Generator) -> Flaws | None:
    if modality not in _WORST:
        return None
    noise, drift, jitter, holes = (float(rng.uniform(0.0, worst)) if worst else 0.0 for worst in _WORST[modality])
    return Flaws(noise=noise, drift=drift, jitter_s=jitter, holes=holes, seed=int(rng.integers(1 << 30)))


@dataclass(frozen=True)
class _Track:
    """All that determines a track."""

    scene: str
    seed: int
    modality: str
    placement: str
    start: int
    seconds: int
    flaws: Flaws | None

    @property
    def kept(self) -> tuple[np.dtype[Any], float]:
        """Number type and scale."""
        row = MODALITIES[self.modality]
        own = _KEPT.get(self.modality, (row.dtype, row.scale))
        dtype, scale = _KEPT_IN.get((self.scene, self.modality), own)
        return np.dtype(dtype), scale

    def times(self) -> Times:
        """When it is measured. Times of sound, 8 bytes each, are shared, and nobody may write to them."""
        row = MODALITIES[self.modality]
        if self.modality == "audio":
            return _grid(self.start, round(row.rate), self.seconds)
        t = _grid(self.start, _RATES.get(self.modality, _FRAME_HZ), self.seconds)
        return t if "height" not in row.axes or "time" in row.axes else t + _FRAME_SHIFT_NS

    def stamps(self) -> Times:
        """When it seems to have been measured."""
        return self.times() if self.flaws is None else self.flaws.stamps(self.times())[0]

    def rows(self) -> Lazy:
        """The values, not yet rendered."""
        row = MODALITIES[self.modality]
        sides = row.size if "height" in row.axes else ()
        return Lazy((len(self.times()), *sides, len(row.channels)), self.kept[0], partial(_rows, self))


def _rows(track: _Track, index: NDArray[np.int64]) -> NDArray[Any]:
    return _rendered(track)[index]


@lru_cache(maxsize=32)
def _rendered(track: _Track) -> NDArray[Any]:
    """(n, C) or (n, H, W, C): the whole track, in the number type in which it is kept."""
    stage, t = SCENES[track.scene](track.seed), track.times()
    if track.flaws is None:
        assert isinstance(stage, Audible), f"the {track.scene} has audio among its streams and no sound"
        values = stage.audio(track.start, len(t), MODALITIES["audio"].rate)[:, None]
    else:
        values = stage.render(track.modality, track.placement, t)
        values = track.flaws.apply(Reading(t, values), track.modality).values
    kept, scale = track.kept
    if np.issubdtype(kept, np.integer):
        bounds = np.iinfo(kept)
        values = np.clip(np.rint(values / scale), bounds.min, bounds.max)
    return np.asarray(values, kept)


@lru_cache(maxsize=16)
def _grid(start: int, rate: int, seconds: int) -> Times:
    t = start + np.arange(seconds * rate, dtype=np.int64) * SECOND // rate
    t.flags.writeable = False
    return t


def _truth(stage: Stage, task: str, start: int, seconds: int) -> Segments | Values:
    known = TASKS[task]
    if isinstance(known, Classification):
        spans = list(stage.spans(task, start, start + seconds * SECOND))
        edges = np.array([span.start for span in spans] + [spans[-1].end], np.int64)
        return Segments(edges, np.array([known.labels.index(span.label) for span in spans], np.int64))
    t = _grid(start, _TRUTH_HZ.get(task, _FRAME_HZ), seconds)
    if task not in _TRUTH_HZ:
        t = t + _FRAME_SHIFT_NS
    return Values(t, stage.truth(task, t))
