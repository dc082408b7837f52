"""Frames -> windows: the newest frame of each window, or clips of the frames nearest to a grid in time.

Which frame a window shows follows from times alone, so a reader that fetches frames from a file is asked only for those
that are shown. Frames are kept in their own number type and size, and no more of them than windows to come may show;
they are converted and resized (`edge.frames`) once, when a window first shows them.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.frames import RANGES, show
from edge.sensors import Reading
from edge.stream import MIN_QUALITY, Rows, Stream, Times, Window, has, runs, up

_NEVER = 1 << 62  # ns, 146 years
_NOTHING = np.empty((0, 0, 0, 0), np.float32)
_REACH_STEPS = 1.5  # a point in time of a clip shows a frame that is at most this many of its steps away


class FrameCutter:
    """Shows the newest frame within each window, resized to the stream's size.

    A window without a frame is not made. Quality is 1 - a / 2, at least 0.5, of a frame that is a seconds old at the
    window's end. A frame that comes more than a window after the last one, as that did after its own predecessor, is a
    slow camera's: the windows that it is in show it, and are made at once. Live, they would else wait for the next
    frame until their moment has closed without them. A frame that comes a little before its predecessor is taken to be
    as late as that; a clock that steps back by more than a window starts a new run. Of all frames only the newest is
    kept, as it came.
    """

    def __init__(self, stream: Stream, scale: float = 1.0) -> None:
        if "height" not in stream.row.axes:
            raise ConfigError(f"stream {stream.name}: {stream.modality} is a time series and has no frames")
        self.stream = stream
        self._scale = scale
        self._ranges = stream.modality in RANGES
        # A window from t0 on shows frames from t0 - early to t0 + late, and is certain once one at t0 + wait was seen.
        self._early, self._late, self._wait = 0, stream.window_ns - 1, stream.window_ns
        self._pause = stream.window_ns  # frames of a slow camera are further apart than this
        self._t: Times = np.empty(0, np.int64)
        self._next = 0  # start of the next window
        self._paused = False  # before the newest frame
        self._kept: dict[int, NDArray[Any]] = {}  # frames as they came, by their place in _t ...
        self._shown: dict[int, NDArray[np.float32] | None] = {}  # ... and, once a window shows them, only resized
        self._source: Rows = _NOTHING  # where the others are, in row _origin + place
        self._origin = 0

    def push(self, reading: Reading) -> list[Window]:
        """Take frames (n, H, W, C) in; return the windows that are now certain. Raises ConfigError for other shapes."""
        return list(self.take(reading.t, reading.values))

    def take(self, t: Times, values: Rows) -> Iterator[Window]:
        """As `push`, window by window; see `Cutter`. Only frames that a window shows are read."""
        t, row, shape = np.asarray(t, np.int64), self.stream.row, np.shape(values)
        if len(shape) != 4 or shape[0] != len(t) or shape[3] != len(row.channels) or 0 in shape[1:3]:
            raise ConfigError(
                f"stream {self.stream.name}: {len(t)} times with values of shape {shape}; "
                f"frames are (n, height, width, channels), and {has(row)}"
            )
        newest = int(self._t[-1]) if len(self._t) else None
        for first, times, starts_run in runs(t, newest, _NEVER, self.stream.window_ns):
            if starts_run:
                yield from self.flush()
                self._next = self._start(int(times[0]))
            for place, part, wait in self._parts(times):
                self._source, self._origin = values, first + place - len(self._t)
                self._t = np.concatenate([self._t, part])
                yield from self._cut(int(self._t[-1]) - wait)
                self._keep(self._needed())

    def flush(self) -> list[Window]:
        """End the run: the windows that waited for a newer frame. Afterwards a new run may start."""
        windows = list(self._cut(int(self._t[-1]) + self._early)) if len(self._t) else []
        self._forget()
        return windows

    def _forget(self) -> None:
        self._t, self._next, self._paused = np.empty(0, np.int64), 0, False
        self._kept, self._shown = {}, {}
        self._source, self._origin = _NOTHING, 0

    def _start(self, t: int) -> int:
        """Start of the first window that a frame at `t` may be in."""
        return up(t - self._late, self.stream.hop_ns)

    def _parts(self, times: Times) -> Iterator[tuple[int, Times, int]]:
        """A run's next frames in parts that end with a slow camera's: place of the first, times, and for how long the
        windows of the last one wait for others.
        """
        gaps = np.diff(times, prepend=self._t[-1:] if len(self._t) else times[:1])
        paused = np.concatenate([[self._paused], gaps > self._pause])
        self._paused = bool(paused[-1])
        slow = paused[1:] & paused[:-1]
        for first, end in pairwise([0, *(np.flatnonzero(slow) + 1).tolist(), len(times)]):
            if first < end:
                yield first, times[first:end], 0 if slow[end - 1] else self._wait

    def _cut(self, until: int) -> Iterator[Window]:
        """Windows that start by `until`."""
        while self._next <= until:
            t0 = self._next
            first, last = np.searchsorted(self._t, (t0 - self._early, t0 + self._late + 1))
            if first == last:  # a pause, however long: go to where the next frame is
                self._next = max(t0 + self.stream.hop_ns, self._start(int(self._t[last])))
                continue
            self._shown = {place: frame for place, frame in self._shown.items() if place >= first}
            window = self._window(t0)
            self._next += self.stream.hop_ns
            if window is not None:
                yield window

    def _window(self, t0: int) -> Window | None:
        stream, end = self.stream, t0 + self.stream.window_ns
        place = int(np.searchsorted(self._t, end)) - 1
        frame = self._frame(place)
        if frame is None:
            return None
        age_s = (end - int(self._t[place])) / SECOND
        return Window(stream, t0, stream.rate, frame.copy(), max(MIN_QUALITY, 1 - age_s / 2))

    def _frame(self, place: int) -> NDArray[np.float32] | None:
        """The frame at a place of _t, resized; None if too little of it is finite."""
        if place not in self._shown:
            self._shown[place] = show(self._raw(place), self.stream.size, self._scale, ranges=self._ranges)
            self._kept.pop(place, None)
        return self._shown[place]

    def _raw(self, place: int) -> NDArray[Any]:
        if place in self._kept:
            return self._kept[place]
        row = self._origin + place
        frame: NDArray[Any] = np.array(self._source[row : row + 1])[0]  # a copy, which lets go of what it was read from
        return frame

    def _needed(self) -> NDArray[np.intp]:
        """Places of _t that windows to come may show, and the newest, which tells where the run stands."""
        return np.array([len(self._t) - 1])

    def _keep(self, places: NDArray[np.intp]) -> None:
        """Let all frames go but those at `places`, which become 0, 1, ..."""
        renamed = list(enumerate(places.tolist()))
        shown = {new: self._shown[old] for new, old in renamed if old in self._shown}
        self._kept = {new: self._raw(old) for new, old in renamed if new not in shown}
        self._t, self._shown, self._source = self._t[places], shown, _NOTHING


class ClipCutter(FrameCutter):
    """Shows, at each of T points in time of a window, the frame nearest to it.

    A point without a frame within 1.5 steps shows what the nearest point with one shows. Quality is the share of points
    with a frame; below 0.5 a window is not made. Kept are the frames nearest to points of windows to come, so that a
    fast camera takes no more memory than a slow one.
    """

    def __init__(self, stream: Stream, scale: float = 1.0) -> None:
        super().__init__(stream, scale)
        step = SECOND / stream.rate
        self._points = np.rint(np.arange(stream.length) * step).astype(np.int64)
        self._early = round(_REACH_STEPS * step)
        self._wait = int(self._points[-1])
        self._late = self._wait + self._early
        self._pause = _NEVER  # one frame is no clip

    def _window(self, t0: int) -> Window | None:
        stream, points = self.stream, t0 + self._points
        places = self._nearest(points)
        reached = np.flatnonzero(np.abs(self._t[places] - points) <= self._early)
        shown = ((point, self._frame(int(places[point]))) for point in reached.tolist())
        frames = {point: frame for point, frame in shown if frame is not None}
        there = np.array(list(frames), np.int64)
        quality = len(there) / stream.length
        if quality < MIN_QUALITY:
            return None
        away = np.abs(there[None, :] - np.arange(stream.length)[:, None])
        clip = np.stack([frames[point] for point in there[away.argmin(1)].tolist()])
        return Window(stream, t0, stream.rate, clip, quality)

    def _nearest(self, points: Times) -> NDArray[np.intp]:
        """Places of the frames nearest to points in time; of two equally near the earlier."""
        after = np.searchsorted(self._t, points)
        before, after = np.maximum(after - 1, 0), np.minimum(after, len(self._t) - 1)
        return np.where(points - self._t[before] <= np.abs(self._t[after] - points), before, after)

    def _needed(self) -> NDArray[np.intp]:
        newest = int(self._t[-1])
        starts = np.arange(self._next, newest + 1, self.stream.hop_ns)
        points = (starts[:, None] + self._points).ravel()
        points = points[points <= newest]  # of later ones the newest frame is nearest so far
        places = self._nearest(points)
        return np.unique([*places[np.abs(self._t[places] - points) <= self._early], len(self._t) - 1])
