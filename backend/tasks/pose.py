"""Pose estimation: where the joints of a body are, relative to the pelvis, from what it wears and what watches.

The head says a rotation for each joint in six numbers (Zhou et al. 2019, free of the jumps that angles have) and the
body's size; forward kinematics over a neutral skeleton of ours makes joints of them, so that bones keep their length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backend.tasks.saying import Points, Saying
from backend.tasks.task import EstimateRule, Need, Regression
from broker.modalities import JOINTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Body(Regression):
    """The 24 joints of a body."""

    def head(self, dim: int) -> nn.Module:
        """Rotations and size to joints: (B, dim) -> (B, 72), in units of `scale`."""
        from backend.model.heads import BodyHead

        head: nn.Module = BodyHead(dim, self.scale)
        return head


def _height(joint: str) -> Callable[[Points], float]:
    """Height of a joint over the pelvis. A pose comes in any axes: up is the axis along which the body extends most
    from the ankles to the head, as in `edge.facts.pose`.
    """

    def height(points: Points) -> float:
        body = points["head"] - (points["left_ankle"] + points["right_ankle"]) / 2
        if np.isnan(body).any():
            return float("nan")
        longest = np.abs(body).argmax()
        return float((points[joint] - points["pelvis"])[longest] * np.sign(body[longest]))

    return height


def _told(name: str, phrase: str, joint: str) -> Saying:
    return Saying(name, phrase, "cm", _height(joint), scale=100.0, ways=("above", "below"))


POSE = Body(
    name="pose-estimation",
    sided=True,
    indivisible=True,
    modalities=frozenset({"imu", "image", "depth", "video", "thermal", "lidar"}),
    needs=(*(Need(modality) for modality in ("image", "depth", "video", "thermal", "lidar")), Need("imu", streams=3)),
    given_by=frozenset({"pose"}),
    points=JOINTS,
    axes=("x", "y", "z"),
    unit="m",
    rule=EstimateRule(every_s=0.5),
    scale=0.2,
    centre=(0.0, 0.0, 0.0),
    metric="error_cm",
    metric_scale=100.0,
    sayings=(
        _told("head", "the head is {} the pelvis", "head"),
        _told("left wrist", "the left wrist {} it", "left_wrist"),
        _told("right wrist", "the right wrist {} it", "right_wrist"),
    ),
    question="How does the person stand, sit or move?",
)
