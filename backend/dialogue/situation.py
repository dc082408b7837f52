"""What is known of one group: its sensors, the facts of its windows, what happened, and what is decided now.

A question is asked about a situation, and every answer follows from it. Where it came from (the store of a backend, a
labelled recording, random numbers) it does not know. Times are nanoseconds UTC.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from functools import cached_property
from operator import itemgetter
from typing import Any

from backend.dialogue.words import Sensor
from edge.clock import SECOND
from edge.facts import FACTS

Span = tuple[int, int]
"""From, and until."""
Index = dict[tuple[Sensor, str], list[tuple[int, float]]]
"""By sensor and fact, when and how much, in order of time."""
_when = itemgetter(0)


@dataclass(frozen=True)
class Reading:
    """The facts of one window, which began at `t0`; `stream` is its key within the group, `device/stream`."""

    stream: str
    sensor: Sensor
    t0: int
    facts: Mapping[str, float]


@dataclass(frozen=True)
class Happening:
    """What a task told of from `began` to `ended`; `events` are the ids that say so."""

    task: str
    label: str
    began: int
    ended: int
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class Situation:
    """All that answers follow from.

    `readings` and `happenings` are in order of time. `labels`: by task, the words of the labels that can be told.
    `decided`: by task the label of now. `attribution`: the gate's weights now, by stream. `hop` is the time from one
    window of a stream to the next. `index` has the readings' facts sorted, of those who keep them so: for minutes of
    several sensors sorting takes a tenth of a second.
    """

    sensors: Mapping[str, Sensor]
    readings: tuple[Reading, ...]
    now: int
    happenings: tuple[Happening, ...] = ()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    decided: Mapping[str, str] = field(default_factory=dict)
    attribution: Mapping[str, float] = field(default_factory=dict)
    zone: tzinfo = UTC
    hop: int = SECOND // 2
    index: Index | None = field(default=None, repr=False)

    @cached_property
    def names(self) -> dict[Sensor, str]:
        """The streams of the sensors that are there."""
        return {sensor: stream for stream, sensor in self.sensors.items()}

    @cached_property
    def _by_sensor(self) -> dict[Sensor, list[Reading]]:
        by_stream: dict[str, list[Reading]] = {}
        for one in self.readings:
            by_stream.setdefault(one.stream, []).append(one)
        return {own[0].sensor: own for own in by_stream.values()}

    @cached_property
    def _values(self) -> Index:
        """What has been asked for so far."""
        return {}

    @cached_property
    def _facts(self) -> dict[Sensor, list[str]]:
        """What has been asked for so far."""
        return {}

    def values(self, sensor: Sensor, fact: str, span: Span | None = None) -> list[tuple[int, float]]:
        """When, and how much, in order of time; windows that begin within the span."""
        key = sensor, fact
        if self.index is None and key not in self._values:
            own = self._by_sensor.get(sensor, [])
            self._values[key] = sorted(((one.t0, one.facts[fact]) for one in own if fact in one.facts), key=_when)
        found = (self._values if self.index is None else self.index).get(key, [])
        if span is None:
            return found
        return found[bisect_left(found, span[0], key=_when) : bisect_left(found, span[1], key=_when)]

    def facts_of(self, sensor: Sensor) -> list[str]:
        """The facts that a sensor tells, in the order of the table."""
        if sensor not in self._facts:
            if self.index is None:
                there = {fact for one in self._by_sensor.get(sensor, []) for fact in one.facts}
            else:
                there = {fact for one, fact in self.index if one == sensor}
            self._facts[sensor] = [fact for fact in FACTS if fact in there]
        return self._facts[sensor]

    @property
    def began(self) -> int:
        """Since when anything is known."""
        times = [one.t0 for one in self.readings[:1]] + [one.began for one in self.happenings[:1]]
        return min(times, default=self.now)

    def told(self, task: str | None = None, span: Span | None = None) -> list[Happening]:
        """What happened, cut to the span."""
        found = []
        for one in self.happenings:
            if task is not None and one.task != task:
                continue
            low, high = (one.began, one.ended) if span is None else (max(one.began, span[0]), min(one.ended, span[1]))
            if high > low:
                whole = (low, high) == (one.began, one.ended)
                found.append(one if whole else replace(one, began=low, ended=high))
        return found

    def words(self, task: str, label: str) -> str:
        """Of a label."""
        return self.labels.get(task, {}).get(label, label.replace("-", " ").replace("_", " ").lower())


def named(streams: Iterable[tuple[str, str, str]]) -> dict[str, Sensor]:
    """By stream key, its sensor; (key, modality, placement).

    Two of one name are told apart by their devices, two of one device by their keys.
    """
    listed = list(streams)
    name = Counter((modality, placement) for _, modality, placement in listed)
    own = Counter((key.partition("/")[0], modality, placement) for key, modality, placement in listed)
    found = {}
    for key, modality, placement in listed:
        device = key.partition("/")[0]
        apart = key.replace("/", "-") if own[device, modality, placement] > 1 else device
        found[key] = Sensor(modality, placement, apart if name[modality, placement] > 1 else "")
    return found


def to_json(situation: Situation) -> dict[str, Any]:
    """Plain values."""
    streams = {stream: [s.modality, s.placement, s.device] for stream, s in situation.sensors.items()}
    return {
        "sensors": streams,
        "readings": [[one.stream, one.t0, dict(one.facts)] for one in situation.readings],
        "happenings": [[h.task, h.label, h.began, h.ended, list(h.events)] for h in situation.happenings],
        "now": situation.now,
        "labels": {task: dict(words) for task, words in situation.labels.items()},
        "decided": dict(situation.decided),
        "attribution": dict(situation.attribution),
        "hop": situation.hop,
    }


def from_json(body: Mapping[str, Any]) -> Situation:
    """What `to_json` made; the time zone is UTC."""
    sensors = {stream: Sensor(*parts) for stream, parts in body["sensors"].items()}
    return Situation(
        sensors=sensors,
        readings=tuple(Reading(stream, sensors[stream], t0, facts) for stream, t0, facts in body["readings"]),
        now=body["now"],
        happenings=tuple(
            Happening(task, label, began, ended, tuple(events))
            for task, label, began, ended, events in body["happenings"]
        ),
        labels=body["labels"],
        decided=body["decided"],
        attribution=body["attribution"],
        hop=body["hop"],
    )
