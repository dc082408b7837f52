"""What is drawn of a recording, and what all its drawings share: times, axes, bars of colours.

Series are drawn over `SPAN_S` seconds, frames and bodies at up to `MOMENTS` times in it, which dashed lines mark.
Nothing here depends on anything but the recording and the time asked for; it knows no modality.

n is a number of samples, K of moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.data.files import ORIGIN, SLOT
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
    """What is drawn of a recording: `start` (ns) counts as 0, from `low` to `high` ns, frames at `moments` (K,) ns.

    Axes are in seconds; of a recording without time (`Recording.untimed`) in rows, because seconds would be made up.
    """

    recording: Recording
    start: int
    low: int
    high: int
    moments: Times

    @property
    def single(self) -> bool:
        """Whether the recording is a single moment."""
        return self.low < self.start

    @property
    def unit(self) -> str:
        """Of the axes of time: s, or row."""
        return "row" if self.recording.untimed else "s"

    def passed(self, t: Times | int) -> Any:
        """Seconds, or rows, since the recording's start."""
        return (np.asarray(t, np.int64) - self.start) / step(self.recording)

    def when(self) -> str:
        """What the span is, as a title; with the date, of a recording that has one."""
        low, high = self.passed(self.low), self.passed(self.high)
        if self.recording.untimed:
            return "a single row" if self.single else f"rows {low:.0f} to {high:.0f}, in rows and no seconds"
        began = datetime.fromtimestamp(self.start / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        dateless = any(made_up <= self.start < made_up + SECOND for made_up in (0, ORIGIN))
        if self.single:
            return "a single moment" if dateless else f"a single moment, {began}"
        return f"{low:.1f} to {high:.1f} s from {'its start' if dateless else began}"

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


def step(recording: Recording) -> int:
    """ns of what a recording's time is told in: a second, or a row that has no time."""
    return SLOT if recording.untimed else SECOND


def sample(recording: Recording, at: float | None = None) -> Sample:
    """What to draw of a recording about a time, unless told where its labels change most.

    `at` is in seconds from its start, or is the number of a row where rows are put one a slot, from 0 on.

    Raises ConfigError for a time outside of the recording.
    """
    ends = [(int(track.t[0]), int(track.t[-1])) for track in recording.tracks if len(track.t)]
    if not ends:
        raise ConfigError(f"{recording.name}: has no samples to draw")
    start, end = min(first for first, _ in ends), max(last for _, last in ends)
    length = (end - start) / SECOND
    span = min(SPAN_S, length)
    each = step(recording) / SECOND
    middle = _liveliest(recording, start, length, span) if at is None else at * each
    if not 0 <= middle <= length:
        lasts = f"has rows 0 to {length / each:.0f}" if recording.untimed else f"lasts from 0 to {length:.3f} s"
        raise ConfigError(f"--at {at:g}: {recording.name} {lasts}")
    if not length:
        half = round(MOMENT_S / 2 * SECOND)
        return Sample(recording, start, start - half, start + half, np.array([start]))
    low = start + round(min(max(middle - span / 2, 0.0), length - span) * SECOND)
    high = low + round(span * SECOND)
    count = 1 if span < 0.5 else MOMENTS
    moments = np.linspace(low, high, 2 * count + 1)[1::2] if count > 1 else np.array([high])
    if recording.untimed:  # between two rows is nothing
        moments = np.unique(start + np.rint((moments - start) / SLOT) * SLOT)
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
    """The span, with dashed lines at the moments."""
    pad = max(of.passed(of.high) - of.passed(of.low), 0.02) * 0.005
    axes.set_xlim(of.passed(of.low) - pad, of.passed(of.high) + pad)
    if of.single:
        axes.set_xticks([0])
    else:
        axes.locator_params(axis="x", integer=of.recording.untimed)
    axes.tick_params(labelsize="x-small")
    axes.set_xlabel(of.unit, fontsize="x-small", labelpad=0)
    for moment in of.moments:
        axes.axvline(of.passed(int(moment)), color="grey", linewidth=0.6, linestyle="--")


def stamp(of: Sample, axes: Axes, moment: int, unit: str = "") -> None:
    """Name a panel by its time (ns), and its axes by their unit."""
    at = of.passed(moment)
    axes.set_title(f"row {at:.0f}" if of.recording.untimed else f"{at:.2f} s", fontsize="x-small", pad=2)
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
    """Seconds or rows (n,), and values (n, ...), within the span."""
    t = np.asarray(track.t)
    part = of.part(t)
    return of.passed(t[part]), np.asarray(track.values[part], np.float32) * np.float32(track.scale)


def still(track: Track, row: int) -> Floats:
    """(H, W, C) one frame in the modality's units."""
    frame: Floats = np.asarray(track.values[row : row + 1], np.float32)[0] * np.float32(track.scale)
    return frame
