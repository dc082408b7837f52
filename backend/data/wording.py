"""Sensors, facts and times in words: what texts about them are made of.

Names and units are those of `edge.facts`, so that a text reads as what devices send. Values are drawn within what is
usual for a unit; nothing here measures anything, and what is asked of it is another's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edge.facts import FACTS, FAMILIES

T = TypeVar("T")
Rng = np.random.Generator


@dataclass(frozen=True)
class Wordings:
    """Ways to say the same thing: those to learn from, and those that are held out."""

    learned: tuple[str, ...]
    held_out: tuple[str, ...]

    def draw(self, rng: Rng, held_out: bool) -> str:
        """One of them."""
        return one(rng, self.held_out if held_out else self.learned)


@dataclass(frozen=True)
class Sensor:
    """A modality at a placement."""

    modality: str
    placement: str

    def __str__(self) -> str:
        where = "in" if self.placement in ROOMS else "on"
        return f"{CALLED.get(self.modality, self.modality)} {where} the {self.placement}"


CALLED = {
    "imu": "IMU", "gps": "GPS", "audio": "microphone", "gaze": "gaze tracker", "pose": "pose sensor",
    "image": "picture camera", "video": "video camera", "depth": "depth camera", "thermal": "thermal camera",
    "capacitance": "touch panel", "lidar": "LiDAR",
}  # fmt: skip
ROOMS = ("kitchen", "bedroom", "bathroom", "hall", "office", "living room", "garage", "workshop", "garden", "car")
WORN = ("wrist", "pocket", "phone", "left wrist", "right wrist", "ankle", "head", "chest", "hand", "belt", "back")
_ROOM_SENSES = ("audio", "image", "video", "depth", "thermal", "lidar", "camera", "pose", "capacitance")
_WORN_SENSES = ("imu", "gps", "audio", "gaze", "image", "depth", "capacitance", "imu", "imu")

_USUAL = {
    "m/s2": (0.0, 25.0, 2), "m/s3": (0.0, 300.0, 1), "s": (0.0, 1.0, 2), "Hz": (0.5, 12.0, 1), "deg": (0.0, 180.0, 0),
    "rad/s": (0.0, 9.0, 2), "dB": (-70.0, -3.0, 1), "full scale": (0.0, 1.0, 3),
    "1/s": (0.0, 9.0, 1), "1": (0.0, 1.0, 2),
    "count": (0.0, 9.0, 0), "m/s": (0.0, 15.0, 1), "m": (0.1, 40.0, 2),
    "K": (280.0, 312.0, 1), "degC": (5.0, 70.0, 1),
    "rpm": (300.0, 4000.0, 0), "%": (1.0, 100.0, 0),
}  # fmt: skip
"""By unit: from, to, and digits after the point."""
_HEARD = {"audio.centroid", "audio.bandwidth", "audio.rolloff", "audio.pitch", "audio.zero_crossings"}
_HEARD_HZ = (60.0, 7800.0, 0)
_SIGNLESS = {"1": "", "count": ""}


@dataclass(frozen=True)
class Told:
    """A fact of a sensor with its value as it is written, unit and all."""

    sensor: Sensor
    name: str
    value: float
    text: str

    @property
    def subject(self) -> str:
        """`rms of the IMU on the wrist`."""
        return f"{self.name} of the {self.sensor}"


def one(rng: Rng, among: Sequence[T]) -> T:
    """Any of them."""
    return among[int(rng.integers(len(among)))]


def some(rng: Rng, among: Sequence[T], count: int) -> list[T]:
    """So many different ones, in any order."""
    return [among[i] for i in rng.permutation(len(among))[:count]]


def sensors(rng: Rng, count: int) -> list[Sensor]:
    """So many different sensors, worn or in rooms."""
    found: list[Sensor] = []
    while len(found) < count:
        worn = rng.random() < 0.6
        sensor = Sensor(one(rng, _WORN_SENSES if worn else _ROOM_SENSES), one(rng, WORN if worn else ROOMS))
        if sensor not in found:
            found.append(sensor)
    return found


def names(modality: str) -> list[str]:
    """Its facts, in words."""
    return [_in_words(name) for name in FAMILIES[modality].facts]


def told(rng: Rng, sensor: Sensor, name: str) -> Told:
    """A usual value of a fact."""
    fact = f"{sensor.modality}.{name.replace(' ', '_')}"
    low, high, digits = _HEARD_HZ if fact in _HEARD else _USUAL[FACTS[fact]]
    text = f"{rng.uniform(low, high):.{digits}f}"
    return Told(sensor, name, float(text), f"{text} {unit(fact)}".strip())


def facts_of(rng: Rng, sensor: Sensor, count: int) -> list[Told]:
    """So many different facts of a sensor."""
    return [told(rng, sensor, name) for name in some(rng, names(sensor.modality), count)]


def unit(fact: str) -> str:
    """As it is written behind a number; nothing for shares and counts."""
    return _SIGNLESS.get(FACTS[fact], FACTS[fact])


def _in_words(fact: str) -> str:
    return fact.split(".")[1].replace("_", " ")


def listed(facts: Sequence[Told]) -> str:
    """Facts of one sensor on one line: `IMU on the wrist: rms 2.31 m/s2, tilt 84 deg`."""
    return f"{facts[0].sensor}: {', '.join(f'{fact.name} {fact.text}' for fact in facts)}"


def clock(second: int) -> str:
    """Time of day: 14:03:10."""
    return f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def together(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
