"""A question to one's sensors and its answer in parts; `broker.messages` passes these names on.

The answer comes on `iotlm/answers/{site}/{group}/{id}`, and where the question named a response topic (MQTT 5), there
instead. Parts count from 0 without holes, so whoever asked sees a part that came twice or is missing; the last one has
`done`, whatever happened: an answer that could not be given says why in `error`. Checks of a claim may end after it
was said, so the last part may bring `whole`, the text to keep in place of all parts.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from broker import topics
from broker.errors import MessageError
from broker.fields import MAX_ITEMS, VERSION, Fields, json_fields

Standing = Literal["supported", "corrected", "withheld"]

MAX_QUESTION = 2_000  # characters of a question, or of why there is no answer
MAX_PART = 4_096  # characters of one part, or of one claim
MAX_WHOLE = 1 << 14  # characters of a whole answer
MAX_TOKENS, TOKENS = 512, 128  # longest answer: the most that may be asked for, and unless asked

_UINT64 = (1 << 64) - 1
_ID = re.compile(topics.ID)
_ID_RULE = "1 to 64 of A-Z, a-z, 0-9, '-' and '_'"
_KEY = re.compile(topics.KEY)
_KEY_RULE = "device/stream, two names with a '/' between them"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the sensors of a group; the topic says of which.

    Attributes:
        id: chosen by whoever asks, new for every question; a level of the answer's topic, so 1 to 64 of A-Z, a-z, 0-9,
            '-' and '_'.
        question: 1 to 2000 characters, not only spaces.
        session: of the same characters as `id`; questions of one session follow each other. Empty: it stands alone.
        sensors: the streams to answer from, as `device/stream`; empty: all of the group.
        most: longest answer, in tokens; 1..512.
        trace: W3C traceparent, or empty.
    """

    id: str
    question: str
    session: str = ""
    sensors: tuple[str, ...] = ()
    most: int = TOKENS
    trace: str = ""
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one claim of an answer stands on.

    Attributes:
        claim: the words of the claim, as they were said.
        kind: what sort of claim it is.
        status: `supported` by what was measured, `corrected` to it, or `withheld` because nothing speaks for it.
        stream: the stream that it is about, as `device/stream`, or empty.
        fact: name of the fact that was compared, such as `imu.rms`, or empty.
        value: what the sensors measured, in `unit`; None where it is no number.
        label: what the model decided, where the claim is of a label.
        began, ended: the time that it covers, ISO 8601 UTC, or empty.
        events: ids of the events that it rests on.
    """

    claim: str
    kind: str
    status: Standing
    stream: str = ""
    fact: str = ""
    value: float | None = None
    unit: str = ""
    label: str = ""
    began: str = ""
    ended: str = ""
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One part of what is said to a question.

    Attributes:
        id: of the question.
        part: 0, 1, 2 ... within the answer.
        text: what is new in this part.
        done: whether this is the last part. `evidence`, `attribution`, `whole` and `error` belong to that one, and it
            has a `time`.
        evidence: what each claim stands on.
        attribution: stream -> weight, summing to 1, as in an event; empty where nothing was weighed.
        model: what answered.
        time: when it was said, ISO 8601 UTC.
        error: why there is no answer, or empty.
        whole: the text as verified, in place of all parts; empty where the parts stand as they were said.
        trace: W3C traceparent, or empty.
    """

    id: str
    part: int
    text: str
    done: bool
    evidence: tuple[Evidence, ...] = ()
    attribution: dict[str, float] = field(default_factory=dict)
    model: str = ""
    time: str = ""
    error: str = ""
    whole: str = ""
    trace: str = ""
    v: int = VERSION


def decode_ask(payload: bytes) -> Ask:
    """The question in a JSON payload. Raises `MessageError`."""
    take = json_fields(payload)
    question = take.text("question", most=MAX_QUESTION)
    if not question.strip():
        raise MessageError("question", "question is empty")
    return Ask(
        id=take.matching("id", _ID, _ID_RULE),
        question=question,
        session=take.matching("session", _ID, _ID_RULE, default=""),
        sensors=_sensors(take),
        most=take.integer("most", 1, MAX_TOKENS, default=TOKENS),
        trace=take.text("trace", default=""),
        v=take.body["v"],
    )


def decode_answer(payload: bytes) -> Answer:
    """The part of an answer in a JSON payload. Raises `MessageError`."""
    take = json_fields(payload)
    done = take.flag("done")
    answer = Answer(
        id=take.matching("id", _ID, _ID_RULE),
        part=take.integer("part", 0, _UINT64),
        text=take.text("text", most=MAX_PART),
        done=done,
        evidence=tuple(_evidence(Fields(each)) for each in take.list("evidence", MAX_ITEMS, dict, default=[])),
        attribution=take.numbers("attribution"),
        model=take.text("model", default=""),
        time=take.moment("time", default=None if done else ""),
        error=take.text("error", default="", most=MAX_QUESTION),
        whole=take.text("whole", default="", most=MAX_WHOLE),
        trace=take.text("trace", default=""),
        v=take.body["v"],
    )
    for name in ("evidence", "attribution", "error", "whole"):
        if not done and getattr(answer, name):
            raise MessageError(name, f"{name} belongs to the last part, which says done")
    return answer


def _sensors(take: Fields) -> tuple[str, ...]:
    keys = take.list("sensors", MAX_ITEMS, str, default=[])
    for key in keys:
        if not _KEY.fullmatch(key):
            raise MessageError("sensors", f"sensor {key[:40]!r} must be {_KEY_RULE}")
    return tuple(keys)


def _evidence(take: Fields) -> Evidence:
    return Evidence(
        claim=take.text("claim", most=MAX_PART),
        kind=take.text("kind"),
        status=take.choice("status", get_args(Standing)),
        stream=take.matching("stream", _KEY, _KEY_RULE, default=""),
        fact=take.text("fact", default=""),
        value=None if take.body.get("value") is None else take.number("value", -1e300, 1e300),
        unit=take.text("unit", default=""),
        label=take.text("label", default=""),
        began=take.moment("began", default=""),
        ended=take.moment("ended", default=""),
        events=tuple(take.list("events", MAX_ITEMS, str, default=[])),
    )
