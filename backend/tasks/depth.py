"""Depth estimation: a coarse map of how far everything in view is, from a camera and from what moves with it.

The loss is that of the design: absolute difference where the truth is known, plus the difference of gradients, so that
edges stand where they stand (Eigen and Fergus 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backend.tasks.saying import Points, Saying
from backend.tasks.task import EstimateRule, Floats, Need, Regression

if TYPE_CHECKING:
    from torch import Tensor, nn

ROWS, COLUMNS = 24, 32


@dataclass(frozen=True, kw_only=True)
class DepthMap(Regression):
    """A map of ROWS x COLUMNS cells, row by row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The map."""
        return (ROWS, COLUMNS)

    @property
    def names(self) -> tuple[str, ...]:
        """None: a row of a map is a row."""
        return ()

    def head(self, dim: int) -> nn.Module:
        """A small decoder: the vector becomes a coarse map that is refined twice."""
        from backend.model.heads import MapHead

        head: nn.Module = MapHead(dim, (ROWS, COLUMNS))
        return head

    def values(self, head_BN: Tensor) -> Tensor:
        """Metres, 1 mm to 2 km, from logarithms about the centre: far things may be off by more, none is behind."""
        return (head_BN.clamp(-12.0, 9.0) * self.scale).exp() * self.centre[0]

    def apart(self, one_PD: Floats, other_PD: Floats) -> Floats:
        """(P,) the largest difference of logarithms, in units of `scale`: a far thing may be off by metres."""
        return super().apart(np.log(one_PD), np.log(other_PD))

    def loss(self, head_BN: Tensor, target_BN: Tensor) -> Tensor:
        """Masked L1 (B,) of the logarithm of depth, and of its steps from cell to cell."""
        known_BN = target_BN > 0
        true_BN = (target_BN.where(known_BN, target_BN.new_ones(())) / self.centre[0]).log() / self.scale
        gap_BHW = ((head_BN - true_BN) * known_BN).reshape(-1, ROWS, COLUMNS)
        known_BHW = known_BN.reshape(-1, ROWS, COLUMNS).float()
        total = _mean(gap_BHW.abs(), known_BHW)
        for axis in (-2, -1):
            length = gap_BHW.shape[axis] - 1
            step = gap_BHW.narrow(axis, 1, length) - gap_BHW.narrow(axis, 0, length)
            both = known_BHW.narrow(axis, 1, length) * known_BHW.narrow(axis, 0, length)
            total = total + 0.5 * _mean(step.abs() * both, both)
        return total


def _mean(value_BHW: Tensor, weight_BHW: Tensor) -> Tensor:
    return value_BHW.sum((-2, -1)) / weight_BHW.sum((-2, -1)).clamp_min(1)


def _ranges(points: Points) -> Floats:
    """The ranges that are known, m; one NaN where none is."""
    range_J = np.concatenate(list(points.values()))
    known_J = range_J[range_J > 0]
    return known_J if len(known_J) else np.array([np.nan])


DEPTH = DepthMap(
    name="depth-estimation",
    sided=True,
    indivisible=True,
    modalities=frozenset({"image", "camera", "video", "capacitance", "gps", "imu"}),
    needs=tuple(Need(modality) for modality in ("image", "camera", "video", "capacitance")),
    given_by=frozenset({"depth", "lidar"}),
    points=tuple(f"{row},{column}" for row in range(ROWS) for column in range(COLUMNS)),
    axes=("range",),
    unit="m",
    rule=EstimateRule(every_s=2.0),
    scale=0.7,
    centre=(4.0,),
    metric="mae_mm",
    metric_scale=1000.0,
    sayings=(
        Saying("nearest", "the nearest thing is {} away", "m", lambda points: float(_ranges(points).min()), digits=2),
        Saying("median", "the median range is {}", "m", lambda points: float(np.median(_ranges(points))), digits=2),
    ),
    question="How far is what the camera sees?",
)
