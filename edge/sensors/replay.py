"""Recordings as sensors: CSV, WAV, FLAC, OGG, and the folders of sp_sw_har and esc10.

`tracks` finds what a path holds, `plan` says when each part is played, `ReplaySensor` plays the parts of one
stream. Devices that were recorded at once keep their common time whatever the speed. It knows nothing of labels, and
nothing of recorded frames: those are the agent's own bytes.
"""

import csv
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError, DataError
from broker.modalities import MODALITIES
from edge.sensors import Options, Reading
from edge.sensors.options import SECOND, choose, parse_time

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.windows import Stream

SOUND = (".wav", ".flac", ".ogg")
GRID_NS = SECOND // 2  # shifts keep the phase of the windows' grid, so that a shifted replay cuts the same windows
DEVICES = {"sw": ("watch", "wrist"), "sp": ("phone", "pocket")}

_PAUSE_NS = 3 * SECOND  # between two recordings that are played one after the other
_CHUNK_NS = SECOND // 4
_EXECUTION = re.compile(r"(?P<run>.+_\d+)_(?P<device>sp|sw)")
_TIME_COLUMNS = ("timestamp", "time", "t", "datetime", "unixtime", "timestampms", "timestampns")
_RELATIVE_S = 1e8  # times below this count seconds from the start of the recording


@dataclass(frozen=True, slots=True)
class Track:
    """One device's part of one recording, `start` to `end` in ns UTC.

    `device` and `placement` are empty where the file does not tell. `chunks` reads it.
    """

    recording: str
    device: str
    modality: str
    placement: str
    start: int
    end: int
    chunks: Callable[[], Iterator[Reading]]


@dataclass(frozen=True, slots=True)
class Part:
    """A track in a replay: its times move by `shift` ns, and it begins `at` ns after the replay does."""

    track: Track
    shift: int
    at: int


def tracks(path: Path, start: int | None = None) -> list[Track]:
    """What a file or folder holds, in order of time. Raises DataError for what cannot be read.

    `start` (ns UTC) is when recordings without times of their own begin; the time of the file if not given.
    """
    if path.is_dir():
        found = _folder(path, start)
    elif path.suffix.lower() in SOUND:
        found = [_sound(path, _start(path, start))]
    elif path.suffix.lower() == ".csv":
        found = [_csv(path, _start(path, start))]
    elif path.suffix.lower() == ".parquet":
        found = _parquet(path)
    else:
        raise DataError(f"{path}: not a recording; expected a folder, .csv, .parquet or {', '.join(SOUND)}")
    return sorted(found, key=lambda track: (track.start, track.device))


def plan(found: Sequence[Track], now: int | None = None) -> list[Part]:
    """When each track is played. Tracks of one recording share a shift; pauses between recordings are cut short.

    With `now` (ns UTC) the times move there, by whole steps of the windows' grid: each recording follows the other.
    """
    spans: dict[str, tuple[int, int]] = {}
    for track in found:
        begin, end = spans.get(track.recording, (track.start, track.end))
        spans[track.recording] = min(begin, track.start), max(end, track.end)
    at, previous, placed = 0, None, {}
    for recording, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if previous is not None:
            at += previous[1] - previous[0] + min(max(begin - previous[1], 0), _PAUSE_NS)
        shift = 0 if now is None else -(-(now + at - begin) // GRID_NS) * GRID_NS
        placed[recording], previous = (shift, at - begin), (begin, end)
    parts = []
    for track in found:
        shift, offset = placed[track.recording]
        parts.append(Part(track, shift, offset + track.start))
    return sorted(parts, key=lambda part: part.at)


class ReplaySensor:
    """Plays parts of one modality. `speed` 2 is twice as fast as it was recorded, 0 as fast as readings are taken."""

    def __init__(self, parts: Sequence[Part], clock: "Clock", speed: float = 1.0) -> None:
        if not parts or speed < 0:
            raise ConfigError(f"replay: {len(parts)} parts at speed {speed:g}; there is nothing to play")
        self.modality = parts[0].track.modality
        self._parts, self._clock, self._speed = parts, clock, speed

    async def readings(self) -> AsyncIterator[Reading]:
        """All parts in order; ends after the last one."""
        begun = self._clock.now()
        for part in self._parts:
            for chunk in part.track.chunks():
                elapsed = part.at + int(chunk.t[-1]) - part.track.start
                due = begun + round(elapsed / self._speed) if self._speed else 0
                await self._clock.sleep(max(0.0, (due - self._clock.now()) / SECOND))
                yield Reading(chunk.t + part.shift, chunk.values)


def open_replay(options: Options, stream: "Stream", clock: "Clock") -> ReplaySensor:
    """The sensor of a settings file. Options: path, speed, start (a time), now (move the times to now)."""
    chosen = choose("replay", options, path="", speed=1.0, start="", now=False)
    start = parse_time(chosen["start"]) if chosen["start"] else None
    parts = plan(tracks(Path(chosen["path"]), start), clock.now() if chosen["now"] else None)
    mine = [p for p in parts if p.track.modality == stream.modality and p.track.placement in {"", stream.placement}]
    if not mine:
        raise ConfigError(
            f"stream {stream.name}: {chosen['path']!r} holds no {stream.modality} at {stream.placement}; "
            f"it holds {', '.join(sorted({f'{p.track.modality} at {p.track.placement}' for p in parts}))}"
        )
    return ReplaySensor(mine, clock, chosen["speed"])


def _start(path: Path, start: int | None) -> int:
    if not path.exists():
        raise DataError(f"{path}: no such file")
    return path.stat().st_mtime_ns // GRID_NS * GRID_NS if start is None else start


def _folder(path: Path, start: int | None) -> list[Track]:
    if files := sorted(path.glob("*.parquet")):
        return [track for file in files for track in _parquet(file)]
    named = [file for pattern in ("*.csv", "*/*.csv", "*/*/*.csv") for file in sorted(path.glob(pattern))]
    if executions := [file for file in named if _EXECUTION.fullmatch(file.stem)]:
        return [_csv(file, 0) for file in executions]
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SOUND]
    if not files:
        raise DataError(
            f"{path}: no recordings; expected sp_sw_har's s*.parquet or s01_01_sp.csv, or {', '.join(SOUND)}"
        )
    found: list[Track] = []
    for file in files:
        begin = _start(file, start) if not found else -(-found[-1].end // GRID_NS) * GRID_NS
        found.append(replace(_sound(file, begin), recording=path.name))
    return found


def _of_arrays(about: tuple[str, str, str, str], t: NDArray[np.int64], values: NDArray[np.float32]) -> Track:
    """A track of samples in memory; those that were stored out of order are sorted."""
    order = np.argsort(t, kind="stable")
    t, values = t[order], values[order]

    def chunks() -> Iterator[Reading]:
        edges = np.unique(np.searchsorted(t, np.arange(t[0], t[-1] + _CHUNK_NS, _CHUNK_NS)))
        for i, j in zip(edges, [*edges[1:], len(t)], strict=True):
            if i < j:
                yield Reading(t[i:j], values[i:j])

    return Track(*about, int(t[0]), int(t[-1]), chunks)


def _csv(path: Path, start: int) -> Track:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        modality, time, columns = _columns(path, header)
        try:
            cells = [(row[time], [float(row[c] or "nan") for c in columns]) for row in rows if row]
            if not cells:
                raise DataError(f"{path}: a header and no samples")
            t = np.array([_moment(cell, start) for cell, _ in cells], np.int64)
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}: line {rows.line_num}: {error}") from None
    values = np.array([numbers for _, numbers in cells], np.float64).astype(np.float32)
    run = _EXECUTION.fullmatch(path.stem)
    device, placement = DEVICES[run["device"]] if run else ("", "")
    return _of_arrays((run["run"] if run else path.stem, device, modality, placement), t, values)


def _moment(text: str, start: int) -> int:
    try:
        number = float(text)
    except ValueError:
        return parse_time(text)
    return start + round(number * SECOND) if abs(number) < _RELATIVE_S else parse_time(text)


def _columns(path: Path, header: list[str]) -> tuple[str, int, list[int]]:
    """Modality, index of the time column and indices of the channels, by the names in the header."""
    names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
    time = next((names.index(name) for name in _TIME_COLUMNS if name in names), None)
    if time is None:
        raise DataError(f"{path}: no column of times; call it timestamp (ISO 8601, or unix s, ms, us or ns)")
    for modality, row in MODALITIES.items():
        wanted = [_aliases(channel) for channel in row.channels]
        if row.axes == ("time",) and all(any(name in names for name in aliases) for aliases in wanted):
            return modality, time, [next(names.index(a) for a in aliases if a in names) for aliases in wanted]
    raise DataError(f"{path}: columns {', '.join(header)}; an imu needs {', '.join(MODALITIES['imu'].channels)}")


def _aliases(channel: str) -> list[str]:
    """Ways to write a channel: acc_x is also x_acc, accelerometer_x and ax."""
    kind, _, axis = channel.partition("_")
    long = {"acc": "accelerometer", "gyro": "gyroscope"}.get(kind)
    short = [kind + axis, axis + kind]
    return [*short, long + axis, kind[0] + axis] if long else short


def _parquet(path: Path) -> list[Track]:
    """One person of sp_sw_har: all executions, both devices."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(f"{path}: reading parquet needs pyarrow; pip install 'iotlm[backend]'") from None
    try:
        table = pq.read_table(path)
        _, time, columns = _columns(path, table.column_names)
        runs, device = table["exec"].to_numpy(), np.array(table["device"].to_pylist())
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a person's sp_sw_har recording: {error}") from None
    t = table.column(time).to_numpy().astype(np.int64) * 10**6
    values = np.stack([table.column(c).to_numpy() for c in columns], -1).astype(np.float32)
    found = []
    for run in np.unique(runs):
        for suffix, (name, placement) in DEVICES.items():
            part = (runs == run) & (device == suffix)
            if part.any():
                found.append(_of_arrays((f"{path.stem}_{run:02d}", name, "imu", placement), t[part], values[part]))
    return found


def _sound(path: Path, start: int) -> Track:
    """A sound file, mixed to one channel and brought to the grid's rate."""
    import soundfile

    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: not a sound file: {error}") from None
    rate = round(MODALITIES["audio"].rate)

    def chunks() -> Iterator[Reading]:
        heard = 0
        for block in _converted(path, info.samplerate, rate):
            if len(block):
                t = start + np.arange(heard, heard + len(block), dtype=np.int64) * SECOND // rate
                heard += len(block)
                yield Reading(t, block[:, None])

    return Track(path.stem, "", "audio", "room", start, start + round(info.frames / info.samplerate * SECOND), chunks)


def _converted(path: Path, rate: int, wanted: int) -> Iterator[NDArray[np.float32]]:
    import soundfile
    import soxr

    convert = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ") if rate != wanted else None
    for block in soundfile.blocks(str(path), blocksize=rate // 4, dtype="float32", always_2d=True):
        mono = block.mean(axis=1)
        yield convert.resample_chunk(mono) if convert else mono
    if convert:
        yield convert.resample_chunk(np.zeros(0, np.float32), last=True)
