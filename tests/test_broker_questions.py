"""Questions and answers on the wire: what is encoded is decoded, bytes stay readable, every bad field is named."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import MessageError
from broker.messages import LIMIT, Answer, Ask, Evidence, decode_answer, decode_ask, encode_json

GOLDEN = Path(__file__).parent / "golden"

ASK = Ask(
    id="q-7_A",
    question="How long did I walk this morning?",
    session="phone-1",
    sensors=("watch/imu", "phone/imu"),
    most=64,
    trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
EVIDENCE = Evidence(
    claim="You walked for 12 minutes",
    kind="duration",
    status="corrected",
    stream="watch/imu",
    fact="imu.rms",
    value=11.5,
    unit="min",
    label="WALKING",
    began="2026-01-01T08:00:00Z",
    ended="2026-01-01T08:11:30.500Z",
    events=("ab" * 16, "cd" * 16),
)
PART = Answer(id="q-7_A", part=0, text="You walked for 12 minutes", done=False, time="2026-01-01T12:00:00Z")
LAST = Answer(
    id="q-7_A",
    part=1,
    text=".",
    done=True,
    evidence=(EVIDENCE, Evidence("on a beach", "place", "withheld")),
    attribution={"watch/imu": 0.75, "phone/imu": 0.25},
    model="cd" * 8,
    time="2026-01-01T12:00:01.500Z",
    whole="You walked for 11.5 minutes.",
    trace=ASK.trace,
)
DECODE = {"ask": decode_ask, "answer-part": decode_answer, "answer": decode_answer}
MESSAGES = {"ask": ASK, "answer-part": PART, "answer": LAST}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_golden_bytes_are_read_and_written(name):
    golden = (GOLDEN / f"{name}-v1.json").read_bytes().strip()
    assert encode_json(MESSAGES[name]) == golden
    assert DECODE[name](golden) == MESSAGES[name]


def test_a_question_typed_by_hand_is_short():
    asked = decode_ask(b'{"v": 1, "id": "1", "question": "What am I doing?"}')
    assert asked == Ask(id="1", question="What am I doing?", session="", sensors=(), most=128, trace="")


def test_the_shortest_parts_of_an_answer():
    assert decode_answer(b'{"v":1,"id":"1","part":0,"text":"","done":false}') == Answer("1", 0, "", False)
    last = b'{"v":1,"id":"1","part":1,"text":"","done":true,"time":"2026-01-01T00:00:00Z","error":"no model"}'
    assert decode_answer(last) == Answer("1", 1, "", True, time="2026-01-01T00:00:00Z", error="no model")


IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
KEYS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=256)
NUMBERS = st.floats(-1e299, 1e299)
TIMES = st.just("") | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
EVIDENCES = st.builds(
    Evidence,
    claim=TEXT,
    kind=TEXT,
    status=st.sampled_from(["supported", "corrected", "withheld"]),
    stream=st.just("") | KEYS,
    fact=TEXT,
    value=st.none() | NUMBERS,
    unit=TEXT,
    label=TEXT,
    began=TIMES,
    ended=TIMES,
    events=st.lists(TEXT, max_size=3).map(tuple),
)


@given(
    st.builds(
        Ask,
        id=IDS,
        question=TEXT.filter(str.strip),
        session=st.just("") | IDS,
        sensors=st.lists(KEYS, max_size=3).map(tuple),
        most=st.integers(1, 512),
        trace=TEXT,
    )
)
def test_a_question_survives_the_wire(asked):
    assert decode_ask(encode_json(asked)) == asked


@given(
    st.builds(
        Answer,
        id=IDS,
        part=st.integers(0, 2**64 - 1),
        text=TEXT,
        done=st.just(True),
        evidence=st.lists(EVIDENCES, max_size=3).map(tuple),
        attribution=st.dictionaries(TEXT, NUMBERS, max_size=3),
        model=TEXT,
        time=TIMES.filter(bool),
        error=TEXT,
        whole=TEXT,
        trace=TEXT,
    )
)
def test_an_answer_survives_the_wire(answer):
    assert decode_answer(encode_json(answer)) == answer
    bare = dataclasses.replace(answer, done=False, evidence=(), attribution={}, error="", whole="", time="")
    assert decode_answer(encode_json(bare)) == bare


def test_a_newer_sender_may_add_fields():
    for name, message in MESSAGES.items():
        body = json.loads(encode_json(message)) | {"added_in_v2": {"x": [None]}}
        assert DECODE[name](json.dumps(body).encode()) == message


def test_the_longest_that_may_be_said():
    long = dataclasses.replace(
        ASK, question="ä" * 2000, session="s" * 64, id="i" * 64, sensors=("a/b",) * 128, most=512
    )
    assert decode_ask(encode_json(long)) == long
    said = dataclasses.replace(LAST, text="ä" * 4096, whole="ä" * 16_384, evidence=(EVIDENCE,) * 128)
    assert decode_answer(encode_json(said)) == said


def refused(decode, message, change):
    body = json.loads(encode_json(message)) | change
    with pytest.raises(MessageError) as caught:
        decode(json.dumps(body).encode())
    return caught.value.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 0}, "version"),
        ({"v": True}, "version"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "+"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "a" * 65}, "id"),
        ({"id": 7}, "id"),
        ({"question": None}, "question"),
        ({"question": ""}, "question"),
        ({"question": " \n\t"}, "question"),
        ({"question": "x" * 2001}, "question"),
        ({"question": "what is \ud800?"}, "question"),
        ({"question": ["?"]}, "question"),
        ({"session": "a b"}, "session"),
        ({"session": 1}, "session"),
        ({"session": None}, "session"),
        ({"sensors": "watch/imu"}, "sensors"),
        ({"sensors": ["watch"]}, "sensors"),
        ({"sensors": ["watch/imu/x"]}, "sensors"),
        ({"sensors": ["watch/imu\n"]}, "sensors"),
        ({"sensors": ["Watch/imu"]}, "sensors"),
        ({"sensors": ["+/#"]}, "sensors"),
        ({"sensors": [1]}, "sensors"),
        ({"sensors": ["a/b"] * 129}, "sensors"),
        ({"sensors": None}, "sensors"),
        ({"most": 0}, "most"),
        ({"most": 513}, "most"),
        ({"most": 12.5}, "most"),
        ({"most": True}, "most"),
        ({"most": 10**400}, "most"),
        ({"trace": 5}, "trace"),
        ({"trace": "x" * 257}, "trace"),
    ],
)
def test_a_bad_question_is_refused_and_its_field_named(change, reason):
    assert refused(decode_ask, ASK, change) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": "1"}, "version"),
        ({"id": "a.b"}, "id"),
        ({"part": -1}, "part"),
        ({"part": 2**64}, "part"),
        ({"part": False}, "part"),
        ({"part": None}, "part"),
        ({"text": None}, "text"),
        ({"text": "x" * 4097}, "text"),
        ({"text": "\udfff"}, "text"),
        ({"done": None}, "done"),
        ({"done": 1}, "done"),
        ({"done": "true"}, "done"),
        ({"done": False}, "evidence"),
        ({"done": False, "evidence": []}, "attribution"),
        ({"done": False, "evidence": [], "attribution": {}}, "whole"),
        ({"done": False, "evidence": [], "attribution": {}, "whole": "", "error": "x"}, "error"),
        ({"evidence": {}}, "evidence"),
        ({"evidence": [1]}, "evidence"),
        ({"evidence": [json.loads(encode_json(LAST))["evidence"][0]] * 129}, "evidence"),
        ({"attribution": {"watch/imu": "much"}}, "attribution"),
        ({"attribution": {"\ud800": 1.0}}, "attribution"),
        ({"attribution": {str(i): 1.0 for i in range(129)}}, "attribution"),
        ({"attribution": {"a": float("nan")}}, "attribution"),
        ({"model": 1}, "model"),
        ({"time": ""}, "time"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-01-01T00:00:00+01:00"}, "time"),
        ({"time": "2026-02-30T00:00:00Z"}, "time"),
        ({"time": "2026-01-01T25:00:00Z"}, "time"),
        ({"error": "x" * 2001}, "error"),
        ({"whole": "x" * 16_385}, "whole"),
        ({"trace": []}, "trace"),
    ],
)
def test_a_bad_answer_is_refused_and_its_field_named(change, reason):
    assert refused(decode_answer, LAST, change) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"claim": None}, "claim"),
        ({"claim": "x" * 4097}, "claim"),
        ({"kind": 3}, "kind"),
        ({"status": "true"}, "status"),
        ({"status": None}, "status"),
        ({"stream": "watch"}, "stream"),
        ({"stream": "a/b/c"}, "stream"),
        ({"fact": {}}, "fact"),
        ({"value": "11.5"}, "value"),
        ({"value": True}, "value"),
        ({"value": float("inf")}, "value"),
        ({"value": 10**400}, "value"),
        ({"unit": "x" * 257}, "unit"),
        ({"label": 1}, "label"),
        ({"began": "08:00"}, "began"),
        ({"ended": "2026-13-01T00:00:00Z"}, "ended"),
        ({"events": "ab"}, "events"),
        ({"events": [None]}, "events"),
        ({"events": ["x"] * 129}, "events"),
    ],
)
def test_bad_evidence_is_refused_and_its_field_named(change, reason):
    body = json.loads(encode_json(LAST))["evidence"][0] | change
    assert refused(decode_answer, LAST, {"evidence": [body]}) == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(MESSAGES)), data=st.data())
def test_any_value_of_any_field_is_taken_or_refused(name, data):
    body = json.loads(encode_json(MESSAGES[name]))
    within = body["evidence"][0] if body.get("evidence") and data.draw(st.booleans()) else body
    within[data.draw(st.sampled_from(sorted(within)))] = data.draw(JSON)
    try:
        message = DECODE[name](json.dumps(body).encode())
    except MessageError as error:
        assert error.reason
    else:
        assert DECODE[name](encode_json(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(payload):
    for decode in (decode_ask, decode_answer):
        with pytest.raises(MessageError):
            decode(payload)


def test_length_is_checked_before_anything_else():
    for decode in (decode_ask, decode_answer):
        with pytest.raises(MessageError, match="size"):
            decode(b"{" * (LIMIT + 1))
