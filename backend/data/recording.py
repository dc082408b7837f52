"""A labelled recording of one group's sensors, and its windows: what every dataset yields and training consumes.

`Recording` is raw samples with times and labelled segments; `Sequence` is the same cut into windows by the device's
own code (`edge.windows`), on the same grid of event time, with a target per task and slot. It knows nothing of
file formats or of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from backend.moment import Moment, StreamWindow
from backend.tasks import MASKS, TASKS, Classification
from edge.clock import SECOND
from edge.stream import Rows
from edge.windows import Stream, Window, cut

PARTS = 20
"""Parts of a window that labels are told apart in: 50 ms of a second."""
AUDIBLE_SHARE = 0.05
"""Share of a window from which on an event is what the window is: a sneeze lasts a fifth of a second."""


class Drawn(Protocol):
    """Masks by row, (n, H, W) uint8: an array, or a reader that fetches the rows of an index when it is used."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]:
        """The masks of these rows."""


@dataclass(frozen=True)
class Track:
    """Raw samples of one stream of one device: `t` (n,) int64 ns UTC, `values` (n, C) or (n, H, W, C).

    They are in the modality's units once multiplied by `scale`, which is done when they are used: hours of audio and of
    pictures stay small in memory as integers.
    """

    device: str
    stream: Stream
    t: NDArray[np.int64]
    values: Rows
    scale: float = 1.0


@dataclass(frozen=True)
class Segments:
    """Labels over time: label `index[i]` holds from `edges[i]` to `edges[i + 1]` (ns UTC); -1 is unlabelled time."""

    edges: NDArray[np.int64]
    index: NDArray[np.int64]

    @classmethod
    def from_samples(cls, t: NDArray[np.int64], index: NDArray[np.int64]) -> Segments:
        """Segments of a label given per sample; a change lies halfway between two samples."""
        change = np.flatnonzero(index[1:] != index[:-1]) + 1
        edges = np.concatenate([t[:1], (t[change - 1] + t[change]) // 2, t[-1:]])
        return cls(edges, index[np.concatenate([[0], change])])

    def moved(self, at: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Segments:
        """The same labels at other times."""
        return Segments(at(self.edges), self.index)

    def shares(self, edges_P: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """(P - 1, labels) share of each of these labels in the time between edges (ns)."""
        # Time spent under each label since the start is piecewise linear: its differences are the shares.
        origin, spans = self.edges[0], np.diff(self.edges)
        wanted, known = (edges_P - origin).astype(np.float64), (self.edges - origin).astype(np.float64)
        share = np.empty((len(edges_P) - 1, len(labels)), np.float32)
        for place, label in enumerate(labels):
            spent = np.concatenate([[0.0], np.cumsum(np.where(self.index == label, spans, 0))])
            share[:, place] = np.diff(np.interp(wanted, known, spent)) / np.diff(wanted)
        return share

    def shown(self, t: NDArray[np.int64], end_L: NDArray[np.int64], within_ns: int, labels: int) -> NDArray[np.float32]:
        """(L, labels) one at the label that holds at the newest of the times `t` before each end, or zeros."""
        row_L = _newest_row(t, end_L, within_ns)
        segment_L = np.searchsorted(self.edges, t[row_L], side="right") - 1
        inside_L = (row_L >= 0) & (segment_L >= 0) & (segment_L < len(self.index))
        label_L = np.where(inside_L, self.index[np.clip(segment_L, 0, len(self.index) - 1)], -1)
        return np.asarray(label_L[:, None] == np.arange(labels), np.float32)


@dataclass(frozen=True)
class Values:
    """Numbers over time, the truth of a regression: `t` (n,) ns UTC ascending, `values` (n, D) in the task's unit.

    NaN is unknown. A window's target is the newest row within it, as a window of frames shows the newest frame.
    """

    t: NDArray[np.int64]
    values: NDArray[np.float32]

    def moved(self, at: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> Values:
        """The same numbers at other times."""
        return Values(at(self.t), self.values)

    def newest(self, end_L: NDArray[np.int64], within_ns: int) -> NDArray[np.float32]:
        """(L, D) newest rows before each time; NaN where that is more than `within_ns` before."""
        found = np.full((len(end_L), self.values.shape[1]), np.nan, np.float32)
        row_L = _newest_row(self.t, end_L, within_ns)
        found[row_L >= 0] = self.values[row_L[row_L >= 0]]
        return found


def _newest_row(t: NDArray[np.int64], end_L: NDArray[np.int64], within_ns: int) -> NDArray[np.int64]:
    """(L,) index of the newest time before each end; -1 where that is more than `within_ns` before."""
    row_L = np.searchsorted(t, end_L) - 1
    there = (row_L >= 0) & (end_L - t[np.maximum(row_L, 0)] <= within_ns) if len(t) else row_L >= 0
    return np.where(there, row_L, -1)


@dataclass(frozen=True)
class Recording:
    """Streams that were recorded at once, with labels by task.

    `person` is whose data it is: the unit that splits keep together and that intervals are drawn over (for sound
    clips: the source recording). `fold` is the publishers' own fold, where there is one. `masks` has a row for each
    frame of the track that they are drawn from. `untimed`: rows are put one a slot, because they
    carry no time or are too rare for windows; seconds between them are made up.
    """

    name: str
    dataset: str
    person: str
    tracks: tuple[Track, ...]
    labels: Mapping[str, Segments | Values]
    fold: int | None = None
    masks: Mapping[str, Drawn] = field(default_factory=dict)
    untimed: bool = False


class Recordings(list[Recording]):
    """What a dataset's reader found. `skipped` names the rows and clips that a damaged or partial set lacks, `left_out`
    what a whole set has and the reader does not take.
    """

    def __init__(self, found: Iterable[Recording], skipped: Iterable[str] = (), left_out: Iterable[str] = ()) -> None:
        super().__init__(found)
        self.skipped, self.left_out = tuple(skipped), tuple(left_out)


@dataclass(frozen=True)
class Series:
    """Windows of one stream by slot: `values` (L, ...) as the modality's axes say, `quality` (L,), `present` (L,).

    `encoded`: `values` are an encoder's tokens (L, K, d), and `quality` has its trust in it.
    """

    device: str
    name: str
    modality: str
    placement: str
    rate: float
    values: NDArray[np.generic]
    scale: float
    quality: NDArray[np.float32]
    present: NDArray[np.bool_]
    encoded: bool = False

    @property
    def key(self) -> str:
        """`device/stream`, as in `StreamWindow.key`."""
        return f"{self.device}/{self.name}"

    def window(self, i: int, slot: int, hop_ns: int) -> StreamWindow:
        """The i-th window, as serving would see it in `slot`."""
        values = self.values[i].astype(np.float32) * np.float32(self.scale)
        about = (self.device, self.name, self.modality, self.placement, slot * hop_ns, self.rate)
        return StreamWindow(*about, float(self.quality[i]), values)


@dataclass(frozen=True)
class Parts:
    """Share of each label in each part of each window, (L, PARTS, k), over the k `labels` that occur at all."""

    labels: NDArray[np.int64]
    share: NDArray[np.float32]

    def dense(self, start: int, stop: int, labels: int) -> NDArray[np.float32]:
        """(stop - start, PARTS, labels) of some slots, over all labels."""
        share = self.share[start:stop]
        whole = np.zeros((*share.shape[:2], labels), np.float32)
        whole[..., self.labels] = share
        return whole


@dataclass(frozen=True)
class Masks:
    """Masks of a stream's frames: of slot l row `row[l]` of `drawn` (n, H, W) uint8, none where that is -1."""

    series: Series
    row: NDArray[np.int64]
    drawn: Drawn

    def known(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """The slots, of those from `start` to `stop`, that have a frame and a mask."""
        return start + np.flatnonzero((self.series.present & (self.row >= 0))[start:stop])

    def at(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Frames (n, H, W, C) in the modality's units, and their masks."""
        frames = self.series.values[slots].astype(np.float32) * np.float32(self.series.scale)
        return frames, np.asarray(self.drawn[self.row[slots]], np.uint8)


@dataclass(frozen=True)
class Sequence:
    """A recording in slots: streams' windows and, by task, the truth of the slot's window.

    `targets` of a classification is (L, labels), each label's share of the labelled part of the window, and `parts` the
    same over each part of it; a row of zeros is unlabelled time. `targets` of a regression is (L, size) with NaN where
    nothing is known. `hop_ns` is the length of a slot.
    """

    name: str
    dataset: str
    person: str
    slot: int
    hop_ns: int
    series: tuple[Series, ...]
    targets: Mapping[str, NDArray[np.float32]]
    parts: Mapping[str, Parts]
    fold: int | None = None
    masks: Mapping[str, Masks] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Number of slots L."""
        return len(self.series[0].present)

    def majority(self, task: str) -> NDArray[np.int64]:
        """(L,) of a classification: index of the label that covers most of each window; -1 where unlabelled."""
        target = self.targets[task]
        return np.where(target.sum(-1) > 0, target.argmax(-1), -1)

    def moments(self, site: str = "eval") -> list[Moment]:
        """The sequence as the moments that serving would make of it; slots without any window are left out."""
        moments = []
        for i in range(self.length):
            slot = self.slot + i
            windows = tuple(s.window(i, slot, self.hop_ns) for s in self.series if s.present[i])
            if windows:
                moments.append(Moment(site, self.name, slot, slot * self.hop_ns, windows))
        return moments


def sequence(recording: Recording, shift_ns: int = 0) -> Sequence | None:
    """Cut a recording into windows on the grid of event time; None when it is shorter than a window.

    `shift_ns` moves the recording in time first: the grid then cuts it at another phase, which is how training
    sees many windows in one recording.
    """
    hop_ns = round(recording.tracks[0].stream.hop_s * SECOND)
    window_ns = round(recording.tracks[0].stream.window_s * SECOND)
    found = [cut(track.stream, track.t + shift_ns, track.values, track.scale) for track in recording.tracks]
    slots = [window.t0 // hop_ns for windows in found for window in windows]
    if not slots:
        return None
    first, length = min(slots), max(slots) - min(slots) + 1
    tracks = [
        (track, _series(track, windows, first, length, hop_ns))
        for track, windows in zip(recording.tracks, found, strict=True)
        if windows
    ]
    series = tuple(one for _, one in tracks)
    part_ns = window_ns // PARTS
    edges = first * hop_ns - shift_ns + np.arange((length - 1) * hop_ns // part_ns + PARTS + 1) * part_ns
    ends = first * hop_ns - shift_ns + np.arange(length) * hop_ns + window_ns
    parts, targets = {}, {}
    for name, truth in recording.labels.items():
        task = TASKS[name]
        if isinstance(truth, Values):
            targets[name] = truth.newest(ends, window_ns)
            continue
        assert isinstance(task, Classification), f"{recording.name}: {name} is no classification and has labels"
        occurring = np.unique(truth.index[truth.index >= 0])
        shares = truth.shares(edges, occurring)
        windows = sliding_window_view(shares, PARTS, axis=0)[:: hop_ns // part_ns].swapaxes(1, 2)
        parts[name] = Parts(occurring, windows)
        showing = next((track for track in recording.tracks if track.stream.modality == task.told_by), None)
        if showing is not None:
            targets[name] = truth.shown(showing.t, ends, window_ns, task.size)
            continue
        whole = np.zeros((length, task.size), np.float32)
        whole[:, occurring] = windows.mean(1)
        whole = whole / np.maximum(whole.sum(-1, keepdims=True), 1e-6)
        targets[name] = event_first(whole, task.none_index)
    masks = {
        name: Masks(one, _newest_row(track.t, ends, window_ns), drawn)
        for name, drawn in recording.masks.items()
        for track, one in tracks
        if one.modality == MASKS[name].modality
    }
    about = (recording.name, recording.dataset, recording.person)
    return Sequence(*about, first, hop_ns, series, targets, parts, recording.fold, masks)


def event_first(target_LN: NDArray[np.float32], none: int | None) -> NDArray[np.float32]:
    """Shares in which `none` gives way to events, and events too short to count give way to `none`."""
    if none is None:
        return target_LN
    event_LN = np.where(np.arange(target_LN.shape[1]) == none, 0.0, target_LN)
    share_L1 = event_LN.sum(-1, keepdims=True)
    silent_LN = np.eye(target_LN.shape[1], dtype=np.float32)[none] * (target_LN.sum(-1, keepdims=True) > 0)
    is_event = share_L1 >= AUDIBLE_SHARE
    return np.asarray(np.where(is_event, event_LN / np.maximum(share_L1, 1e-6), silent_LN), np.float32)


def _series(track: Track, windows: list[Window], first: int, length: int, hop_ns: int) -> Series:
    stream, integer = track.stream, np.issubdtype(track.values.dtype, np.integer)
    shape = (length, *windows[0].values.shape)
    values = np.zeros(shape, track.values.dtype if integer else np.float32)
    quality, present = np.zeros(length, np.float32), np.zeros(length, bool)
    for window in windows:
        i = window.t0 // hop_ns - first
        values[i] = np.rint(window.values / track.scale) if integer else window.values
        quality[i], present[i] = window.quality, True
    about = (track.device, stream.name, stream.modality, stream.placement, windows[0].rate)
    return Series(*about, values, track.scale if integer else 1.0, quality, present)
