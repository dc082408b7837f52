"""Readings -> windows: resampled, cut on the grid of event time and stamped.

Windows start at multiples of the hop since 1970 UTC, so that the windows of different devices coincide. Each is a
pure function of the samples around it: however a recording was chunked into readings, and whether it came live or
from a file, the windows are the same to the bit. This module takes the samples' times as they are: it has no clock, and
knows nothing of facts, encoders or the wire.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from broker.modalities import MODALITIES, Modality
from edge.clock import SECOND
from edge.resample import Grid, pad_s, resample
from edge.sensors import Reading

MIN_QUALITY = 0.5  # a window of which samples cover less tells nothing, and is not made


@dataclass(frozen=True, slots=True)
class Stream:
    """One sensor's stream: its name on the device, what it measures, where it sits, and how it is cut.

    `rate` (Hz), `window_s` and `hop_s` (seconds) are the modality's own where they are not given. Raises ConfigError
    for an unknown modality or a grid that cannot be cut.
    """

    name: str
    modality: str
    placement: str
    rate: float = 0.0
    window_s: float = 0.0
    hop_s: float = 0.0

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ConfigError(f"stream {self.name}: modality {self.modality!r} is none of {', '.join(MODALITIES)}")
        for name in ("rate", "window_s", "hop_s"):
            if not getattr(self, name):
                object.__setattr__(self, name, float(getattr(self.row, name)))
        low, high = self.row.min_rate, self.row.max_rate
        if not low <= self.rate <= high:
            raise ConfigError(
                f"stream {self.name}: rate {self.rate:g} Hz; {self.modality} has a band of {low:g}..{high:g} Hz"
            )
        if self.window_s < 0 or not 0 < self.hop_s <= self.window_s or self.length < 1:
            raise ConfigError(
                f"stream {self.name}: window {self.window_s:g} s with hop {self.hop_s:g} s; "
                "a hop is positive and no longer than the window"
            )

    @property
    def row(self) -> Modality:
        """The modality's row in the table."""
        return MODALITIES[self.modality]

    @property
    def length(self) -> int:
        """Samples T in a window."""
        return round(self.window_s * self.rate)

    @property
    def hop_ns(self) -> int:
        """Nanoseconds from a window's start to the next one's."""
        return round(self.hop_s * SECOND)

    @property
    def window_ns(self) -> int:
        """Nanoseconds that a window lasts."""
        return round(self.window_s * SECOND)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a stream on the grid: `values` (T, C) float32 in the modality's units, the first at `t0` (ns UTC),
    `rate` per second. `quality` is the share of the T points that samples cover, 0.5..1.
    """

    stream: Stream
    t0: int
    rate: float
    values: NDArray[np.float32]
    quality: float


class WindowCutter:
    """Cuts one stream. A window is made as soon as the samples that it depends on have been seen.

    A pause longer than a window, or a clock that steps back by as much, ends a run: what is complete is
    delivered, and the next sample starts afresh. Samples that are not finite count as missing; one that comes a little
    before its predecessor is taken to be as late as that.
    """

    def __init__(self, stream: Stream) -> None:
        row = stream.row
        if row.axes != ("time",):
            raise ConfigError(f"stream {stream.name}: {stream.modality} is not a time series; it cannot be cut")
        self.stream = stream
        self._gap_s = 3.0 / row.min_rate
        self._slack = round(SECOND / row.min_rate)  # a run covers this much before its first and after its last sample
        self._pad = round(pad_s(stream.rate) * SECOND)
        self._break = max(stream.window_ns, round(self._gap_s * SECOND))
        self._forget()

    def push(self, reading: Reading) -> list[Window]:
        """Take samples in; return the windows that are now certain. Raises ConfigError for a wrong channel count."""
        t, values = self._checked(reading)
        windows = []
        for t_run, v_run, starts_run in self._runs(t, values):
            if starts_run:
                windows += self.flush()
            self._append(t_run, v_run)
            windows += self._cut(int(self._t[-1]) - self._pad - 1)
        return windows

    def flush(self) -> list[Window]:
        """End the run: the complete windows that still waited for samples to come. Afterwards a new run may start."""
        windows = self._cut(int(self._t[-1]) + self._slack) if len(self._t) else []
        self._forget()
        return windows

    def _forget(self) -> None:
        self._t = np.empty(0, np.int64)
        self._values = np.empty((0, len(self.stream.row.channels)), np.float32)
        self._next = 0  # start of the next window

    def _checked(self, reading: Reading) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        t, values = np.asarray(reading.t, np.int64), np.asarray(reading.values, np.float32)
        channels = len(self.stream.row.channels)
        if values.shape != (len(t), channels):
            raise ConfigError(
                f"stream {self.stream.name}: {len(t)} times with values of shape {values.shape}; "
                f"{self.stream.modality} has {channels} channels"
            )
        finite = np.isfinite(values).all(1)
        return (t, values) if finite.all() else (t[finite], values[finite])

    def _runs(
        self, t: NDArray[np.int64], values: NDArray[np.float32]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32], bool]]:
        """Split where time jumps; within a run times never fall. The flag tells whether a new run starts there."""
        runs = []
        newest = int(self._t[-1]) if len(self._t) else None
        while len(t):
            rising = np.maximum.accumulate(t if newest is None else np.maximum(t, newest))
            before = np.concatenate([rising[:1] if newest is None else [newest], rising[:-1]])
            jumps = np.flatnonzero((t - before > self._break) | (before - t > self._break))
            end = int(jumps[0]) if len(jumps) else len(t)
            if end:
                runs.append((rising[:end], values[:end], newest is None))
            t, values, newest = t[end:], values[end:], None
        return runs

    def _append(self, t: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        if not len(self._t):
            hop = self.stream.hop_ns
            self._next = -((self._slack - int(t[0])) // hop) * hop  # first multiple of the hop >= t[0] - slack
            self._t, self._values = t, values
        else:
            self._t = np.concatenate([self._t, t])
            self._values = np.concatenate([self._values, values])

    def _cut(self, until: int) -> list[Window]:
        """Windows that end by `until`; samples that no later one needs are let go."""
        windows = []
        while self._next + self.stream.window_ns <= until:
            window = self._window(self._next)
            if window.quality >= MIN_QUALITY:
                windows.append(window)
            self._next += self.stream.hop_ns
        keep = int(np.searchsorted(self._t, self._next - self._pad, side="left"))
        keep = min(keep, len(self._t) - 1)  # the newest sample tells where the run stands
        self._t, self._values = self._t[keep:], self._values[keep:]
        return windows

    def _window(self, t0: int) -> Window:
        stream = self.stream
        first = int(np.searchsorted(self._t, t0 - self._pad, side="left"))
        last = int(np.searchsorted(self._t, t0 + stream.window_ns + self._pad, side="right"))
        grid = Grid(t0, stream.rate, stream.length, self._gap_s, stream.row.max_rate)
        if first == last:
            return Window(stream, t0, stream.rate, np.zeros((stream.length, self._values.shape[1]), np.float32), 0.0)
        values, quality = resample(self._t[first:last], self._values[first:last], grid)
        return Window(stream, t0, stream.rate, values, quality)


def cut(stream: Stream, t: NDArray[np.int64], values: NDArray[np.float32]) -> list[Window]:
    """The windows of a whole recording, `t` (n,) int64 ns UTC and `values` (n, C): one cutter, pushed once."""
    cutter = WindowCutter(stream)
    return cutter.push(Reading(t, values)) + cutter.flush()
