"""What inertial sensors on the skeleton measure: on the chest, at the head, at the ankle.

A sensor is fixed to a segment of the skeleton; acceleration and turn rate are derivatives of where it is and how it is
turned, so that they agree with what cameras see. Watch and phone have renderers of their own (`edge.simulator.body`),
which were fitted to recordings of such. Axes: x forward, y to the left, z up, as the person stands.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.simulator.body import GRAVITY, sensed, tissue
from edge.simulator.skeleton import Posture

Floats = NDArray[np.float64]

STEP_S = 0.006
"""Derivatives are central differences over this."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a sensor is worn: `offset` statures from `joint`, on the segment that hangs there, in the neutral pose.

    `impact` is the share of a heel strike that arrives; `tissue` how what is below shakes, m/s2: seated, changing
    posture, walking. `shift_s` keeps its noise apart from that of others.
    """

    joint: str
    offset: tuple[float, float, float]
    impact: float
    tissue: tuple[float, float, float]
    shift_s: float


MOUNTS = {
    "chest": Mount("spine3", (0.065, 0.0, 0.03), 0.35, (0.05, 0.35, 0.5), 0.05),
    "head": Mount("head", (0.0, 0.045, 0.0), 0.2, (0.05, 0.25, 0.3), 0.11),
    "ankle": Mount("right_knee", (0.0, -0.02, -0.22), 1.1, (0.03, 0.6, 1.4), 0.17),
}


def worn_imu(mount: Mount, posture: Posture) -> Floats:
    """(n, 6) acceleration with gravity (m/s2) and turn rate (rad/s) at the first third of the posture's times (3 n,).

    The other thirds are the same times STEP_S before and after: `postures(seed, t_ns, (0.0, -STEP_S, STEP_S))`.
    """
    n = len(posture.u) // 3
    u, motion = posture.u[:n], posture.motion
    turned = posture.attitude(mount.joint)
    place = posture.place(mount.joint) + turned @ (posture.build.stature * np.array(mount.offset))
    now, before, after = turned[:n], turned[n : 2 * n], turned[2 * n :]
    moved = (place[2 * n :] - 2 * place[:n] + place[n : 2 * n]) / STEP_S**2
    moved[:, 2] += GRAVITY
    shock = mount.impact * motion.who.impact * motion.strikes(u) + 2.5 * mount.impact * motion.thump(u)
    moved[:, 2] += shock
    moved += tissue(motion, u, motion.unrest(u, *mount.tissue), 8).T
    turn = np.swapaxes(now, 1, 2) @ (after - before) / (2 * STEP_S)
    rates = np.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]]) / 2
    felt = np.einsum("nij,ni->jn", now, moved)
    return sensed(motion, u, np.concatenate([felt, rates]), 0.04, 0.01, mount.shift_s)
