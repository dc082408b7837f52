"""Facts of a body's pose: how it holds itself and how fast its parts move.

J is the place of a joint J (m), e the direction up, dt = 1 / rate, m(.) the mean over the window. A pose comes in a
camera's axes or in those of a room, so up is found in it: the axis, of the three and either way, along which the
body extends most from the ankles to the head. Standing, sitting and bending are told rightly; whether somebody lies,
only something that feels gravity can tell.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from broker.modalities import JOINTS
from edge.stream import Window

Floats = NDArray[np.float64]

_INDEX = {joint: place for place, joint in enumerate(JOINTS)}
_MOVING = 0.1  # m/s


class Body:
    """A pose window's joints."""

    def __init__(self, window: Window) -> None:
        self.joints, self.rate = window.values.astype(np.float64).reshape(-1, len(JOINTS), 3), window.rate

    def place(self, joint: str) -> Floats:
        """(T, 3) where a joint is."""
        return self.joints[:, _INDEX[joint]]

    @cached_property
    def up(self) -> Floats:
        """(3,) e; zeros where all joints are at one place."""
        ankles = (self.place("left_ankle") + self.place("right_ankle")) / 2
        body = (self.place("head") - ankles).mean(0)
        up = np.zeros(3)
        longest = np.abs(body).argmax()
        up[longest] = np.sign(body[longest])
        return up

    @cached_property
    def speed(self) -> Floats:
        """(T - 1, 24) how fast each joint moves, m/s."""
        speed: Floats = np.linalg.norm(np.diff(self.joints, axis=0), axis=2) * self.rate
        return speed

    def mean_speed(self, joint: str) -> float:
        """Mean speed of a joint; 0 with a single point in time."""
        return float(self.speed[:, _INDEX[joint]].mean()) if len(self.speed) else 0.0

    def height(self, joint: str) -> float:
        """Mean height of a joint over the pelvis."""
        return float(((self.place(joint) - self.place("pelvis")) @ self.up).mean())


def _angle(a: Floats, b: Floats) -> float:
    """Mean angle between vectors (T, 3), deg, 0 to 180; 0 where one has no length."""
    across = np.linalg.norm(np.cross(a, b), axis=1)
    return float(np.degrees(np.arctan2(across, (a * b).sum(1))).mean())


def head_height(s: Body) -> float:
    """Height of the head over the pelvis: m((head - pelvis) . e)."""
    return s.height("head")


def left_hand_height(s: Body) -> float:
    """Height of the left hand over the pelvis: m((left hand - pelvis) . e)."""
    return s.height("left_hand")


def right_hand_height(s: Body) -> float:
    """Height of the right hand over the pelvis: m((right hand - pelvis) . e)."""
    return s.height("right_hand")


def hands_apart(s: Body) -> float:
    """Distance between the hands: m(|left hand - right hand|)."""
    return float(np.linalg.norm(s.place("left_hand") - s.place("right_hand"), axis=1).mean())


def left_wrist_speed(s: Body) -> float:
    """Speed of the left wrist: m(|left wrist_i+1 - left wrist_i|) / dt."""
    return s.mean_speed("left_wrist")


def right_wrist_speed(s: Body) -> float:
    """Speed of the right wrist: m(|right wrist_i+1 - right wrist_i|) / dt."""
    return s.mean_speed("right_wrist")


def speed(s: Body) -> float:
    """Speed of the whole body: m(|pelvis_i+1 - pelvis_i|) / dt."""
    return s.mean_speed("pelvis")


def left_knee(s: Body) -> float:
    """Angle at the left knee: the mean angle between (hip - knee) and (ankle - knee); 180 is a straight leg."""
    return _angle(s.place("left_hip") - s.place("left_knee"), s.place("left_ankle") - s.place("left_knee"))


def right_knee(s: Body) -> float:
    """Angle at the right knee: the mean angle between (hip - knee) and (ankle - knee); 180 is a straight leg."""
    return _angle(s.place("right_hip") - s.place("right_knee"), s.place("right_ankle") - s.place("right_knee"))


def tilt(s: Body) -> float:
    """How far the torso leans from upright: the mean angle between (neck - pelvis) and e."""
    torso = s.place("neck") - s.place("pelvis")
    return _angle(torso, np.broadcast_to(s.up, torso.shape))


def moving(s: Body) -> float:
    """Share of time in motion: count(mean speed of the joints >= 0.1 m/s) / (T - 1)."""
    return float(np.mean(s.speed.mean(1) >= _MOVING)) if len(s.speed) else 0.0
