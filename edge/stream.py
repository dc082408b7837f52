"""What a stream and a window are, and what all cutters of windows share.

A `Stream` says how one sensor's samples are cut, a `Window` is one piece. `runs` splits samples where their times jump;
`up` and `has` are small helps. Nothing here looks at a sample's value.
"""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from broker.modalities import MODALITIES, READABLE, Modality
from edge.clock import SECOND
from edge.sensors import Reading

MIN_QUALITY = 0.5  # a window of which samples cover less tells nothing, and is not made
SIDES = (4, 512)
"""The shortest and the longest side that the frames of a stream may have."""

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stream:
    """One sensor's stream: its name on the device, what it measures, where it sits, and how it is cut.

    `rate` (Hz), `window_s`, `hop_s` (seconds) and `size` (height, width of frames) are the modality's own where they
    are not given. `channels` binds a series to that many; 0 takes what the sensor brings, as far as the modality does.
    Raises ConfigError for an unknown modality, or a grid or a size that cannot be cut.
    """

    name: str
    modality: str
    placement: str
    rate: float = 0.0
    window_s: float = 0.0
    hop_s: float = 0.0
    _: KW_ONLY
    size: tuple[int, int] = (0, 0)
    channels: int = 0

    def __post_init__(self) -> None:
        if self.modality not in READABLE:
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
        self._check_size()
        if self.channels and not self.row.takes(self.channels):
            raise ConfigError(f"stream {self.name}: channels {self.channels}; {has(self.row)}")

    def _check_size(self) -> None:
        size = tuple(self.size)  # a list where it comes from a file
        if not any(size):
            size = self.row.size
        elif not self.row.size[0]:
            raise ConfigError(f"stream {self.name}: size {list(size)}; {self.modality} is a series and has no size")
        elif len(size) != 2 or not all(SIDES[0] <= side <= SIDES[1] for side in size):
            raise ConfigError(
                f"stream {self.name}: size {list(size)}; give height and width, each {SIDES[0]}..{SIDES[1]}"
            )
        object.__setattr__(self, "size", size)

    @property
    def row(self) -> Modality:
        """The modality's row in the table."""
        return READABLE[self.modality]

    @property
    def length(self) -> int:
        """Points in time T of a window; a frame is one."""
        return round(self.window_s * self.rate) if "time" in self.row.axes else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a window's values: (T, C), (H, W, C) or (T, H, W, C); C as declared, else the named channels."""
        sides = dict(zip(("time", "height", "width"), (self.length, *self.size), strict=True))
        return (*(sides[axis] for axis in self.row.axes), self.channels or len(self.row.channels))

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
    """A stretch of a stream on the grid: `values` float32 in the modality's units, (T, C), (H, W, C) or (T, H, W, C),
    from `t0` (ns UTC) on, `rate` per second. `quality` is the share of the T points that samples cover, 0.5..1; of a
    frame, how new it is at the window's end.
    """

    stream: Stream
    t0: int
    rate: float
    values: NDArray[np.float32]
    quality: float


class Rows(Protocol):
    """Samples by row: an array, a memory map, or a reader that fetches rows from a file when they are sliced."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, C) or (n, H, W, C)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the samples."""

    def __getitem__(self, rows: slice, /) -> Any:
        """The rows of a slice, as something that numpy makes an array of."""


class Cutter(Protocol):
    """Cuts one stream. A window is made as soon as the samples that it depends on have been seen."""

    def take(self, t: Times, values: Rows) -> Iterator[Window]:
        """Windows one by one, as samples at times `t` (n,) ns UTC make them certain; rows are read when needed.

        Raises ConfigError for samples of a wrong shape. What is left over of an iterator that is given up is lost.
        """

    def push(self, reading: Reading) -> list[Window]:
        """The windows that are now certain."""

    def flush(self) -> list[Window]:
        """End the run: the windows that still waited for samples to come. Afterwards a new run may start."""


def runs(t: Times, newest: int | None, ahead: int, back: int) -> Iterator[tuple[int, Times, bool]]:
    """Split where time jumps by more than `ahead` or `back` ns, after a sample at `newest` if there was one.

    Gives the first row of each part, its times, which never fall, and whether a new run starts there.
    """
    first = 0
    while first < len(t):
        rest = t[first:]
        rising = np.maximum.accumulate(rest if newest is None else np.maximum(rest, newest))
        before = np.concatenate([rising[:1] if newest is None else [newest], rising[:-1]])
        jumps = np.flatnonzero((rest - before > ahead) | (before - rest > back))
        end = int(jumps[0]) if len(jumps) else len(rest)
        if end:
            yield first, rising[:end], newest is None
        first, newest = first + end, None


def up(t: int, hop: int) -> int:
    """The first multiple of `hop` at or after `t`."""
    return -(-t // hop) * hop


def has(row: Modality) -> str:
    """How many channels a modality has, in words."""
    more = f", up to {row.most_channels}" if row.most_channels > len(row.channels) else ""
    return f"{row.name} has {len(row.channels)} channels{more}"
