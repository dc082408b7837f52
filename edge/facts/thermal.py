"""Facts of a thermal image: what is warm, where, and whether it may be a person.

K are the temperatures (kelvin) of the pixels, K~ their median, which is the background's as long as that fills half the
view. Places run from 0 to 1, from left to right and from top to bottom.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.facts.regions import regions
from edge.stream import Window

Floats = NDArray[np.float64]

_HOT_K = 3.0  # above the median
_PERSON_K = (299.0, 311.0)  # clothes to skin: 26 to 38 degC


class Heat:
    """A thermal window's temperatures."""

    def __init__(self, window: Window) -> None:
        self.kelvin = window.values[..., 0].astype(np.float64)

    @cached_property
    def median(self) -> float:
        """K~."""
        return float(np.median(self.kelvin))

    @cached_property
    def hottest(self) -> tuple[int, int]:
        """Row and column of max(K), of equals the first row by row."""
        row, column = np.unravel_index(self.kelvin.argmax(), self.kelvin.shape)
        return int(row), int(column)


def hottest(s: Heat) -> float:
    """Temperature of what is hottest: max(K)."""
    return float(s.kelvin.max())


def hottest_x(s: Heat) -> float:
    """Place of what is hottest, from left to right: (column of max(K) + 0.5) / W."""
    return float((s.hottest[1] + 0.5) / s.kelvin.shape[1])


def hottest_y(s: Heat) -> float:
    """Place of what is hottest, from top to bottom: (row of max(K) + 0.5) / H."""
    return float((s.hottest[0] + 0.5) / s.kelvin.shape[0])


def coldest(s: Heat) -> float:
    """Temperature of what is coldest: min(K)."""
    return float(s.kelvin.min())


def median(s: Heat) -> float:
    """Temperature of the background: K~, the 50th percentile of (K)."""
    return s.median


def spread(s: Heat) -> float:
    """How much temperatures differ: (the 95th less the 5th percentile of K)."""
    low, high = np.percentile(s.kelvin, [5, 95])
    return float(high - low)


def contrast(s: Heat) -> float:
    """How far the hottest stands out of the background: (max(K) - K~)."""
    return float(s.kelvin.max()) - s.median


def spots(s: Heat) -> float:
    """Hot spots: count(connected regions of K >= K~ + 3)."""
    return float(regions(s.kelvin >= s.median + _HOT_K)[1])


def person(s: Heat) -> float:
    """Share of the view that may be a person: count(299 <= K <= 311 and K >= K~ + 3) / (H W)."""
    low, high = _PERSON_K
    warm = (s.kelvin >= low) & (s.kelvin <= high) & (s.kelvin >= s.median + _HOT_K)
    return float(warm.mean())
