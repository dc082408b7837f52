"""Frames taken off the wire, as `edge record` writes them: DIR/LABEL/*.frames show LABEL.

What was recorded at once is one group, as serving would fuse it: files of a label whose times overlap and which share
no stream, a watch's and a phone's for instance. Windows come as they went over the wire, raw or as tokens. This module
knows neither which labels there are nor what a model makes of windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from backend.data.files import SLOT
from backend.moment import Moment, StreamWindow
from backend.wire import window_of
from broker.errors import DataError, MessageError
from edge.recording import SUFFIX, read_frames


@dataclass(frozen=True)
class Taken:
    """One recording of one group: what it shows, and its windows by slot. `name` is that of its first file."""

    name: str
    label: str
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class _File:
    """The windows of one site in one file."""

    name: str
    site: str
    windows: tuple[StreamWindow, ...]

    @property
    def streams(self) -> set[str]:
        return {window.key for window in self.windows}

    @property
    def span(self) -> tuple[int, int]:
        times = [window.t0 for window in self.windows]
        return min(times), max(times)


def read_taken(root: Path) -> list[Taken]:
    """The recordings in the labels' folders, in order of label and time.

    Raises:
        DataError: there is none, a file lies beside the folders or is damaged, or a frame is no window.
    """
    if beside := sorted(root.glob(f"*{SUFFIX}")):
        raise DataError(f"{beside[0]}: in no label's folder; move it to {root / 'LABEL' / beside[0].name}")
    found: list[Taken] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = [part for path in sorted(folder.glob(f"*{SUFFIX}")) for part in _read(path)]
        found += [_taken(folder.name, group) for group in _together(files)]
    if not found:
        raise DataError(f"{root}: no recordings; expected LABEL/*{SUFFIX} in it, as `edge record` writes them")
    return found


def _read(path: Path) -> Iterator[_File]:
    by_site: dict[str, list[StreamWindow]] = {}
    for number, (topic, frame) in enumerate(read_frames(path), 1):
        try:
            by_site.setdefault(topic.site, []).append(window_of(topic, frame))
        except MessageError as error:
            raise DataError(f"{path}: frame {number}: {error}; record it again") from None
    if not by_site:
        raise DataError(f"{path}: no frames in it; remove it or record it again")
    for site, windows in by_site.items():
        yield _File(path.stem, site, tuple(windows))


def _together(files: Iterable[_File]) -> list[list[_File]]:
    """Files of the same time and site that share no stream; of several that would do, the one that began last."""
    groups: list[list[_File]] = []
    for one in sorted(files, key=lambda file: (file.span, file.name)):
        for group in reversed(groups):
            overlaps = max(file.span[1] for file in group) >= one.span[0]
            taken = set().union(*(file.streams for file in group))
            if overlaps and group[0].site == one.site and not taken & one.streams:
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _taken(label: str, files: list[_File]) -> Taken:
    name, by_stream = f"{label}/{files[0].name}", dict[tuple[int, str], StreamWindow]()
    for window in (window for file in files for window in file.windows):
        by_stream.setdefault((window.t0 // SLOT, window.key), window)  # sent twice, it is still one
    ordered = sorted(by_stream.items())
    moments = tuple(
        Moment(files[0].site, name, slot, slot * SLOT, tuple(window for _, window in rows))
        for slot, rows in groupby(ordered, key=lambda item: item[0][0])
    )
    return Taken(name, label, moments)
