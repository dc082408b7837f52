"""The 24 joints of the person of the home: the same motion that watch and phone feel, as bones in a room.

Forward kinematics over a neutral skeleton of our own: each bone has a length that stays, each joint an attitude that
follows from what `edge.simulator.body` says of hips, forearms and thighs; knees bend so that feet meet the floor.
Axes of the room: x from one seat to the other, y to the left of it, z up, origin on the floor halfway. This module
knows nothing of flesh, of sensors or of clocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from broker.modalities import JOINTS
from edge.clock import SECOND
from edge.simulator.body import Motion
from edge.simulator.geometry import attitude, axis_angle
from edge.simulator.timeline import ROUND_S, SITTING_DOWN, STANDING_UP, WALKING, person, round_of, seat_at

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

J = {name: i for i, name in enumerate(JOINTS)}
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
"""Index of the joint that each of JOINTS hangs on; the pelvis hangs on none."""

_LEFT_SIDE = {
    "left_hip": (0.0, 0.052, -0.030),
    "left_knee": (0.0, 0.0, -0.245),
    "left_ankle": (0.0, 0.0, -0.246),
    "left_foot": (0.085, 0.006, -0.028),
    "left_collar": (0.004, 0.030, 0.062),
    "left_shoulder": (-0.004, 0.092, -0.006),
    "left_elbow": (0.0, 0.180, 0.0),
    "left_wrist": (0.0, 0.148, 0.0),
    "left_hand": (0.0, 0.050, 0.0),
}
_MIDDLE = {
    "pelvis": (0.0, 0.0, 0.0),
    "spine1": (-0.006, 0.0, 0.058),
    "spine2": (0.0, 0.0, 0.075),
    "spine3": (0.004, 0.0, 0.068),
    "neck": (-0.010, 0.0, 0.110),
    "head": (0.016, 0.0, 0.068),
}


def _neutral() -> Floats:
    bones = dict(_MIDDLE)
    for name, (x, y, z) in _LEFT_SIDE.items():
        bones[name], bones[name.replace("left", "right")] = (x, y, z), (x, -y, z)
    return np.array([bones[name] for name in JOINTS])


NEUTRAL = _neutral()
"""(24, 3) from each joint's parent to it, in statures, arms held out to the sides: x forward, y left, z up.

Ratios follow body segment lengths as anthropometry tables them (Drillis and Contini 1966), rounded by us.
"""

_HIP, _ANKLE = 0.530, 0.039  # heights of hip and ankle of somebody who stands, in statures
_SEAT_M, _LEAN_M = 0.42, 0.25  # how far hips rise, and come forward, from seat to stand: as in edge.simulator.body
_BENT_M = 0.004  # nobody stands with quite straight knees
_LONGEST, _SOFT = 0.998, 0.02  # how upright a shank gets, as a share of its length, and from how far below it slows
_BUILD = 6  # a stream of random numbers
SEAT_BACK_M = 0.33
"""From where one stands before a seat to its middle."""

# From a limb's axes (x along it, z out of the watch's face or up from a level thigh) to those of the neutral pose.
_LEFT_ARM = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_RIGHT_ARM = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_LEG = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True, slots=True)
class Build:
    """A person's size: `stature` m, `bones` (24, 3) m from each joint's parent to it in the neutral pose, and how far
    the places before the two seats are apart, `way` m.
    """

    stature: float
    bones: Floats
    way: float

    @property
    def seat(self) -> float:
        """Height of the hips of this person when seated, m."""
        return _HIP * self.stature - _SEAT_M - _BENT_M


@lru_cache(maxsize=256)
def build(seed: int) -> Build:
    """The build of the person of a seed."""
    rng = np.random.default_rng([seed, _BUILD])
    stature = float(np.clip(rng.normal(1.70, 0.08), 1.54, 1.88))
    spread = np.exp(rng.normal(0.0, 0.03, 24))
    for i, name in enumerate(JOINTS):
        if name.startswith("right"):
            spread[i] = spread[J[name.replace("right", "left")]]
    spread[[J["left_knee"], J["right_knee"], J["left_ankle"], J["right_ankle"]]] = 1.0  # as the seat's height expects
    return Build(stature, stature * NEUTRAL * spread[:, None], float(rng.uniform(2.0, 2.5)))


def _bump(u: Floats, start: float, end: float) -> Floats:
    bump: Floats = np.sin(np.pi * np.clip((u - start) / (end - start), 0.0, 1.0)) ** 2
    return bump


def _within_reach(x: Floats) -> Floats:
    """`x` where it is well below 1, and ever less of what is above, below _LONGEST: a leg that gets straight gets there
    without a jerk, as arcsin of a clipped height would not.
    """
    reached: Floats = (x + _LONGEST - np.hypot(x - _LONGEST, _SOFT)) / 2
    return reached


def _glide(u: Floats, start: float, end: float) -> Floats:
    """From 0 to 1 with even speed but for half a second at both ends."""
    ramp = 0.5

    def grown(x: Floats) -> Floats:
        x = np.clip(x, 0.0, 1.0)  # the integral of the minimum-jerk step
        return x**4 * (2.5 - 3 * x + x * x)

    even = np.clip(u, start + ramp, end - ramp) - (start + ramp)
    way = ramp * grown((u - start) / ramp) + even + ramp * (0.5 - grown((end - u) / ramp))
    gone: Floats = way / (end - start - ramp)
    return gone


class Posture:
    """One person in one round at times `u` (n,), seconds within the round: attitudes and places of joints.

    Only what is asked for is computed.
    """

    def __init__(self, seed: int, number: int, u: Floats) -> None:
        self.build, self.motion, self.u = build(seed), Motion(person(seed), round_of(seed, number)), u
        self._side = seat_at(seed, number)
        self._bones = self.build.bones

    def attitude(self, joint: str) -> Floats:
        """(n, 3, 3): turns what hangs on the joint from the neutral pose into the room."""
        side = -1 if joint.startswith("right") else 1
        part = joint.rsplit("_", maxsplit=1)[-1]
        if part in {"hip", "knee", "ankle", "foot"}:
            return self._legs[side]["ankle" if part == "foot" else part]
        if part in {"shoulder", "elbow", "wrist", "hand"}:
            return self._arms[side]["shoulder" if part == "shoulder" else "elbow"]
        return self._trunk["spine3" if part == "collar" else part]

    def place(self, joint: str) -> Floats:
        """(n, 3) m in the room."""
        i = J[joint]
        if PARENTS[i] < 0:
            return self._pelvis
        if i not in self._places:
            parent = JOINTS[PARENTS[i]]
            self._places[i] = self.place(parent) + self.attitude(parent) @ self._bones[i]
        return self._places[i]

    def joints(self) -> Floats:
        """(n, 24, 3) m in the room."""
        return np.stack([self.place(joint) for joint in JOINTS], 1)

    def angles(self) -> Floats:
        """(n, 24, 3) axis-angle of each joint relative to its parent, rad; the pelvis's relative to the room."""
        attitudes = [self.attitude(joint) for joint in JOINTS]
        turns = [
            attitudes[i] if parent < 0 else np.swapaxes(attitudes[parent], -1, -2) @ attitudes[i]
            for i, parent in enumerate(PARENTS)
        ]
        return axis_angle(np.stack(turns, 1))

    @cached_property
    def _places(self) -> dict[int, Floats]:
        return {}

    @cached_property
    def heading(self) -> Floats:
        """(n,) rad in the room, counter-clockwise from its x axis. Seats stand still, so half turns are exact here."""
        turned = np.full(len(self.u), self._side * np.pi)
        for angle, step in self.motion.half_turns(self.u):
            turned += np.sign(angle) * np.pi * step
        return turned

    @cached_property
    def _stand(self) -> Floats:
        """(n, 3) where the feet are, on the floor."""
        act, way = self.motion.act, self.build.way
        ahead = -1.0 if self._side else 1.0
        x = np.full(len(self.u), -ahead * way / 2)
        for start, end in act.spans(WALKING):
            x += ahead * way * _glide(self.u, start - 0.1, end + 0.25)
            ahead = -ahead
        return np.stack([x, np.zeros_like(x), np.zeros_like(x)], -1)

    @cached_property
    def _forward(self) -> Floats:
        """(n, 2) unit vector of the heading."""
        return np.stack([np.cos(self.heading), np.sin(self.heading)], -1)

    @cached_property
    def _pelvis(self) -> Floats:
        forward, left, up = self.motion.hips(self.u)
        place = self._stand.copy()
        place[:, :2] += (forward - _LEAN_M)[:, None] * self._forward
        place[:, 0] -= left * self._forward[:, 1]
        place[:, 1] += left * self._forward[:, 0]
        place[:, 2] = self.build.seat + up - self._bones[J["left_hip"], 2]
        return place

    @cached_property
    def _trunk(self) -> dict[str, Floats]:
        motion, u = self.motion, self.u
        upright, gait, stride = motion.upright(u), motion.gait(u), motion.stride(u)
        rise, sit = motion.act.span(STANDING_UP), motion.act.span(SITTING_DOWN)
        lean = 0.6 * _bump(u, rise[0] - 0.3, rise[1] - 0.1) + 0.55 * _bump(u, sit[0], sit[1] + 0.2)
        lean += 0.06 * gait - 0.12 * (1 - upright)
        twist = motion.who.hip_twist * gait
        pelvis_yaw, chest_yaw = twist * np.sin(stride + 1.2), -0.5 * twist * np.sin(stride + 1.2)
        list_ = 0.05 * gait * np.sin(stride)
        look, nod = 0.22 * motion.noise(u, 4, 130), 0.08 * motion.noise(u, 5, 130)
        parts: dict[str, tuple[Floats, Floats, Floats | float]] = {
            "pelvis": (pelvis_yaw, 0.4 * lean, list_),
            "spine1": (0.5 * pelvis_yaw, 0.7 * lean, 0.3 * list_),
            "spine2": (0.5 * chest_yaw, 0.9 * lean, -0.2 * list_),
            "spine3": (chest_yaw, lean, -0.4 * list_),
            "neck": (0.4 * chest_yaw + 0.4 * look, 0.7 * lean + 0.12, 0.0),
            "head": (look, 0.35 * lean + 0.05 + nod, 0.0),
        }
        return {name: attitude(self.heading + yaw, pitch, roll) for name, (yaw, pitch, roll) in parts.items()}

    @cached_property
    def _arms(self) -> dict[int, dict[str, Floats]]:
        """By side (1 is left, which wears the watch): upper arm and forearm, which keeps the hand straight."""
        arms = {}
        upright = self.motion.upright(self.u)
        for side, axes in ((1, _LEFT_ARM), (-1, _RIGHT_ARM)):
            (yaw, pitch, roll), (swing, fidget, brace) = self.motion.forearm(self.u, other=side < 0)
            hang = 1.22 + 0.36 * upright + swing + 0.5 * fidget + 0.4 * brace
            aside = attitude(self.heading, 0.0, side * (0.2 - 0.08 * upright))
            arms[side] = {
                "shoulder": aside @ attitude(0.0, hang, 0.5 * roll) @ axes,
                "elbow": attitude(self.heading + yaw, pitch, roll) @ axes,
            }
        return arms

    @cached_property
    def _legs(self) -> dict[int, dict[str, Floats]]:
        """By side (-1 is right, where the phone is): thigh, shank and foot."""
        motion, u, stature = self.motion, self.u, self.build.stature
        upright, gait = motion.upright(u), motion.gait(u)
        thigh_m, shank_m = (-self._bones[J[name], 2] for name in ("left_knee", "left_ankle"))
        hip = self._pelvis[:, 2] + self._bones[J["left_hip"], 2]
        seated = motion.thigh_seated(u)
        # A phone lies on a thigh that tapers, and on flesh: the bone is flatter than it when seated, steeper when
        # upright, and swings a little less.
        bone = (0.08 + 0.3 * (seated - 0.32) - seated) * (1 - upright) + 0.1 * upright
        legs = {}
        for side in (1, -1):
            (yaw, pitch, roll), swing = motion.thigh(u, other=side > 0)
            pitch = pitch + bone - 0.15 * swing
            phase = motion.stride(u) + (np.pi if side > 0 else 0.0)
            knee = hip - thigh_m * np.sin(pitch)
            standing = np.pi - np.arcsin(_within_reach((knee - _ANKLE * stature) / shank_m))
            swung = np.maximum(0.0, np.cos(phase - 1.2)) ** 2
            walking = pitch + 0.08 + 0.1 * np.maximum(0.0, np.cos(phase + 2.2)) ** 2 + 0.95 * swung
            shank = standing + gait * (walking - standing)
            toes = 0.6 * np.maximum(0.0, np.cos(phase - 0.1)) ** 4 - 0.28 * np.maximum(0.0, -np.cos(phase - 0.2)) ** 4
            out = side * 0.08
            legs[side] = {
                "hip": attitude(self.heading + yaw, pitch, roll) @ _LEG,
                "knee": attitude(self.heading + yaw, shank, roll) @ _LEG,
                "ankle": attitude(self.heading + 0.5 * yaw + out, gait * toes, 0.0),
            }
        return legs


def postures(
    seed: int, t_ns: Times, ahead_s: tuple[float, ...] = (0.0,)
) -> Iterator[tuple[NDArray[np.bool_], Posture]]:
    """By round, where times `t_ns` (n,) lie in it, and the posture at them.

    A posture is at each of its times plus `ahead_s` seconds, one stretch of times after the other, all in that round.
    """
    period = round(ROUND_S * SECOND)
    numbers = t_ns // period
    for number in np.unique(numbers):
        now = numbers == number
        u = (t_ns[now] - number * period) / SECOND
        yield now, Posture(seed, int(number), np.concatenate([u + ahead for ahead in ahead_s]))


def joints(seed: int, t_ns: Times) -> Floats:
    """(n, 24, 3) m: where the JOINTS of the person of the seed are in the room at times `t_ns` (n,), ns UTC."""
    out = np.empty((len(t_ns), len(JOINTS), 3))
    for now, posture in postures(seed, t_ns):
        out[now] = posture.joints()
    return out


def angles(seed: int, t_ns: Times) -> Floats:
    """(n, 24, 3) axis-angle, rad: how each joint is turned against its parent, the pelvis against the room."""
    out = np.empty((len(t_ns), len(JOINTS), 3))
    for now, posture in postures(seed, t_ns):
        out[now] = posture.angles()
    return out
