"""Facts of ranges: what is near, and where, in a depth image or around a LiDAR.

r are the ranges (m) of the pixels from which something came back (r > 0); all facts are 0 where nothing did. Places run
from 0 to 1, from left to right and from top to bottom; bearings are degrees from straight ahead, positive to the left.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.rangeimage import bearings, elevations
from edge.stream import Window

Floats = NDArray[np.float64]

_NEAR_M = 1.0
_FREE_M = 100.0  # as far as free space is told
_AHEAD_DEG = 15.0  # either side of a direction
_LEVEL_DEG = 5.0  # either side of the horizon: rays that would meet the ground only far away


class Ranges:
    """A depth window's ranges, or those in a lidar's."""

    def __init__(self, window: Window) -> None:
        self.range = window.values[..., 0].astype(np.float64)

    @cached_property
    def back(self) -> NDArray[np.bool_]:
        """(H, W) whether something came back."""
        return self.range > 0

    @cached_property
    def known(self) -> Floats:
        """(k,) r; a single 0 where nothing came back."""
        return self.range[self.back] if self.back.any() else np.zeros(1)

    @cached_property
    def nearest(self) -> tuple[int, int]:
        """Row and column of the least r, of equals the first row by row."""
        row, column = np.unravel_index(np.where(self.back, self.range, np.inf).argmin(), self.range.shape)
        return int(row), int(column)


class Sweep(Ranges):
    """A lidar window: a range image once around."""

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self.intensity = window.values[..., 1].astype(np.float64)

    def free(self, bearing: float) -> float:
        """Least r within 15 deg of a bearing and 5 deg of the horizon; 100 where nothing is, 0 without any returns."""
        if not self.back.any():
            return 0.0
        rings, azimuths = self.range.shape
        aside = np.abs((bearings(azimuths) - bearing + 180.0) % 360.0 - 180.0) <= _AHEAD_DEG
        level = np.abs(elevations(rings)) <= _LEVEL_DEG
        there = self.back & level[:, None] & aside[None, :]
        return float(np.min(self.range, where=there, initial=_FREE_M))


def nearest(s: Ranges) -> float:
    """Range of what is nearest: min(r)."""
    return float(s.known.min())


def farthest(s: Ranges) -> float:
    """Range of what is farthest: max(r)."""
    return float(s.known.max())


def median(s: Ranges) -> float:
    """Median range: the 50th percentile of (r)."""
    return float(np.median(s.known))


def spread(s: Ranges) -> float:
    """How deep the view is: (the 95th less the 5th percentile of r)."""
    low, high = np.percentile(s.known, [5, 95])
    return float(high - low)


def returned(s: Ranges) -> float:
    """Share of pixels from which something came back: count(r > 0) / (H W)."""
    return float(s.back.mean())


def nearest_x(s: Ranges) -> float:
    """Place of what is nearest, from left to right: (column of min(r) + 0.5) / W."""
    return float((s.nearest[1] + 0.5) / s.range.shape[1]) if s.back.any() else 0.0


def nearest_y(s: Ranges) -> float:
    """Place of what is nearest, from top to bottom: (row of min(r) + 0.5) / H."""
    return float((s.nearest[0] + 0.5) / s.range.shape[0]) if s.back.any() else 0.0


def near(s: Ranges) -> float:
    """Share of the view within arm's reach: count(0 < r < 1 m) / (H W)."""
    return float(np.mean(s.back & (s.range < _NEAR_M)))


def middle(s: Ranges) -> float:
    """What one looks at: the median of r over the middle third of rows and columns (of what came back there)."""
    rows, columns = s.range.shape
    part = np.s_[rows // 3 : max(rows - rows // 3, 1), columns // 3 : max(columns - columns // 3, 1)]
    middle = s.range[part][s.back[part]]
    return float(np.median(middle)) if len(middle) else 0.0


def bearing(s: Sweep) -> float:
    """Bearing of what is nearest, -180 to 180: 180 - 360 (column of min(r) + 0.5) / W."""
    return float(bearings(s.range.shape[1])[s.nearest[1]]) if s.back.any() else 0.0


def free(s: Sweep) -> float:
    """Free space ahead: min(r) over |bearing| <= 15 and |elevation| <= 5 deg, at most 100; 100 if nothing is there.

    A window does not tell its sensor's field: elevations are those of rings from +3 deg down to -25 deg, as of a sensor
    on a car's roof (`edge.rangeimage.FIELD_DEG`). Of another one, bring the points to an image of that field, or all
    three facts of free space are of the upper 9 of its 32 rings, wherever they look.
    """
    return s.free(0.0)


def free_left(s: Sweep) -> float:
    """Free space to the left: min(r) over |bearing - 90| <= 15 and |elevation| <= 5 deg, at most 100."""
    return s.free(90.0)


def free_right(s: Sweep) -> float:
    """Free space to the right: min(r) over |bearing + 90| <= 15 and |elevation| <= 5 deg, at most 100."""
    return s.free(-90.0)


def intensity(s: Sweep) -> float:
    """How much light comes back: the mean intensity, sum(intensity over r > 0) / count(r > 0)."""
    return float(s.intensity[s.back].mean()) if s.back.any() else 0.0
