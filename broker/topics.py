"""The topic grammar: every topic string of the system is built and taken apart here, and nowhere else.

iotlm/frames/{site}/{device}/{stream}    Frame, msgpack
iotlm/acks/{site}/{device}               Ack, JSON
iotlm/status/{site}/{device}             Status, JSON, retained
iotlm/events/{site}/{group}/{task}       Event, JSON
iotlm/estimates/{site}/{group}/{task}    Estimate, JSON
iotlm/ask/{site}/{group}                 Ask, JSON; MQTT 5 clients may name a response topic, see `check_reply`
iotlm/answers/{site}/{group}/{id}        Answer, JSON, to those who named none: one message for each part
"""

import re
from dataclasses import dataclass

from broker.errors import ConfigError, MessageError

ROOT = "iotlm"
FRAMES_ALL = f"{ROOT}/frames/+/+/+"
STATUS_ALL = f"{ROOT}/status/+/+"
EVENTS_ALL = f"{ROOT}/events/#"
ESTIMATES_ALL = f"{ROOT}/estimates/#"
ASK_ALL = f"{ROOT}/ask/+/+"
ANSWERS_ALL = f"{ROOT}/answers/#"

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Of sites, devices, streams, groups and tasks."""
ID = r"^[A-Za-z0-9_-]{1,64}$"
"""Of questions: what fits into one level of a topic, as UUIDs and base64url do."""
KEY = rf"^{NAME[1:-1]}/{NAME[1:-1]}$"
"""Of a stream within a group: device/stream, as attributions have it."""
_NAME, _ID = re.compile(NAME), re.compile(ID)

_MAX_REPLY, _MAX_LEVELS = 256, 64  # mosquitto throws out who publishes on more than 201 levels


def check_name(value: str, field: str) -> str:
    """Return `value` if it may stand in a topic.

    Raises:
        ConfigError: it does not match `[a-z0-9][a-z0-9-]{0,62}`; the text names `field`.
    """
    if not _NAME.fullmatch(value):
        raise ConfigError(
            f"{field} {value[:80]!r}: a name has 1 to 63 of a-z, 0-9 and '-', and starts with a letter or digit"
        )
    return value


@dataclass(frozen=True, slots=True)
class FrameTopic:
    """Windows of one stream of one device."""

    site: str
    device: str
    stream: str


@dataclass(frozen=True, slots=True)
class AckTopic:
    """What the backend has committed of one device."""

    site: str
    device: str


@dataclass(frozen=True, slots=True)
class StatusTopic:
    """What one device says of itself."""

    site: str
    device: str


@dataclass(frozen=True, slots=True)
class EventTopic:
    """What happened to one group, as one task sees it."""

    site: str
    group: str
    task: str


@dataclass(frozen=True, slots=True)
class EstimateTopic:
    """Where something of one group is, as one task sees it."""

    site: str
    group: str
    task: str


@dataclass(frozen=True, slots=True)
class AskTopic:
    """Questions to the sensors of one group."""

    site: str
    group: str


@dataclass(frozen=True, slots=True)
class AnswerTopic:
    """What is said to one question, whose `id` is the last level."""

    site: str
    group: str
    id: str


Topic = FrameTopic | AckTopic | StatusTopic | EventTopic | EstimateTopic | AskTopic | AnswerTopic

_KINDS: dict[str, tuple[type[Topic], tuple[re.Pattern[str], ...]]] = {
    "frames": (FrameTopic, (_NAME, _NAME, _NAME)),
    "acks": (AckTopic, (_NAME, _NAME)),
    "status": (StatusTopic, (_NAME, _NAME)),
    "events": (EventTopic, (_NAME, _NAME, _NAME)),
    "estimates": (EstimateTopic, (_NAME, _NAME, _NAME)),
    "ask": (AskTopic, (_NAME, _NAME)),
    "answers": (AnswerTopic, (_NAME, _NAME, _ID)),
}


def frames(site: str, device: str, stream: str) -> str:
    """Topic of one stream's windows."""
    return _build("frames", site=site, device=device, stream=stream)


def acks(site: str, device: str) -> str:
    """Topic of one device's acknowledgements."""
    return _build("acks", site=site, device=device)


def status(site: str, device: str) -> str:
    """Topic of one device's retained status and last will."""
    return _build("status", site=site, device=device)


def events(site: str, group: str, task: str) -> str:
    """Topic of one group's events of one task."""
    return _build("events", site=site, group=group, task=task)


def estimates(site: str, group: str, task: str) -> str:
    """Topic of one group's estimates of one task."""
    return _build("estimates", site=site, group=group, task=task)


def ask(site: str, group: str) -> str:
    """Topic of the questions to one group's sensors."""
    return _build("ask", site=site, group=group)


def answers(site: str, group: str, id: str) -> str:
    """Topic of what is said to one question.

    Raises:
        ConfigError: `id` has not 1 to 64 of A-Z, a-z, 0-9, '-' and '_', or another name does not fit.
    """
    if not _ID.fullmatch(id):
        raise ConfigError(f"id {id[:80]!r}: a question's id has 1 to 64 of A-Z, a-z, 0-9, '-' and '_'")
    return f"{_build('answers', site=site, group=group)}/{id}"


def parse(topic: str) -> Topic:
    """Take a concrete topic (no wildcards) apart.

    Raises:
        MessageError: it is none of ours; reason `topic`.
    """
    root, _, rest = topic.partition("/")
    kind, *names = rest.split("/")
    if root != ROOT or kind not in _KINDS:
        raise MessageError("topic", f"{topic[:80]!r} is not in the grammar of {ROOT}/")
    cls, rules = _KINDS[kind]
    if len(names) != len(rules):
        raise MessageError("topic", f"{topic[:80]!r} has {len(names)} names after {kind}, not {len(rules)}")
    if not all(rule.fullmatch(name) for rule, name in zip(rules, names, strict=True)):
        raise MessageError("topic", f"{topic[:80]!r} is not in the grammar of {ROOT}/")
    return cls(*names)


def check_reply(topic: str) -> str:
    """Return `topic` if an answer may be published there: a response topic is whatever a stranger wrote.

    Brokers pass it on as it came, and some throw out who publishes on a topic that they do not like; so it has 1 to 256
    characters that can be seen, 64 levels at most and no wildcard. It is no system topic (`$`), and none of ours but
    answers: a question must not make the backend say frames, acknowledgements or events. Which topics of others the
    backend may write is up to the broker's access list.

    Raises:
        MessageError: it may not; reason `response_topic`.
    """

    def refuse(why: str) -> MessageError:
        return MessageError("response_topic", f"{topic[:80]!r} {why}")

    if not 0 < len(topic) <= _MAX_REPLY or topic.count("/") >= _MAX_LEVELS or not topic.isprintable():
        raise refuse(f"must be 1 to {_MAX_REPLY} printable characters in at most {_MAX_LEVELS} levels")
    if "+" in topic or "#" in topic:
        raise refuse("has a wildcard: an answer needs one topic")
    if topic.startswith("$"):
        raise refuse("belongs to the broker, as all topics that begin with $")
    if f"{topic}/".startswith(f"{ROOT}/") and not _is_answer(topic):
        raise refuse(f"is not for answers: below {ROOT}/, those go to {ROOT}/answers/SITE/GROUP/ID")
    return topic


def _is_answer(topic: str) -> bool:
    try:
        return isinstance(parse(topic), AnswerTopic)
    except MessageError:
        return False


def _build(kind: str, **names: str) -> str:
    return "/".join([ROOT, kind, *(check_name(value, field) for field, value in names.items())])
