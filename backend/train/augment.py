"""What may change in a training window without changing its meaning: how a sensor is worn, how strong, how noisy.

Every change is drawn once per sequence and stream, as a person wears a watch one way for a whole recording, and
is a function of the generator given. Units are those of the modality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from backend.choices import CHECKED, Amount, Share
from backend.train.augment_audio import SoundVariety, vary_sound
from backend.train.augment_frames import FrameVariety, vary_frames, vary_series

Array = NDArray[np.float32]
Generator = np.random.Generator


@dataclass(frozen=True, config=CHECKED)
class GazeVariety:
    """How else a point looked at may lie: for tasks that ask how eyes move, and not where they rest.

    Standard deviations: `shift` in screens, `scale` of each axis' log-factor, `turn` in radians.
    """

    shift: Amount = 0.0
    scale: Amount = 0.0
    turn: Amount = 0.0


@dataclass(config=CHECKED)
class AugmentConfig:
    """Strengths. Angles in radians (standard deviations), scales as the standard deviation of a log-factor."""

    tilt: Amount = 0.12
    turn: Amount = 0.15
    flip: Share = 0.3
    mirror: Share = 0.3
    scale: Amount = 0.1
    noise: Amount = 0.08
    bias: Amount = 0.08
    sound: SoundVariety = field(default_factory=SoundVariety)
    frames: FrameVariety = field(default_factory=FrameVariety)
    gaze: GazeVariety = field(default_factory=GazeVariety)


def rotation(axis_angle: Array) -> Array:
    """(3, 3) rotation matrix of a rotation vector in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(axis_angle))
    x, y, z = axis_angle / max(angle, 1e-9)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], np.float32)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross, np.float32)


_FLIPS = [np.diag(d).astype(np.float32) for d in ((1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
_MIRROR = np.array([-1, 1, 1], np.float32)


def augment_imu(x_LTC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """Worn otherwise (small tilt, half turns, the other side of the body), moved otherwise (scale), noisier.

    `mirror` reflects the sensor through its x plane; the gyroscope, an axial vector, takes the opposite signs.
    """
    turn = rotation(rng.normal(0, config.tilt, 3).astype(np.float32))
    if rng.random() < config.flip:
        turn = turn @ _FLIPS[rng.integers(3)]
    acc, gyro = x_LTC[..., :3] @ turn.T, x_LTC[..., 3:6] @ turn.T
    if mirror:
        acc, gyro = acc * _MIRROR, gyro * -_MIRROR
    mean = acc.mean(1, keepdims=True)
    factor = np.exp(rng.normal(0, config.scale, 2)).astype(np.float32)
    acc, gyro = mean + (acc - mean) * factor[0], gyro * factor[1]
    level = np.float32(config.noise) * rng.random(2, np.float32)
    acc = acc + level[0] * rng.standard_normal(acc.shape, np.float32)
    acc = acc + np.float32(config.bias) * rng.standard_normal(3, np.float32)
    gyro = gyro + 0.2 * level[1] * rng.standard_normal(gyro.shape, np.float32)
    gyro = gyro + 0.1 * np.float32(config.bias) * rng.standard_normal(3, np.float32)
    return np.concatenate([acc, gyro], -1)


def augment_audio(x_LTC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """Sound as another microphone hears it (`augment_audio.vary_sound`), in either polarity (`mirror`)."""
    return vary_sound(-x_LTC if mirror else x_LTC, config.sound, rng)


def augment_brightness(x_LHWC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """Pictures under another light (`augment_frames.vary_frames`)."""
    return vary_frames(_seen(x_LHWC, mirror), config.frames, rng, lit=True)


def augment_camera(x_LHWC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """The colours of a camera under another light; the rays of its pixels stay, but for the side that they go to."""
    x_LHWC = _seen(x_LHWC, mirror)
    colours = vary_frames(x_LHWC[..., :3], config.frames, rng, lit=True)
    rays = x_LHWC[..., 3:] * np.array([-1, 1], np.float32) if mirror else x_LHWC[..., 3:]
    return np.concatenate([colours, rays], -1)


def augment_measured(x_LHWC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """Frames of ranges or capacitances, noisier."""
    return vary_frames(_seen(x_LHWC, mirror), config.frames, rng, lit=False)


def augment_warmth(x_LHWC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """Frames of temperatures, noisier; what is covered is as warm as the background."""
    ground = np.median(x_LHWC)
    return np.asarray(vary_frames(_seen(x_LHWC, mirror) - ground, config.frames, rng, lit=False) + ground, np.float32)


def _seen(x_LHWC: Array, mirror: bool) -> Array:
    """Frames or clips, or what they are in a mirror."""
    return x_LHWC[..., ::-1, :] if mirror else x_LHWC


def augment_slow(x_LTC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """Series that are no motion and no sound, noisier."""
    return vary_series(x_LTC, config.frames, rng)


def augment_features(x_LHWC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """Numbers, each of about one, that other sensors would have told: all rows off by the same, and noisier."""
    level = config.frames.noise * rng.random(2, np.float32)
    off = level[0] * rng.standard_normal(x_LHWC.shape[-1], np.float32)
    noise = level[1] * rng.standard_normal(x_LHWC.shape, np.float32)
    return np.asarray(np.where(x_LHWC == 0, 0, x_LHWC + off + noise), np.float32)  # 0 is absent


def augment_gaze(x_LTC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """The point looked at on another screen, by another camera (shifted, stretched, turned); everything noisier."""
    variety, x_LTC = config.gaze, vary_series(x_LTC, config.frames, rng)
    angle = rng.normal(0, variety.turn)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    change = (turn * np.exp(rng.normal(0, variety.scale, 2))).astype(np.float32)
    point = x_LTC[..., :2] @ change.T + rng.normal(0, variety.shift, 2).astype(np.float32)
    return np.concatenate([point, x_LTC[..., 2:]], -1)


def augment_pose(x_LTC: Array, rng: Generator, config: AugmentConfig, mirror: bool) -> Array:
    """A body of another size (`scale`) that faces elsewhere (`turn`, about the y axis of a camera), and noisier.

    Both about the first joint at first, so that the body stays where it is; absent joints (0, 0, 0) stay absent.
    """
    noisy = vary_series(x_LTC, config.frames, rng)
    joint_LTJ3 = noisy.reshape(*noisy.shape[:2], -1, 3)
    there_LTJ1 = (x_LTC.reshape(joint_LTJ3.shape) != 0).any(-1, keepdims=True)
    about_3 = joint_LTJ3[0, 0, 0]
    turn = rotation(np.array([0, rng.normal(0, config.turn), 0], np.float32)) * np.float32(
        np.exp(rng.normal(0, config.scale))
    )
    return np.asarray((((joint_LTJ3 - about_3) @ turn.T + about_3) * there_LTJ1).reshape(x_LTC.shape), np.float32)


UNMIRRORED = frozenset({"gps", "gaze", "pose"})
"""Senses whose mirror image nobody has written yet: what was recorded with them is not mirrored."""
AUGMENTATIONS: dict[str, Callable[[Array, Generator, AugmentConfig, bool], Array]] = {
    "imu": augment_imu,
    "gps": augment_slow,
    "gaze": augment_gaze,
    "pose": augment_pose,
    "audio": augment_audio,
    "image": augment_brightness,
    "video": augment_brightness,
    "depth": augment_measured,
    "thermal": augment_warmth,
    "capacitance": augment_measured,
    "camera": augment_camera,
    "lidar": augment_measured,
    "features": augment_features,
}
