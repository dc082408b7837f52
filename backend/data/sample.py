"""What is drawn of a recording, and what all its drawings share: times, axes, bars of colours.

Series are drawn over `SPAN_S` seconds, frames and bodies at up to `MOMENTS` times in it, which dashed lines mark.
Nothing here depends on anything but the recording and the time asked for; it knows no modality.

n is a number of samples, K of moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.data.recording import Recording, Segments, Track
from broker.errors import ConfigError
from edge.clock import SECOND

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

Floats = NDArray[np.floating]
Times = NDArray[np.int64]

SPAN_S = 8.0
"""Seconds of series that are drawn about the time asked for."""
MOMENTS = 5
MOMENT_S = 0.5
"""Seconds that are drawn about a recording of a single moment."""
STALE_S = 1.0
"""A frame or a truth older than a window is not drawn."""
WIDTH = 11.0
"""Inches."""


@dataclass(frozen=True)
class Row:
    """A band of the picture: `height` inches, `title`, and what fills it."""

    height: float
    title: str
    fill: Callable[[SubFigure], None]


@dataclass(frozen=True)
class Sample:
    """What is drawn of a recording: `start` (ns) counts as 0, from `low` to `high` ns, frames at `moments` (K,) ns."""

    recording: Recording
    start: int
    low: int
    high: int
    moments: Times

    @property
    def single(self) -> bool:
        """Whether the recording is a single moment."""
        return self.low < self.start

    def seconds(self, t: Times | int) -> Any:
        """Seconds since the recording's start."""
        return (np.asarray(t, np.int64) - self.start) / SECOND

    def part(self, t: Times) -> slice:
        """The rows within the span, of ascending times."""
        return slice(int(np.searchsorted(t, self.low)), int(np.searchsorted(t, self.high, "right")))

    def newest(self, t: Times, moments: Times | None = None) -> list[int | None]:
        """Row number of the newest of times `t` at each moment; None where there is none that is not stale."""
        moments = self.moments if moments is None else moments
        rows = np.searchsorted(t, moments, "right") - 1
        return [
            int(row) if row >= 0 and moment - t[row] <= STALE_S * SECOND else None
            for row, moment in zip(rows, moments, strict=True)
        ]

    def shown(self, t: Times) -> Times:
        """(K,) when what is newest at each moment was measured; the moment itself where there is nothing."""
        rows = self.newest(t)
        return np.array([moment if row is None else t[row] for row, moment in zip(rows, self.moments, strict=True)])


def sample(recording: Recording, at_s: float | None = None) -> Sample:
    """What to draw of a recording about a time (seconds from its start), unless told where its labels change most.

    Raises ConfigError for a time outside of the recording.
    """
    ends = [(int(track.t[0]), int(track.t[-1])) for track in recording.tracks if len(track.t)]
    if not ends:
        raise ConfigError(f"{recording.name}: has no samples to draw")
    start, end = min(first for first, _ in ends), max(last for _, last in ends)
    length = (end - start) / SECOND
    span = min(SPAN_S, length)
    middle = _liveliest(recording, start, length, span) if at_s is None else at_s
    if not 0 <= middle <= length:
        raise ConfigError(f"--at {at_s:g}: {recording.name} lasts from 0 to {length:.3f} s")
    if not length:
        half = round(MOMENT_S / 2 * SECOND)
        return Sample(recording, start, start - half, start + half, np.array([start]))
    low = start + round(min(max(middle - span / 2, 0.0), length - span) * SECOND)
    high = low + round(span * SECOND)
    count = 1 if span < 0.5 else MOMENTS
    moments = np.linspace(low, high, 2 * count + 1)[1::2] if count > 1 else np.array([high])
    return Sample(recording, start, low, high, np.rint(moments).astype(np.int64))


def _liveliest(recording: Recording, start: int, length: float, span: float) -> float:
    """Seconds from a recording's start about which its labels change most; of several, those nearest its middle."""
    known = [truth for truth in recording.labels.values() if isinstance(truth, Segments)]
    changes = [truth.edges[1:-1][np.diff(truth.index) != 0] for truth in known]
    at = np.sort(np.concatenate([np.empty(0, np.int64), *changes]) - start) / SECOND
    middles = np.append(np.arange(span / 2, length - span / 2), length / 2)
    count = np.searchsorted(at, middles + span / 2) - np.searchsorted(at, middles - span / 2)
    most = middles[count == count.max()]
    return float(most[np.abs(most - length / 2).argmin()])


def time_axis(of: Sample, axes: Axes) -> None:
    """Seconds of the span, with dashed lines at the moments."""
    pad = max((of.high - of.low) / SECOND, 0.02) * 0.005
    axes.set_xlim(of.seconds(of.low) - pad, of.seconds(of.high) + pad)
    axes.tick_params(labelsize="x-small")
    axes.set_xlabel("s", fontsize="x-small", labelpad=0)
    for moment in of.moments:
        axes.axvline(of.seconds(int(moment)), color="grey", linewidth=0.6, linestyle="--")


def stamp(of: Sample, axes: Axes, moment: int, unit: str = "") -> None:
    """Name a panel by its time (ns), and its axes by their unit."""
    axes.set_title(f"{of.seconds(moment):.2f} s", fontsize="x-small", pad=2)
    axes.tick_params(labelsize=5, length=1)
    if unit:
        axes.set_xlabel(unit, fontsize=5, labelpad=0)


def bar(band: SubFigure, shown: Any, panels: list[Axes], unit: str) -> None:
    """A bar that tells the colours of what is `shown` on the panels."""
    drawn = band.colorbar(shown, ax=panels, pad=0.01, shrink=0.85)
    drawn.set_label(unit, fontsize="x-small")
    drawn.ax.tick_params(labelsize="x-small")
    for axes in panels:
        axes.set_anchor("C")  # a bar pushes a single panel aside


def about(track: Track) -> str:
    """Device, stream, modality and placement of a track, as a title."""
    return f"{track.device}/{track.stream.name}: {track.stream.modality} at {track.stream.placement}"


def cut(of: Sample, track: Track) -> tuple[Floats, Floats]:
    """Seconds (n,) and values (n, ...) within the span."""
    t = np.asarray(track.t)
    part = of.part(t)
    return of.seconds(t[part]), np.asarray(track.values[part], np.float32) * np.float32(track.scale)


def still(track: Track, row: int) -> Floats:
    """(H, W, C) one frame in the modality's units."""
    frame: Floats = np.asarray(track.values[row : row + 1], np.float32)[0] * np.float32(track.scale)
    return frame
