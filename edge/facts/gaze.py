"""Facts of gaze: where the eyes rest, how they jump, and whether there was gaze at all.

g_i = (x_i, y_i) is the point looked at, 0..1 from left to right and from top to bottom of the screen or scene, n the
number of points, dt = 1 / rate, v_i = |g_i+1 - g_i| / dt the gaze's speed, m(.) the mean. A tracker that sees no eye
says (0, 0): such points, and steps to and from them, count in `absent` only. Fixations and saccades are told apart by
one threshold on speed (I-VT, Salvucci and Goldberg 2000): 1 screen a second, some 25 degrees for one at arm's length.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.stream import Window

Floats = NDArray[np.float64]

_SACCADE = 1.0  # screens per second
_NOWHERE = 1e-3


class Gaze:
    """A gaze window's points and steps."""

    def __init__(self, window: Window) -> None:
        self.all = window.values[:, :2].astype(np.float64)
        self.rate, self.quality = window.rate, window.quality
        self.known: NDArray[np.bool_] = np.abs(self.all).max(1) > _NOWHERE

    @cached_property
    def points(self) -> Floats:
        """(k, 2) the points that are known; one at (0, 0) where none is."""
        return self.all[self.known] if self.known.any() else np.zeros((1, 2))

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """(n - 1,) steps of which both ends are known."""
        return self.known[1:] & self.known[:-1]

    @cached_property
    def speed(self) -> Floats:
        """(n - 1,) v_i; 0 where an end is not known."""
        steps: Floats = np.hypot(*np.diff(self.all, axis=0).T)
        return steps * self.rate * self.whole


def x(s: Gaze) -> float:
    """Mean place from left to right: m(x_i); sum(x_i) / n over the known points."""
    return float(s.points[:, 0].mean())


def y(s: Gaze) -> float:
    """Mean place from top to bottom: m(y_i); sum(y_i) / n over the known points."""
    return float(s.points[:, 1].mean())


def dispersion(s: Gaze) -> float:
    """How far gaze strays from its mean: sqrt(m(|g_i - m(g)|^2))."""
    return float(np.sqrt(np.mean(np.sum((s.points - s.points.mean(0)) ** 2, axis=1))))


def fixation(s: Gaze) -> float:
    """Share of time at rest: count(v_i < 1) / count(known steps); 0 without any."""
    return float(np.mean(s.speed[s.whole] < _SACCADE)) if s.whole.any() else 0.0


def saccades(s: Gaze) -> float:
    """Jumps per second: count(v_i >= 1 and not v_i-1 >= 1) / (n dt)."""
    fast = s.speed >= _SACCADE
    return float((np.count_nonzero(fast[1:] & ~fast[:-1]) + int(fast[:1].any())) * s.rate / len(s.all))


def path(s: Gaze) -> float:
    """Length of the gaze's path per second: sum(|g_i+1 - g_i|) / (count(known steps) dt); 0 without any."""
    return float(s.speed[s.whole].mean()) if s.whole.any() else 0.0


def speed_peak(s: Gaze) -> float:
    """Fastest jump: max(v_i)."""
    return float(s.speed.max()) if len(s.speed) else 0.0


def away(s: Gaze) -> float:
    """Share of the known points off the screen: count(x_i or y_i outside 0..1) / count(known); 0 without any."""
    return float(np.mean(((s.points < 0) | (s.points > 1)).any(1)))


def absent(s: Gaze) -> float:
    """Share of the window without gaze, as in a long blink: 1 - quality count(known) / n.

    What a tracker leaves out for less than 0.6 s is bridged before and does not count; what it says as (0, 0) does.
    """
    return float(np.clip(1.0 - s.quality * s.known.mean(), 0.0, 1.0))
