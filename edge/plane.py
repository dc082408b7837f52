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

    Degrees times the ellipsoid's radii of curvature at the first fix (WGS 84).
    """
    first = np.radians(latitude_F[0])
    e2 = _FLATTENING * (2 - _FLATTENING)
    bend = 1 - e2 * np.sin(first) ** 2
    across, along = _RADIUS / np.sqrt(bend), _RADIUS * (1 - e2) / bend**1.5
    turned = (longitude_F - longitude_F[0] + 180) % 360 - 180
    east, north = np.radians(turned) * across * np.cos(first), np.radians(latitude_F - latitude_F[0]) * along
    return np.stack([east, north, altitude_F - altitude_F[0]], -1)


def fixes(t: NDArray[np.int64], geodetic_F3: NDArray[np.floating]) -> NDArray[np.float32]:
    """(F, 4) metres east, north and up, and the speed over ground in m/s that follows from them.

    `t` (F,) ns UTC, ascending; `geodetic_F3` latitude and longitude in degrees, altitude in metres.
    """
    place_F3 = local_plane(*geodetic_F3.T)
    seconds = (t - t[0]) / SECOND
    if len(t) < 2 or not (np.diff(seconds) > 0).all():
        speed = np.zeros(len(t))
    else:
        speed = np.linalg.norm(np.gradient(place_F3[:, :2], seconds, axis=0), axis=-1)
    return np.concatenate([place_F3, speed[:, None]], 1).astype(np.float32)
