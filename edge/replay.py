"""`edge replay`: a recording goes over the wire again, each device in it as a device of its own.

Recordings are what `edge.sensors.replay` reads and files of recorded frames. With a folder for its state, a replay that
was killed goes on where it was, at the times it had then. It refuses to know what the samples mean.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from broker.errors import ConfigError, DataError, LinkDown
from edge.agent import Agent, first_error, will
from edge.clock import SECOND, Clock, SystemClock
from edge.config import BrokerConfig
from edge.encoder import Encoder
from edge.progress import Standing, shown
from edge.recording import SUFFIX, RecordedDevice, RecordedPart, read_frames
from edge.run import open_link
from edge.sender import DEFAULT_TIMING, Timing
from edge.sensors.replay import GRID_NS, SOUND, Part, ReplaySensor, plan, tracks, why_no_window
from edge.sources import SensorSource, Source, stream_for
from edge.spool import Spool
from edge.windows import Stream

log = logging.getLogger(__name__)

UNNAMED = "replay"  # the device of a recording that names none
_PAUSE_NS = 3 * SECOND  # between two recordings of frames that are played one after the other
_OVERLAP_NS = 2 * SECOND  # samples before a window that can have a part in it, generously

Spools = Mapping[str, Spool]


@dataclass(frozen=True, slots=True)
class Replay:
    """What to play and where to.

    `device` picks one of the recording's devices, or names the device of a recording that names none. `speed` is times
    real time, 0 as fast as acknowledgements allow. `now` moves the recording's times to the present. `folder` keeps
    the state over a kill. `encoders` serve the modalities they are for. `timeout_s` is how long to look for a broker.
    """

    path: Path
    site: str
    broker: BrokerConfig
    device: str | None = None
    speed: float = 1.0
    now: bool = False
    folder: Path | None = None
    encoders: tuple[Path, ...] = ()
    timeout_s: float = 10.0
    window: int = 64
    timing: Timing = DEFAULT_TIMING


async def replay(order: Replay) -> int:
    """Play until everything is acknowledged; the number of windows sent.

    Raises:
        DataError: the recording cannot be read, has no such device, or no window in it.
        LinkDown: there is no broker.
        ConfigError: the folder holds the state of another replay.
    """
    if not order.path.exists():
        raise DataError(f"{order.path}: no such file or folder")
    clock = SystemClock()
    with contextlib.ExitStack() as stack:
        folder, now = stack.enter_context(_state(order, clock))
        recordings = _recordings(order, clock, now)
        devices = _known(order, recordings)
        spools = {}
        for device in devices:
            spool = Spool(folder / f"{device}.db", owner=f"{order.site}/{device}")
            spools[device] = stack.enter_context(contextlib.closing(spool))
        parts = [recording.sources(spools) for recording in recordings]
        sources = {device: [source for part in parts for source in part.get(device, [])] for device in devices}
        try:
            async with shown(lambda: _standing(spools.values(), recordings)), asyncio.TaskGroup() as group:
                for device, spool in spools.items():
                    group.create_task(_play(order, device, sources[device], spool, clock))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        if not (sent := sum(spool.next_seq - 1 for spool in spools.values())):
            raise DataError(f"{order.path}: no window in it: samples cover less than half of every one")
        return sent


class SampleRecording:
    """Samples of one or more devices: a file or folder that `edge.sensors.replay` reads.

    `windows` is about how many there will be: pauses have none, and nobody has read them yet.
    """

    def __init__(self, order: Replay, clock: Clock, now: int | None) -> None:
        self._order, self._clock = order, clock
        self._encoders = {encoder.modality: encoder for encoder in map(Encoder, order.encoders)}
        parts = plan(tracks(order.path), now)
        self._parts = [part for part in parts if order.device in (None, self._device(part))]
        self.devices = sorted({self._device(part) for part in self._parts})
        self.all = {part.track.device for part in parts}
        self._placements: dict[tuple[str, str], set[str]] = {}
        for part in self._parts:
            mine = self._placements.setdefault((self._device(part), part.track.modality), set())
            mine.add(part.track.placement)
        streams = [(self._stream(name, of), of) for (_, name), of in self._by_stream(self._parts).items()]
        reasons = [why_no_window(stream, of) for stream, of in streams]
        if reasons and all(reasons):
            raise DataError(f"{order.path}: no window in it: {reasons[0]}")
        if now is None:
            for (device, name), of in self._by_stream(self._parts).items():
                spans = [(part.track.start, part.track.end, part.track.recording) for part in of]
                _tell_of_overlap(f"{device}/{name}", spans, ", or with --now one after the other")
        hops = sum((part.track.end - part.track.start) / stream.hop_ns for stream, of in streams for part in of)
        self.windows, self.exact = round(hops), False

    def sources(self, spools: Spools) -> dict[str, list[Source]]:
        """By device: what is still to be played, beginning now."""
        left = [part for part in self._parts if not self._done(part, spools[self._device(part)])]
        begin = min((part.at for part in left), default=0)
        sources: dict[str, list[Source]] = {device: [] for device in self.devices}
        for (device, name), parts in self._by_stream(left).items():
            shifted = [replace(part, at=part.at - begin) for part in parts]
            sensor = ReplaySensor(shifted, self._clock, self._order.speed)
            stream, encoder = self._stream(name, parts), self._encoders.get(sensor.modality)
            source = SensorSource(self._order.site, device, stream, sensor, self._clock, encoder=encoder, patient=True)
            sources[device].append(source)
        return sources

    def _by_stream(self, parts: Sequence[Part]) -> dict[tuple[str, str], list[Part]]:
        """Parts by device and name of the stream."""
        found: dict[tuple[str, str], list[Part]] = {}
        for part in parts:
            found.setdefault((self._device(part), self._name(part)), []).append(part)
        return found

    def _stream(self, name: str, parts: Sequence[Part]) -> Stream:
        track = parts[0].track
        return stream_for(name, track.modality, track.placement or "unknown", self._encoders.get(track.modality))

    def _device(self, part: Part) -> str:
        return part.track.device or self._order.device or UNNAMED

    def _name(self, part: Part) -> str:
        """The modality; with the placement where a device has several of one."""
        track = part.track
        alone = len(self._placements[self._device(part), track.modality]) == 1
        return track.modality if alone else f"{track.modality}-{track.placement}"

    def _done(self, part: Part, spool: Spool) -> bool:
        newest = spool.last_t0(self._name(part))
        return newest is not None and part.track.end + part.shift + _OVERLAP_NS < newest


class FrameRecording:
    """Frames of one or more devices, as they went over the wire; `windows` of them."""

    def __init__(self, order: Replay, files: Sequence[Path], clock: Clock, now: int | None) -> None:
        self._order, self._clock = order, clock
        found: Counter[str] = Counter()
        spans: list[tuple[int, int, Path]] = []
        of_stream: dict[str, list[tuple[int, int, str]]] = {}
        for path in files:
            ends: dict[str, tuple[int, int]] = {}  # the earliest and the latest window; a recording may last for weeks
            for topic, frame in read_frames(path):
                found[topic.device] += 1
                stream = f"{topic.device}/{topic.stream}"
                first, last = ends.get(stream, (frame.t0, frame.t0))
                ends[stream] = min(first, frame.t0), max(last, frame.t0)
            if not ends:
                raise DataError(f"{path}: no frames in it")
            spans.append((min(first for first, _ in ends.values()), max(last for _, last in ends.values()), path))
            for stream, (first, last) in ends.items():
                of_stream.setdefault(stream, []).append((first, last, path.name))
        for stream, each in of_stream.items():
            _tell_of_overlap(stream, each)
        self._parts = _one_after_the_other(spans, now)
        self.devices = sorted(set(found) & {order.device} if order.device else set(found))
        self.all = set(found)
        self.windows, self.exact = sum(found[device] for device in self.devices), True

    def sources(self, spools: Spools) -> dict[str, list[Source]]:
        """By device: what is still to be played, beginning now."""
        return {device: [self._source(device)] for device in self.devices}

    def _source(self, device: str) -> RecordedDevice:
        return RecordedDevice(self._parts, device, self._clock, speed=self._order.speed)


Recording = SampleRecording | FrameRecording


def _recordings(order: Replay, clock: Clock, now: int | None) -> list[Recording]:
    """What the path holds: of a folder its files of frames, and all that `edge.sensors.replay` finds in it."""
    if order.path.suffix == SUFFIX and order.path.is_file():
        return [FrameRecording(order, [order.path], clock, now)]
    frames = sorted(order.path.glob(f"*{SUFFIX}")) if order.path.is_dir() else []
    if not frames:
        try:
            return [SampleRecording(order, clock, now)]
        except DataError as error:
            raise _with_hint(error, order.path) from None
    others = any(file.suffix.lower() in (".csv", ".parquet", *SOUND) for file in order.path.iterdir())
    return [FrameRecording(order, frames, clock, now), *([SampleRecording(order, clock, now)] if others else [])]


def _with_hint(error: DataError, path: Path) -> DataError:
    """The error of a folder, with a folder below it that has frames: as sets are kept that a model learns from."""
    below = sorted({*path.glob(f"*/*{SUFFIX}"), *path.glob(f"*/*/*{SUFFIX}")}) if path.is_dir() else []
    if not below:
        return error
    return DataError(f"{error}. Folders below it are not looked into, and {below[0].parent} has {SUFFIX}; give that")


def _one_after_the_other(spans: Sequence[tuple[int, int, Path]], now: int | None) -> list[RecordedPart]:
    """When files of frames are played, of (first, last, path), as `plan` does it for samples: what was recorded at once
    stays so, and pauses are cut short.
    """
    parts = []
    begin = end = min(spans)[0]  # of what was recorded at once, ns UTC
    at = 0  # its place in the replay
    for first, last, path in sorted(spans):
        if first > end + _PAUSE_NS:
            begin, at = first, at + end - begin + _PAUSE_NS
        end = max(end, last)
        shift = 0 if now is None else -(-(now + at - begin) // GRID_NS) * GRID_NS
        parts.append(RecordedPart(path, shift, first, at + first - begin))
    return parts


def _tell_of_overlap(stream: str, spans: Sequence[tuple[int, int, str]], more: str = "") -> None:
    """Warn of recordings (first, last, name) that would be one stream at one time: a backend takes one of them."""
    ordered = sorted(spans)
    for before, after in pairwise(ordered):
        if after[0] < before[1] and before[2] != after[2]:
            log.warning(
                "%s and %s are of the same time, and both are %s: a backend takes one; play them singly, each with a "
                "--device of its own%s",
                *(before[2], after[2], stream, more),
            )


async def _play(order: Replay, device: str, sources: Sequence[Source], spool: Spool, clock: Clock) -> None:
    farewell = will(order.site, device, sources, spool, clock)
    async with open_link(order.broker, order.site, device, farewell) as link:
        try:
            async with asyncio.timeout(order.timeout_s):
                await link.wait_connected()
        except TimeoutError:
            where = f"{order.broker.host}:{order.broker.port}"
            raise LinkDown(f"no broker at {where} within {order.timeout_s:g} s; `broker run` starts one") from None
        window, timing = order.window, order.timing
        await Agent(order.site, device, sources, link, spool, clock, window=window, timing=timing).run()


def _standing(spools: Iterable[Spool], recordings: Sequence[Recording]) -> Standing:
    """How far a replay is, those of its windows that were acknowledged before a kill included."""
    cut = sum(spool.next_seq - 1 for spool in spools)
    acknowledged = cut - sum(spool.waiting for spool in spools)
    windows = sum(recording.windows for recording in recordings)
    total = f"{'' if all(recording.exact for recording in recordings) else 'about '}{windows}"
    text = f"{acknowledged} of {total} windows acknowledged, {cut - acknowledged} on their way"
    return Standing(text, acknowledged, windows)


@contextlib.contextmanager
def _state(order: Replay, clock: Clock) -> Iterator[tuple[Path, int | None]]:
    """The folder of the replay's state, and the present that its times move to; all is removed once it has ended."""
    if order.folder is None:
        with tempfile.TemporaryDirectory(prefix="iotlm-replay-") as temporary:
            yield Path(temporary), clock.now() if order.now else None
        return
    what = {"path": str(order.path.resolve()), "site": order.site, "device": order.device}
    folder = order.folder / "replay"
    note = folder / "replay.json"
    if note.exists():
        before = json.loads(note.read_text())
        now = before.pop("now")
        if before != what:
            raise ConfigError(f"{note}: an unfinished replay of {before['path']}; finish it, or remove its folder")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        now = clock.now() if order.now else None
        written = note.with_suffix(".part")
        written.write_text(json.dumps(what | {"now": now}))
        written.replace(note)  # whole or not at all: half a note would stand in the way for ever
    try:
        yield folder, now
    except DataError:  # it will never end, and must not stand in the way of the next one
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _known(order: Replay, recordings: Sequence[Recording]) -> list[str]:
    chosen = {device for recording in recordings for device in recording.devices}
    if not chosen:
        has = {device for recording in recordings for device in recording.all}
        raise DataError(f"{order.path}: no device {order.device!r}; it has {', '.join(sorted(has)) or 'none'}")
    return sorted(chosen)
