"""The protocol on one page: every message that crosses the wire, its encoding, and what makes one invalid.

    Frame    msgpack   a window of a sensor, raw or as an encoder's tokens       device -> backend
    Status   JSON      what a device is and which streams it sends; retained     device -> everyone
    Ack      JSON      every frame of an epoch up to `seq` is committed          backend -> device
    Event    JSON      something started, goes on or ended                       backend -> everyone
    Estimate JSON      where something is: points, joints, a map of depth        backend -> everyone
    Ask      JSON      a question to the sensors of a group                      person -> backend
    Answer   JSON      what is said to it, in parts, and what that stands on     backend -> who asked

Ask and Answer are defined in `broker.questions`, and how fields are checked in `broker.fields`.

Evolution: every message carries `v`. A new field has a default. No field is removed, given another type or
another meaning. Unknown fields are skipped. `tests/golden/` keeps the bytes of every version.

Delivery is end to end, by Go-Back-N over `seq`. `base` is the oldest sequence number that the device still
holds, stamped when the frame is sent: a receiver that waits for an older one knows that it can never come
(evicted from a full spool, or acknowledged by an earlier backend), counts it as lost and goes on.

Decoding trusts nothing: length first, then types, a dtype allow-list, the byte count against the shape, caps on
every string, list and map, no extension types, finite numbers only. All failures are `MessageError`.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import msgpack
import numpy as np
import numpy.typing as npt

from broker.errors import MessageError
from broker.fields import LIMIT, MAX_ITEMS, MAX_TEXT, VERSION, Fields, is_text, json_fields
from broker.modalities import MODALITIES, Dtype
from broker.questions import Answer, Ask, Evidence, Standing, decode_answer, decode_ask

__all__ = [
    "LIMIT",
    "VERSION",
    "Ack",
    "Answer",
    "Ask",
    "ClockState",
    "Estimate",
    "Event",
    "Evidence",
    "Frame",
    "Kind",
    "Phase",
    "Standing",
    "State",
    "Status",
    "StreamInfo",
    "decode_ack",
    "decode_answer",
    "decode_ask",
    "decode_estimate",
    "decode_event",
    "decode_frame",
    "decode_status",
    "encode_frame",
    "encode_json",
    "event_id",
]

Kind = Literal["raw", "tokens"]
ClockState = Literal["synced", "unsynced"]
Phase = Literal["start", "update", "end"]
State = Literal["online", "offline"]

_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype("<" + name) for name in get_args(Dtype)}
_MAX_DIMS = 4
_MAX_VALUES = 1 << 14  # of an estimate
_MAX_FIELDS_BYTES = 16 << 10  # of all but `data`: lists of lists of maps take 70 times their size in memory
_DATA_KEY = msgpack.packb("data")
_UINT64 = (1 << 64) - 1
_INT64 = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One window of one stream.

    Attributes:
        epoch: identity of the device's spool; sequence numbers start at 1 in each.
        seq: consecutive over all streams of the device within the epoch.
        base: oldest sequence number the device still holds, at the time of sending; 1 <= base <= seq.
        modality: a row of `broker.modalities.MODALITIES`.
        placement: where the sensor sits: wrist, pocket, room ...
        kind: `raw` samples, or `tokens` of the encoder whose digest is `encoder`.
        t0: event time of the first sample, ns UTC.
        rate: samples per second of the window that this frame shows, Hz.
        data: raw (T, C) or (H, W, C) ..., tokens (K, d); one of the dtypes f4 f2 i2 u2 u1 i1.
        scale: physical value = data x scale.
        facts: named numbers computed on the device, in the units of `edge.facts`.
        quality: share of the window that real samples cover, or the encoder's quality score; 0..1.
        clock: whether the device believes its clock.
        trace: W3C traceparent, or empty.
    """

    epoch: str
    seq: int
    base: int
    modality: str
    placement: str
    kind: Kind
    t0: int
    rate: float
    data: npt.NDArray[Any]
    scale: float = 1.0
    encoder: str = ""
    facts: dict[str, float] = field(default_factory=dict)
    quality: float = 1.0
    clock: ClockState = "synced"
    trace: str = ""
    v: int = VERSION

    def values(self) -> npt.NDArray[np.float32]:
        """The data in physical units, float32, in the shape of `data`."""
        if self.data.dtype == np.float32 and self.scale == 1.0:
            return self.data
        return self.data.astype(np.float32) * np.float32(self.scale)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a device announces of one stream: rate in Hz, window and hop in seconds, encoder digest or empty."""

    name: str
    modality: str
    placement: str
    units: tuple[str, ...]
    rate: float
    window_s: float
    hop_s: float
    encoder: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A device's own word on itself; `offline` is also its last will. `time` is ISO 8601 UTC."""

    state: State
    epoch: str
    streams: tuple[StreamInfo, ...]
    version: str
    time: str
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class Ack:
    """Every frame of `epoch` up to and including `seq` is committed."""

    epoch: str
    seq: int
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a group, as one task sees it.

    `time` and `began` are ISO 8601 UTC: the end of the window that decided, and the beginning of the episode.
    `episode` is the id of the episode's `start` event. `offset` numbers the events of a backend's store without
    holes, so a subscriber sees what it missed. `attribution` is the fusion gate: stream -> weight, summing to 1.
    """

    id: str
    offset: int
    site: str
    group: str
    task: str
    phase: Phase
    label: str
    confidence: float
    time: str
    began: str
    duration_s: float
    episode: str
    attribution: dict[str, float]
    facts: dict[str, float]
    model: str
    trace: str = ""
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class Estimate:
    """Where something is, as one task sees a group's moment.

    `values` are row by row in `shape`, in `unit`; `names` are those of the rows (joints ...) where they have any,
    `axes` those of the columns, or the one thing that all values of a map are. `time` is ISO 8601 UTC, the end of the
    window. Estimates are not kept: whoever listens has them.
    """

    id: str
    site: str
    group: str
    task: str
    time: str
    unit: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    axes: tuple[str, ...]
    values: tuple[float, ...]
    attribution: dict[str, float]
    model: str
    trace: str = ""
    v: int = VERSION


def event_id(site: str, group: str, task: str, window_t0: int, model: str, phase: Phase) -> str:
    """Identity of an event: the same window, judged again by the same model, gives the same id (32 hex digits).

    `window_t0` is the event time of the deciding window, ns UTC. The phase belongs to it because one window may end
    one episode and start another.
    """
    text = "\x1f".join([site, group, task, str(window_t0), model, phase])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def encode_frame(frame: Frame) -> bytes:
    """A frame as a msgpack map with little-endian, C-order sample bytes.

    Raises:
        MessageError: the data's dtype is not one of the six that travel.
    """
    name = frame.data.dtype.str[1:]
    if name not in _DTYPES:
        raise MessageError("dtype", f"{frame.data.dtype} does not travel; use one of {', '.join(_DTYPES)}")
    body = {name_: getattr(frame, name_) for name_ in _FRAME_FIELDS}
    body["dtype"] = name
    body["shape"] = frame.data.shape
    body["data"] = np.ascontiguousarray(frame.data, _DTYPES[name]).tobytes()
    packed: bytes = msgpack.packb(body)
    return packed


def decode_frame(payload: bytes, limit: int = LIMIT) -> Frame:
    """The frame in a payload of at most `limit` bytes. `data` is a read-only view of the payload.

    Raises:
        MessageError: anything about it is wrong; `reason` is fit for a metric's label.
    """
    if len(payload) > limit:
        raise MessageError("size", f"{len(payload)} bytes exceed the limit of {limit}")
    caps = {"max_str_len": MAX_TEXT, "max_bin_len": limit, "max_array_len": MAX_ITEMS, "max_map_len": MAX_ITEMS}
    try:
        if len(payload) > _MAX_FIELDS_BYTES:
            _check_fields(payload, caps)
        body = msgpack.unpackb(payload, max_ext_len=0, **caps)
    except MessageError:
        raise
    except Exception as error:  # msgpack raises ValueError, its own types, UnicodeDecodeError, RecursionError ...
        raise MessageError("encoding", f"not a msgpack map of ours ({type(error).__name__})") from None
    if not isinstance(body, dict):
        raise MessageError("encoding", f"a frame is a map, not {type(body).__name__}")
    take = Fields(body)
    take.version()
    seq = take.integer("seq", 1, _UINT64)
    modality = take.text("modality")
    if modality not in MODALITIES:
        raise MessageError("modality", f"modality {modality!r} is none of {', '.join(MODALITIES)}")
    return Frame(
        epoch=take.text("epoch"),
        seq=seq,
        base=take.integer("base", 1, seq),
        modality=modality,
        placement=take.text("placement"),
        kind=take.choice("kind", get_args(Kind)),
        t0=take.integer("t0", 0, _INT64),
        rate=take.number("rate", 1e-6, 1e9),
        data=_array(take),
        scale=take.number("scale", -1e12, 1e12, default=1.0),
        encoder=take.text("encoder", default=""),
        facts=take.numbers("facts"),
        quality=take.number("quality", 0.0, 1.0, default=1.0),
        clock=take.choice("clock", get_args(ClockState), default="synced"),
        trace=take.text("trace", default=""),
        v=body["v"],
    )


def encode_json(message: Status | Ack | Event | Estimate | Ask | Answer) -> bytes:
    """A message as one line of JSON, keys in the order of the definition."""
    return json.dumps(asdict(message), separators=(",", ":"), allow_nan=False).encode()


def decode_status(payload: bytes) -> Status:
    """The status in a JSON payload. Raises `MessageError`."""
    take = json_fields(payload)
    streams = take.body.get("streams")
    if not isinstance(streams, list) or len(streams) > MAX_ITEMS:
        raise MessageError("streams", f"streams must be a list of at most {MAX_ITEMS}")
    return Status(
        state=take.choice("state", get_args(State)),
        epoch=take.text("epoch"),
        streams=tuple(_stream(Fields(s)) for s in streams),
        version=take.text("version"),
        time=take.text("time"),
        v=take.body["v"],
    )


def decode_ack(payload: bytes) -> Ack:
    """The acknowledgement in a JSON payload. Raises `MessageError`."""
    take = json_fields(payload)
    return Ack(epoch=take.text("epoch"), seq=take.integer("seq", 0, _UINT64), v=take.body["v"])


def decode_event(payload: bytes) -> Event:
    """The event in a JSON payload. Raises `MessageError`."""
    take = json_fields(payload)
    return Event(
        id=take.text("id"),
        offset=take.integer("offset", 0, _UINT64),
        site=take.text("site"),
        group=take.text("group"),
        task=take.text("task"),
        phase=take.choice("phase", get_args(Phase)),
        label=take.text("label"),
        confidence=take.number("confidence", 0.0, 1.0),
        time=take.text("time"),
        began=take.text("began"),
        duration_s=take.number("duration_s", 0.0, 1e12),
        episode=take.text("episode"),
        attribution=take.numbers("attribution"),
        facts=take.numbers("facts"),
        model=take.text("model"),
        trace=take.text("trace", default=""),
        v=take.body["v"],
    )


def decode_estimate(payload: bytes) -> Estimate:
    """The estimate in a JSON payload. Raises `MessageError`."""
    take = json_fields(payload)
    shape = tuple(take.list("shape", _MAX_DIMS, int))
    numbers = take.list("values", _MAX_VALUES, (int, float))
    if not all(abs(number) < 1e300 for number in numbers):  # false for NaN, too
        raise MessageError("values", "values must be finite numbers")
    if not shape or not all(0 < side <= _MAX_VALUES for side in shape) or math.prod(shape) != len(numbers):
        raise MessageError("shape", f"shape {shape!r:.80} does not fit {len(numbers)} values")
    names, axes = take.list("names", MAX_ITEMS, str), take.list("axes", MAX_ITEMS, str)
    if len(names) not in (0, shape[0]):
        raise MessageError("names", f"{len(names)} names for {shape[0]} rows")
    if len(axes) not in (0, shape[-1]) and (names or len(axes) > 1):
        raise MessageError("axes", f"{len(axes)} axes for {shape[-1]} columns")
    return Estimate(
        id=take.text("id"),
        site=take.text("site"),
        group=take.text("group"),
        task=take.text("task"),
        time=take.text("time"),
        unit=take.text("unit"),
        shape=shape,
        names=tuple(names),
        axes=tuple(axes),
        values=tuple(map(float, numbers)),
        attribution=take.numbers("attribution"),
        model=take.text("model"),
        trace=take.text("trace", default=""),
        v=take.body["v"],
    )


_FRAME_FIELDS = tuple(name for name in Frame.__dataclass_fields__ if name != "data")


def _check_fields(payload: bytes, caps: dict[str, int]) -> None:
    """Walk over a large frame without building anything: what is not `data` has to be small."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(payload), max_ext_len=0, **caps)
    unpacker.feed(payload)
    size = 0
    for _ in range(unpacker.read_map_header()):
        key = unpacker.tell()
        unpacker.skip()
        value = unpacker.tell()
        unpacker.skip()
        size += 0 if payload[key:value] == _DATA_KEY else unpacker.tell() - key
    if size > _MAX_FIELDS_BYTES:
        raise MessageError("size", f"{size} bytes beside the samples exceed the limit of {_MAX_FIELDS_BYTES}")


def _stream(take: Fields) -> StreamInfo:
    units = take.body.get("units")
    if not isinstance(units, list) or len(units) > MAX_ITEMS or not all(is_text(u, LIMIT) for u in units):
        raise MessageError("units", f"units must be a list of at most {MAX_ITEMS} strings")
    return StreamInfo(
        name=take.text("name"),
        modality=take.text("modality"),
        placement=take.text("placement"),
        units=tuple(unit[:MAX_TEXT] for unit in units),
        rate=take.number("rate", 1e-6, 1e9),
        window_s=take.number("window_s", 1e-6, 1e6),
        hop_s=take.number("hop_s", 1e-6, 1e6),
        encoder=take.text("encoder", default=""),
    )


def _array(take: Fields) -> npt.NDArray[Any]:
    dtype = _DTYPES[take.choice("dtype", tuple(_DTYPES))]
    shape, data = take.body.get("shape"), take.body.get("data")
    if not isinstance(shape, list | tuple) or not 1 <= len(shape) <= _MAX_DIMS:
        raise MessageError("shape", f"shape must have 1 to {_MAX_DIMS} dimensions")
    if not all(type(n) is int and 0 < n <= LIMIT for n in shape):
        raise MessageError("shape", "every dimension must be a positive integer")
    if not isinstance(data, bytes):
        raise MessageError("data", f"data must be bytes, not {type(data).__name__}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise MessageError("shape", f"shape {tuple(shape)} of {dtype.str[1:]} does not fill {len(data)} bytes")
    array = np.frombuffer(data, dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise MessageError("data", "samples must be finite; mark gaps by `quality`")
    return array
