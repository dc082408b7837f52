"""Facts of a position in time: how fast, how far, which way.

p_i = (e_i, n_i) is the place on the ground (m east and north of the first fix), u_i the height (m), s_i the speed that
the receiver tells (m/s), d_i = p_i+1 - p_i a step, n the number of points, dt = 1 / rate, m(.) the mean. Steps slower
than 0.3 m/s have no direction: a receiver that stands wanders as much.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge.stream import Window

Floats = NDArray[np.float64]

_STANDING = 0.3  # m/s


class Route:
    """A gps window's path."""

    def __init__(self, window: Window) -> None:
        values = window.values.astype(np.float64)
        self.place, self.height, self.speed, self.rate = values[:, :2], values[:, 2], values[:, 3], window.rate

    @cached_property
    def steps(self) -> Floats:
        """(n - 1,) |d_i|, m."""
        steps: Floats = np.hypot(*np.diff(self.place, axis=0).T)
        return steps

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """(n - 1,) which steps are no standing."""
        return self.steps * self.rate >= _STANDING

    @cached_property
    def headings(self) -> Floats:
        """(moving steps,) their directions, rad clockwise from north."""
        east, north = np.diff(self.place, axis=0)[self.moving].T
        headings: Floats = np.arctan2(east, north)
        return headings


def speed(s: Route) -> float:
    """Speed: m(s_i)."""
    return float(s.speed.mean())


def speed_peak(s: Route) -> float:
    """Greatest speed: max(s_i)."""
    return float(s.speed.max())


def acceleration(s: Route) -> float:
    """How speed changes: (s_n - s_1) / ((n - 1) dt); negative is braking."""
    return float((s.speed[-1] - s.speed[0]) * s.rate / (len(s.speed) - 1)) if len(s.speed) > 1 else 0.0


def distance(s: Route) -> float:
    """Way over the ground between the first and the last point: sum(|d_i|)."""
    return float(s.steps.sum())


def displacement(s: Route) -> float:
    """How far the last point is from the first: |p_n - p_1|."""
    return float(np.hypot(*(s.place[-1] - s.place[0])))


def heading(s: Route) -> float:
    """Direction of travel, clockwise from north, 0 to 360: the circular mean of the moving steps' directions h_i, each
    weighted by its length: atan2(sum(|d_i| sin h_i), sum(|d_i| cos h_i)); 0 where nothing moves.
    """
    length = s.steps[s.moving]
    east, north = float(length @ np.sin(s.headings)), float(length @ np.cos(s.headings))
    return float(np.degrees(np.arctan2(east, north)) % 360.0)


def turned(s: Route) -> float:
    """Turning between the first and the last moving step, counter-clockwise from above: sum(h_i - h_i+1), each
    difference between directions within -180 and 180.
    """
    turns = (np.diff(s.headings) + np.pi) % (2 * np.pi) - np.pi
    return float(-np.degrees(turns.sum()))


def climb(s: Route) -> float:
    """Height won, negative if lost: (u_n - u_1)."""
    return float(s.height[-1] - s.height[0])


def moving(s: Route) -> float:
    """Share of time on the move: count(|d_i| / dt >= 0.3 m/s) / (n - 1)."""
    return float(s.moving.mean()) if len(s.moving) else 0.0
