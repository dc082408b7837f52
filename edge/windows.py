"""Readings -> windows: resampled, cut on the grid of event time and stamped.

Windows start at multiples of the hop since 1970 UTC, so that the windows of different devices coincide. Each is a
pure function of the samples around it: however a recording was chunked into readings, and whether it came live or
from a file, the windows are the same to the bit. `cutter_for` chooses the cutter for a stream's kind of window: series
are cut here, frames and clips in `edge.framecutter`. This module takes the samples' times as they are: it has no
clock, and knows nothing of facts, encoders or the wire.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.framecutter import ClipCutter, FrameCutter
from edge.resample import Grid, pad_s, resample
from edge.sensors import Reading
from edge.stream import MIN_QUALITY, SIDES, Cutter, Rows, Stream, Times, Window, has, runs, up

__all__ = [
    "MIN_QUALITY",
    "SECOND",
    "SIDES",
    "ClipCutter",
    "Cutter",
    "FrameCutter",
    "Rows",
    "Stream",
    "Window",
    "WindowCutter",
    "cut",
    "cutter_for",
    "windows_of",
]

_CHUNK = 1 << 18  # rows of a recording that are read at once


def cutter_for(stream: Stream, scale: float = 1.0) -> Cutter:
    """The cutter for a stream's kind of window. Samples, integers for example, are multiplied by `scale`."""
    if stream.row.axes == ("time",):
        return WindowCutter(stream, scale)
    return (ClipCutter if "time" in stream.row.axes else FrameCutter)(stream, scale)


def windows_of(stream: Stream, t: Times, values: Rows, scale: float = 1.0) -> Iterator[Window]:
    """The windows of a whole recording one by one, so that neither it nor they need to fit in memory at once.

    `t` (n,) int64 ns UTC; `values` (n, C) or, of frames, (n, H, W, C), of any number type, whose product with `scale`
    is in the modality's units.
    """
    cutter = cutter_for(stream, scale)
    yield from cutter.take(t, values)
    yield from cutter.flush()


def cut(stream: Stream, t: Times, values: Rows, scale: float = 1.0) -> list[Window]:
    """The windows of a whole recording, as `windows_of` gives them."""
    return list(windows_of(stream, t, values, scale))


class WindowCutter:
    """Cuts a series.

    A pause longer than a window, or a clock that steps back by as much, ends a run: what is complete is
    delivered, and the next sample starts afresh. Samples that are not finite count as missing; one that comes a little
    before its predecessor is taken to be as late as that. The number of channels is that of a run's first reading.
    """

    def __init__(self, stream: Stream, scale: float = 1.0) -> None:
        row = stream.row
        if row.axes != ("time",):
            raise ConfigError(f"stream {stream.name}: {stream.modality} is not a time series; it cannot be resampled")
        self.stream = stream
        self._scale = scale
        self._gap_s = 3.0 / row.min_rate
        self._slack = round(SECOND / row.min_rate)  # a run covers this much before its first and after its last sample
        self._pad = round(pad_s(stream.rate) * SECOND)
        self._break = max(stream.window_ns, round(self._gap_s * SECOND))
        self._forget()

    def push(self, reading: Reading) -> list[Window]:
        """Take samples in; return the windows that are now certain. Raises ConfigError for a wrong channel count."""
        return list(self.take(reading.t, reading.values))

    def take(self, t: Times, values: Rows) -> Iterator[Window]:
        """As `push`, window by window; see `Cutter`."""
        self._check(len(t), np.shape(values))
        for first in range(0, len(t), _CHUNK):
            rows = slice(first, first + _CHUNK)
            yield from self._take(*self._finite(t[rows], values[rows]))

    def flush(self) -> list[Window]:
        """End the run: the complete windows that still waited for samples to come. Afterwards a new run may start."""
        windows = list(self._cut(int(self._t[-1]) + self._slack)) if len(self._t) else []
        self._forget()
        return windows

    def _take(self, t: Times, values: NDArray[np.float32]) -> Iterator[Window]:
        newest = int(self._t[-1]) if len(self._t) else None
        for first, times, starts_run in runs(t, newest, self._break, self._break):
            if starts_run:
                yield from self.flush()
            elif values.shape[1] != self._values.shape[1]:
                raise ConfigError(
                    f"stream {self.stream.name}: {values.shape[1]} channels after {self._values.shape[1]}; "
                    "a sensor keeps the number that it began with"
                )
            self._append(times, values[first : first + len(times)])
            yield from self._cut(int(self._t[-1]) - self._pad - 1)

    def _forget(self) -> None:
        self._t = np.empty(0, np.int64)
        self._values = np.empty((0, self.stream.shape[-1]), np.float32)
        self._next = 0  # start of the next window

    def _check(self, n: int, shape: tuple[int, ...]) -> None:
        stream = self.stream
        fits = len(shape) == 2 and shape[0] == n and stream.row.takes(shape[1])
        if not fits or stream.channels not in (0, shape[1]):
            wanted = f"it is set to {stream.channels} channels" if fits else has(stream.row)
            raise ConfigError(f"stream {stream.name}: {n} times with values of shape {shape}; {wanted}")

    def _finite(self, t: Times, values: Any) -> tuple[Times, NDArray[np.float32]]:
        t, values = np.asarray(t, np.int64), np.asarray(values, np.float32)
        if self._scale != 1.0:
            values = values * np.float32(self._scale)
        finite = np.isfinite(values).all(1)
        return (t, values) if finite.all() else (t[finite], values[finite])

    def _append(self, t: Times, values: NDArray[np.float32]) -> None:
        if not len(self._t):
            self._next = up(int(t[0]) - self._slack, self.stream.hop_ns)
            self._t, self._values = t, values
        else:
            self._t = np.concatenate([self._t, t])
            self._values = np.concatenate([self._values, values])

    def _cut(self, until: int) -> Iterator[Window]:
        """Windows that end by `until`; samples that no later one needs are let go."""
        while self._next + self.stream.window_ns <= until:
            window = self._window(self._next)
            self._next += self.stream.hop_ns
            if window.quality >= MIN_QUALITY:
                yield window
        keep = int(np.searchsorted(self._t, self._next - self._pad, side="left"))
        keep = min(keep, len(self._t) - 1)  # the newest sample tells where the run stands
        self._t, self._values = self._t[keep:], self._values[keep:]

    def _window(self, t0: int) -> Window:
        stream = self.stream
        first = int(np.searchsorted(self._t, t0 - self._pad, side="left"))
        last = int(np.searchsorted(self._t, t0 + stream.window_ns + self._pad, side="right"))
        grid = Grid(t0, stream.rate, stream.length, self._gap_s, stream.row.max_rate)
        if first == last:
            return Window(stream, t0, stream.rate, np.zeros((stream.length, self._values.shape[1]), np.float32), 0.0)
        values, quality = resample(self._t[first:last], self._values[first:last], grid)
        return Window(stream, t0, stream.rate, values, quality)
