"""Answer programs: what can be asked of a situation, what arithmetic answers, and how the answer is said.

A program is a question without words. `evaluate` answers it from a situation with a `Statement`: one clause, and what
it rests on. The same clause is a line of a prompt, a right answer in instruction data, and what a claim is corrected
to; so nothing is worded in two places. It knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from backend.dialogue.situation import Happening, Situation, Span
from backend.dialogue.words import (
    LARGEST,
    MEAN,
    NEWEST,
    SMALLEST,
    Sensor,
    clock,
    digits_of,
    fact_name,
    number,
    plain,
    span_words,
    together,
    unit_of,
)
from backend.tasks import TASKS, Classification
from edge.clock import SECOND

MOST_LISTED = 12
"""Sensors or labels that an answer names."""


@dataclass(frozen=True)
class Number:
    """A number that a statement tells: of a fact, or of nothing that a sensor tells (a count, a time that passed)."""

    value: float
    unit: str
    digits: int
    stream: str = ""
    fact: str = ""
    stat: str = ""

    @property
    def text(self) -> str:
        """As it is told."""
        return f"{plain(self.value, self.digits)} {self.unit}".strip()

    def holds(self, said: float, half: float | None = None) -> bool:
        """Whether a number that somebody tells is this one or what it is told as, rounded.

        `half`: of the last digit that is told; without it, of that which a statement tells.
        """
        within = 0.5 * 10.0**-self.digits if half is None else half
        return min(abs(said - self.value), abs(said - round(self.value, self.digits))) <= within + 1e-9


@dataclass(frozen=True)
class Statement:
    """One clause that is true of a situation, and what it rests on: its numbers, labels, times and sensors."""

    text: str
    program: Program
    numbers: tuple[Number, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Tasks and labels."""
    times: tuple[int, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    span: Span | None = None
    events: tuple[str, ...] = ()
    lacks: bool = False
    """It says that something cannot be told."""


class Program(Protocol):
    """What can be asked."""

    def evaluate(self, situation: Situation) -> Statement | None:
        """The answer as a true statement; None where there is nothing to tell."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, with `op`."""


PROGRAMS: dict[str, type[Any]] = {}


@dataclass(frozen=True)
class _Plain:
    """A program's own fields as plain values, under the name of its class."""

    def __init_subclass__(cls) -> None:
        PROGRAMS[cls.__name__.lower()] = cls

    def to_json(self) -> dict[str, Any]:
        """Plain values, with `op`."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"op": type(self).__name__.lower(), **values}


def program_from(body: Mapping[str, Any]) -> Program:
    """What `to_json` made."""
    values = dict(body)
    kind = PROGRAMS[values.pop("op")]
    sensors = {k: Sensor(**v) for k, v in values.items() if isinstance(v, dict)}
    spans = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    made: Program = kind(**{**values, **sensors, **spans})
    return made


@dataclass(frozen=True)
class Statistic(_Plain):
    """A number of one fact of one sensor over a span, of which `newest` is the last.

    `during`: words of a label, where the span is when it was told.
    """

    stat: str
    fact: str
    sensor: Sensor
    span: Span
    during: str = ""

    def evaluate(self, situation: Situation) -> Statement | None:
        """`the mean rms of the IMU on the wrist from ... to ... is 2.31 m/s2`."""
        found = situation.values(self.sensor, self.fact, self.span)
        if not found:
            return None
        t, values = [one[0] for one in found], np.array([one[1] for one in found])
        at = {LARGEST: int(values.argmax()), SMALLEST: int(values.argmin()), NEWEST: len(values) - 1}.get(self.stat)
        value = float(values.mean()) if at is None else float(values[at])
        when = f" {span_words(*self.span, situation.zone)}"
        if self.during:
            when = f" while {self.during},{when},"
        stat, behind = f"{self.stat} ", ""
        if self.stat == NEWEST:
            assert at is not None
            stat, when = "", f" at {clock(t[at], situation.zone)}"
        elif at is not None:
            behind = f", at {clock(t[at], situation.zone)}"
        text = f"the {stat}{fact_name(self.fact)} of the {self.sensor}{when} is {number(self.fact, value)}{behind}"
        told = _number(situation, self.sensor, self.fact, self.stat, value)
        times = () if at is None else (t[at],)
        labels = tuple(
            (task, label)
            for task, words in situation.labels.items()
            for label, said in words.items()
            if self.during and said == self.during
        )
        return Statement(text, self, (told,), labels, times, (self.sensor,), self.span)


@dataclass(frozen=True)
class Compared(_Plain):
    """Of which of two sensors a fact's mean over a span is larger."""

    fact: str
    one: Sensor
    other: Sensor
    span: Span

    def evaluate(self, situation: Situation) -> Statement | None:
        """`the mean rms ... is larger for the IMU on the left wrist, 2.31 m/s2, than for ..., 1.20 m/s2`."""
        told = [_mean(situation, sensor, self.fact, self.span) for sensor in (self.one, self.other)]
        if told[0] is None or told[1] is None:
            return None
        pair = [(self.one, told[0]), (self.other, told[1])]
        when = span_words(*self.span, situation.zone)
        if told[0].text == told[1].text:
            text = (
                f"the mean {fact_name(self.fact)} {when} is the same for the {self.one} and for the {self.other}, "
                f"{told[0].text}"
            )
        else:
            (a, larger), (b, smaller) = sorted(pair, key=lambda one: -one[1].value)
            text = (
                f"the mean {fact_name(self.fact)} {when} is larger for the {a}, {larger.text}, than for the {b}, "
                f"{smaller.text}"
            )
        return Statement(text, self, (told[0], told[1]), sensors=(self.one, self.other), span=self.span)


@dataclass(frozen=True)
class Changed(_Plain):
    """How a fact's mean over the later span is beside that over the earlier one."""

    fact: str
    sensor: Sensor
    earlier: Span
    later: Span

    def evaluate(self, situation: Situation) -> Statement | None:
        """`the mean rms of the IMU on the wrist rose from 1.20 m/s2, from ... to ..., to 2.31 m/s2, ...`."""
        first, second = (_mean(situation, self.sensor, self.fact, span) for span in (self.earlier, self.later))
        if first is None or second is None:
            return None
        way, then = ("rose from" if second.value > first.value else "fell from"), "to"
        if first.text == second.text:
            way, then = "stayed at", "and was"
        one, other = (span_words(*span, situation.zone) for span in (self.earlier, self.later))
        what = f"the mean {fact_name(self.fact)} of the {self.sensor}"
        text = f"{what} {way} {first.text}, {one}, {then} {second.text}, {other}"
        return Statement(text, self, (first, second), sensors=(self.sensor,), span=(self.earlier[0], self.later[1]))


@dataclass(frozen=True)
class Total(_Plain):
    """How often and how long a label was told within a span."""

    task: str
    label: str
    span: Span

    def evaluate(self, situation: Situation) -> Statement | None:
        """`walking was seen 3 times, for 120 s in all, from 09:00:00 to 10:00:00`."""
        if self.label not in situation.labels.get(self.task, {}):
            return None
        found = [one for one in situation.told(self.task, self.span) if one.label == self.label]
        words, when = situation.words(self.task, self.label), span_words(*self.span, situation.zone)
        seconds = sum(one.ended - one.began for one in found) / SECOND
        numbers = (Number(len(found), "", 0, stat="count"), Number(seconds, "s", 0, stat="duration"))
        label = ((self.task, self.label),)
        if not found:
            return Statement(f"{words} was not {verb(self.task)} {when}", self, numbers, label, span=self.span)
        often = "once" if len(found) == 1 else f"{len(found)} times"
        text = f"{words} was {verb(self.task)} {often}, for {numbers[1].text} in all, {when}"
        return Statement(text, self, numbers, label, span=self.span, events=_events(found))


@dataclass(frozen=True)
class When(_Plain):
    """From when to when a label was told, the last time or the first, within a span."""

    task: str
    label: str
    span: Span
    last: bool = True

    def evaluate(self, situation: Situation) -> Statement | None:
        """`walking was last seen from 14:02:10 to 14:02:40`."""
        found = [one for one in situation.told(self.task, self.span) if one.label == self.label]
        if not found:
            return None
        one = found[-1 if self.last else 0]
        words, which = situation.words(self.task, self.label), "last" if self.last else "first"
        text = f"{words} was {which} {verb(self.task)} {span_words(one.began, one.ended, situation.zone)}"
        return Statement(
            text, self, (), ((self.task, self.label),), (one.began, one.ended), span=self.span, events=one.events
        )


@dataclass(frozen=True)
class Beside(_Plain):
    """What came right before or after a label was last told."""

    task: str
    label: str
    span: Span
    before: bool

    def evaluate(self, situation: Situation) -> Statement | None:
        """`before walking, from 14:02:10 to 14:02:40, came sitting still`."""
        found = situation.told(self.task, self.span)
        at = [i for i, one in enumerate(found) if one.label == self.label]
        if not at:
            return None
        one, where = found[at[-1]], "before" if self.before else "after"
        own = found[: at[-1]] if self.before else found[at[-1] + 1 :]
        rest = [h for h in situation.told(span=self.span) if h.task != self.task]
        rest = [h for h in rest if (h.began < one.began if self.before else h.ended > one.ended)]
        beside = (own or rest)[-1 if self.before else 0] if own or rest else None
        lead = f"{where} {situation.words(self.task, self.label)}, {span_words(one.began, one.ended, situation.zone)},"
        mine, times = (self.task, self.label), (one.began, one.ended)
        if beside is None:
            return Statement(f"{lead} nothing was told", self, (), (mine,), times, span=self.span, events=one.events)
        text = f"{lead} came {situation.words(beside.task, beside.label)}"
        labels = (mine, (beside.task, beside.label))
        return Statement(text, self, (), labels, times, span=self.span, events=_events([one, beside]))


@dataclass(frozen=True)
class At(_Plain):
    """What a task told at a time."""

    task: str
    time: int

    def evaluate(self, situation: Situation) -> Statement | None:
        """`at 14:02:20 it was walking`."""
        found = [one for one in situation.told(self.task) if one.began <= self.time < one.ended]
        if not found:
            return None
        text = f"at {clock(self.time, situation.zone)} it was {situation.words(self.task, found[-1].label)}"
        label = ((self.task, found[-1].label),)
        return Statement(text, self, (), label, (self.time,), span=(self.time, self.time), events=found[-1].events)


@dataclass(frozen=True)
class Meanwhile(_Plain):
    """What another task told while a label was last told."""

    task: str
    label: str
    other: str
    span: Span

    def evaluate(self, situation: Situation) -> Statement | None:
        """`while walking, from 14:02:10 to 14:02:40, there was a dog barking`."""
        found = [one for one in situation.told(self.task, self.span) if one.label == self.label]
        if not found:
            return None
        others = [other for one in found for other in situation.told(self.other, (one.began, one.ended))]
        none = none_label(self.other)
        labels = [label for label in dict.fromkeys(one.label for one in others) if label != none][:MOST_LISTED]
        said = together([situation.words(self.other, label) for label in labels]) if labels else "nothing else"
        span = (found[0].began, found[-1].ended)
        text = f"while {situation.words(self.task, self.label)}, {span_words(*span, situation.zone)}, there was {said}"
        told = ((self.task, self.label), *((self.other, label) for label in labels))
        return Statement(text, self, (), told, span, span=span, events=_events([*found, *others]))


@dataclass(frozen=True)
class Heard(_Plain):
    """All that a task told within a span, in order."""

    task: str
    span: Span

    def evaluate(self, situation: Situation) -> Statement | None:
        """`from 14:00:00 to 14:05:00 there was sitting still, then walking, then sitting still`."""
        found = situation.told(self.task, self.span)
        if not found:
            return None
        kept = found[-MOST_LISTED:]
        said = ", then ".join(situation.words(self.task, one.label) for one in kept)
        labels = tuple((self.task, one.label) for one in kept)
        text = f"{span_words(*self.span, situation.zone)} there was {said}"
        return Statement(text, self, (), labels, self.span, span=self.span, events=_events(kept))


@dataclass(frozen=True)
class Sensors(_Plain):
    """Which sensors there are."""

    def evaluate(self, situation: Situation) -> Statement | None:
        """`there are 2 sensors: the IMU on the wrist and the microphone in the kitchen`."""
        sensors = tuple(situation.sensors.values())
        if not sensors:
            return Statement("there is no sensor", self, lacks=True)
        shown = together([f"the {sensor}" for sensor in sensors[:MOST_LISTED]])
        how = f"there are {len(sensors)} sensors" if len(sensors) > 1 else "there is 1 sensor"
        more = f", and {len(sensors) - MOST_LISTED} more" if len(sensors) > MOST_LISTED else ""
        return Statement(
            f"{how}: {shown}{more}", self, (Number(len(sensors), "", 0, stat="count"),), sensors=sensors[:MOST_LISTED]
        )


@dataclass(frozen=True)
class Facts(_Plain):
    """What a sensor tells."""

    sensor: Sensor

    def evaluate(self, situation: Situation) -> Statement | None:
        """`the IMU on the wrist tells rms, peak and tilt`."""
        facts = situation.facts_of(self.sensor)
        if not facts:
            return None
        text = f"the {self.sensor} tells {together([fact_name(fact) for fact in facts])}"
        return Statement(text, self, sensors=(self.sensor,))


@dataclass(frozen=True)
class Unit(_Plain):
    """In which unit a fact is."""

    fact: str

    def evaluate(self, situation: Situation) -> Statement | None:
        """`the rms is in m/s2`."""
        unit = unit_of(self.fact)
        return Statement(f"the {fact_name(self.fact)} is {f'in {unit}' if unit else 'a number without a unit'}", self)


@dataclass(frozen=True)
class Known(_Plain):
    """Which labels a task can tell."""

    task: str

    def evaluate(self, situation: Situation) -> Statement | None:
        """`what can be told: sitting still, walking`."""
        none = none_label(self.task)
        words = [said for label, said in situation.labels.get(self.task, {}).items() if label != none]
        if not words:
            return None
        more = f", and {len(words) - MOST_LISTED} more" if len(words) > MOST_LISTED else ""
        labels = tuple((self.task, label) for label in situation.labels[self.task] if label != none)[:MOST_LISTED]
        return Statement(f"what can be told: {', '.join(words[:MOST_LISTED])}{more}", self, (), labels)


@dataclass(frozen=True)
class Lacking(_Plain):
    """That something cannot be told, because it is not there. `what` is a clause: `there is no GPS`."""

    what: str

    def evaluate(self, situation: Situation) -> Statement | None:
        """The clause."""
        return Statement(self.what, self, lacks=True)


@dataclass(frozen=True)
class Label(_Plain):
    """What a task decides now: the sensors show it, no line of text does."""

    task: str

    def evaluate(self, situation: Situation) -> Statement | None:
        """`walking`."""
        label = situation.decided.get(self.task)
        if label is None:
            return None
        return Statement(situation.words(self.task, label), self, (), ((self.task, label),))


def verb(task: str) -> str:
    """How what a task tells is noticed."""
    return "heard" if task == "event-detection" else "seen"


def none_label(task: str) -> str | None:
    """The label that is no event."""
    found = TASKS.get(task)
    return found.none_label if isinstance(found, Classification) else None


def _number(situation: Situation, sensor: Sensor, fact: str, stat: str, value: float) -> Number:
    return Number(value, unit_of(fact), digits_of(fact), situation.names[sensor], fact, stat)


def _mean(situation: Situation, sensor: Sensor, fact: str, span: Span) -> Number | None:
    values = [value for _, value in situation.values(sensor, fact, span)]
    return _number(situation, sensor, fact, MEAN, float(np.mean(values))) if values else None


def _events(of: list[Happening]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event for one in of for event in one.events))
