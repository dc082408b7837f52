"""The topic grammar: every topic string of the system is built and taken apart here, and nowhere else.

iotlm/frames/{site}/{device}/{stream}    Frame, msgpack
iotlm/acks/{site}/{device}               Ack, JSON
iotlm/status/{site}/{device}             Status, JSON, retained
iotlm/events/{site}/{group}/{task}       Event, JSON
iotlm/estimates/{site}/{group}/{task}    Estimate, JSON
"""

import re
from dataclasses import dataclass

from broker.errors import ConfigError, MessageError

ROOT = "iotlm"
FRAMES_ALL = f"{ROOT}/frames/+/+/+"
STATUS_ALL = f"{ROOT}/status/+/+"
EVENTS_ALL = f"{ROOT}/events/#"
ESTIMATES_ALL = f"{ROOT}/estimates/#"

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Of sites, devices, streams, groups and tasks."""
_NAME = re.compile(NAME)


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


Topic = FrameTopic | AckTopic | StatusTopic | EventTopic | EstimateTopic

_KINDS: dict[str, tuple[type[Topic], int]] = {
    "frames": (FrameTopic, 3),
    "acks": (AckTopic, 2),
    "status": (StatusTopic, 2),
    "events": (EventTopic, 3),
    "estimates": (EstimateTopic, 3),
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


def parse(topic: str) -> Topic:
    """Take a concrete topic (no wildcards) apart.

    Raises:
        MessageError: it is none of ours; reason `topic`.
    """
    root, _, rest = topic.partition("/")
    kind, *names = rest.split("/")
    if root != ROOT or kind not in _KINDS or not all(map(_NAME.fullmatch, names)):
        raise MessageError("topic", f"{topic[:80]!r} is not in the grammar of {ROOT}/")
    cls, count = _KINDS[kind]
    if len(names) != count:
        raise MessageError("topic", f"{topic[:80]!r} has {len(names)} names after {kind}, not {count}")
    return cls(*names)


def _build(kind: str, **names: str) -> str:
    return "/".join([ROOT, kind, *(check_name(value, field) for field, value in names.items())])
