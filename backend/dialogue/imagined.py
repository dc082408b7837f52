"""Situations that nobody measured: random sensors, numbers and happenings, without end, to learn to read from.

They teach words, copying and choosing, and nothing of the world: no number depends on what happens.
"""

from __future__ import annotations

import numpy as np

from backend.dialogue.situation import Happening, Reading, Situation, named
from backend.dialogue.wordings import LABEL_ASK, Rng
from backend.dialogue.words import ROOMS, WORN, digits_of
from backend.tasks import TASKS, Classification
from edge.clock import SECOND
from edge.facts import FACTS, FAMILIES

_USUAL = {
    "m/s2": (0.0, 25.0), "m/s3": (0.0, 300.0), "s": (0.0, 1.0), "Hz": (0.5, 12.0), "deg": (0.0, 180.0),
    "rad/s": (0.0, 9.0), "dB": (-70.0, -3.0), "full scale": (0.0, 1.0), "1/s": (0.0, 9.0), "1": (0.0, 1.0),
    "count": (0.0, 9.0), "m/s": (0.0, 15.0), "m": (0.1, 40.0), "K": (280.0, 312.0), "degC": (5.0, 70.0),
    "rpm": (300.0, 4000.0), "%": (1.0, 100.0),
}  # fmt: skip
"""By unit, from and to."""
_HEARD_HZ = (60.0, 7800.0)
_ROOM_SENSES = ("audio", "image", "video", "depth", "thermal", "lidar", "camera", "pose", "capacitance")
_WORN_SENSES = ("imu", "imu", "imu", "gps", "audio", "gaze", "image", "depth", "capacitance")
_DAY = 86400
_LONGEST_S = 90
_MOST_WINDOWS = 60
_MOST_HAPPENINGS = 16
_MIDNIGHT = 1_764_460_800
"""Of 30 November 2025, UTC, in seconds."""


def imagine(rng: Rng) -> Situation:
    """A situation of one to five sensors, up to 90 s long, with up to 16 happenings; nothing is decided now."""
    seconds = int(rng.integers(8, _LONGEST_S))
    now = (_MIDNIGHT + int(rng.integers(2 * 3600, _DAY))) * SECOND
    began = now - seconds * SECOND
    sensors = named(_streams(rng))
    hop = SECOND if len(sensors) > 2 or seconds > 30 else SECOND // 2
    readings = []
    for stream, sensor in sensors.items():
        facts = list(FAMILIES[sensor.modality].facts)
        if rng.random() < 0.3:  # a device may send some of them
            facts = [facts[i] for i in rng.permutation(len(facts))[: int(rng.integers(2, len(facts) + 1))]]
        times = list(range(began, now - hop // 2, hop))[:_MOST_WINDOWS]
        walk = {fact: _walk(rng, fact, len(times)) for fact in facts}
        readings += [Reading(stream, sensor, t, {f: walk[f][i] for f in facts}) for i, t in enumerate(times)]
    labels, happenings = _told(rng, began, now)
    readings.sort(key=lambda one: one.t0)
    return Situation(sensors, tuple(readings), now, happenings, labels, hop=hop)


def _streams(rng: Rng) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str]] = []
    for _ in range(int(rng.integers(1, 5))):
        worn = rng.random() < 0.6
        modality = (_WORN_SENSES if worn else _ROOM_SENSES)[int(rng.integers(9))]
        place = (WORN if worn else ROOMS)[int(rng.integers(len(WORN if worn else ROOMS)))]
        if (modality, place) not in found:
            found.append((modality, place))
    if rng.random() < 0.5:
        modality, place = found[int(rng.integers(len(found)))]
        places = [p for p in (ROOMS if place in ROOMS else WORN) if (modality, p) not in found]
        if place.startswith(("left", "right")):
            other = f"{'right' if place.startswith('left') else 'left'} wrist"
            places = [other] if (modality, other) not in found else places
        found.append((modality, places[int(rng.integers(len(places)))]))
    return [(f"device-{i}/{modality}", modality, place) for i, (modality, place) in enumerate(found)]


def _walk(rng: Rng, fact: str, count: int) -> list[float]:
    """Numbers of a fact, each near the one before."""
    low, high = _HEARD_HZ if FACTS[fact] == "Hz" and fact.startswith("audio.") else _USUAL[FACTS[fact]]
    steps = rng.normal(0, (high - low) * rng.uniform(0.02, 0.3), count).cumsum() + rng.uniform(low, high)
    inside = low + np.abs((steps - low) % (2 * (high - low)) - (high - low))
    return [float(v) for v in np.round(inside, digits_of(fact) + 1)]


def _told(rng: Rng, began: int, now: int) -> tuple[dict[str, dict[str, str]], tuple[Happening, ...]]:
    """Labels that can be told, by task, and what happened."""
    tasks = [t for t in LABEL_ASK if t in ("activity-recognition", "event-detection") or rng.random() < 0.2]
    tasks = [t for t in tasks if rng.random() < 0.8] or tasks[:1]
    labels: dict[str, dict[str, str]] = {}
    happenings: list[Happening] = []
    for name in tasks:
        task = TASKS[name]
        assert isinstance(task, Classification)
        known = [label for label in task.labels if label != task.none_label]
        some = [known[i] for i in rng.permutation(len(known))[: int(rng.integers(3, 12))]]
        kept = ([task.none_label] if task.none_label else []) + some
        labels[name] = {label: task.words[label] for label in kept if label}
        at, last = began + int(rng.integers(0, 4)) * SECOND, ""
        while at < now and len(happenings) < _MOST_HAPPENINGS:
            label = some[int(rng.integers(len(some)))]
            until = min(now, at + int(rng.integers(2, 25)) * SECOND)
            if label != last and (task.none_label is None or rng.random() < 0.6):
                happenings.append(Happening(name, label, at, until))
                last = label
            at = until + (int(rng.integers(0, 6)) * SECOND if task.none_label else 0)
    return labels, tuple(sorted(happenings, key=lambda one: one.began))
