"""A piece of a sentence beside a statement: whether its facts, sensors, numbers and times are the statement's.

What a piece leaves out (`it was 2.31 m/s2`) is what was spoken of before it, or what was asked for. How things relate,
which differs from statement to statement, is for `holds` to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from backend.dialogue.marks import Mark, Told, nearest
from backend.dialogue.programs import Changed, Compared, Number, Statement, Statistic, When
from backend.dialogue.situation import Situation
from backend.dialogue.words import Sensor
from edge.clock import SECOND

_CLOCK = re.compile(r"\d\d:\d\d:\d\d")
_SPAN = re.compile(r"from (\d\d:\d\d:\d\d) to (\d\d:\d\d:\d\d)")
_TO = re.compile(r"\s*(?:to|until|till|and|[-–—])\s*")
_SINCE = re.compile(r"\b(?:since|from|start\w*|began|begin\w*)(?: at)? $")
_UNTIL = re.compile(r"\b(?:until|till|to|end\w*)(?: at)? $")
ANYBODY = "person"
"""The name of a fact that is said of anybody."""
_Hms = tuple[int, int, int]


@dataclass(frozen=True)
class Context:
    """What a piece need not name again, because it was spoken of or asked for.

    `labels` in words. `leading` is the statement that was told last, or answers the question. `lacks`: what was asked
    for is not there, so what is told instead has to say of which sensor it is.
    """

    facts: tuple[str, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    stat: str = ""
    labels: tuple[str, ...] = ()
    leading: Statement | None = None
    lacks: bool = False


@dataclass(frozen=True)
class Piece:
    """A piece of a sentence, and what its places say."""

    text: str
    marks: tuple[Mark, ...]

    def of(self, kind: str) -> list[Mark]:
        """The marks of a kind."""
        return [mark for mark in self.marks if mark.kind == kind]

    def values(self, kind: str) -> list[Any]:
        """What the marks of a kind say."""
        return [mark.value for mark in self.marks if mark.kind == kind]

    def has(self, *kinds: str) -> bool:
        """Whether it says anything of these kinds."""
        return any(mark.kind in kinds for mark in self.marks)

    @property
    def ways(self) -> set[str]:
        """How things are said to relate."""
        return set(self.values("way"))

    @property
    def facts(self) -> list[Mark]:
        """The facts that are named."""
        return [mark for mark in self.of("fact") if mark.value[0] != ANYBODY]

    def before(self, mark: Mark) -> str:
        """What stands before a mark."""
        return self.text[: mark.start].lower()


def after(piece: Piece, told: Statement | None, context: Context, situation: Situation) -> Context:
    """The context of what follows a piece, which a statement has told."""
    named = piece.values("sensor")
    sensors = tuple(one for one in situation.sensors.values() if any(fits(said, one, situation) for said in named))
    stats = piece.values("stat")
    return replace(
        context,
        facts=tuple(fact for mark in piece.facts for fact in mark.value[1]) or context.facts,
        sensors=sensors or context.sensors,
        stat=stats[-1] if stats else context.stat,
        labels=tuple(piece.values("label")) or context.labels,
        leading=told or context.leading,
        lacks=context.lacks and not sensors,
    )


def fits(said: Sensor, one: Sensor, situation: Situation) -> bool:
    """Whether what is said of a sensor is true of one: its kind, where it is, whose it is."""
    device = situation.names.get(one, "").partition("/")[0].casefold()
    return (
        said.modality in ("", one.modality)
        and (not said.placement or one.is_at(said.placement))
        and (not said.device or said.device in (one.device.casefold(), device))
    )


def texts_of(labels: Iterable[tuple[str, str]], situation: Situation) -> list[str]:
    """The words of labels in small letters, in order."""
    return [situation.words(*label).casefold() for label in labels]


def is_of_fact(piece: Piece, fact: str, context: Context) -> bool:
    """Whether every fact that is named is this one; where none is, whether it is the one that is spoken of."""
    anybody = [mark for mark in piece.of("fact") if mark.value[0] == ANYBODY and _counts(piece, mark)]
    named = piece.facts or anybody
    if named:
        return all(fact in mark.value[1] for mark in named)
    if context.facts:
        return fact in context.facts
    leading = context.leading.program if context.leading else None
    return isinstance(leading, Statistic | Compared | Changed) and leading.fact == fact


def _counts(piece: Piece, mark: Mark) -> bool:
    """Whether something is told of it as of a fact: `the largest person`, `the person of`, a number without a unit."""
    if piece.text[mark.end :].startswith(" of ") or any(mark.start - stat.end == 1 for stat in piece.of("stat")):
        return True
    return any(not told.value.unit and nearest(piece.marks, told, "fact") == mark for told in piece.of("number"))


def is_of_sensors(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    """Whether every sensor that is named is one of the statement's; where none is, whether it is spoken of."""
    named = piece.values("sensor")
    if named:
        return all(any(fits(said, one, situation) for one in statement.sensors) for said in named)
    return not context.lacks and (not context.sensors or any(one in context.sensors for one in statement.sensors))


def is_numbered(piece: Piece, statement: Statement, situation: Situation) -> bool:
    """Whether each number that is told is one of the statement's own, and no two are the same one."""
    free = list(statement.numbers)
    for mark in piece.of("number"):
        of = nearest(piece.marks, mark, "sensor")
        sensor = of.value if of else None
        found = next((one for one in free if is_number(mark.value, one, sensor, situation, bool(piece.facts))), None)
        if found is None:
            return False
        free.remove(found)
    return True


def is_number(told: Told, number: Number, sensor: Sensor | None, situation: Situation, named: bool = False) -> bool:
    """Whether it is what is told; a unit may be left out where the fact is `named`."""
    if number.stream and sensor is not None and not fits(sensor, situation.sensors[number.stream], situation):
        return False
    if told.noun:
        return told.noun == "times" and number.stat == "count" and number.holds(told.value)
    may_be = told.may_be
    if not told.unit and named and number.fact:
        may_be = ((number.unit, told.value, told.may_be[0][2]),)
    return any(unit == number.unit and number.holds(value, half) for unit, value, half in may_be)


def spans_in(piece: Piece) -> list[tuple[Mark, Mark]]:
    """Two times, of which one is from and the other until."""
    return [(a, b) for a, b in pairwise(piece.of("time")) if _TO.fullmatch(piece.text[a.end : b.start].lower())]


def is_timed(piece: Piece, statement: Statement, situation: Situation) -> bool:
    """Whether all times that are said are the statement's: from and until where it has them, in its order."""
    spans, points = _times_of(statement.text)
    left, said = list(spans), spans_in(piece)
    for one, other in said:
        at = [i for i, (low, high) in enumerate(left) if _is_time(one.value, low) and _is_time(other.value, high)]
        if not at:
            return False
        left = left[at[0] + 1 :]
    if isinstance(statement.program, When):  # it was seen at a time: when it began, or ended
        points = tuple(time for span in spans for time in span)
    alone = [mark for mark in piece.of("time") if not any(mark in pair for pair in said)]
    return (
        all(_is_alone(mark, piece.before(mark), spans, points) for mark in alone)
        and all(_is_last(last, statement, situation) for last in piece.values("last"))
        and all(_is_ago(ago, statement, situation) for ago in piece.values("ago"))
    )


@lru_cache(1024)
def _times_of(text: str) -> tuple[tuple[tuple[_Hms, _Hms], ...], tuple[_Hms, ...]]:
    """The spans that a statement tells, and its other times, as hours, minutes and seconds."""
    spans = tuple((_hms(low), _hms(high)) for low, high in _SPAN.findall(text))
    return spans, tuple(_hms(time) for time in _CLOCK.findall(_SPAN.sub(" ", text)))


def _hms(text: str) -> _Hms:
    hour, minute, second = map(int, text.split(":"))
    return hour, minute, second


def _is_time(said: Iterable[tuple[int, int, int | None]], at: _Hms) -> bool:
    """Whether a time, as it is said, is that one: to the minute, where it is said so."""
    return any((hour % 24, minute) == at[:2] and second in (None, at[2]) for hour, minute, second in said)


def _is_alone(mark: Mark, before: str, spans: Iterable[tuple[_Hms, _Hms]], points: Iterable[_Hms]) -> bool:
    if _SINCE.search(before):
        return any(_is_time(mark.value, low) for low, _ in spans)
    if _UNTIL.search(before):
        return any(_is_time(mark.value, high) for _, high in spans)
    return any(_is_time(mark.value, point) for point in points)


def _is_last(last: tuple[float, float], statement: Statement, situation: Situation) -> bool:
    """Whether the statement is of so many last seconds."""
    if statement.span is None:
        return False
    began = situation.now - last[0] * SECOND
    return abs(statement.span[0] - began) <= SECOND and abs(statement.span[1] - situation.now) <= SECOND


def _is_ago(ago: tuple[float, float], statement: Statement, situation: Situation) -> bool:
    """Whether the statement is of a time that was so many seconds ago, as far as they are rounded."""
    at = situation.now - ago[0] * SECOND
    return any(abs(time - at) <= ago[1] * SECOND for time in statement.times)
