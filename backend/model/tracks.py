"""Encoders of positions over time: of a person on the ground, of an eye on a screen, of the joints of a body.

Each keeps apart the shape of a movement, which convolutions see without offset and scale, and where, how far and how
fast it went, which the statistics in the tokens tell. Positions are differences before they are anything else: they
are exact in every runtime, however far from the origin. Nothing here knows of maps, screens or skeletons' lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from backend.model.series import SeriesEncoder, SeriesOptions, standardised
from backend.model.trunk import compressed
from broker.errors import CheckpointError
from broker.modalities import JOINTS

SACCADES = ((0.0, 0.25), (0.0, 1.0))
"""Over how many seconds (0: from one point in time to the next) and about which speeds, in screens or pictures per
second, an eye is seen to drift or to jump."""


def steps(x_BT: Tensor) -> Tensor:
    """Differences to the point in time before; the first, which has none, has the second's. Same shape."""
    step_BT = x_BT[:, 1:] - x_BT[:, :-1]
    return torch.cat([step_BT[:, :1], step_BT], 1)


def length(x_BTC: Tensor) -> Tensor:
    """Length of the vectors along the last axis, kept as one channel; a millimetre at least, for the root's slope."""
    return (x_BTC.square().sum(-1, keepdim=True) + 1e-6).sqrt()


class GpsEncoder(SeriesEncoder):
    """East, north, up (m) and speed (m/s), and up to two channels more; the same wherever the origin is."""

    modality = "gps"

    def views(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Way, velocity, speed, acceleration along and across the way, and what else the receiver says."""
        place = x_BTC[..., :3] - x_BTC[:, :1, :3]
        velocity = steps(place) * self.rate
        change = (steps(velocity) * self.rate)[..., :2]
        flat = velocity[..., :2]
        heading = flat / (flat.square().sum(-1, keepdim=True) + 0.25).sqrt()  # none below half a metre per second
        along = (change * heading).sum(-1, keepdim=True)
        across = heading[..., :1] * change[..., 1:] - heading[..., 1:] * change[..., :1]
        way = place - place.mean(1, keepdim=True)
        told = compressed(torch.cat([way, velocity, length(flat), along, across, x_BTC[..., 3:]], -1))
        return standardised(told), told


class GazeEncoder(SeriesEncoder):
    """The point looked at (x, y), and up to 26 features more that somebody else has computed.

    Those tell by their values and not by their movement: statistics have them, the convolutions do not. `saccades`
    are pairs of seconds and speed as in `SACCADES`.
    """

    modality = "gaze"

    def __init__(self, *, saccades: Sequence[Sequence[float]] = SACCADES, **options: Unpack[SeriesOptions]) -> None:
        try:
            self.saccades = tuple((float(over_s), float(speed)) for over_s, speed in saccades)
        except (TypeError, ValueError):
            raise CheckpointError(
                f"encoder of 'gaze': saccades is {saccades}; give pairs of [seconds, speed]"
            ) from None
        for over_s, speed in self.saccades:
            if not 0 <= over_s < math.inf or not 0 < speed < math.inf:
                pair = [over_s, speed]
                raise CheckpointError(f"encoder of 'gaze': saccades has {pair}; give finite seconds >= 0 and speed > 0")
        super().__init__(**options)

    def views(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Point, velocity, speed, dispersion and `glances`; for the statistics the further features besides."""
        point, more = x_BTC[..., :2], x_BTC[..., 2:]
        velocity = steps(point) * self.rate
        dispersion = length(point - point.mean(1, keepdim=True))
        turned = [glances(self._velocity(point, over_s), speed) for over_s, speed in self.saccades]
        moving = torch.cat([point, compressed(velocity), compressed(length(velocity)), dispersion, *turned], -1)
        return standardised(moving), torch.cat([moving, more], -1)

    def _velocity(self, point_BT2: Tensor, over_s: float) -> Tensor:
        """Velocity over so long a time; zero where the window does not reach back so far."""
        lag = round(over_s * self.rate)
        if lag < 2:
            return steps(point_BT2) * self.rate
        moved = point_BT2[:, lag:] - point_BT2[:, :-lag]
        return F.pad(moved, (0, 0, point_BT2.shape[1] - moved.shape[1], 0)) * (self.rate / lag)


def glances(velocity_BT2: Tensor, speed: float) -> Tensor:
    """(B, T, 7): whether the eye moves faster than `speed`, softly, and which way: left and right apart, and axes.

    Their means over time are shares of saccades by direction. Reading has many to the right and a few far to the left.
    """
    pace = length(velocity_BT2)
    way = velocity_BT2 / (pace + speed)
    x, y = way[..., :1], way[..., 1:]
    return torch.cat([pace / (pace + speed), way, way.relu(), x.square() - y.square(), x * y], -1)


class PoseEncoder(SeriesEncoder):
    """24 joints x (x, y, z) m, those of `JOINTS`; a joint at exactly (0, 0, 0) is absent and says nothing.

    Joints are seen from the pelvis, or from the middle of those present where it is absent at some time.
    """

    modality = "pose"

    def views(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """The joints from the root, the root from its mean, their velocities (m/s), and which joints are there.

        Where in the room somebody is says nothing of what they do, and of a few people it would be learned by heart.
        """
        joint_BTJ3 = x_BTC.reshape(x_BTC.shape[0], x_BTC.shape[1], len(JOINTS), 3)
        there_BTJ1 = (joint_BTJ3.abs().amax(-1, keepdim=True) > 0).to(x_BTC.dtype)
        middle_BT13 = (joint_BTJ3 * there_BTJ1).sum(2, keepdim=True) / there_BTJ1.sum(2, keepdim=True).clamp_min(1.0)
        pelvis_B111 = there_BTJ1[:, :, :1].amin(1, keepdim=True)
        root_BT13 = pelvis_B111 * joint_BTJ3[:, :, :1] + (1.0 - pelvis_B111) * middle_BT13
        seen_BTJ3 = (joint_BTJ3 - root_BT13) * there_BTJ1
        stays_BTJ1 = 1.0 - steps(there_BTJ1).abs()  # a joint that comes or goes has not moved
        speed_BTJ3 = steps(seen_BTJ3) * stays_BTJ1 * self.rate
        way_BT13 = root_BT13 - root_BT13.mean(1, keepdim=True)
        moving = torch.cat([seen_BTJ3, way_BT13, speed_BTJ3, steps(root_BT13) * self.rate], 2).flatten(2)
        return standardised(moving), torch.cat([moving, there_BTJ1.squeeze(-1)], -1)
