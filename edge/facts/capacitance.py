"""Facts of a capacitive image: how many things touch, how strongly, where, and how the strongest lies.

c are the capacitances of the cells over their median, c^ = max(c). A cell is touched where c > max(0.3 c^, 8.9 d,
0.001), d the median of |c|: of noise alone, 8.9 d are six standard deviations. A contact is a connected region of
touched cells; the strongest is the one with c^ in it, and what is told of it is 0 without any. Places run from 0 to 1,
from left to right and from top to bottom.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.facts.regions import regions
from edge.stream import Window

Floats = NDArray[np.float64]

_SHARE = 0.3
_NOISE = 6 * 1.4826  # six standard deviations, in median distances of a normal distribution
_LEAST = 1e-3
_CELL = 1 / 12  # variance of a place within a cell


class Touch:
    """A capacitance window's cells and contacts."""

    def __init__(self, window: Window) -> None:
        raw = window.values[..., 0].astype(np.float64)
        self.median = float(np.median(raw))
        self.cells = raw - self.median

    @cached_property
    def contacts(self) -> tuple[NDArray[np.int64], int]:
        """((H, W) number of the contact that a cell is in, -1 for none; how many there are)."""
        noise = float(np.median(np.abs(self.cells)))
        return regions(self.cells > max(_SHARE * float(self.cells.max()), _NOISE * noise, _LEAST))

    @cached_property
    def strongest(self) -> tuple[Floats, Floats, Floats]:
        """(k,) rows, columns and c of the cells of the strongest contact."""
        number = self.contacts[0].ravel()[self.cells.argmax()]
        rows, columns = np.nonzero(self.contacts[0] == (number if number >= 0 else -2))
        return rows.astype(np.float64), columns.astype(np.float64), self.cells[rows, columns]

    @cached_property
    def middle(self) -> tuple[float, float]:
        """Row and column of the strongest contact's centre of mass."""
        rows, columns, weights = self.strongest
        return float(rows @ weights / weights.sum()), float(columns @ weights / weights.sum())

    @cached_property
    def moments(self) -> tuple[float, float, float]:
        """Variances of column and row within the strongest contact, and their covariance, in cells, weighted by c."""
        rows, columns, weights = self.strongest
        down, right, share = rows - self.middle[0], columns - self.middle[1], weights / weights.sum()
        return float(share @ right**2) + _CELL, float(share @ down**2) + _CELL, float(share @ (right * down))


def contacts(s: Touch) -> float:
    """Contacts: count(connected regions of touched cells)."""
    return float(s.contacts[1])


def strongest(s: Touch) -> float:
    """Strength of the strongest contact: max(c)."""
    return float(s.cells.max()) if s.contacts[1] else 0.0


def x(s: Touch) -> float:
    """Place of the strongest contact, from left to right: (sum(column c) / sum(c) + 0.5) / W over its cells."""
    return (s.middle[1] + 0.5) / s.cells.shape[1] if s.contacts[1] else 0.0


def y(s: Touch) -> float:
    """Place of the strongest contact, from top to bottom: (sum(row c) / sum(c) + 0.5) / H over its cells."""
    return (s.middle[0] + 0.5) / s.cells.shape[0] if s.contacts[1] else 0.0


def area(s: Touch) -> float:
    """Share of the panel under the strongest contact: count(its cells) / (H W)."""
    return len(s.strongest[0]) / s.cells.size


def touched(s: Touch) -> float:
    """Share of the panel that is touched at all: count(touched cells) / (H W)."""
    return float(np.mean(s.contacts[0] >= 0))


def elongation(s: Touch) -> float:
    """How long the strongest contact is for its width: sqrt(l1 / l2), the eigenvalues of the covariance of its cells'
    places, weighted by c; 1 is round.
    """
    if not s.contacts[1]:
        return 0.0
    across, down, both = s.moments
    mean, apart = (across + down) / 2, np.hypot((across - down) / 2, both)
    return float(np.sqrt((mean + apart) / (mean - apart)))


def orientation(s: Touch) -> float:
    """Direction in which the strongest contact is long, counter-clockwise from the right as one sees it, 0 to 180, with
    the (co)variances v of its cells' columns x and rows y: -atan2(2 v_xy, v_xx - v_yy) / 2.
    """
    if not s.contacts[1]:
        return 0.0
    across, down, both = s.moments
    return float(np.degrees(-0.5 * np.arctan2(2 * both, across - down)) % 180.0)


def level(s: Touch) -> float:
    """Capacitance where nothing touches: the median over the panel (50th percentile of all cells)."""
    return s.median
