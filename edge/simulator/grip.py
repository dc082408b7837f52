"""How a hand takes up a phone that lies on a table: the poses on its way around the phone's side, and back.

Beside the phone, on edge, the palm to it; below it, palm up, once the phone has begun to rise; then the phone lies on
palm and fingers. All places are in the phone's axes (`edge.simulator.session`), of a right hand. A hand that is larger
or has other proportions is put where it has room: no bone goes through the phone, flesh yields a little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.simulator.hand import BONES, HAND_JOINTS, Hand, turned

Floats = NDArray[np.float64]

PHONE_M = (0.072, 0.148, 0.008)
"""Width, height and thickness of the phone; the middle of its screen, on top, is the origin."""
TABLE_M = 0.004 - PHONE_M[2]
"""How low a hand comes to the table, on which the phone lies."""

_MIDDLE = np.array([0.0, 0.0, -PHONE_M[2] / 2])
_KNUCKLE = HAND_JOINTS.index("middle1")
_FIRM = 0.8  # flesh yields: what a bone keeps free about itself, in its thicknesses
_STEPS = np.linspace(0.0, 1.0, 6)[:, None]  # where along a bone its distance is measured


@dataclass(frozen=True, slots=True)
class Stance:
    """Where the middle finger's `knuckle` is, m; its `course`, heading, pitch and roll of `turned`; and the `angles`
    (5, 4) of the fingers, all rad.
    """

    knuckle: tuple[float, float, float]
    course: tuple[float, float, float]
    angles: Floats


def _angles(thumb: Sequence[float], finger: Sequence[float]) -> Floats:
    return np.array([thumb, *[finger] * 4])


_EASY = _angles((-0.1, 0.0, 0.2, 0.2), (0.0, 0.15, 0.25, 0.15))
_FLAT = _angles((-0.3, 0.0, 0.2, 0.2), (0.0, 0.0, 0.12, 0.08))
_CLASPED = _angles((-0.1, 0.25, 0.4, 0.25), (0.0, 0.2, 0.8, 0.55))

# The way, in order. Fingers point along the phone until they are lower than it; only then they sweep below it.
ABOVE = Stance((0.12, -0.06, 0.1), (0.25, 0.1, 0.9), _EASY)
BESIDE = Stance((0.088, 0.0, 0.02), (0.15, 0.05, 1.5), _EASY)
BELOW = Stance((0.09, 0.0, -0.045), (0.25, 0.0, 2.65), _FLAT)
UNDER = Stance((0.0, 0.0, -0.04), (1.1, 0.0, 2.9), _FLAT)
AROUND = Stance((-0.008, 0.0, -0.02), (1.1, 0.0, 2.9), _CLASPED)


def clearance(joints: Floats) -> Floats:
    """(20,) m from each of BONES to the phone, for joints (21, 3) in its axes; below 0 within it."""
    first, last = np.array(BONES).T
    along = joints[first, None] + (joints[last] - joints[first])[:, None] * _STEPS
    beyond = np.abs(along - _MIDDLE) - np.array(PHONE_M) / 2
    away = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(-1), 0.0)
    nearest: Floats = away.min(-1)
    return nearest


def taking(hand: Hand, stance: Stance) -> Floats:
    """(26,) the pose, as in `session.Round`, of a hand in a stance."""
    _, wrist = _placed(hand, stance.course, stance.angles, stance.knuckle)
    return np.concatenate([wrist, stance.course, stance.angles.reshape(-1)])


def off_table(hand: Hand, pose: Floats) -> Floats:
    """(26,) the pose raised where the hand would reach into the table that the phone lies on."""
    joints = hand.joints(pose[None, 6:].reshape(1, 5, 4))[0] @ turned(*pose[3:6, None])[0].T + pose[:3]
    lowest = min((joints[1:, 2] - hand.thickness()).min(), pose[2])
    raised = pose.copy()
    raised[2] += max(TABLE_M - lowest, 0.0)
    return raised


def holding(hand: Hand) -> Floats:
    """(26,) the pose of a hand around the phone: the palm makes way, fingers that are too short for it stay below."""
    angles, knuckle = AROUND.angles.copy(), np.array(AROUND.knuckle)
    firm = _FIRM * hand.thickness().reshape(5, 4)
    for _ in range(40):
        joints, wrist = _placed(hand, AROUND.course, angles, knuckle)
        lacking = firm - clearance(joints).reshape(5, 4)
        if lacking.max() < 1e-9:
            break
        knuckle[2] -= max(lacking[:, 0].max(), 0.0)
        angles[1:, 1:] -= np.where(lacking[1:, 1:].max(1, keepdims=True) > 0, (0.02, 0.05, 0.03), 0.0)
        angles[0, 0] -= 0.05 * (lacking[0, 1:].max() > 0)
    return np.concatenate([wrist, AROUND.course, angles.reshape(-1)])


def _placed(hand: Hand, course: Sequence[float], angles: Floats, knuckle: ArrayLike) -> tuple[Floats, Floats]:
    """Joints (21, 3) and wrist (3,) of a hand whose middle finger's knuckle is there."""
    joints = hand.joints(angles[None])[0] @ turned(*np.array(course)[:, None])[0].T
    wrist = np.asarray(knuckle) - joints[_KNUCKLE]
    return joints + wrist, wrist
