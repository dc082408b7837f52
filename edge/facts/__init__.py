"""What arithmetic can tell of a window: named numbers with units, computed on the device and sent with the frame.

Every fact is a function of the window alone, with its formula in its docstring: the same samples give the same
number anywhere, and a finite one whatever the samples are. What a fact means for the person is none of this module's
business. Formulas stand in a file per family; which facts a modality has is written out here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edge.facts import capacitance, depth, frames, gaze, gps, pose, thermal
from edge.facts.capacitance import Touch
from edge.facts.depth import Ranges, Sweep
from edge.facts.frames import Clip, Picture, View
from edge.facts.gaze import Gaze
from edge.facts.gps import Route
from edge.facts.motion import (
    Motion,
    imu_frequency,
    imu_jerk,
    imu_peak,
    imu_peak_time,
    imu_regularity,
    imu_rms,
    imu_tilt,
    imu_turn_peak,
    imu_turn_rms,
    imu_turned,
)
from edge.facts.pose import Body
from edge.facts.sound import (
    Sound,
    audio_bandwidth,
    audio_centroid,
    audio_crest,
    audio_flatness,
    audio_level,
    audio_onsets,
    audio_peak,
    audio_pitch,
    audio_rolloff,
    audio_voicing,
    audio_zero_crossings,
)
from edge.facts.thermal import Heat
from edge.stream import Window

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Fact(Generic[S]):
    """One fact: its unit ("1" for a share, "count" for a number of things) and how it is computed."""

    unit: str
    of: Callable[[S], float]


@dataclass(frozen=True, slots=True)
class Family(Generic[S]):
    """The facts of one modality: what a window is taken apart into once, and what is told of that, by name."""

    of: Callable[[Window], S]
    facts: Mapping[str, Fact[S]]


IMU: dict[str, Fact[Motion]] = {
    "imu.rms": Fact("m/s2", imu_rms),
    "imu.peak": Fact("m/s2", imu_peak),
    "imu.peak_time": Fact("s", imu_peak_time),
    "imu.jerk": Fact("m/s3", imu_jerk),
    "imu.frequency": Fact("Hz", imu_frequency),
    "imu.regularity": Fact("1", imu_regularity),
    "imu.tilt": Fact("deg", imu_tilt),
    "imu.turn_rms": Fact("rad/s", imu_turn_rms),
    "imu.turn_peak": Fact("rad/s", imu_turn_peak),
    "imu.turned": Fact("deg", imu_turned),
}

AUDIO: dict[str, Fact[Sound]] = {
    "audio.level": Fact("dB", audio_level),
    "audio.peak": Fact("full scale", audio_peak),
    "audio.crest": Fact("dB", audio_crest),
    "audio.zero_crossings": Fact("1/s", audio_zero_crossings),
    "audio.centroid": Fact("Hz", audio_centroid),
    "audio.bandwidth": Fact("Hz", audio_bandwidth),
    "audio.rolloff": Fact("Hz", audio_rolloff),
    "audio.flatness": Fact("1", audio_flatness),
    "audio.onsets": Fact("count", audio_onsets),
    "audio.pitch": Fact("Hz", audio_pitch),
    "audio.voicing": Fact("1", audio_voicing),
}

GPS: dict[str, Fact[Route]] = {
    "gps.speed": Fact("m/s", gps.speed),
    "gps.speed_peak": Fact("m/s", gps.speed_peak),
    "gps.acceleration": Fact("m/s2", gps.acceleration),
    "gps.distance": Fact("m", gps.distance),
    "gps.displacement": Fact("m", gps.displacement),
    "gps.heading": Fact("deg", gps.heading),
    "gps.turned": Fact("deg", gps.turned),
    "gps.climb": Fact("m", gps.climb),
    "gps.moving": Fact("1", gps.moving),
}

GAZE: dict[str, Fact[Gaze]] = {
    "gaze.x": Fact("1", gaze.x),
    "gaze.y": Fact("1", gaze.y),
    "gaze.dispersion": Fact("1", gaze.dispersion),
    "gaze.fixation": Fact("1", gaze.fixation),
    "gaze.saccades": Fact("1/s", gaze.saccades),
    "gaze.path": Fact("1/s", gaze.path),
    "gaze.speed_peak": Fact("1/s", gaze.speed_peak),
    "gaze.away": Fact("1", gaze.away),
    "gaze.absent": Fact("1", gaze.absent),
}

POSE: dict[str, Fact[Body]] = {
    "pose.head_height": Fact("m", pose.head_height),
    "pose.left_hand_height": Fact("m", pose.left_hand_height),
    "pose.right_hand_height": Fact("m", pose.right_hand_height),
    "pose.hands_apart": Fact("m", pose.hands_apart),
    "pose.left_wrist_speed": Fact("m/s", pose.left_wrist_speed),
    "pose.right_wrist_speed": Fact("m/s", pose.right_wrist_speed),
    "pose.speed": Fact("m/s", pose.speed),
    "pose.left_knee": Fact("deg", pose.left_knee),
    "pose.right_knee": Fact("deg", pose.right_knee),
    "pose.tilt": Fact("deg", pose.tilt),
    "pose.moving": Fact("1", pose.moving),
}

IMAGE: dict[str, Fact[Picture]] = {
    "image.brightness": Fact("1", frames.brightness),
    "image.contrast": Fact("1", frames.contrast),
    "image.colourfulness": Fact("1", frames.colourfulness),
    "image.saturation": Fact("1", frames.saturation),
    "image.sharpness": Fact("1", frames.sharpness),
    "image.hue": Fact("deg", frames.hue),
    "image.dark": Fact("1", frames.dark),
    "image.bright": Fact("1", frames.bright),
}

CAMERA: dict[str, Fact[View]] = {
    "camera.brightness": Fact("1", frames.brightness),
    "camera.contrast": Fact("1", frames.contrast),
    "camera.colourfulness": Fact("1", frames.colourfulness),
    "camera.saturation": Fact("1", frames.saturation),
    "camera.sharpness": Fact("1", frames.sharpness),
    "camera.hue": Fact("deg", frames.hue),
    "camera.dark": Fact("1", frames.dark),
    "camera.bright": Fact("1", frames.bright),
    "camera.view_x": Fact("deg", frames.view_x),
    "camera.view_y": Fact("deg", frames.view_y),
}

VIDEO: dict[str, Fact[Clip]] = {
    "video.brightness": Fact("1", frames.brightness),
    "video.contrast": Fact("1", frames.contrast),
    "video.colourfulness": Fact("1", frames.colourfulness),
    "video.saturation": Fact("1", frames.saturation),
    "video.sharpness": Fact("1", frames.sharpness),
    "video.hue": Fact("deg", frames.hue),
    "video.dark": Fact("1", frames.dark),
    "video.bright": Fact("1", frames.bright),
    "video.motion": Fact("1/s", frames.motion),
    "video.motion_x": Fact("1", frames.motion_x),
    "video.motion_y": Fact("1", frames.motion_y),
    "video.moving": Fact("1", frames.moving),
}

DEPTH: dict[str, Fact[Ranges]] = {
    "depth.nearest": Fact("m", depth.nearest),
    "depth.nearest_x": Fact("1", depth.nearest_x),
    "depth.nearest_y": Fact("1", depth.nearest_y),
    "depth.farthest": Fact("m", depth.farthest),
    "depth.median": Fact("m", depth.median),
    "depth.spread": Fact("m", depth.spread),
    "depth.middle": Fact("m", depth.middle),
    "depth.near": Fact("1", depth.near),
    "depth.valid": Fact("1", depth.returned),
}

LIDAR: dict[str, Fact[Sweep]] = {
    "lidar.nearest": Fact("m", depth.nearest),
    "lidar.bearing": Fact("deg", depth.bearing),
    "lidar.farthest": Fact("m", depth.farthest),
    "lidar.median": Fact("m", depth.median),
    "lidar.spread": Fact("m", depth.spread),
    "lidar.free": Fact("m", depth.free),
    "lidar.free_left": Fact("m", depth.free_left),
    "lidar.free_right": Fact("m", depth.free_right),
    "lidar.returned": Fact("1", depth.returned),
    "lidar.intensity": Fact("1", depth.intensity),
}

THERMAL: dict[str, Fact[Heat]] = {
    "thermal.hottest": Fact("K", thermal.hottest),
    "thermal.hottest_x": Fact("1", thermal.hottest_x),
    "thermal.hottest_y": Fact("1", thermal.hottest_y),
    "thermal.coldest": Fact("K", thermal.coldest),
    "thermal.median": Fact("K", thermal.median),
    "thermal.spread": Fact("K", thermal.spread),
    "thermal.contrast": Fact("K", thermal.contrast),
    "thermal.spots": Fact("count", thermal.spots),
    "thermal.person": Fact("1", thermal.person),
}

CAPACITANCE: dict[str, Fact[Touch]] = {
    "capacitance.contacts": Fact("count", capacitance.contacts),
    "capacitance.strongest": Fact("1", capacitance.strongest),
    "capacitance.x": Fact("1", capacitance.x),
    "capacitance.y": Fact("1", capacitance.y),
    "capacitance.area": Fact("1", capacitance.area),
    "capacitance.touched": Fact("1", capacitance.touched),
    "capacitance.elongation": Fact("1", capacitance.elongation),
    "capacitance.orientation": Fact("deg", capacitance.orientation),
    "capacitance.level": Fact("1", capacitance.level),
}

FAMILIES: dict[str, Family[Any]] = {
    "imu": Family(Motion, IMU),
    "gps": Family(Route, GPS),
    "gaze": Family(Gaze, GAZE),
    "pose": Family(Body, POSE),
    "audio": Family(Sound, AUDIO),
    "image": Family(Picture, IMAGE),
    "video": Family(Clip, VIDEO),
    "depth": Family(Ranges, DEPTH),
    "thermal": Family(Heat, THERMAL),
    "capacitance": Family(Touch, CAPACITANCE),
    "camera": Family(View, CAMERA),
    "lidar": Family(Sweep, LIDAR),
}
"""The facts of each modality."""

HOST = {"host.temperature": "degC", "host.fan": "rpm", "host.battery": "%"}

FACTS: dict[str, str] = {name: fact.unit for family in FAMILIES.values() for name, fact in family.facts.items()} | HOST
"""Unit of every fact there is, by name."""


def facts(window: Window) -> dict[str, float]:
    """All facts of the window's modality, finite numbers in the units of FACTS.

    None are told of a window that lacks channels of its modality or holds nothing.
    """
    row, shape = window.stream.row, window.values.shape
    if len(shape) != len(row.axes) + 1 or 0 in shape or not row.takes(shape[-1]):
        return {}
    family = FAMILIES[row.name]
    signals = family.of(window)
    return {name: fact.of(signals) for name, fact in family.facts.items()}
