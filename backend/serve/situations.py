"""From what the store and the engine know of a group to what a question is asked about, and what could be its answer.

How far back it looks depends on the question: numbers are at hand for the last minutes, and are read from the store
where an earlier time is named; what happened is known for hours. It is called by one thread. How an answer is worded,
and by whom, it refuses to know.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from math import inf
from typing import Protocol
from zoneinfo import ZoneInfo

from backend.answer import Answer, Decision
from backend.dialogue.programs import Lacking
from backend.dialogue.recall import Recalled, recall
from backend.dialogue.situation import Happening, Index, Reading, Situation, named
from backend.dialogue.understand import Understood, understand
from backend.dialogue.vocabulary import PLACES, may_name
from backend.dialogue.words import Sensor, clock
from backend.model.history import Context
from backend.serve.align import GroupKey
from backend.serve.engine import Newest
from backend.serve.past import Episode, Measured
from backend.tasks import Classification, Task
from broker.errors import MessageError
from edge.clock import SECOND

FRESH_S = 10.0
"""What was decided longer ago is not what is now."""
MOST_READINGS = 50_000
"""Windows that one question may look back over."""
_MOST_EPISODES = 2_000
_GROUPS = 64  # whose newest windows are kept at hand
_ABOUT_NS = 30 * SECOND  # around a moment that is named
_SHOWN = 20  # names in an error
_LONGEST_NAME = 40  # characters of a placement
_WORDS = re.compile(r"[^\W_]+")
_USUAL = "activity-recognition"


class Past(Protocol):
    """What is asked of a store."""

    def readings(self, key: GroupKey, after: int, until: int, most: int) -> list[Measured]:
        """Facts of a group's windows that began after one time and not after another, in order."""

    def episodes(self, key: GroupKey, since: int, most: int) -> list[Episode]:
        """What was told of a group and had not ended before a time, in order."""


class Present(Protocol):
    """What is asked of an engine."""

    newest: dict[GroupKey, Newest]
    tasks_of: Callable[[str], Collection[str]]


@dataclass(frozen=True)
class Asked:
    """A question to a group; `streams` are those to answer from, empty for all. `before` is what the last one meant.

    `own` are the answers of the model to these streams alone, where some are named.
    """

    group: GroupKey
    question: str
    before: Understood | None = None
    earlier: tuple[str, ...] = ()
    """Questions that came before, where nobody remembers what they meant."""
    streams: tuple[str, ...] = ()
    own: Mapping[str, Answer] | None = None


@dataclass(frozen=True)
class Seen:
    """What a question is asked about, what could answer it, and what the model looked at last, from when to when."""

    situation: Situation
    recalled: Recalled
    context: Context
    began: int
    ended: int


@dataclass
class _Near:
    """The newest windows of a group: as they came, by sensor and fact; and by stream, the newest of each."""

    measured: list[Measured] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    index: Index = field(default_factory=dict)
    sensors: dict[str, Sensor] = field(default_factory=dict)
    newest: dict[str, Measured] = field(default_factory=dict)

    def move(self, since: int, fresh: list[Measured]) -> None:
        """Add what is new, and forget what began before a time."""
        gone = next((i for i, one in enumerate(self.measured) if one.t0 >= since), len(self.measured))
        gone = max(gone, len(self.measured) + len(fresh) - MOST_READINGS)
        self.measured = [*self.measured[gone:], *fresh]
        first = self.measured[0].t0 if self.measured else since
        self.newest |= {one.stream: one for one in fresh}
        self.newest = {stream: one for stream, one in self.newest.items() if one.t0 >= first}
        sensors = _named((key, one.modality, place_name(one.placement)) for key, one in sorted(self.newest.items()))
        if sensors == self.sensors:
            more = _readings(fresh, sensors)
            self.readings = [*self.readings[gone:], *more]
            for values in self.index.values():
                del values[: bisect_left(values, (first, -inf))]
        else:  # a name may be another now
            self.sensors, self.index = sensors, {}
            self.readings = more = _readings(self.measured, sensors)
        _sort_in(more, self.index)


class Situations:
    """What is known of all groups.

    Args:
        store, engine: where it comes from.
        tasks: the model's.
        minutes, hours: how far back numbers and happenings go where the question names no time.
        hop_ns: length of a slot.
        zone: IANA name of the time zone that people speak in; empty for the machine's.
        clock: monotonic seconds, the engine's.
        now: UTC nanoseconds.
    """

    def __init__(
        self,
        store: Past,
        engine: Present,
        tasks: Mapping[str, Task],
        *,
        minutes: float,
        hours: float,
        hop_ns: int,
        zone: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store, self._engine, self._tasks = store, engine, tasks
        self._near_ns, self._far_ns, self._hop_ns = round(minutes * 60 * SECOND), round(hours * 3600 * SECOND), hop_ns
        self._zone = ZoneInfo(zone) if zone else None
        self._clock, self._now = clock, now
        self._near: OrderedDict[GroupKey, _Near] = OrderedDict()

    def groups(self) -> list[GroupKey]:
        """Those of which anything is known; from any thread."""
        return sorted(self._engine.newest)

    def newest(self, key: GroupKey, streams: Sequence[str] = ()) -> Newest:
        """What was decided last of a group, from some of its streams; from any thread.

        Raises:
            MessageError: nothing is known of the group, or of a stream; reason `group` or `sensors`.
        """
        found = self._engine.newest.get(key)
        if found is None:
            raise MessageError("group", f"{key.site}/{key.group} is none that sensors have told of; {self._known()}")
        if not streams:
            return found
        there = dict.fromkeys(row.key for row in found.context.rows)
        if strange := [stream for stream in streams if stream not in there]:
            listed = ", ".join(list(there)[:_SHOWN]) or "none"
            raise MessageError(
                "sensors", f"{strange[0]} has told nothing lately in {key.site}/{key.group}; there: {listed}"
            )
        rows = tuple(row for row in found.context.rows if row.key in streams)
        return replace(found, context=Context(found.context.slot, rows))

    def see(self, asked: Asked) -> Seen:
        """What a question is asked about, and what could be its answer; raises as `newest` does."""
        newest = self.newest(asked.group, asked.streams)
        situation = self._situation(asked, newest)
        before = asked.before
        for question in asked.earlier:
            before = understand(question, situation, before)
        found = understand(asked.question, situation, before)
        situation = _weighed(situation, found, newest, asked)
        lacking = None
        if found.facts or (found.sensors and not found.labels and not found.tasks):
            situation, lacking = self._numbers(asked, situation, found)
        recalled = recall(asked.question, situation, before)
        if lacking is not None:
            statement = Lacking(lacking).evaluate(situation)
            recalled = replace(recalled, statements=(statement,) if statement else (), tasks=())
        return Seen(situation, recalled, newest.context, newest.context.slot * self._hop_ns, newest.end)

    def _known(self) -> str:
        known = [f"{key.site}/{key.group}" for key in self.groups()]
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        return f"known: {', '.join(known[:_SHOWN])}{more}" if known else "no group is known yet"

    def _situation(self, asked: Asked, newest: Newest) -> Situation:
        age_s = None if newest.seen is None else self._clock() - newest.seen
        now = max(newest.end, self._now()) if age_s is None else newest.end + round(age_s * SECOND)
        fresh = age_s is not None and age_s <= FRESH_S
        near = self._bring_near(asked.group, now)
        sensors, readings = near.sensors, tuple(near.readings)
        if asked.streams:
            sensors = {stream: sensor for stream, sensor in sensors.items() if stream in asked.streams}
            readings = tuple(one for one in readings if one.stream in asked.streams)
        wanted = set(sensors.values())
        placed = {(near.newest[stream].modality, near.newest[stream].placement) for stream in sensors}
        told = [name for name in self._engine.tasks_of(asked.group.group) if self._tasks[name].tells(sorted(placed))]
        labels = {name: task.words for name in told if isinstance(task := self._tasks[name], Classification)}
        decided = _decided(newest, asked) if fresh else {}
        until = now if fresh else newest.end
        return Situation(
            sensors=sensors,
            readings=readings,
            now=now,
            happenings=self._happenings(asked.group, now - self._far_ns, until),
            labels=labels,
            decided={task: decision.label for task, decision in decided.items() if task in labels},
            zone=self._zone or _local(),
            hop=self._hop_ns,
            index={key: list(values) for key, values in near.index.items() if key[0] in wanted},
        )

    def _happenings(self, key: GroupKey, since: int, until: int) -> tuple[Happening, ...]:
        found = self._store.episodes(key, since, _MOST_EPISODES)
        return tuple(
            Happening(one.task, one.label, one.began, max(one.ended or until, one.began), one.events) for one in found
        )

    def _bring_near(self, key: GroupKey, now: int) -> _Near:
        """The newest windows of a group: those that came since are added, and those that are too long ago go."""
        near = self._near.setdefault(key, _Near())
        self._near.move_to_end(key)
        if len(self._near) > _GROUPS:
            self._near.popitem(last=False)
        since = now - self._near_ns
        newest = max(since, near.measured[-1].t0 if near.measured else since)
        fresh = self._store.readings(key, newest, max(now, newest), MOST_READINGS)
        near.move(since, fresh)
        return near

    def _numbers(self, asked: Asked, situation: Situation, found: Understood) -> tuple[Situation, str | None]:
        """The situation for a question about numbers: all that it knows goes as far back as the numbers do, so that
        what is said of a time is said of all of it. Or else what is lacking, as a clause.
        """
        here = situation.now - self._near_ns
        times = [] if found.span is None else [found.span[0]]
        times += [] if found.moment is None else [found.moment - _ABOUT_NS]
        last = {(one.task, one.label): one.began for one in situation.happenings}
        times += [last[label] for label in found.labels if label in last]
        since = min([here, *times])
        if since < here:
            more = self._store.readings(asked.group, since - 1, here, MOST_READINGS)
            if len(more) == MOST_READINGS:
                reach = clock(more[0].t0, situation.zone)
                return situation, f"so many numbers are not at hand, only those since {reach}"
            wanted = [one for one in more if not asked.streams or one.stream in asked.streams]
            # those who measured then and do so no more have a name, too
            placed = {one.stream: (one.stream, one.modality, place_name(one.placement)) for one in wanted}
            placed |= {stream: (stream, one.modality, one.placement) for stream, one in situation.sensors.items()}
            sensors = _named(placed.values())
            here_readings = [replace(one, sensor=sensors[one.stream]) for one in situation.readings]
            readings = (*_readings(wanted, sensors), *here_readings)
            index: Index = {}
            _sort_in(readings, index)
            situation = replace(situation, sensors=sensors, readings=readings, index=index)
        began = situation.readings[0].t0 if situation.readings else situation.now
        kept = [one for one in situation.happenings if one.ended > began]
        happenings = tuple(replace(one, began=max(one.began, began)) for one in kept)
        return replace(situation, happenings=happenings), None


def _decided(newest: Newest, asked: Asked) -> dict[str, Decision]:
    """By task the decision of now; where some streams are named, from these."""
    if asked.own is not None:
        return {task: answer for task, answer in asked.own.items() if isinstance(answer, Decision)}
    return {task: decision for task, (decision, _) in newest.decisions.items()}


def _weighed(situation: Situation, found: Understood, newest: Newest, asked: Asked) -> Situation:
    """With the gate's weights of the task that the question is about, as far as it has been decided."""
    decided = {task: one for task, one in _decided(newest, asked).items() if task in situation.decided}
    task = next((task for task in (*found.tasks, _USUAL, *decided) if task in decided), None)
    return situation if task is None else replace(situation, attribution=decided[task].attribution)


def _readings(measured: Sequence[Measured], sensors: Mapping[str, Sensor]) -> list[Reading]:
    return [Reading(one.stream, sensors[one.stream], one.t0, one.facts) for one in measured]


def _sort_in(readings: Iterable[Reading], index: Index) -> None:
    """Add readings, in order of time, to what is sorted by sensor and fact."""
    keys: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for one in readings:
        for fact, value in one.facts.items():
            values = keys.get((one.stream, fact))
            if values is None:  # once for each, for a sensor's hash takes time
                values = keys[one.stream, fact] = index.setdefault((one.sensor, fact), [])
            values.append((one.t0, value))


def place_name(placement: str) -> str:
    """A device's own words as they may stand in a sentence: a place of ours, or one name that says nothing else."""
    words = _WORDS.findall(placement)
    if (known := " ".join(words).casefold()) in PLACES:
        return known
    return _own("-".join(words)[:_LONGEST_NAME].strip("-"), "place") if words else "unknown"


def _named(streams: Iterable[tuple[str, str, str]]) -> dict[str, Sensor]:
    """By stream, its sensor; what tells two of one name apart says nothing else, either."""
    found = named(streams).items()
    return {key: replace(one, device=_own(one.device, "device")) if one.device else one for key, one in found}


def _own(word: str, kind: str) -> str:
    """A word that is, or becomes, a name."""
    return word if may_name(word) else f"{kind}-{word}"


def _local() -> tzinfo:
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    return zone
