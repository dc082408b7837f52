"""How training varies frames and slow series: another exposure, a little noise, something in the way, a shifted view.

Functions of the generator given, drawn once per sequence and stream. Sizes are relative to the window's own spread, so
that metres, kelvins and brightness need no tables. Motion and sound have files of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from backend.choices import CHECKED, Amount, Share

Array = NDArray[np.float32]
Generator = np.random.Generator


@dataclass(frozen=True, config=CHECKED)
class FrameVariety:
    """By how much. `gain`: log-factor of brightness (standard deviation). `noise`: of each pixel, in spreads.

    `erased`: chance that a rectangle of up to a quarter of each side is covered. `shift`: how far a view moves, as a
    share of its sides: for tasks that do not ask where things are.
    """

    gain: Amount = 0.1
    noise: Amount = 0.1
    erased: Share = 0.2
    shift: Share = 0.0


def vary_frames(x_LHWC: Array, variety: FrameVariety, rng: Generator, *, lit: bool) -> Array:
    """Frames (L, H, W, C) or clips (L, T, H, W, C), all changed in the same way; 0 stays 0, which may mean no return.

    `lit`: values are brightness and have an exposure; ranges and temperatures have none.
    """
    height, width = x_LHWC.shape[-3:-1]
    if variety.shift:
        reach = np.array([height, width]) * variety.shift
        down, right = np.rint(rng.uniform(-reach, reach)).astype(int)
        x_LHWC = _moved(_moved(x_LHWC, down, -3), right, -2)
    valid = x_LHWC != 0
    spread = float(x_LHWC.std())
    level = spread * variety.noise * rng.random()
    x_LHWC = x_LHWC + np.float32(level) * rng.standard_normal(x_LHWC.shape, np.float32)
    if lit:
        x_LHWC = np.clip(x_LHWC * np.float32(np.exp(rng.normal(0, variety.gain))), 0.0, 1.0)
    if rng.random() < variety.erased:
        tall, wide = (int(rng.integers(1, max(side // 4, 1) + 1)) for side in (height, width))
        top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
        valid = valid.copy()
        valid[..., top : top + tall, left : left + wide, :] = False
    return np.asarray(x_LHWC * valid, np.float32)


def _moved(x: Array, by: int, axis: int) -> Array:
    """Shifted along an axis; the edge that comes into view repeats."""
    length = x.shape[axis]
    return np.take(x, np.clip(np.arange(length) - by, 0, length - 1), axis)


def vary_series(x_LTC: Array, variety: FrameVariety, rng: Generator) -> Array:
    """Windows (L, T, C) of a slow sensor with noise on what varies."""
    level = np.float32(0.2 * variety.noise * rng.random()) * x_LTC.std((0, 1), dtype=np.float32)
    return np.asarray(x_LTC + level * rng.standard_normal(x_LTC.shape, np.float32))
