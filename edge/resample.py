"""Samples at the times they carry -> a uniform grid, free of aliases, with the share of it that is real.

Three flaws of real sensors are mended here. Time stamps jitter and come in bunches, because they are taken when a
sample is delivered and not when it was measured: they are smoothed along the sample count (on the phones of
sp_sw_har this takes nine tenths of the false power above 30 Hz away). Sources are faster than the grid: a
low-pass at the grid's Nyquist frequency comes before decimation. Samples are missing: the place is
bridged and marked.

Everything is a pure function of the samples handed in. This module knows nothing of windows, hops or buffers.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

NS = 1e-9
_REACH = 6  # half width of the low-pass, in grid steps
_SMOOTH = 8  # samples on either side that a time stamp is averaged with
_MAX_FACTOR = 64  # sources up to 64 times faster than the grid are filtered in full
_DENSE = 1000.0  # Hz; from here on a stream is sound: regular sampling, converted by soxr
_SOUND_PAD_S = 0.02  # what the sound converter looks at beyond the grid's ends


@dataclass(frozen=True, slots=True)
class Grid:
    """Where samples are wanted: `length` points from `t0` (ns) at `rate` Hz.

    Samples further apart than `gap_s` leave the grid points between them uncovered. `max_rate` is the highest rate
    that an ordinary source has.
    """

    t0: int
    rate: float
    length: int
    gap_s: float
    max_rate: float


def pad_s(rate: float) -> float:
    """Seconds of samples before and after a grid of `rate` Hz that its values depend on."""
    return _SOUND_PAD_S if rate >= _DENSE else (_REACH + 4) / rate


def resample(t: Times, values: NDArray[np.float32], grid: Grid) -> tuple[NDArray[np.float32], float]:
    """The signal at the grid's points, and the share of them that samples cover.

    `t` (n,) int64 ns in rising order, n >= 1, `values` (n, C) float32 finite. Returns (T, C) float32, 0..1.
    """
    seconds: Floats = (t - grid.t0).astype(np.float64) * NS
    covered = _covered(seconds, grid)
    on_grid = _sound if grid.rate >= _DENSE else _series
    return on_grid(seconds, values, grid).astype(np.float32), covered


def _covered(seconds: Floats, grid: Grid) -> float:
    points = np.arange(grid.length) / grid.rate
    after = np.searchsorted(seconds, points, side="left")
    known = np.concatenate([seconds[:1] - grid.gap_s / 2, seconds, seconds[-1:] + grid.gap_s / 2])
    apart = known[after + 1] - known[after]
    inside = (points >= known[0]) & (points <= known[-1])
    return float(np.mean(inside & (apart <= grid.gap_s)))


def _series(seconds: Floats, values: NDArray[np.float32], grid: Grid) -> Floats:
    """Even out the stamps, interpolate on a grid several times finer, filter and decimate."""
    if len(seconds) == 1:
        return np.repeat(values.astype(np.float64), grid.length, 0)
    seconds = even_out(seconds, grid.gap_s)
    source_rate = (len(seconds) - 1) / max(seconds[-1] - seconds[0], NS)
    factor = min(ceil(max(source_rate, grid.max_rate) / grid.rate - 0.01), _MAX_FACTOR)
    taps = _REACH * factor
    fine = (np.arange(-taps, (grid.length - 1) * factor + taps + 1)) / (grid.rate * factor)
    return _decimator(grid.length, factor) @ _interpolate(fine, seconds, values.astype(np.float64))


def even_out(seconds: Floats, gap_s: float) -> Floats:
    """Time stamps (n,) with the jitter of delivery averaged out; stretches further apart than `gap_s` stay apart."""
    breaks = np.flatnonzero(np.diff(seconds) > gap_s) + 1
    evened = np.concatenate([_smooth(part) for part in np.split(seconds, breaks)])
    return np.maximum.accumulate(evened)


def _smooth(seconds: Floats) -> Floats:
    """Mean of each stamp and its neighbours, after a straight line is taken out so that the ends stay unbiased."""
    n = len(seconds)
    if n < 3:
        return seconds
    count = np.arange(n) - (n - 1) / 2
    slope = (count @ seconds) / (count @ count)
    total = np.concatenate([[0.0], np.cumsum(seconds - slope * count)])
    low, high = np.clip(np.arange(n) - _SMOOTH, 0, n), np.clip(np.arange(n) + _SMOOTH + 1, 0, n)
    mean: Floats = (total[high] - total[low]) / (high - low) + slope * count
    return mean


def _interpolate(points: Floats, seconds: Floats, values: Floats) -> Floats:
    """Catmull-Rom splines through the samples, (len(points), C); held beyond the first and the last one.

    Chord slopes, not one-sided ones: two samples with nearly the same stamp then make no spike.
    """
    left = np.clip(np.searchsorted(seconds, points, side="right") - 1, 0, len(seconds) - 2)
    before, after = np.maximum(left - 1, 0), np.minimum(left + 2, len(seconds) - 1)
    t0, t1 = seconds[left], seconds[left + 1]
    step = np.maximum(t1 - t0, NS)
    x = np.clip((points - t0) / step, 0.0, 1.0)[:, None]
    v0, v1 = values[left], values[left + 1]
    m0 = (v1 - values[before]) * (step / np.maximum(t1 - seconds[before], NS))[:, None]
    m1 = (values[after] - v0) * (step / np.maximum(seconds[after] - t0, NS))[:, None]
    spline: Floats = v0 + x * (m0 + x * (3 * (v1 - v0) - 2 * m0 - m1 + x * (2 * (v0 - v1) + m0 + m1)))
    return spline


@lru_cache(maxsize=32)
def _decimator(length: int, factor: int) -> Floats:
    """(length, fine points) matrix of a Hann-windowed sinc: -6 dB at 0.45 of the grid rate, -40 dB at 0.6."""
    taps = _REACH * factor
    x = np.arange(-taps, taps + 1) / factor
    kernel = np.sinc(0.9 * x) * (0.5 + 0.5 * np.cos(np.pi * x / _REACH))
    kernel /= kernel.sum()
    matrix = np.zeros((length, (length - 1) * factor + 2 * taps + 1))
    for row in range(length):
        matrix[row, row * factor : row * factor + 2 * taps + 1] = kernel
    return matrix


def _sound(seconds: Floats, values: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Sound is sampled regularly: put it on its own regular grid, silence where it is missing, and convert the rate."""
    steps = np.diff(seconds)
    usual = float(np.median(steps)) if len(steps) else 0.0
    if usual <= 0:
        return np.zeros((grid.length, values.shape[1]), np.float32)
    source_rate = 1.0 / float(np.mean(steps[steps < 1.5 * usual]))
    if abs(source_rate / grid.rate - 1) < 1e-3:  # a clock error moves no sample by more than 1 ms in a second
        rate, pad = grid.rate, 0
    else:
        rate, pad = source_rate, round(_SOUND_PAD_S * source_rate)
    regular = np.zeros((2 * pad + ceil(grid.length * rate / grid.rate), values.shape[1]), np.float32)
    count = np.concatenate([[0.0], np.cumsum(np.rint(steps * source_rate))])  # counted, so that no click enters
    place = (np.rint(seconds[0] * rate) + count).astype(np.int64) + pad
    inside = (place >= 0) & (place < len(regular))
    regular[place[inside]] = values[inside]
    return _convert(regular, rate, pad, grid) if pad else regular


def _convert(regular: NDArray[np.float32], source_rate: float, pad: int, grid: Grid) -> NDArray[np.float32]:
    import soxr

    converted = soxr.resample(regular, source_rate, grid.rate, quality="HQ")
    first = round(pad * grid.rate / source_rate)
    converted = converted[first : first + grid.length]
    missing = grid.length - len(converted)
    out: NDArray[np.float32] = np.pad(converted, ((0, missing), (0, 0)), mode="edge") if missing else converted
    return out
