"""The protocol: what is encoded is decoded, every version's bytes stay readable, nothing invalid passes."""

import dataclasses
import json
import tracemalloc
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from broker.errors import MessageError
from broker.messages import (
    Ack,
    Estimate,
    Event,
    Frame,
    Status,
    StreamInfo,
    decode_ack,
    decode_answer,
    decode_ask,
    decode_estimate,
    decode_event,
    decode_frame,
    decode_status,
    encode_frame,
    encode_json,
    event_id,
)

GOLDEN = Path(__file__).parent / "golden"

FRAME = Frame(
    epoch="0123456789abcdef0123456789abcdef",
    seq=7,
    base=3,
    modality="imu",
    placement="wrist",
    kind="raw",
    t0=1_700_000_000_500_000_000,
    rate=50.0,
    data=np.arange(12, dtype="<f4").reshape(2, 6) / 8,
    facts={"imu.rms": 9.81},
    quality=0.98,
    trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
EVENT = Event(
    id="ab" * 16,
    offset=4,
    site="home",
    group="alice",
    task="activity-recognition",
    phase="start",
    label="WALKING",
    confidence=0.93,
    time="2026-01-01T00:00:01.500Z",
    began="2026-01-01T00:00:00.500Z",
    duration_s=1.0,
    episode="ab" * 16,
    attribution={"watch/imu": 0.6, "phone/imu": 0.4},
    facts={"imu.rms": 9.9},
    model="cd" * 8,
)
ESTIMATE = Estimate(
    id="ef" * 16,
    site="home",
    group="alice",
    task="gaze-estimation",
    time="2026-01-01T00:00:01.500Z",
    unit="cm",
    shape=(1, 2),
    names=("gaze",),
    axes=("x", "y"),
    values=(3.25, 6.5),
    attribution={"phone/gaze": 1.0},
    model="cd" * 8,
)
STATUS = Status(
    state="online",
    epoch=FRAME.epoch,
    streams=(StreamInfo("imu", "imu", "wrist", ("m/s2",) * 3 + ("rad/s",) * 3, 50.0, 1.0, 0.5),),
    version="0.1.0",
    time="2026-01-01T00:00:00Z",
)


def same(a: Frame, b: Frame) -> bool:
    """Equality of frames; arrays are compared by content, dtype and shape."""
    rest = [dataclasses.replace(frame, data=np.zeros(1)) for frame in (a, b)]
    fields = [{k: getattr(frame, k) for k in Frame.__dataclass_fields__ if k != "data"} for frame in rest]
    return fields[0] == fields[1] and a.data.dtype == b.data.dtype and np.array_equal(a.data, b.data)


DTYPES = st.sampled_from(["<f4", "<f2", "<i2", "<u2", "|u1", "|i1"])


@given(
    data=DTYPES.flatmap(
        lambda d: hnp.arrays(
            d,
            hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
            elements=None if d not in ("<f4", "<f2") else {"allow_nan": False, "allow_infinity": False},
        )
    ),
    seq=st.integers(1, 2**64 - 1),
    t0=st.integers(0, 2**63 - 1),
    facts=st.dictionaries(st.text(max_size=20), st.floats(-1e9, 1e9), max_size=5),
    quality=st.floats(0, 1),
)
def test_a_frame_survives_the_wire(data, seq, t0, facts, quality):
    frame = dataclasses.replace(FRAME, data=data, seq=seq, base=1, t0=t0, facts=facts, quality=quality)
    assert same(decode_frame(encode_frame(frame)), frame)


def test_integers_become_physical_values_by_scale():
    frame = dataclasses.replace(FRAME, data=np.array([[-32768], [16384]], "<i2"), scale=1 / 32768)
    assert decode_frame(encode_frame(frame)).values().tolist() == [[-1.0], [0.5]]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("frame-v*.msgpack")), ids=lambda p: p.name)
def test_frames_of_every_version_stay_readable(path):
    assert same(decode_frame(path.read_bytes()), FRAME)


def test_the_golden_bytes_are_the_bytes_we_write():
    assert encode_frame(FRAME) == (GOLDEN / "frame-v1.msgpack").read_bytes()
    for name, message in {"event": EVENT, "estimate": ESTIMATE, "status": STATUS, "ack": Ack(FRAME.epoch, 41)}.items():
        assert encode_json(message) == (GOLDEN / f"{name}-v1.json").read_bytes().strip()


def test_json_messages_survive_the_wire():
    assert decode_event(encode_json(EVENT)) == EVENT
    assert decode_estimate(encode_json(ESTIMATE)) == ESTIMATE
    depths = dataclasses.replace(ESTIMATE, shape=(2, 3), names=(), axes=("range",), values=(1.0,) * 6)
    assert decode_estimate(encode_json(depths)) == depths
    assert decode_status(encode_json(STATUS)) == STATUS
    assert decode_ack(encode_json(Ack("e", 3))) == Ack("e", 3)


def test_a_newer_sender_may_add_fields():
    body = msgpack.unpackb(encode_frame(FRAME)) | {"added_in_v2": [1, 2]}
    assert same(decode_frame(msgpack.packb(body)), FRAME)
    later = json.loads(encode_json(EVENT)) | {"added_in_v2": {"x": None}}
    assert decode_event(json.dumps(later).encode()) == EVENT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 0}, "version"),
        ({"v": None}, "version"),
        ({"seq": 0}, "seq"),
        ({"seq": 2**64 - 1, "base": 2**64 - 1, "rate": float("nan")}, "rate"),
        ({"seq": True}, "seq"),
        ({"seq": 1.0}, "seq"),
        ({"base": 8}, "base"),
        ({"epoch": None}, "epoch"),
        ({"modality": "smell"}, "modality"),
        ({"placement": "x" * 257}, "encoding"),
        ({"kind": "video"}, "kind"),
        ({"t0": -1}, "t0"),
        ({"rate": 0}, "rate"),
        ({"dtype": "f8"}, "dtype"),
        ({"dtype": "O"}, "dtype"),
        ({"shape": [3, 6]}, "shape"),
        ({"shape": [-2, -6]}, "shape"),
        ({"shape": []}, "shape"),
        ({"shape": [1, 1, 1, 2, 6]}, "shape"),
        ({"shape": [2**40, 2**40]}, "shape"),
        ({"data": "text"}, "data"),
        ({"data": np.full(12, np.inf, "<f4").tobytes()}, "data"),
        ({"facts": {"a": float("inf")}}, "facts"),
        ({"facts": {"a": "b"}}, "facts"),
        ({"facts": {str(i): 1.0 for i in range(129)}}, "encoding"),
        ({"facts": msgpack.ExtType(1, b"x")}, "encoding"),
        ({"quality": 1.5}, "quality"),
        ({"clock": "broken"}, "clock"),
        ({"trace": 5}, "trace"),
    ],
)
def test_a_bad_field_is_refused_and_named(change, reason):
    body = msgpack.unpackb(encode_frame(FRAME)) | change
    with pytest.raises(MessageError) as caught:
        decode_frame(msgpack.packb(body))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x93\x01\x02\x03", b"\xde\xff\xff" + b"\x80" * 99, b"\x91" * 5000, encode_frame(FRAME)[:-1]],
)
def test_what_is_no_map_of_ours_is_refused(payload):
    with pytest.raises(MessageError):
        decode_frame(payload)


def test_length_is_checked_before_anything_else():
    with pytest.raises(MessageError, match="size: 2000 bytes exceed the limit of 1000"):
        decode_frame(b"\x80" * 2000, limit=1000)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{", b"null", b'{"v":1}', b'{"v":"1","epoch":"e","seq":1}', b"[" * 9999]
)
def test_bad_json_is_refused(payload):
    for decode in (decode_event, decode_estimate, decode_status, decode_ack, decode_ask, decode_answer):
        with pytest.raises(MessageError):
            decode(payload)


@pytest.mark.parametrize("change", [{"label": "\ud800"}, {"facts": {"\udfff": 1.0}}, {"trace": "x\ude00y"}])
def test_half_a_character_is_refused(change):
    """JSON can spell it, and nothing that encodes UTF-8 can say it again: not a database, not a page."""
    body = json.loads(encode_json(EVENT)) | change
    with pytest.raises(MessageError, match=next(iter(change))):
        decode_event(json.dumps(body).encode())
    status = json.loads(encode_json(STATUS))
    status["streams"][0]["units"] = ["\ud800"]
    with pytest.raises(MessageError, match="units"):
        decode_status(json.dumps(status).encode())


def test_a_bomb_of_small_containers_is_refused_before_it_is_built():
    bomb = msgpack.packb([[{}] * 127] * 127)
    body = msgpack.unpackb(encode_frame(FRAME)) | {"facts": {}}
    packed = msgpack.packb(body | {"x": [msgpack.unpackb(bomb)] * 60})
    assert len(packed) > 900_000
    tracemalloc.start()
    with pytest.raises(MessageError, match="beside the samples"):
        decode_frame(packed)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_a_large_window_is_no_bomb():
    large = dataclasses.replace(FRAME, modality="audio", data=np.ones((48_000, 1), "<i2"), scale=1 / 32768)
    assert same(decode_frame(encode_frame(large)), large)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "NaN", "Infinity", "1e999"])
def test_a_number_that_is_no_float_is_refused(number):
    status = encode_json(STATUS).decode().replace('"rate":50.0', f'"rate":{number}')
    with pytest.raises(MessageError, match="rate"):
        decode_status(status.encode())
    event = encode_json(EVENT).decode()
    for field in ("0.93", "9.9"):
        with pytest.raises(MessageError):
            decode_event(event.replace(field, number).encode())


def test_an_event_id_tells_windows_models_and_phases_apart():
    one = event_id("s", "g", "t", 1, "m", "start")
    assert one == event_id("s", "g", "t", 1, "m", "start")
    others = [("s", "g", "t", 2, "m", "start"), ("s", "g", "t", 1, "n", "start"), ("s", "g", "t", 1, "m", "end")]
    assert one not in {event_id(*other) for other in others}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"values": [1.0]}, "shape"),
        ({"values": [1.0, float("nan")]}, "values"),
        ({"values": [1.0, True]}, "values"),
        ({"values": [0.0] * 20_000, "shape": [20_000]}, "values"),
        ({"values": [10**400, 1]}, "values"),
        ({"shape": [1.0, 2.0]}, "shape"),
        ({"shape": [-1, -2]}, "shape"),
        ({"shape": [10**4000, 2]}, "shape"),
        ({"shape": [0, 10**30], "values": []}, "shape"),
        ({"shape": [], "values": [1.0]}, "shape"),
        ({"shape": [2]}, "names"),
        ({"axes": ["x"]}, "axes"),
        ({"names": [1]}, "names"),
        ({"axes": "xy"}, "axes"),
        ({"unit": None}, "unit"),
    ],
)
def test_a_bad_estimate_is_refused_and_its_field_named(change, reason):
    body = json.loads(encode_json(ESTIMATE)) | change
    with pytest.raises(MessageError) as caught:
        decode_estimate(json.dumps(body).encode())
    assert caught.value.reason == reason
