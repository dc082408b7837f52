"""Recordings as sensors: CSV, WAV, FLAC, OGG, and the folders of sp_sw_har and esc10.

`tracks` finds what a path holds, `plan` says when each part is played, `ReplaySensor` plays the parts of one
stream. Devices that were recorded at once keep their common time whatever the speed. It knows nothing of labels, and
nothing of recorded frames: those are the agent's own bytes.
"""

import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError, DataError
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.sensors import Options, Reading
from edge.sensors.options import choose, choose_time
from edge.sensors.tables import ACCELERATION, IMU, TURNING, Table, find_columns, joined, read, tidied

if TYPE_CHECKING:
    import pyarrow as pa

    from edge.clock import Clock
    from edge.windows import Stream

log = logging.getLogger(__name__)

SOUND = (".wav", ".flac", ".ogg")
GRID_NS = SECOND // 2  # shifts keep the phase of the windows' grid, so that a shifted replay cuts the same windows
DEVICES = {"sw": ("watch", "wrist"), "sp": ("phone", "pocket")}

_NAMED = 3  # of the files that are not played, so many are named
_PAUSE_NS = 3 * SECOND  # between two recordings that are played one after the other
_CHUNK_NS = SECOND // 4
_SPARSE = 3  # times slower than the modality's lowest rate: further apart, samples cover nothing
_EXECUTION = re.compile(r"(?P<run>.+_\d+)_(?P<device>sp|sw)")
_APPS = (("TotalAcceleration.csv", "Gyroscope.csv"), ("Accelerometer.csv", "Gyroscope.csv"))  # Sensor Logger, phyphox


@dataclass(frozen=True, slots=True)
class Track:
    """One device's part of one recording, `start` to `end` in ns UTC.

    `device` and `placement` are empty where the file does not tell. `chunks` reads its `samples`, which are near enough
    to one another for `covered` ns of the time; the rest are pauses.
    """

    recording: str
    device: str
    modality: str
    placement: str
    start: int
    end: int
    samples: int
    covered: int
    chunks: Callable[[], Iterator[Reading]]


@dataclass(frozen=True, slots=True)
class Part:
    """A track in a replay: its times move by `shift` ns, and it begins `at` ns after the replay does."""

    track: Track
    shift: int
    at: int


def tracks(path: Path, start: int | None = None) -> list[Track]:
    """What a file or folder holds, in order of time. Raises DataError for what cannot be read.

    `start` (ns UTC) is when recordings without times of their own begin, such as sound, and tables whose times count
    from zero; the time of the file if not given.
    """
    if path.is_dir():
        found = _folder(path, start)
    elif path.suffix.lower() in SOUND:
        found = [_sound(path, _start(path, start))]
    elif path.suffix.lower() == ".csv":
        found = [_csv(path, start)]
    elif path.suffix.lower() == ".parquet":
        found = _parquet(path)
    else:
        raise DataError(f"{path}: not a recording; expected a folder, .frames, .csv, .parquet or {', '.join(SOUND)}")
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
    if not chosen["path"]:
        raise ConfigError(f"stream {stream.name}: sensor replay needs the option path, a file or folder to play")
    start, path = choose_time("replay", chosen["start"]), Path(chosen["path"])
    parts = plan(tracks(path, start), clock.now() if chosen["now"] else None)
    mine = [p for p in parts if p.track.modality == stream.modality and p.track.placement in {"", stream.placement}]
    if not mine:
        raise ConfigError(
            f"stream {stream.name}: {chosen['path']!r} holds no {stream.modality} at {stream.placement}; "
            f"it holds {', '.join(sorted({f'{p.track.modality} at {p.track.placement}' for p in parts}))}"
        )
    if reason := why_no_window(stream, mine):
        raise DataError(f"{path}: no window in it: {reason}")
    return ReplaySensor(mine, clock, chosen["speed"])


def why_no_window(stream: "Stream", parts: Sequence[Part]) -> str:
    """Why the parts of one stream cannot have a window, as far as can be told before they are read; else empty."""
    row, samples = stream.row, sum(part.track.samples for part in parts)
    seconds = sum(part.track.end - part.track.start for part in parts) / SECOND
    covered = sum(part.track.covered for part in parts) / SECOND
    if seconds + 2 / row.min_rate < stream.window_s:  # a run covers a little before its first and after its last sample
        return f"{seconds:.3g} s of {stream.modality} are shorter than one window of {stream.window_s:g} s"
    if covered + 2 / row.min_rate < stream.window_s / 2:  # as much as a window needs
        if samples >= seconds * row.min_rate / _SPARSE:
            return f"pauses part the samples of {stream.modality}; they cover less than half of every window"
        rate = f"{samples / seconds:.3g} samples a second of {stream.modality}"
        return f"{rate}; it takes {row.min_rate:g} to {row.max_rate:g}"
    return ""


def _start(path: Path, start: int | None) -> int:
    if not path.exists():
        raise DataError(f"{path}: no such file")
    return path.stat().st_mtime_ns // GRID_NS * GRID_NS if start is None else start


def _folder(path: Path, start: int | None) -> list[Track]:
    """All that a folder holds; CSV files in it that are not played are named in a warning, with the reason."""
    found = [track for file in sorted(path.glob("*.parquet")) for track in _parquet(file)]
    files = sorted({*path.iterdir(), *path.glob("*/*"), *path.glob("*/*/*")})
    tables = [file for file in files if file.suffix.lower() == ".csv"]
    executions = [file for file in tables if _EXECUTION.fullmatch(file.stem)]
    found += [_csv(file, start) for file in executions]
    app = next((pair for pair in _APPS if all((path / name).is_file() for name in pair)), ())
    if app:
        found.append(_app(path / app[0], path / app[1], start))
    left_out: dict[Path, str] = {}
    single: list[Track] = []
    for file in tables:
        if file in executions or (file.parent == path and file.name in app):
            continue
        if app or file.parent != path:
            left_out[file] = "beside an app's export" if app else "in a folder below"
            continue
        try:
            single.append(_csv(file, start, after=max((track.end for track in single), default=0)))
        except DataError as error:
            left_out[file] = str(error).removeprefix(f"{file}: ")
    found += single + _clips([file for file in files if file.parent == path and file.suffix.lower() in SOUND], start)
    reasons = [f"{file.relative_to(path)}: {reason}" for file, reason in left_out.items()]
    if not found:
        raise DataError(
            f"{path}: no recordings; expected .frames, .csv, {', '.join(SOUND)}, sp_sw_har's s*.parquet or "
            "s01_01_sp.csv, or an app's Accelerometer.csv with Gyroscope.csv"
            f"{'. ' if reasons else ''}{'; '.join(reasons[:1])}"
        )
    if reasons:
        log.warning("%s: CSV files that are not played: %d (%s)", path, len(reasons), "; ".join(reasons[:_NAMED]))
    return found


def _clips(files: Sequence[Path], start: int | None) -> list[Track]:
    """The sound files of a folder as one recording, each beginning where the one before it ends."""
    found: list[Track] = []
    for file in files:
        begin = _start(file, start) if not found else -(-found[-1].end // GRID_NS) * GRID_NS
        found.append(replace(_sound(file, begin), recording=file.parent.name))
    return found


def _of_arrays(about: tuple[str, str, str, str], t: NDArray[np.int64], values: NDArray[np.float32]) -> Track:
    """A track of samples in memory, in order of time."""

    def chunks() -> Iterator[Reading]:
        edges = [0, *(np.flatnonzero(np.diff((t - t[0]) // _CHUNK_NS)) + 1), len(t)]
        for i, j in pairwise(edges):
            yield Reading(t[i:j], values[i:j])

    steps = np.diff(t)
    near = steps <= _SPARSE * SECOND / MODALITIES[about[2]].min_rate
    return Track(*about, int(t[0]), int(t[-1]), len(t), int(steps[near].sum()), chunks)


def _csv(path: Path, start: int | None, after: int = 0) -> Track:
    """A table; one whose times only count begins not before `after` (ns UTC)."""
    run = _EXECUTION.fullmatch(path.stem)
    device, placement = DEVICES[run["device"]] if run else ("", "")
    table = read(path)
    if table.channels == TURNING:
        raise DataError(f"{path}: turn rates alone; give the folder that has Accelerometer.csv, too")
    if table.channels == ACCELERATION:
        log.warning("%s: no columns of turn rates; they are taken to be 0", path)
        still = np.zeros((len(table.t), len(TURNING)), np.float32)
        table = replace(table, channels=IMU.channels, values=np.concatenate([table.values, still], 1))
    about = (run["run"] if run else path.stem, device, table.modality, placement)
    return _of_arrays(about, _placed(table, path, start, after), table.values)


def _app(acceleration: Path, turning: Path, start: int | None) -> Track:
    """One recording of a phone app, which writes a file per sensor."""
    try:
        table = joined(read(acceleration), read(turning))
    except ValueError as error:
        raise DataError(f"{acceleration} and {turning.name}: {error}") from None
    return _of_arrays((acceleration.parent.name, "", "imu", ""), _placed(table, acceleration, start), table.values)


def _placed(table: Table, path: Path, start: int | None, after: int = 0) -> NDArray[np.int64]:
    """The times in UTC; those that only count begin at `start`, or at the time of the file, and not before `after`."""
    begin = max(_start(path, start), -(-after // GRID_NS) * GRID_NS)
    return table.t - table.t[0] + begin if table.relative else table.t


def _parquet(path: Path) -> list[Track]:
    """One person of sp_sw_har: all executions, both devices."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError(f"{path}: reading parquet needs pyarrow; pip install '.[backend]' in the clone") from None
    try:
        table = pq.read_table(path)
        columns = find_columns(path, table.column_names)
        if columns.channels != IMU.channels:
            raise ValueError(f"it has no more than {', '.join(columns.channels)}")
        table = _known(path, table, [table.column_names[columns.time], "exec", "device"])
        runs, device = table["exec"].to_numpy(), np.array(table["device"].to_pylist())
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a person's sp_sw_har recording: {error}") from None
    t = table.column(columns.time).to_numpy().astype(np.int64) * 10**6
    values = np.stack([table.column(place).to_numpy() for place in columns.places], -1).astype(np.float32)
    found = []
    for run in np.unique(runs):
        for suffix, (name, placement) in DEVICES.items():
            part = (runs == run) & (device == suffix)
            if part.any():
                found.append(
                    _of_arrays((f"{path.stem}_{run:02d}", name, "imu", placement), *tidied(path, t[part], values[part]))
                )
    return found


def _known(path: Path, table: "pa.Table", needed: Sequence[str]) -> "pa.Table":
    """The rows that have all that is needed; those without are told in one warning."""
    known = np.logical_and.reduce([table[name].is_valid().to_numpy() for name in needed])
    if not known.all():
        log.warning(
            "%s: %d of %d rows lack %s and are left out, the first is row %d",
            *(path, np.count_nonzero(~known), len(known), " or ".join(needed), int(known.argmin()) + 1),
        )
    return table.filter(known)


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

    lasts = round(info.frames / info.samplerate * SECOND)
    return Track(path.stem, "", "audio", "room", start, start + lasts, info.frames, lasts, chunks)


def _converted(path: Path, rate: int, wanted: int) -> Iterator[NDArray[np.float32]]:
    import soundfile
    import soxr

    convert = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ") if rate != wanted else None
    for block in soundfile.blocks(str(path), blocksize=rate // 4, dtype="float32", always_2d=True):
        mono = block.mean(axis=1)
        yield convert.resample_chunk(mono) if convert else mono
    if convert:
        yield convert.resample_chunk(np.zeros(0, np.float32), last=True)
