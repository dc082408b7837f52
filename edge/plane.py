"""Places on the earth as metres from where a recording begins: what a gps window holds.

Degrees in float32 are 0.4 m coarse, and nobody's home has to leave a device. Nothing here knows of sensors or files.
"""

import numpy as np
from numpy.typing import NDArray

from edge.clock import SECOND

_RADIUS, _FLATTENING = 6_378_137.0, 1 / 298.257223563  # of WGS 84


def local_plane(
    latitude_F: NDArray[np.floating], longitude_F: NDArray[np.floating], altitude_F: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(F, 3) metres east, north and up of the first fix, from degrees and metres: good to 1 m within 10 km.

    Degrees times the ellipsoid's radii of curvature at the first fix (WGS 84). What is NaN stays so, and is no first.
    """
    origin, ground = _first(latitude_F + longitude_F), _first(altitude_F)
    first = np.radians(latitude_F[origin])
    e2 = _FLATTENING * (2 - _FLATTENING)
    bend = 1 - e2 * np.sin(first) ** 2
    across, along = _RADIUS / np.sqrt(bend), _RADIUS * (1 - e2) / bend**1.5
    turned = (longitude_F - longitude_F[origin] + 180) % 360 - 180
    east, north = np.radians(turned) * across * np.cos(first), np.radians(latitude_F - latitude_F[origin]) * along
    return np.stack([east, north, altitude_F - altitude_F[ground]], -1)


def fixes(t: NDArray[np.int64], geodetic_F3: NDArray[np.floating]) -> NDArray[np.float32]:
    """(F, 4) metres east, north and up, and the speed over ground in m/s that follows from them.

    `t` (F,) ns UTC, ascending; `geodetic_F3` latitude and longitude in degrees, altitude in metres. A row without a
    place is NaN in the first two, and speeds pass over it; heights that are unknown lie between those known, or are 0.
    Of several fixes at one time the first counts for speed.
    """
    place_F3 = local_plane(*geodetic_F3.T)
    seconds = (t - t[0]) / SECOND
    known = np.isfinite(place_F3[:, 2])
    place_F3[:, 2] = np.interp(seconds, seconds[known], place_F3[known, 2]) if known.any() else 0.0
    there = np.flatnonzero(np.isfinite(place_F3[:, :2]).all(1))
    there = there[np.unique(seconds[there], return_index=True)[1]]
    speed = np.zeros(len(t))
    if len(there) > 1:
        steps = np.gradient(place_F3[there, :2], seconds[there], axis=0)
        speed = np.interp(seconds, seconds[there], np.linalg.norm(steps, axis=-1))
    return np.concatenate([place_F3, speed[:, None]], 1).astype(np.float32)


def _first(values_F: NDArray[np.floating]) -> int:
    """Where the first finite value is; 0 if there is none."""
    return int(np.isfinite(values_F).argmax())
