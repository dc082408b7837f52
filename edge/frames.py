"""Frames of any size and number type -> a window's grid, in physical units and free of aliases.

Each axis is treated by itself: made smaller, a cell is the mean of the area that it covers; made larger, values are
interpolated between the middles of the pixels; kept, it is passed through to the bit. Only sums and products of single
numbers are used, in a fixed order, so that every machine computes the same bits.

Two kinds of pixels tell nothing and enter no mean: holes of a range sensor (0: no return) and numbers that are not
finite. This module knows nothing of time, and which frame a window shows is decided elsewhere.

H, W are rows and columns of a frame, h, w those wanted, C channels, n and m the lengths of one axis.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RANGES = frozenset({"depth", "lidar"})
"""Modalities whose first channel is a range, of which 0 means that nothing came back."""
_KNOWN_SHARE = 0.5  # a frame of which less is finite shows nothing


def show(
    raw_HWC: NDArray[Any], size: tuple[int, int], scale: float = 1.0, *, ranges: bool = False
) -> NDArray[np.float32] | None:
    """A frame (H, W, C) of any number type as (h, w, C) float32, its values multiplied by `scale`.

    With `ranges`, the first channel is a range: pixels where it is 0, negative or not finite are holes, and holes of
    the result are 0 in every channel. Otherwise pixels that are not finite are bridged; None where over half are.
    """
    frame_HWC = np.asarray(raw_HWC, np.float32)
    if scale != 1.0:
        frame_HWC = frame_HWC * np.float32(scale)
    if not ranges and raw_HWC.dtype.kind in "biu":  # whole numbers are all finite
        return resize(frame_HWC, size)
    known_HW = np.asarray(np.isfinite(frame_HWC).all(-1))
    if ranges:
        return resize_ranges(frame_HWC, known_HW & (frame_HWC[..., 0] > 0), size)
    if known_HW.all():
        return resize(frame_HWC, size)
    if known_HW.mean() < _KNOWN_SHARE:
        return None
    mean_C = frame_HWC[known_HW].mean(0, dtype=np.float64)
    sum_hwC, weight_hw = _known_sums(frame_HWC, known_HW, size)
    bridged_hwC = np.where(weight_hw > 0, sum_hwC / np.where(weight_hw > 0, weight_hw, 1.0), mean_C)
    return bridged_hwC.astype(np.float32)


def resize(frame_HWC: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w, C) float32: area means where an axis shrinks, linear interpolation where it grows.

    Weights are positive and sum to 1: a constant stays what it is, no value leaves the range of its neighbours, and a
    whole factor preserves the mean.
    """
    return _resized(frame_HWC, size).astype(np.float32)


def resize_ranges(frame_HWC: NDArray[Any], known_HW: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w, C) float32 means over the known pixels only; 0 where the pixel nearest to a cell's middle is a hole.

    A mean that took holes for zeros would put walls where there is nothing. The share of holes stays what it was.
    """
    sum_hwC, weight_hw = _known_sums(frame_HWC, known_HW, size)
    kept_hw = nearest(known_HW, size)[..., None]  # a cell's nearest pixel has a weight in it, so none is divided by 0
    return np.where(kept_hw, sum_hwC / np.where(kept_hw, weight_hw, 1.0), 0.0).astype(np.float32)


def nearest(frame_HW: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(h, w, ...) the pixel nearest to each cell's middle: for masks and labels, of which there is no mean."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * there // (2 * wanted)
        for there, wanted in zip(frame_HW.shape[:2], size, strict=True)
    )
    picked: NDArray[Any] = frame_HW[rows[:, None], columns[None, :]]
    return picked


def _known_sums(frame_HWC: NDArray[Any], known_HW: NDArray[np.bool_], size: tuple[int, int]) -> tuple[Floats, Floats]:
    """((h, w, C), (h, w, 1)) weighted sums over the known pixels, and the sums of their weights."""
    known_HW1 = known_HW[..., None]
    return _resized(np.where(known_HW1, frame_HWC, 0.0), size), _resized(known_HW1.astype(np.float64), size)


def _resized(frame_HWC: NDArray[Any], size: tuple[int, int]) -> Floats:
    resized = frame_HWC
    for axis, wanted in enumerate(size):
        if resized.shape[axis] == wanted:
            continue
        taps, weights = _taps(resized.shape[axis], wanted)
        shape = [1, 1, 1]
        shape[axis] = wanted
        total = np.zeros((*resized.shape[:axis], wanted, *resized.shape[axis + 1 :]))
        for tap, weight in zip(taps.T, weights.T, strict=True):
            total += resized.take(tap, axis) * weight.reshape(shape)
        resized = total
    return resized.astype(np.float64, copy=False)


@lru_cache(maxsize=64)
def _taps(n: int, m: int) -> tuple[NDArray[np.int64], Floats]:
    """(m, taps) which of n pixels each of m cells is made of, and their weights."""
    cell = np.arange(m, dtype=np.int64)[:, None]
    if m > n:
        place = (cell + 0.5) * n / m - 0.5
        left = np.floor(place).astype(np.int64)
        between = place - left
        return np.clip(np.concatenate([left, left + 1], 1), 0, n - 1), np.concatenate([1 - between, between], 1)
    # In units of 1 / m of a pixel all borders are whole numbers: pixel j covers j m to (j + 1) m, cell i covers i n to
    # (i + 1) n.
    pixel = cell * n // m + np.arange(n // m + 2)
    overlap = np.minimum((cell + 1) * n, (pixel + 1) * m) - np.maximum(cell * n, pixel * m)
    weight = np.maximum(overlap, 0) / n
    used = weight.any(0)
    return np.minimum(pixel[:, used], n - 1), weight[:, used]
