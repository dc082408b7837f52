"""Pose estimation: where the joints of a body are, relative to the pelvis, from what it wears and what watches.

The head says a rotation for each joint in six numbers (Zhou et al. 2019, free of the jumps that angles have) and the
body's size; forward kinematics over a neutral skeleton of ours makes joints of them, so that bones keep their length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.tasks.task import EstimateRule, Need, Regression
from broker.modalities import JOINTS

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Body(Regression):
    """The 24 joints of a body."""

    def head(self, dim: int) -> nn.Module:
        """Rotations and size to joints: (B, dim) -> (B, 72), in units of `scale`."""
        from backend.model.heads import BodyHead

        head: nn.Module = BodyHead(dim, self.scale)
        return head


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
    question="How does the person stand, sit or move?",
)
