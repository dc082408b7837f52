"""What a modality's numbers look like in its own units: rules that tell g from m/s2, degrees from radians, mm from m.

A rule reduces samples to one number per chunk and compares a stream's typical one with bounds that are wide for
anything real and too narrow for another unit. It knows nothing of data sets, and cannot tell a small error of
calibration.

n is a number of samples, D of numbers in a target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.clock import SECOND

Times = NDArray[np.int64]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Rule:
    """`measure(t (n,) ns, values)` gives numbers in `unit`, which typically (`over`) lie within `low`..`high`.

    It may give none, where nothing can be told. `advice` says what is likely wrong outside.
    """

    name: str
    measure: Callable[[Times, Values], NDArray[np.floating]]
    low: float
    high: float
    unit: str
    advice: str
    over: Callable[[NDArray[np.floating]], np.floating] = np.median

    def of(self, t: Times, values: Values) -> float:
        """The rule's number of some samples; NaN where they tell none."""
        found = self.measure(t, values)
        found = found[np.isfinite(found)]
        return float(self.over(found)) if len(found) else float("nan")

    def of_all(self, chunks: Iterable[float]) -> float:
        """A stream's number, from those of its chunks."""
        found = np.array([chunk for chunk in chunks if np.isfinite(chunk)])
        return float(self.over(found)) if len(found) else float("nan")

    def holds(self, number: float) -> bool:
        """Whether a stream's number is within the bounds, or there is none."""
        return not number < self.low and not number > self.high


def _norm(first: int) -> Callable[[Times, Values], Values]:
    """Length of three channels from `first` on."""

    def measure(t: Times, values: Values) -> Values:
        return np.asarray(np.linalg.norm(values[:, first : first + 3], axis=-1))

    return measure


def _speed(t: Times, values: Values) -> Values:
    return values[:, 3]


def _speed_of_places(t: Times, values: Values) -> NDArray[np.floating]:
    """How fast the places move, over the speed told, where that is 2 m/s or more and samples follow one another."""
    step_s = np.diff(t) / SECOND
    way = np.linalg.norm(np.diff(values[:, :2], axis=0), axis=-1)
    moving = (step_s > 0) & (step_s < 3) & (values[1:, 3] >= 2)
    return np.asarray(way[moving] / step_s[moving] / values[1:, 3][moving])


def _named(t: Times, values: Values) -> Values:
    """Distance of a share of the screen from its middle."""
    return np.asarray(np.abs(values[:, :2] - 0.5).max(-1))


def _extent(t: Times, values: Values) -> Values:
    """From the lowest to the highest coordinate of the joints that are known, along the axis where that is most."""
    joints = values.reshape(len(values), -1, 3)
    joints = joints[:, np.isfinite(joints).all((0, 2))] if len(joints) else joints
    return np.asarray(np.ptp(joints, axis=1).max(-1)) if joints.shape[1] > 1 else np.zeros(0, np.float32)


def _away(t: Times, values: Values) -> Values:
    """How far the first joint is from the axes' origin."""
    return np.asarray(np.linalg.norm(values[:, :3], axis=-1))


def _loudness(t: Times, values: Values) -> NDArray[np.float64]:
    return np.array([np.sqrt(np.mean(np.square(values, dtype=np.float64)))])


def _clipped(t: Times, values: Values) -> NDArray[np.float64]:
    return np.array([np.mean(np.abs(values) >= 0.999)])


def _largest(t: Times, values: Values) -> Values:
    return np.asarray(values.reshape(len(values), -1).max(-1))


def _brightest(t: Times, values: Values) -> Values:
    return _largest(t, values[..., :3])


def _darkest(t: Times, values: Values) -> Values:
    return np.asarray(values[..., :3].reshape(len(values), -1).min(-1))


def _contrast(t: Times, values: Values) -> Values:
    return _brightest(t, values) - _darkest(t, values)


def _slope(t: Times, values: Values) -> Values:
    """The most that a pixel's ray leaves the axis."""
    return _largest(t, np.abs(values[..., 3:5]))


def _range(t: Times, values: Values) -> Values:
    """Median of what is there in each frame; 0 is no return."""
    away = values.reshape(len(values), -1, values.shape[-1])[..., 0]
    return np.array([np.median(one[one > 0]) if (one > 0).any() else 0.0 for one in away], np.float32)


def _middle(t: Times, values: Values) -> Values:
    return np.asarray(np.median(values.reshape(len(values), -1), axis=-1))


def _reflected(t: Times, values: Values) -> Values:
    return _largest(t, values[..., 1:])


def _brought(t: Times, values: Values) -> Values:
    return _largest(t, np.abs(values))


def _known(t: Times, values: Values) -> Values:
    """The largest number of each row, of those that are known."""
    known = values[np.isfinite(values).any(-1)]
    return np.asarray(np.nanmax(np.abs(known), -1)) if len(known) else np.zeros(0, np.float32)


_MM = "is it in mm (divide by 1000) or in another unit?"
_COLOURS = (
    Rule("largest colour", _brightest, 0.02, 1.5, "", "colours are 0..1: divide by 255; or is all black?"),
    Rule("smallest colour", _darkest, -0.5, 0.98, "", "colours are 0..1; or is all white?"),
    Rule("contrast", _contrast, 0.01, 2.0, "", "is the picture empty?", np.max),
)
_TURNS = Rule("turn rate", _norm(3), 0.0, 15.0, "rad/s", "is it in degrees per second (multiply by pi / 180)?")
_LINEAR = Rule(
    "acceleration without gravity", _norm(0), 0.0, 8.0, "m/s2", "the set should have none: is gravity of 9.8 in it?"
)

MODALITY_RULES: dict[str, tuple[Rule, ...]] = {
    "imu": (
        Rule(
            "acceleration", _norm(0), 4.0, 25.0, "m/s2",
            "gravity is 9.8: is it in g (multiply by 9.80665), or taken out?",
        ),
        _TURNS,
    ),
    "gps": (
        Rule("speed", _speed, -0.01, 100.0, "m/s", "is it in km/h or mm/s?"),
        Rule(
            "speed of places over speed", _speed_of_places, 0.5, 2.0, "",
            "are places in degrees, not m, or speeds in km/h (divide by 3.6)?",
        ),
    ),
    "gaze": (
        Rule("distance from the middle", _named, 0.0, 2.0, "of the screen", "are they pixels or cm, not shares?"),
    ),
    "pose": (
        Rule("extent of the body", _extent, 0.4, 2.6, "m", _MM),
        Rule("distance of the body", _away, 0.0, 30.0, "m", _MM),
    ),
    "audio": (
        Rule("loudness", _loudness, 1e-5, 0.9, "of full scale", "is it silent, or not scaled to -1..1?", np.max),
        Rule("clipped samples", _clipped, 0.0, 0.05, "", "was it recorded too loud, or scaled wrongly?", np.mean),
    ),
    "image": _COLOURS,
    "video": _COLOURS,
    "camera": (
        *_COLOURS,
        Rule("steepest ray", _slope, 0.05, 6.0, "m a metre", "rays are (pixel - centre) / focal length"),
    ),
    "depth": (Rule("range", _range, 0.08, 100.0, "m", _MM),),
    "thermal": (Rule("temperature", _middle, 220.0, 360.0, "K", "is it in degrees Celsius (add 273.15)?"),),
    "capacitance": (
        Rule("largest of a frame", _largest, 0.005, 8.0, "", "a firm touch is about 1: are they raw counts?"),
    ),
    "lidar": (
        Rule("range", _range, 0.2, 150.0, "m", _MM),
        Rule("largest intensity", _reflected, 0.0, 1.5, "", "intensities are 0..1: divide by 255"),
    ),
    "features": (Rule("largest number", _brought, 0.3, 30.0, "", "numbers are brought to about one by the reader"),),
}  # fmt: skip
"""By modality, for samples (n, C) or (n, H, W, C) in its units."""

TASK_RULES: dict[str, tuple[Rule, ...]] = {
    "gaze-estimation": (Rule("largest coordinate", _known, 0.1, 60.0, "cm", "is it in mm, in pixels or in shares?"),),
    "depth-estimation": (Rule("largest depth", _known, 0.1, 200.0, "m", _MM),),
    "pose-estimation": (Rule("extent of the body", _extent, 0.4, 2.6, "m", _MM),),
    "3d-reconstruction": (Rule("largest coordinate", _known, 0.03, 20.0, "m", _MM),),
}
"""By task, for its truth (n, D), NaN where unknown."""

WITHOUT_GRAVITY = frozenset({"eyemu"})
"""Data sets whose publishers took gravity out of acceleration."""


def rules(modality: str, dataset: str) -> tuple[Rule, ...]:
    """Those of a modality, as a data set has it."""
    known = MODALITY_RULES[modality]
    return (_LINEAR, *known[1:]) if modality == "imu" and dataset in WITHOUT_GRAVITY else known
