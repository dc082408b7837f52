"""Points of a spinning LiDAR -> a range image, which is what a lidar window is made of.

Rows are rings, evenly spaced in elevation from the top of the sensor's field to its bottom; columns are azimuths and go
once around, from behind over left, forward (the middle) and right, as somebody who looks forward reads them. A cell
holds the nearest point in it, because that is what is in the way. Axes of the points: x forward, y left, z up, metres.
This module knows nothing of time; a sensor that turns while it moves gives points that are undistorted already.

N is a number of points, H of rings, W of azimuths.
"""

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError, DataError

Floats = NDArray[np.float64]

FIELD_DEG = (3.0, -25.0)
"""Elevation of the top and the bottom ring where nothing else is said: a sensor on the roof of a car."""


def range_image(
    points_N4: NDArray[np.float32], size: tuple[int, int], field_deg: tuple[float, float] = FIELD_DEG
) -> NDArray[np.float32]:
    """(H, W, 2) range (m) and intensity (0..1) of points (N, 4): x, y, z (m) and intensity; 0, 0 where none is.

    Points above or below the field by more than half a ring are left out, as are those that are not finite. Raises
    DataError for points of another shape, ConfigError for a size or a field that has no rings.
    """
    rings, azimuths = size
    top, bottom = field_deg
    if rings < 2 or azimuths < 1 or not bottom < top:
        raise ConfigError(f"range image: size {size}, field {field_deg} deg; give two rings or more, the top one first")
    points = np.asarray(points_N4, np.float64)
    if points.ndim != 2 or points.shape[1] != 4:
        raise DataError(f"points of shape {points.shape}; those of a LiDAR are (N, 4): x, y, z in m, and intensity")
    x, y, z, intensity = points[np.isfinite(points).all(1)].T
    distance: Floats = np.sqrt(x * x + y * y + z * z)
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    row = np.rint((top - elevation) / (top - bottom) * (rings - 1))
    column = np.floor((180.0 - np.degrees(np.arctan2(y, x))) / 360.0 * azimuths)
    inside = (distance > 0) & (row >= 0) & (row < rings)
    distance, intensity = distance[inside], intensity[inside]
    cell = (row[inside] * azimuths + column[inside] % azimuths).astype(np.int64)
    order = np.lexsort((distance, cell))  # cell by cell, the nearest point first
    first = order[np.flatnonzero(np.diff(cell[order], prepend=-1))]
    image = np.zeros((rings * azimuths, 2), np.float32)
    image[cell[first], 0] = distance[first]
    image[cell[first], 1] = np.clip(intensity[first], 0.0, 1.0)
    return image.reshape(rings, azimuths, 2)


def bearings(azimuths: int) -> Floats:
    """(W,) degrees of the columns' middles: 0 forward, positive to the left, from nearly 180 down to nearly -180."""
    degrees: Floats = 180.0 - (np.arange(azimuths, dtype=np.float64) + 0.5) * (360.0 / azimuths)
    return degrees


def elevations(rings: int, field_deg: tuple[float, float] = FIELD_DEG) -> Floats:
    """(H,) degrees of the rings over the horizon, from the top one down."""
    degrees: Floats = np.linspace(*field_deg, rings)
    return degrees
