"""Recordings of the wire: a file of frames exactly as they were published. The log is the dataset.

A file is the line `iotlm-frames-1`, then for each message: the length of its topic (u16) and of its payload (u32), both
little-endian, the topic, the payload. A recorder that is killed leaves at most its last message incomplete, which
readers leave out. This module refuses to know what windows are for.
"""

import asyncio
import contextlib
import struct
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from broker import topics
from broker.errors import DataError, MessageError
from broker.messages import LIMIT, Frame, StreamInfo, decode_frame, encode_frame
from broker.modalities import MODALITIES
from edge.clock import SECOND, Clock
from edge.sources import Done, Source

SUFFIX = ".frames"
_MAGIC = b"iotlm-frames-1\n"
_HEAD = struct.Struct("<HI")


class FrameWriter:
    """Writes a recording: `with FrameWriter(path) as out: out.write(topic, payload)`.

    A file without a message is removed at the end: it would only be in the way of the next one.

    Raises:
        DataError: the file is there already, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._empty = True

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("xb")
        except FileExistsError:
            raise DataError(f"{self._path} is there already; name a new file") from None
        except OSError as error:
            raise DataError(f"{self._path}: {error.strerror}") from None
        self._file.write(_MAGIC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()
        if self._empty:
            self._path.unlink(missing_ok=True)

    def write(self, topic: str, payload: bytes) -> None:
        """Append one message, as published."""
        assert self._file is not None, "enter the writer first"
        name = topic.encode()
        self._empty = False
        self._file.write(_HEAD.pack(len(name), len(payload)) + name + payload)


def read_messages(path: Path) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of every complete message in a recording.

    Raises:
        DataError: the file is missing, or no recording of ours.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise DataError(f"{path}: no recording of frames; it does not begin with {_MAGIC.decode().strip()!r}")
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                name_length, length = _HEAD.unpack(head)
                if length > LIMIT:
                    raise DataError(f"{path}: damaged at byte {file.tell()}: a message of {length} bytes")
                name, payload = file.read(name_length), file.read(length)
                if len(payload) < length:
                    return
                yield name.decode(errors="replace"), payload
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def read_frames(path: Path) -> Iterator[tuple[topics.FrameTopic, Frame]]:
    """Every frame of a recording with its topic. Raises `DataError` for a damaged file."""
    for number, (name, payload) in enumerate(read_messages(path), 1):
        try:
            topic = topics.parse(name)
            if isinstance(topic, topics.FrameTopic):
                yield topic, decode_frame(payload)
        except MessageError as error:
            raise DataError(f"{path}: message {number}: {error}") from None


class RecordedPart(NamedTuple):
    """A file of frames in a replay: `shift` ns are added to its windows' times (a multiple of the hop keeps them on the
    grid), and the window at `begin` (ns UTC, as recorded) is played `at` ns after the replay begins.
    """

    path: Path
    shift: int
    begin: int
    at: int


class RecordedDevice:
    """A `Source`: one device's recorded frames, sent again under new numbers.

    Args:
        parts: the files of the recording, in order.
        device: whose frames to take.
        speed: times real time; 0 is as fast as acknowledgements allow.
    """

    patient = True

    def __init__(self, parts: Sequence[RecordedPart], device: str, clock: Clock, *, speed: float = 0.0) -> None:
        self._parts, self._device, self._clock, self._speed = parts, device, clock, speed
        self._streams = tuple({name: _info(name, frame) for _, name, frame in self._frames()}.values())

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """What the device announces: as much of it as frames tell."""
        return self._streams

    async def frames(self, done: Done) -> AsyncIterator[tuple[str, Frame]]:
        """The frames that are newer than what is done, paced by the clock."""
        newest = {stream.name: done(stream.name) or -1 for stream in self._streams}
        begun = self._clock.now()
        first = None if max(newest.values(), default=-1) >= 0 else 0  # a replay that was killed goes on at once
        for part, stream, recorded in self._frames():
            frame = replace(recorded, t0=recorded.t0 + part.shift)
            if frame.t0 <= newest[stream]:
                continue
            place = part.at + recorded.t0 - part.begin
            first = place if first is None else first
            due = begun + (place - first) / self._speed if self._speed else 0
            await self._clock.sleep(max(0.0, (due - self._clock.now()) / SECOND))
            yield stream, frame

    def _frames(self) -> Iterator[tuple[RecordedPart, str, Frame]]:
        for part in self._parts:
            for topic, frame in read_frames(part.path):
                if topic.device == self._device:
                    yield part, topic.stream, frame


async def record(
    site: str,
    device: str,
    sources: Sequence[Source],
    path: Path,
    seconds: float | None,
    tell: Callable[[int], None] = lambda count: None,
) -> int:
    """Write what a device would publish to a file, until its sources end, for `seconds`, or until cancelled.

    Returns the number of frames, which `tell` hears after each; what is written is whole however it ends.

    Raises:
        DataError: the file is there already, or cannot be written; or there was no window, and it is not written.
    """
    epoch, seq = uuid.uuid4().hex, 0

    async def drain(source: Source, out: FrameWriter) -> None:
        nonlocal seq
        async for stream, frame in source.frames(lambda name: None):
            seq += 1
            numbered = replace(frame, epoch=epoch, seq=seq, base=seq)
            out.write(topics.frames(site, device, stream), encode_frame(numbered))
            tell(seq)

    with FrameWriter(path) as out, contextlib.suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(drain(source, out) for source in sources))
    if not seq:
        passed = "" if seconds is None else f" in {seconds:g} s"
        raise DataError(
            f"{path}: not written, no window was whole{passed}; record longer, or see by `edge sensors` what measures"
        )
    return seq


def _info(name: str, frame: Frame) -> StreamInfo:
    row = MODALITIES[frame.modality]
    grid = (frame.rate, row.window_s, row.hop_s)
    return StreamInfo(name, frame.modality, frame.placement, row.units, *grid, frame.encoder)
