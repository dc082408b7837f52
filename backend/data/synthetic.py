"""synthetic: people and rooms of the simulator, with watch, phone and microphone recorded at once.

The only set in which motion and sound are truly joint. Training and measuring use people (seeds) that never meet, and
neither uses the small seeds that the demonstration shows. Nothing is read from disk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.data.recording import Recording, Recordings, Segments, Track
from backend.tasks import TASKS
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.sensors import Reading
from edge.simulator import Flaws, Scene
from edge.windows import Stream

NAME = "synthetic"
TRAINING_SEEDS = range(10_000, 10_032)
UNSEEN_SEEDS = range(20_000, 20_012)
SECONDS = 64
START = 1_767_225_600_000_000_000
"""2026-01-01 00:00 UTC, ns: the scenes are functions of absolute time."""
SCALE = MODALITIES["audio"].scale
IMU_RATE = 100.0


def training(root: Path) -> Recordings:
    """The people to learn from; `root` is not used."""
    return Recordings(map(scene_recording, TRAINING_SEEDS))


def unseen(root: Path) -> Recordings:
    """Other people, to measure on; `root` is not used."""
    return Recordings(map(scene_recording, UNSEEN_SEEDS))


def scene_recording(seed: int, seconds: int = SECONDS, start: int = START) -> Recording:
    """One person and room from `start` (ns UTC) on, through sensors whose flaws follow from the seed."""
    scene, rng = Scene(seed), np.random.default_rng([seed, 9])
    end = start + seconds * SECOND
    tracks = [
        _motion(scene, device, placement, start, seconds, rng)
        for device, placement in (("watch", "wrist"), ("phone", "pocket"))
    ]
    rate = round(MODALITIES["audio"].rate)
    sound = scene.audio(start, seconds * rate, float(rate))
    samples = np.clip(np.rint(sound / SCALE), -32768, 32767).astype(np.int16)[:, None]
    t = start + np.arange(len(samples)) * (SECOND // rate)
    tracks.append(Track("room", Stream("audio", "audio", "room"), t, samples, SCALE))
    labels = {task: _segments(scene, task, start, end) for task in TASKS}
    return Recording(f"scene-{seed}", NAME, f"seed-{seed}", tuple(tracks), labels)


def _motion(scene: Scene, device: str, placement: str, start: int, seconds: int, rng: np.random.Generator) -> Track:
    t = start + np.rint(np.arange(round(seconds * IMU_RATE)) * (1e9 / IMU_RATE)).astype(np.int64)
    flaws = Flaws(
        noise=float(rng.uniform(0.0, 0.05)),
        drift=float(rng.uniform(0.0, 0.05)),
        jitter_s=float(rng.uniform(0.0, 0.008)),
        seed=int(rng.integers(1 << 30)),
    )
    reading = flaws.apply(Reading(t, scene.imu(placement, t)))
    return Track(device, Stream("imu", "imu", placement), reading.t, reading.values)


def _segments(scene: Scene, task: str, start: int, end: int) -> Segments:
    spans = list(scene.spans(task, start, end))
    edges = np.array([span.start for span in spans] + [spans[-1].end], np.int64)
    return Segments(edges, np.array([TASKS[task].labels.index(span.label) for span in spans], np.int64))
