"""What sensors, facts and times are called: names that text is written with, and the ways in which people say them.

Names and units are those of `edge.facts`. Everything that writes or reads text about sensors takes its words from here;
what was measured, and who asks, it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from edge.clock import SECOND
from edge.facts import FACTS

CALLED = {
    "imu": "IMU", "gps": "GPS", "audio": "microphone", "gaze": "gaze tracker", "pose": "pose sensor",
    "image": "picture camera", "video": "video camera", "depth": "depth camera", "thermal": "thermal camera",
    "capacitance": "touch panel", "lidar": "LiDAR", "camera": "mounted camera", "features": "feature sensor",
    "host": "device",
}  # fmt: skip
"""Of a modality, the sensor's name."""
ALSO_CALLED = {
    "imu": ("motion sensor", "inertial sensor", "accelerometer", "gyroscope"),
    "gps": ("satellite receiver", "position sensor"),
    "audio": ("mic", "sound sensor"),
    "gaze": ("eye tracker",),
    "pose": ("body tracker",),
    "image": ("photo camera",),
    "video": ("film camera",),
    "depth": ("range camera", "depth sensor"),
    "thermal": ("heat camera", "infrared camera", "thermometer"),
    "capacitance": ("touch screen", "touchscreen", "capacitive panel"),
    "lidar": ("laser scanner",),
    "camera": ("car camera",),
}  # fmt: skip
"""What people say besides."""
ROOMS = (
    "kitchen",
    "bedroom",
    "bathroom",
    "hall",
    "office",
    "living room",
    "garage",
    "workshop",
    "garden",
    "car",
    "room",
)
"""Placements that a sensor is in; it is on any other."""
WORN = ("wrist", "pocket", "phone", "left wrist", "right wrist", "ankle", "head", "chest", "hand", "belt", "back")

DIGITS = {
    "m/s2": 2, "m/s3": 1, "s": 2, "Hz": 1, "deg": 0, "rad/s": 2, "dB": 1, "full scale": 3, "1/s": 1, "1": 2, "count": 0,
    "m/s": 1, "m": 2, "K": 1, "degC": 1, "rpm": 0, "%": 0,
}  # fmt: skip
"""Digits after the point that a number of a unit is told with."""
_SIGNLESS = {"1": "", "count": ""}
SPELLED = {
    "m/s2": ("m/s^2", "m/s²", "metres per second squared", "meters per second squared"),
    "m/s3": ("m/s^3", "m/s³"),
    "m/s": ("metres per second", "meters per second"),
    "rad/s": ("radians per second",),
    "deg": ("degrees", "°"),
    "degC": ("°C", "degrees Celsius"),
    "Hz": ("hertz",),
    "dB": ("decibels", "decibel"),
    "K": ("kelvin",),
    "m": ("metres", "meters", "metre", "meter"),
    "s": ("seconds", "second"),
    "%": ("per cent", "percent"),
    "1/s": ("per second",),
}
"""Units as people spell them."""
SAID_FACTS = {
    "imu.rms": ("strength of movement", "movement strength", "how strongly", "how much movement"),
    "imu.frequency": ("movement frequency", "cadence", "how often per second"),
    "imu.tilt": ("how tilted",),
    "audio.level": ("loudness", "sound level", "volume", "how loud", "louder", "quieter", "how quiet"),
    "audio.pitch": ("how high-pitched",),
    "gps.speed": ("travelling speed", "how fast", "faster", "slower"),
    "pose.speed": ("how fast", "faster", "slower"),
    "thermal.hottest": ("highest temperature", "hottest temperature", "how hot", "how warm", "hotter", "warmer"),
    "thermal.coldest": ("lowest temperature", "coldest temperature", "how cold", "colder"),
    "depth.nearest": ("nearest distance", "nearest range", "how near", "how close", "nearer"),
    "lidar.nearest": ("nearest distance", "nearest range", "how near", "how close", "nearer"),
    "depth.farthest": ("farthest distance", "how far"),
    "lidar.farthest": ("farthest distance", "how far"),
    "image.brightness": ("how bright", "how dark", "brighter"),
    "video.brightness": ("how bright", "how dark", "brighter"),
    "camera.brightness": ("how bright", "how dark", "brighter"),
    "depth.median": ("median distance",),
    "lidar.median": ("median distance",),
    "capacitance.contacts": ("number of contacts", "number of touches", "how many touches"),
    "pose.head_height": ("height of the head",),
    "host.temperature": ("device temperature",),
}
"""Facts as people call them, besides their names."""
HEARD_FACTS = {
    "imu.rms": ("movement", "strength", "moves", "move", "how strong", "how hard", "shaking"),
    "imu.frequency": ("rhythm", "how often a second"),
    "imu.tilt": ("inclination", "how inclined"),
    "audio.level": ("noise level", "how noisy", "noisier", "how loudly", "loudest", "quietest", "noisiest"),
    "audio.pitch": ("how high", "fundamental frequency"),
    "gps.speed": ("velocity", "pace", "how quickly", "fastest", "slowest"),
    "pose.speed": ("how quickly", "fastest", "slowest"),
    "gps.distance": ("how far",),
    "gps.heading": ("direction", "which way"),
    "thermal.hottest": ("temperature", "temp", "max temp", "maximum temperature", "warmest", "hottest spot"),
    "thermal.coldest": (
        "low temp", "lowest temp", "min temp", "minimum temperature", "cooler", "coolest", "coldest spot",
    ),
    "depth.nearest": ("closest distance", "closest", "closer"),
    "lidar.nearest": ("closest distance", "closest", "closer"),
    "image.brightness": ("darker", "brightest", "darkest", "light level", "how light"),
    "video.brightness": ("darker", "brightest", "darkest", "light level", "how light"),
    "camera.brightness": ("darker", "brightest", "darkest", "light level", "how light"),
    "host.battery": ("battery", "battery level", "battery charge", "how charged"),
    "host.fan": ("fan speed", "fan"),
    "host.temperature": ("device temp", "how hot is the device"),
}  # fmt: skip
"""What else is understood as a fact, and never written."""
NEVER_TOLD = (
    "heart rate", "pulse", "humidity", "air pressure", "pressure", "oxygen", "co2", "carbon dioxide", "smoke", "weight",
    "magnetic field", "voltage", "step count", "number of steps", "how many steps", "calories", "smell", "wind speed",
)  # fmt: skip
"""What people ask sensors for, and no fact is of."""
NEVER_THERE = ("barometer", "magnetometer", "compass", "radar", "hygrometer", "pedometer", "heart monitor")
"""Sensors that people ask for, and no modality is of."""
MEAN, LARGEST, SMALLEST, NEWEST = "mean", "largest", "smallest", "newest"
STAT_WORDS = {
    MEAN: ("mean", "average", "on average", "averaged", "typical", "typically"),
    LARGEST: (
        "largest", "highest", "maximum", "maximal", "max", "greatest", "strongest", "at most", "top", "biggest",
        "peaked", "loudest", "fastest", "noisiest", "brightest", "warmest", "hardest", "most",
    ),
    SMALLEST: (
        "smallest", "lowest", "minimum", "minimal", "min", "least", "weakest", "at least", "quietest", "slowest",
        "darkest", "coolest", "calmest",
    ),
    NEWEST: (
        "now", "current", "currently", "newest", "latest", "at the moment", "right now", "at present", "just now",
    ),
}  # fmt: skip
"""Statistics as people call them."""
EXTREMES = {
    "hottest": LARGEST, "farthest": LARGEST, "strongest": LARGEST,
    "coldest": SMALLEST, "nearest": SMALLEST,
}  # fmt: skip
"""Names of facts that are superlatives: when it was hottest is when the hottest was largest."""

COMMON = frozenset({
    "person", "moving", "near", "x", "y", "free", "away", "absent", "dark", "bright", "middle", "touched", "returned",
    "median", "spread", "valid", "path", "spots", "peak", "level", "speed", "distance", "motion", "area",
})  # fmt: skip
"""Names of facts that are words of everyday, too: they count as facts where something is said to have them."""
THINGS = COMMON - {"peak", "level", "speed", "distance", "motion", "area", "median", "spread"}
"""Those that are there or happen, besides being a fact."""


@dataclass(frozen=True, order=True)
class Sensor:
    """A modality at a placement; `device` is told only where two sensors would have one name."""

    modality: str
    placement: str
    device: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.where}"

    @property
    def name(self) -> str:
        """`IMU`, `touch panel`."""
        return CALLED.get(self.modality, self.modality)

    @property
    def where(self) -> str:
        """`on the wrist`, `in the kitchen`."""
        own = f" of {self.device}" if self.device else ""
        return f"{'in' if self.placement in ROOMS else 'on'} the {self.placement}{own}"

    def is_at(self, place: str) -> bool:
        """Whether its placement is said so, in small letters: the left wrist is `left wrist`, `wrist` and `left`."""
        placement = f" {self.placement.casefold()}"
        return placement.endswith(f" {place}") or (place in ("left", "right") and placement.startswith(f" {place} "))


def fact_name(fact: str) -> str:
    """`imu.turn_rms` is the `turn rms` of its sensor."""
    own = fact.partition(".")[2].replace("_", " ")
    return f"device {own}" if fact.startswith("host.") else own


def unit_of(fact: str) -> str:
    """As it is written behind a number; nothing for shares and counts."""
    return _SIGNLESS.get(FACTS[fact], FACTS[fact])


def digits_of(fact: str) -> int:
    """Digits after the point."""
    if FACTS[fact] == "Hz" and fact.startswith("audio."):
        return 0
    return DIGITS[FACTS[fact]]


def number(fact: str, value: float) -> str:
    """`2.31 m/s2`."""
    return f"{plain(value, digits_of(fact))} {unit_of(fact)}".strip()


def plain(value: float, digits: int) -> str:
    """So many digits after the point, and no minus zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def clock(t: int, zone: tzinfo = UTC) -> str:
    """Time of day of nanoseconds UTC: 14:03:10."""
    return datetime.fromtimestamp(t // SECOND, zone).strftime("%H:%M:%S")


def span_words(start: int, end: int, zone: tzinfo = UTC) -> str:
    """`from 14:03:00 to 14:03:10`."""
    return f"from {clock(start, zone)} to {clock(end, zone)}"


def together(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def capital(text: str) -> str:
    """The first letter large."""
    return f"{text[:1].upper()}{text[1:]}"


STEM = re.compile(r"(ing|ed|es|s|e)$")


def stem(word: str) -> str:
    """walks, walked and walking are one word."""
    word = word.casefold()
    cut = STEM.sub("", word) if len(word) > 4 else word
    return cut[:-1] if len(cut) > 3 and cut[-1] == cut[-2] else cut  # sitting, sit
