"""Whether a statement says all that a piece of a sentence says: one check for each program, every mark accounted for.

A statement is known by its program, its numbers, labels, sensors and times; a piece by its marks. Which statements
there are to choose from it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from backend.dialogue.marks import Mark, Told, marks_of
from backend.dialogue.pieces import (
    Context,
    Piece,
    fits,
    is_number,
    is_numbered,
    is_of_fact,
    is_of_sensors,
    is_timed,
    spans_in,
    texts_of,
)
from backend.dialogue.programs import (
    MOST_LISTED,
    At,
    Beside,
    Changed,
    Compared,
    Facts,
    Heard,
    Known,
    Label,
    Lacking,
    Meanwhile,
    Number,
    Sensors,
    Statement,
    Statistic,
    Total,
    Unit,
    When,
)
from backend.dialogue.situation import Situation
from backend.dialogue.words import LARGEST, MEAN, NEWEST, SMALLEST, Sensor, unit_of

_WAS = re.compile(r"\b(?:was|were|heard|seen|been|happened|occurred|did)\b")
_HAPPENS = re.compile(r"\b(?:is|are|was|were|heard|seen|been|there|happen\w*)\b")
_CAN = re.compile(r"\bcan\b|\brecogni")
_THERE = re.compile(r"\b(?:there|sensors|have|has|available|present)\b")
_IS_AT = re.compile(r" is (?:on|in|at) ")
_TO = re.compile(r"(?:\b(?:to|at|of|is|was|were|with|now)|[,:(]) ?$")
_FROM = re.compile(r"\b(?:from|at) $")


def holds(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    """Whether the statement says all that the piece says."""
    check = _CHECKS[type(statement.program)]
    if piece.has("other", "refusal") or len(piece.of("not")) > 1:
        return False
    return check(piece, statement, context, situation)


def _statistic(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    program = statement.program
    assert isinstance(program, Statistic)
    numbers = piece.values("number")
    if piece.ways - {"while"} or piece.has("not", "unit") or len(numbers) > 1:
        return False
    if not numbers and not (piece.has("time") and program.stat != MEAN):
        return False
    if statement != context.leading and not piece.has("fact", "sensor", "stat", "time", "last", "ago", "label"):
        return False  # a number alone is that of what was asked for, or told before it
    return (
        set(piece.values("label")) <= set(texts_of(statement.labels, situation))
        and is_timed(piece, statement, situation)
        and is_of_fact(piece, program.fact, context)
        and is_of_sensors(piece, statement, context, situation)
        and _is_of_stat(piece, statement, program.stat, context)
        and is_numbered(piece, statement, situation)
    )


def _is_of_stat(piece: Piece, statement: Statement, stat: str, context: Context) -> bool:
    """Whether the statistic that is named is this one; where none is, whether it is spoken of, or a time tells it."""
    said = set(piece.values("stat"))
    if said:
        return said == {stat}
    at = bool(piece.has("time", "ago")) and not spans_in(piece)
    if at and (stat == NEWEST or (stat in (LARGEST, SMALLEST) and piece.has("number"))):
        return True
    if context.stat:
        return context.stat == stat
    return stat in (NEWEST, MEAN) or statement == context.leading


def _compared(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    program = statement.program
    assert isinstance(program, Compared)
    ways = piece.ways - {"than"}
    if ways - {"larger", "smaller", "same"} or len(ways) > 1 or piece.has("unit", "not", "label"):
        return False
    if set(piece.values("stat")) - {MEAN} or not piece.has("sensor"):
        return False
    if not ways and ("than" in piece.ways or not piece.has("number")):
        return False
    return (
        (not ways or _wins(piece, statement, program, ways.pop(), situation))
        and is_of_fact(piece, program.fact, context)
        and is_of_sensors(piece, statement, context, situation)
        and is_timed(piece, statement, situation)
        and is_numbered(piece, statement, situation)
    )


def _wins(piece: Piece, statement: Statement, program: Compared, way: str, situation: Situation) -> bool:
    """Whether the sensor that is said to have more has; it is named first, and the other behind `than`."""
    one, other = statement.numbers
    if way == "same" or one.text == other.text:
        return way == "same" and one.text == other.text
    first, second = (program.one, program.other) if one.value > other.value else (program.other, program.one)
    if way == "smaller":
        first, second = second, first
    than = next((mark.start for mark in piece.of("way") if mark.value == "than"), None)
    for i, mark in enumerate(piece.of("sensor")):
        behind = mark.start > than if than is not None else i > 0
        right, wrong = (second, first) if behind else (first, second)
        if not fits(mark.value, right, situation) or fits(mark.value, wrong, situation):
            return False  # it is the other one, or may be either
    return True


def _changed(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    program = statement.program
    assert isinstance(program, Changed)
    first, second = statement.numbers
    way = "stayed" if first.text == second.text else "rose" if second.value > first.value else "fell"
    numbers = piece.of("number")
    if piece.ways - {way} or not (piece.ways or len(numbers) == 2) or len(numbers) > 2:
        return False
    if piece.has("not", "label", "unit") or set(piece.values("stat")) - {MEAN}:
        return False
    return (
        _is_from_to(piece, numbers, first, second, situation)
        and is_of_fact(piece, program.fact, context)
        and is_of_sensors(piece, statement, context, situation)
        and is_timed(piece, statement, situation)
    )


def _is_from_to(piece: Piece, marks: list[Mark], first: Number, second: Number, situation: Situation) -> bool:
    """Whether the numbers, where any are told, are where it began and where it ended."""
    units = [mark.value.may_be for mark in marks if mark.value.unit]
    told = [mark.value if mark.value.unit or not units else _in_unit(mark.value, units[0][0][0]) for mark in marks]
    if len(marks) == 2:
        if re.search(r"\bto $", piece.before(marks[0])):
            told.reverse()  # it rose to 2 from 1
        return is_number(told[0], first, None, situation) and is_number(told[1], second, None, situation)
    if not marks:
        return True
    if _FROM.search(piece.before(marks[0])):
        return is_number(told[0], first, None, situation)
    return bool(_TO.search(piece.before(marks[0]))) and is_number(told[0], second, None, situation)


def _in_unit(told: Told, unit: str) -> Told:
    """From 2 to 3 m/s2: the unit is told once."""
    return told._replace(may_be=((unit, told.value, told.may_be[0][2]),))


def _total(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    none = piece.has("not") or any(told.value == 0 for told in piece.values("number"))
    if none != (statement.numbers[0].value == 0) or piece.ways - {"yes", "in all"} or (piece.ways and none):
        return False
    return _tells_label(piece, statement, context, situation) and is_numbered(piece, statement, situation)


def _when(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    program = statement.program
    assert isinstance(program, When)
    if piece.ways - {"last" if program.last else "first", "yes"} or piece.has("not", "number"):
        return False
    return _tells_label(piece, statement, context, situation)


def _at(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    if piece.ways or piece.has("not", "number") or not piece.has("label"):
        return False
    return _tells_label(piece, statement, context, situation)


def _tells_label(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    """Whether it speaks of the statement's label, that it was told, and of nothing that a sensor tells."""
    own, said = texts_of(statement.labels, situation), piece.values("label")
    if not piece.has("time", "number", "not") and not (
        said
        and (_WAS.search(piece.text.lower()) if _HAPPENS.search(piece.text.lower()) else statement == context.leading)
    ):
        return False
    if not set(said) <= set(own) or (not said and not set(own) & set(context.labels)):
        return False
    return _tells_no_fact(piece) and is_timed(piece, statement, situation)


def _tells_no_fact(piece: Piece) -> bool:
    return not piece.facts and not piece.has("sensor", "stat", "unit")


def _beside(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    program = statement.program
    assert isinstance(program, Beside)
    own, said = texts_of(statement.labels, situation), piece.values("label")
    if piece.ways - {"before", "after", "then"} or len(piece.of("way")) > 1 or piece.has("number"):
        return False
    if not _tells_no_fact(piece) or not is_timed(piece, statement, situation):
        return False
    if len(own) == 1 or piece.has("not"):
        right = piece.ways <= {"before" if program.before else "after"}
        return len(own) == 1 and piece.has("not") and set(said) <= set(own) and right
    if said == own[1:] and not piece.ways:
        return True
    return _order(piece) == (own[::-1] if program.before else own)


def _order(piece: Piece) -> list[str] | None:
    """Two labels, the earlier first: `before` and `after` are said of what stands behind them."""
    labels, ways = piece.of("label"), piece.of("way")
    if len(labels) != 2 or len(ways) != 1:
        return None
    said = [mark.value for mark in labels]
    if ways[0].value == "then":
        return said
    anchor = next((i for i, mark in enumerate(labels) if mark.start > ways[0].start), None)
    if anchor is None:
        return None
    order = [said[1 - anchor], said[anchor]]
    return order if ways[0].value == "before" else order[::-1]


def _meanwhile(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    own, said = texts_of(statement.labels, situation), piece.values("label")
    if piece.ways - {"while"} or piece.has("number") or not _tells_no_fact(piece):
        return False
    if not _all_of(said, own) or not is_timed(piece, statement, situation):
        return False
    during = [mark.start for mark in piece.of("way")]
    behind = [mark.value for mark in piece.of("label") if during and mark.start > during[0]]
    if during and behind[:1] != own[:1]:
        return False
    if len(own) == 1 or piece.has("not"):
        return len(own) == 1 and piece.has("not")
    return bool(set(said) - {own[0]})


def _all_of(said: list[Any], own: Iterable[Any]) -> bool:
    """Whether it is some of those, and none twice."""
    return set(said) <= set(own) and len(set(said)) == len(said)


def _heard(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    said = piece.values("label")
    if piece.ways - {"then"} or piece.has("not", "number") or not _tells_no_fact(piece) or not said:
        return False
    if "then" in piece.ways and len(said) < 2:
        return False
    return _is_among(said, texts_of(statement.labels, situation)) and is_timed(piece, statement, situation)


def _is_among(some: Iterable[Any], of: Iterable[Any]) -> bool:
    """Whether some stand in that order among others."""
    rest = iter(of)
    return all(any(one == other for other in rest) for one in some)


def _sensors(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    told, named = piece.values("number"), piece.values("sensor")
    if piece.ways or piece.facts or piece.has("not", "label", "stat", "unit", "time", "last", "ago") or len(told) > 1:
        return False
    if told:
        count = statement.numbers[0].value if statement.numbers else 0.0
        if told[0].value != count or told[0].unit or told[0].noun == "times":
            return False
        if not told[0].noun and (named or statement != context.leading):
            return False  # it may count something else
        if named and len(named) != min(count, MOST_LISTED):
            return False
    elif not (named and all(one.modality for one in named) and _exist(piece)):
        return False
    there = [[one for one in situation.sensors.values() if fits(said, one, situation)] for said in named]
    return all(there) and (not told or _all_of([one for several in there for one in several], statement.sensors))


def _exist(piece: Piece) -> bool:
    """Whether sensors are not only named, but said to be there."""
    marks = piece.of("sensor")
    rest = "".join(letter for i, letter in enumerate(piece.text) if not any(m.start <= i < m.end for m in marks))
    at = all(_IS_AT.search(piece.text[mark.start : mark.end].lower()) for mark in marks)
    return at or _THERE.search(rest.lower()) is not None


def _facts(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    program = statement.program
    assert isinstance(program, Facts)
    own, named = situation.facts_of(program.sensor), piece.values("fact")
    if piece.ways or piece.has("not", "label", "number", "stat", "unit", "time", "last", "ago") or not named:
        return False
    told = all(any(fact in own for fact in several) for _, several in named) and len(set(named)) == len(named)
    return told and is_of_sensors(piece, statement, context, situation)


def _unit(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    program = statement.program
    assert isinstance(program, Unit)
    if piece.ways or piece.has("not", "label", "number", "stat", "time", "last", "ago"):
        return False
    named = [mark.value[1] for mark in piece.of("fact")]
    spoken = all(program.fact in several for several in named) and (bool(named) or program.fact in context.facts)
    return spoken and piece.values("unit") == [unit_of(program.fact)]


def _known(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    said = piece.values("label")
    if piece.ways or piece.has("not", "number", "sensor", "time", "last", "ago") or not _tells_no_fact(piece):
        return False
    text = piece.text.lower()
    can = bool(_CAN.search(text)) or not _HAPPENS.search(text)
    return bool(said) and can and _all_of(said, texts_of(statement.labels, situation))


def _label_now(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    if piece.ways or piece.facts or piece.has("not", "number", "sensor", "time", "last", "ago", "unit"):
        return False
    return not set(piece.values("stat")) - {NEWEST} and piece.values("label") == texts_of(statement.labels, situation)


def _lacking(piece: Piece, statement: Statement, context: Context, situation: Situation) -> bool:
    """Whether it says that the same is missing, and no more than that."""
    if not piece.has("not") or piece.ways or piece.has("number", "label", "stat", "unit"):
        return False
    own = Piece(statement.text, tuple(marks_of(statement.text, situation)))
    mine, said = own.values("sensor"), piece.values("sensor")
    facts, named = ({name for name, _ in one.values("fact")} for one in (own, piece))
    if not named <= facts or not is_timed(piece, statement, situation):
        return False
    if not all(any(_covers(one, other) for one in mine) for other in said):
        return False
    there = [one for one in situation.sensors.values() if any(fits(other, one, situation) for other in said)]
    if (mine and not facts) or statement.text.startswith("there is no"):
        return bool(said or (facts and not mine)) and not there and (bool(said) or named == facts)
    if facts:
        return named == facts and (not mine or bool(said) or not context.lacks)
    return bool(own.of("time")) and (piece.has("time") or "measured" in piece.text)


def _covers(one: Sensor, other: Sensor) -> bool:
    """Whether a sensor that is missing, as it is named, is another one, too."""
    return one.modality in ("", other.modality) and one.placement in ("", other.placement)


_CHECKS: dict[type[Any], Callable[[Piece, Statement, Context, Situation], bool]] = {
    Statistic: _statistic,
    Compared: _compared,
    Changed: _changed,
    Total: _total,
    When: _when,
    Beside: _beside,
    At: _at,
    Meanwhile: _meanwhile,
    Heard: _heard,
    Sensors: _sensors,
    Facts: _facts,
    Unit: _unit,
    Known: _known,
    Label: _label_now,
    Lacking: _lacking,
}
"""By what a statement answers, whether a piece says no more."""
