"""What readers of camera sets share: a picture with its rays, and a coarse map of depth as truth.

Axes of a camera: x right, y down, z forward, metres; pixels are counted from 0 at their centres. This module knows
nothing of any set.

P is a number of points, H and W of rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import read_picture
from backend.tasks.depth import COLUMNS, ROWS
from broker.modalities import MODALITIES

SIZE = MODALITIES["camera"].size


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole: focal lengths and centre (column, row) in pixels of a picture of `size` (H, W)."""

    focal: tuple[float, float]
    centre: tuple[float, float]
    size: tuple[int, int]

    def rays(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """(h, w, 2) what the ray through the middle of each cell of a grid moves right and down a metre forward."""
        slope = []
        for cells, pixels, middle, focal in zip(size, self.size, self.centre[::-1], self.focal[::-1], strict=True):
            slope.append(((np.arange(cells) + 0.5) * (pixels / cells) - 0.5 - middle) / focal)
        return np.stack(np.broadcast_arrays(slope[1][None, :], slope[0][:, None]), -1).astype(np.float32)

    def picture(self, path: Path) -> NDArray[np.float32]:
        """(*SIZE, 5) red, green, blue 0..1 and the ray of each cell: the modality `camera`."""
        colour = read_picture(path, "RGB", SIZE).astype(np.float32) / 255
        return np.concatenate([colour, self.rays(SIZE)], -1)

    def project(self, points_P3: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (P, 2) column, row, and depth (P,) m, of points in the camera's axes that lie before it."""
        depth_P = points_P3[:, 2].astype(np.float64)
        return points_P3[:, :2] / depth_P[:, None] * self.focal + self.centre, depth_P


def depth_map(
    pixel_P2: NDArray[np.floating], depth_P: NDArray[np.floating], size: tuple[int, int]
) -> NDArray[np.float32]:
    """(ROWS x COLUMNS,) median depth (m) in each cell of a picture of `size` (H, W), row by row; NaN where none is.

    `pixel_P2` is column and row. Points outside the picture or not before the camera are left out. Of an even number
    of depths the median is the nearer middle one: it is a depth that was measured.
    """
    cell_P2 = np.floor((pixel_P2 + 0.5) / (size[1] / COLUMNS, size[0] / ROWS)).astype(np.int64)
    inside_P = ((cell_P2 >= 0) & (cell_P2 < (COLUMNS, ROWS))).all(1) & (depth_P > 0)
    cell_P, depth_P = (cell_P2 @ (1, COLUMNS))[inside_P], depth_P[inside_P]
    order = np.lexsort((depth_P, cell_P))
    count = np.bincount(cell_P, minlength=ROWS * COLUMNS)
    middle = np.cumsum(count) - count + (count - 1) // 2
    found = np.full(ROWS * COLUMNS, np.nan, np.float32)
    found[count > 0] = depth_P[order][middle[count > 0]]
    return found
