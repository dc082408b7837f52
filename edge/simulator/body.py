"""How a body moves, and what an inertial sensor on it measures.

The motion of wrist and thigh is written as angles and positions over time; turn rate and acceleration are their
derivatives, so that the six channels agree with one another as they do in nature: gravity turns with the device, an
arm that swings feels its own centripetal pull, a half turn integrates to half a circle. Heel strikes, tissue and
the sensor's own noise come on top. This module knows nothing of clocks or of the wire.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge.simulator.timeline import (
    MARGIN_S,
    NOISE_HZ,
    SITTING_DOWN,
    STANDING_UP,
    TURNING,
    Person,
    Round,
)

Floats = NDArray[np.float64]

GRAVITY = 9.80665
_H = 0.006  # seconds; derivatives are central differences over this
_SEAT_M, _LEAN_M, _ARM_M, _HIP_TO_PHONE_M = 0.42, 0.25, 0.6, 0.2
_SLOPPY = 1.45  # a movement is a little longer than the label that people give it


def smooth(x: Floats) -> Floats:
    """The minimum-jerk step of a reaching limb: 0 below 0, 1 above 1."""
    x = np.clip(x, 0.0, 1.0)
    step: Floats = x * x * x * (10 + x * (6 * x - 15))
    return step


def _step(u: Floats, span: tuple[float, float], stretch: float = 1.0) -> Floats:
    middle, half = (span[0] + span[1]) / 2, (span[1] - span[0]) / 2 * stretch
    return smooth((u - middle + half) / (2 * half))


def _bump(u: Floats, start: float, duration: float) -> Floats:
    x = np.clip((u - start) / duration, 0.0, 1.0)
    bump: Floats = np.sin(np.pi * x) ** 2
    return bump


class Motion:
    """One person in one round: everything as functions of `u` (n,), seconds within the round."""

    def __init__(self, who: Person, act: Round) -> None:
        self.who, self.act = who, act
        self._rise, self._sit = act.span(STANDING_UP), act.span(SITTING_DOWN)
        self._turns = act.spans(TURNING)

    def upright(self, u: Floats) -> Floats:
        """0 seated, 1 standing."""
        return _step(u, self._rise) - _step(u, self._sit)

    def heading(self, u: Floats) -> Floats:
        """Radians, counter-clockwise seen from above."""
        turned = np.zeros_like(u)
        for angle, step in self.half_turns(u):
            turned += angle * step
        return turned

    def half_turns(self, u: Floats) -> Iterator[tuple[float, Floats]]:
        """For each turn its angle, and how much (n,) of it has been made: 0..1."""
        for span, angle in zip(self._turns, self.act.turns, strict=True):
            yield float(angle), _step(u, (span[0], span[1]), _SLOPPY)

    def gait(self, u: Floats) -> Floats:
        """How much the legs walk: 0 when standing or seated, 1 on the way, less in a turn."""
        walking = smooth((u - self._rise[1] + 0.35) / 0.5) - smooth((u - self._sit[0] + 0.15) / 0.4)
        for start, end in self._turns:
            walking = walking * (1 - 0.35 * _bump(u, start, end - start))
        return walking

    def stride(self, u: Floats) -> Floats:
        """Phase of the stride, radians; two steps make a stride. Nobody keeps time like a machine."""
        wobble = 0.25 * np.sin(0.9 * u + 40 * self.act.variation[0]) + 0.12 * np.sin(2.3 * u)
        phase: Floats = 2 * np.pi * self.act.stride_hz * (u - self._rise[1]) + wobble
        return phase

    def fidget(self, u: Floats) -> Floats:
        """Small movements of somebody seated, radians at the hand."""
        moved = np.zeros_like(u)
        for start, duration, reach in self.act.fidgets:
            moved += reach * _bump(u, start, duration)
        return self.who.restlessness * moved * (1 - self.upright(u))

    def variation(self, u: Floats, habit: int) -> Floats:
        """(n,) rad by which a habit of sitting is shifted: as the round before left it, until the person has risen."""
        shift: Floats = np.where(u < self._rise[1], self.act.before[habit], self.act.variation[habit])
        return shift

    def thigh_seated(self, u: Floats) -> Floats:
        """(n,) pitch of the thigh of somebody seated, rad."""
        return self.who.thigh_seated + self.variation(u, 4)

    def noise(self, u: Floats, channel: int, smoothness: int) -> Floats:
        """Noise of unit variance, smoothed by a bell of `smoothness` samples at NOISE_HZ."""
        bell = np.hanning(smoothness + 2)
        raw = np.convolve(self.act.noise[:, channel], bell / np.sqrt(np.sum(bell**2)), "same")
        return np.interp((u + MARGIN_S) * NOISE_HZ, np.arange(len(raw)), raw)

    def unrest(self, u: Floats, seated: float, changing: float, walking: float) -> Floats:
        """(n,) how much the body trembles, from how much it does in each state."""
        upright = self.upright(u)
        still = seated * self.who.restlessness * (1 - upright)
        amount: Floats = still + changing * 4 * upright * (1 - upright) + walking * self.gait(u)
        return amount

    def hips(self, u: Floats) -> Floats:
        """Displacement (3, n) of the hips in metres: forward, left, up. Steady progress is not felt."""
        who, stride, gait, upright = self.who, self.stride(u), self.gait(u) * self.act.vigour, self.upright(u)
        forward = _LEAN_M * upright + 0.5 * who.bob * gait * np.sin(2 * stride + 0.6)
        left = who.sway * gait * np.sin(stride)
        up = _SEAT_M * upright - who.bob * gait * (np.cos(2 * stride) + 0.2 * np.cos(4 * stride + 0.8))
        return np.stack([forward, left, up])

    def forearm(self, u: Floats, other: bool = False) -> tuple[Floats, Floats]:
        """Angles (3, n) of the forearm without its trembling: yaw from the body's heading, pitch, roll; and (3, n) what
        moves it: the swing of the whole arm, fidgeting, bracing, rad. The arm with the watch, or the `other`, mirrored.
        """
        who, upright, gait = self.who, self.upright(u), self.gait(u) * self.act.vigour
        stride, fidget = self.stride(u) + who.arm_phase, self.fidget(u)
        if other:
            stride, fidget = stride + np.pi, 0.4 * fidget
        seated = (middle + self.variation(u, 1 + i) for i, middle in enumerate(who.wrist_seated))
        pitch, roll, yaw = (s + (e - s) * upright for s, e in zip(seated, who.wrist_standing, strict=True))
        swing = who.arm_swing * gait * (np.cos(stride) + 0.2 * np.cos(2 * stride + 1.0))
        brace = 0.35 * (_bump(u, *_first_half(self._rise)) + _bump(u, *_first_half(self._sit)))
        pitch = pitch + swing + fidget + brace
        roll = roll + who.arm_twist * gait * np.sin(stride + 0.5) + 0.8 * fidget - 0.5 * brace
        yaw = yaw + 0.6 * who.arm_twist * gait * np.sin(stride) - 0.5 * fidget
        if other:
            roll, yaw = -roll, -yaw
        return np.stack([yaw, pitch, roll]), np.stack([swing, fidget, brace])

    def wrist(self, u: Floats) -> tuple[Floats, Floats]:
        """Angles (3, n) heading, pitch, roll of the forearm and displacement (3, n) of the wrist."""
        angles, (swing, fidget, brace) = self.forearm(u)
        tremble = self.unrest(u, 0.01, 0.05, 0.05)
        angles[1] += tremble * self.noise(u, 0, 28)
        angles[2] += 1.5 * tremble * self.noise(u, 1, 28)
        angles[0] = self.heading(u) + (angles[0] + tremble * self.noise(u, 2, 28))
        hips = self.hips(u)
        hips[0] -= _ARM_M * np.sin(swing + 0.5 * fidget)
        hips[2] += _ARM_M * (1 - np.cos(swing)) + 0.1 * brace
        return angles, hips

    def thigh(self, u: Floats, other: bool = False) -> tuple[Floats, Floats]:
        """Angles (3, n) of the thigh without its trembling: yaw from the body's heading, pitch, roll; and its swing.

        The thigh that the phone lies on, or the `other`.
        """
        who, upright, gait = self.who, self.upright(u), self.gait(u) * self.act.vigour
        stride = self.stride(u)
        seated = self.thigh_seated(u)
        step = stride + np.pi if other else stride
        swing = who.thigh_swing * gait * (np.cos(step) + 0.28 * np.cos(2 * step + 0.9))
        pitch = seated + (1.47 - seated) * upright + swing + 0.1 * self.fidget(u)
        roll = 0.6 * who.hip_twist * gait * np.sin(stride + 0.3)
        yaw = who.hip_twist * gait * np.sin(stride + 1.2) + 0.05 * self.fidget(u)
        return np.stack([yaw, pitch, roll]), swing

    def pocket(self, u: Floats) -> tuple[Floats, Floats]:
        """Angles (3, n) heading, pitch, roll of the thigh and displacement (3, n) of the phone."""
        angles, swing = self.thigh(u)
        tremble = self.unrest(u, 0.004, 0.02, 0.03)
        angles[1] += tremble * self.noise(u, 3, 18)
        angles[2] += tremble * self.noise(u, 4, 18)
        angles[0] = self.heading(u) + (angles[0] + tremble * self.noise(u, 5, 18))
        hips = self.hips(u)
        hips[0] -= _HIP_TO_PHONE_M * np.sin(swing)
        return angles, hips

    def strikes(self, u: Floats) -> Floats:
        """(n,) the ring of each heel strike, 1 at its peak for an ordinary step; nearer and farther leg alternate."""
        steps = self.stride(u) / np.pi - 0.15
        since = (steps - np.floor(steps)) / (2 * self.act.stride_hz)
        left = np.where(np.floor(steps) % 2 == 0, 1.0, 0.55)
        strength = left * np.exp(0.35 * self.act.noise[np.floor(steps).astype(np.int64) % 512, 8])
        ring: Floats = strength * self.gait(u) * np.exp(-since / 0.045) * np.sin(2 * np.pi * 8.0 * since)
        return ring

    def thump(self, u: Floats) -> Floats:
        """(n,) the seat stopping the body, 1 at its peak."""
        since = np.clip(u - (self._sit[0] + 0.72 * (self._sit[1] - self._sit[0])), 0.0, None)
        stop: Floats = np.exp(-since / 0.08) * np.sin(2 * np.pi * 5.0 * since)
        return stop


def _first_half(span: tuple[float, float]) -> tuple[float, float]:
    return span[0], 0.6 * (span[1] - span[0])


Limb = Callable[[Floats], tuple[Floats, Floats]]


def felt(limb: Limb, u: Floats, jolt: Floats) -> Floats:
    """(6, n) acceleration with gravity (m/s2) and turn rate (rad/s) in the limb's own axes.

    x along the limb towards the hand or knee, z up when the limb lies flat; `jolt` (3, n) is acceleration that no
    position explains, in the axes of the body: forward, left, up.
    """
    n = len(u)
    angles, place = limb(np.concatenate([u - _H, u, u + _H]))
    before, now, after = angles[:, :n], angles[:, n : 2 * n], angles[:, 2 * n :]
    yaw_rate, pitch_rate, roll_rate = (after - before) / (2 * _H)
    moved = (place[:, 2 * n :] - 2 * place[:, n : 2 * n] + place[:, :n]) / _H**2 + jolt
    moved[2] += GRAVITY
    _, pitch, roll = now
    sp, cp, sr, cr = np.sin(pitch), np.cos(pitch), np.sin(roll), np.cos(roll)
    x, y, z = cp * moved[0] - sp * moved[2], moved[1], sp * moved[0] + cp * moved[2]
    return np.stack(
        [
            x,
            cr * y + sr * z,
            cr * z - sr * y,
            roll_rate - yaw_rate * sp,
            pitch_rate * cr + yaw_rate * cp * sr,
            yaw_rate * cp * cr - pitch_rate * sr,
        ]
    )


def wrist_imu(motion: Motion, u: Floats) -> Floats:
    """(n, 6) what a watch measures: x towards the hand, z out of its face."""
    unrest = motion.unrest(u, 0.12, 0.9, 0.5)
    shock = 0.22 * motion.who.impact * motion.strikes(u) + 2.5 * motion.thump(u)
    jolt = np.stack([0.3 * shock, 0.2 * shock, shock]) + tissue(motion, u, unrest, 10)
    return sensed(motion, u, felt(motion.wrist, u, jolt), 0.05, 0.02)


def pocket_imu(motion: Motion, u: Floats) -> Floats:
    """(n, 6) what a phone in a front trouser pocket measures: y towards its top, z out of its screen."""
    who = motion.who
    shock = who.impact * motion.strikes(u) + 3.0 * motion.thump(u)
    jolt = np.stack([-0.45 * shock, 0.25 * shock, shock]) + tissue(motion, u, motion.unrest(u, 0.06, 1.0, 1.3), 6)
    thigh = felt(motion.pocket, u, jolt)
    thigh[3:] += 0.12 * np.array([[0.7], [1.0], [0.5]]) * shock
    return sensed(motion, u, np.concatenate([_mounted(who, thigh[:3]), _mounted(who, thigh[3:])]), 0.03, 0.008)


def tissue(motion: Motion, u: Floats, strength: Floats, smoothness: int) -> Floats:
    """(3, n) how what the sensor lies on shakes, m/s2: noise of that `strength` (n,)."""
    return np.stack([strength * motion.noise(u, channel, smoothness) for channel in (6, 7, 8)])


def sensed(
    motion: Motion, u: Floats, values: Floats, acc_noise: float, gyro_noise: float, shift_s: float = 0.0
) -> Floats:
    """(n, 6) the values (6, n) with a sensor's own noise; sensors of different `shift_s` have different noise."""
    noise = np.stack([motion.noise(u + (0.0007 * k + shift_s), k, 1) for k in range(6)])
    noise[:3] *= acc_noise
    noise[3:] *= gyro_noise
    sensed: Floats = (values + noise).T
    return sensed


def _mounted(who: Person, vector: Floats) -> Floats:
    """From the thigh's axes (to the knee, left, up) to the phone's, which lies on the thigh top down or up."""
    c, s = np.cos(who.mount_thigh), np.sin(who.mount_thigh)
    along, left, out = vector[0], c * vector[1] + s * vector[2], c * vector[2] - s * vector[1]
    c, s = np.cos(who.mount_plane), np.sin(who.mount_plane)
    along, left = c * along + s * left, c * left - s * along
    x, y, z = left, -along, out  # top towards the hip, screen up
    if who.mount_inverted:
        x, y = -x, -y
    if not who.mount_outwards:
        x, z = -x, -z
    return np.stack([x, y, z])
