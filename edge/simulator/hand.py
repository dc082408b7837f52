"""A hand of 21 joints: bones, forward kinematics, and the capsules that a camera sees.

Joints are the wrist and four of each finger from the palm to the tip, named `wrist`, `thumb1` .. `thumb4`, `index1` ..
`little4`; a tip is the middle of the fingertip's ball, which touches where the ball does. A right hand's own axes, palm
down: x to the right (thumb to the left), y along the fingers, z out of the back; a left hand is its mirror image. This
module knows nothing of panels or of time. n is a number of poses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.simulator.geometry import Material, Shapes

Floats = NDArray[np.float64]

FINGERS = ("thumb", "index", "middle", "ring", "little")
HAND_JOINTS = ("wrist", *(f"{finger}{joint}" for finger in FINGERS for joint in range(1, 5)))
BONES = tuple((1 + 4 * f + j - 1 if j else 0, 1 + 4 * f + j) for f in range(5) for j in range(4))
"""Pairs of joints that a bone joins; the first of each finger lies in the palm."""
TIPS = tuple(4 * (f + 1) for f in range(5))
"""Joints that are tips, finger by finger."""
MIRROR = np.array([-1.0, 1.0, 1.0])

# An adult's hand, metres: where the fingers start, how long their bones are, how thick the fingers.
_ROOTS = np.array(
    [
        [-0.024, 0.022, -0.010],
        [-0.023, 0.088, 0.002],
        [-0.002, 0.092, 0.004],
        [0.018, 0.085, 0.002],
        [0.035, 0.074, -0.003],
    ]
)
_LENGTHS = np.array(
    [[0.045, 0.034, 0.021], [0.043, 0.025, 0.017], [0.047, 0.029, 0.018], [0.043, 0.027, 0.018], [0.034, 0.020, 0.015]]
)
_RADII = np.array([0.0098, 0.0080, 0.0083, 0.0078, 0.0067])
_FAN = np.array([-0.12, -0.02, 0.09, 0.22])  # where the four fingers point when they are not spread, from y to x
_THUMB = np.array([-0.66, 0.70, -0.27])
_ACROSS = np.array([0.62, 0.35, -0.70])  # where the thumb bends to


@dataclass(frozen=True, slots=True)
class Hand:
    """A person's hand, the right one: `roots` (5, 3), `lengths` (5, 3), `radii` (5,) of the fingertips, all m."""

    roots: Floats
    lengths: Floats
    radii: Floats

    def joints(self, angles: Floats) -> Floats:
        """(n, 21, 3) m in the right hand's own axes, from angles (n, 5, 4), rad: spread, then bends from the palm on.

        Spread is to the right, a bend towards the palm.
        """
        n = len(angles)
        out = np.zeros((n, len(HAND_JOINTS), 3))
        bend = np.cumsum(angles[..., 1:], axis=-1)  # (n, 5, 3)
        spread = angles[:, 1:, 0] + _FAN
        ahead = np.empty((n, 5, 3))
        ahead[:, 0] = _unit(_THUMB + angles[:, 0, :1] * np.array([1.0, 0.5, 0.0]))
        ahead[:, 1:, 0], ahead[:, 1:, 1], ahead[:, 1:, 2] = np.sin(spread), np.cos(spread), 0.0
        towards = np.broadcast_to(np.array([0.0, 0.0, -1.0]), (n, 5, 3)).copy()
        across = _ACROSS - (ahead[:, 0] @ _ACROSS)[:, None] * ahead[:, 0]
        towards[:, 0] = _unit(across)
        bones = np.cos(bend)[..., None] * ahead[:, :, None] + np.sin(bend)[..., None] * towards[:, :, None]
        steps = bones * self.lengths[:, :, None]
        chain = self.roots[:, None] + np.concatenate([np.zeros((n, 5, 1, 3)), np.cumsum(steps, axis=2)], axis=2)
        out[:, 1:] = chain.reshape(n, 20, 3)
        return out

    def thickness(self) -> Floats:
        """(20,) m: radius of each of BONES."""
        share = np.array([1.35, 1.2, 1.1, 1.0])
        thick = self.radii[:, None] * share
        thick[:, 0] = (0.0140, 0.0130, 0.0135, 0.0130, 0.0122) * self.radii / _RADII
        flat: Floats = thick.reshape(-1)
        return flat


def hand_of(rng: np.random.Generator) -> Hand:
    """Somebody's hand: its size, and proportions that differ a little."""
    size = float(np.exp(rng.normal(0.0, 0.07)))
    lengths = _LENGTHS * size * np.exp(rng.normal(0, 0.03, (5, 1))) * np.exp(rng.normal(0, 0.015, (5, 3)))
    return Hand(_ROOTS * size, lengths, _RADII * size * float(np.exp(rng.normal(0, 0.06))))


def capsules(hand: Hand, joints: Floats, skin: Material) -> Shapes:
    """The capsules of one pose, joints (21, 3): fingers, the palm under them, the knuckles and the thumb's web."""
    first, last = np.array(BONES).T
    knuckles = np.array([[5, 9], [9, 13], [13, 17], [1, 5], [2, 5]])
    start, end = np.concatenate([first, knuckles[:, 0]]), np.concatenate([last, knuckles[:, 1]])
    thick = np.concatenate([hand.thickness(), hand.radii[1] * np.array([1.5, 1.5, 1.5, 1.5, 0.9])])
    return Shapes.capsules(joints[start], joints[end], thick, skin)


def turned(yaw: Floats, pitch: Floats, roll: Floats) -> Floats:
    """(n, 3, 3) a right hand's own axes in the place's.

    `yaw` counter-clockwise seen from above, `pitch` fingertips down, `roll` the thumb's side up, each (n,) rad.
    """
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    zero, one = np.zeros_like(cy), np.ones_like(cy)
    about_z = np.stack([cy, -sy, zero, sy, cy, zero, zero, zero, one], -1)
    about_x = np.stack([one, zero, zero, zero, cp, sp, zero, -sp, cp], -1)
    about_y = np.stack([cr, zero, sr, zero, one, zero, -sr, zero, cr], -1)
    shape = (*np.shape(cy), 3, 3)
    matrix: Floats = about_z.reshape(shape) @ about_x.reshape(shape) @ about_y.reshape(shape)
    return matrix


def _unit(vectors: Floats) -> Floats:
    units: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return units
