"""What every place of a sentence says: numbers, times, labels, sensors, facts, relations, and what nobody can check.

A sentence is searched for one kind after another, and what was found is blanked out before the next. What remains has
to be `NEUTRAL`; any other word is a mark, too, because it may claim something. What holds it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from backend.dialogue.names import NO_PLACE, UNSURE, phrase
from backend.dialogue.situation import Situation
from backend.dialogue.times import AGO, LAST, NUMBERS, TIME, UNITS, read_clock, seconds_in
from backend.dialogue.vocabulary import CONVERTED, LESS, MORE, NEUTRAL, WAYS, may_name
from backend.dialogue.words import (
    ALSO_CALLED,
    CALLED,
    HEARD_FACTS,
    LARGEST,
    NEVER_THERE,
    NEVER_TOLD,
    ROOMS,
    SAID_FACTS,
    SPELLED,
    STAT_WORDS,
    WORN,
    Sensor,
    fact_name,
    unit_of,
)
from edge.facts import FACTS

CELSIUS_K = 273.15
_EDGE = re.compile(r"\b(?:began|begins|beginning|started|starts|starting|ended|ends|ending)(?: at)? $")
"""What is neutral where a time of day follows."""
_REFUSES = re.compile(
    r"\b(?:i )?(?:cannot|can['’]t|can not|could not|couldn['’]t|am unable to|unable to|do not|don['’]t) "
    r"(?:tell|say|know|answer)\b(?: (?:that|you|it|this)\b)?"
)
_POSSESSIVE = re.compile(r"(?<=\w)['’]s\b")
_TIME = re.compile(rf"(?<![\w:.])(?:{TIME})")
_DIGITS = re.compile(r"(?<![\w.:])(?:minus |[-−–](?=\d))?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w.,]*\d)")
_A_SECOND = re.compile(r"1/s(?!\w)")
_ONES = "one|two|three|four|five|six|seven|eight|nine"
_WORDED = re.compile(
    rf"(?<![\w-])(?<!the )(?<!which )(?<!this )(?<!that )"
    rf"(?:(twenty|thirty|forty|fifty)-({_ONES})|({'|'.join(NUMBERS)}))(?![\w-])"
)
_OFTEN = re.compile(r"\b(once|twice|thrice)\b")
_NOUN = re.compile(r" (?:(times?|occasions?|episodes?)|sensors?|devices?)\b")
_MINUTES = re.compile(r"(\d+) ?(?:min|minutes?),?(?: and)? (\d+) ?(?:s|sec|seconds?)\b")
_BY = re.compile(r"\b(?:by|over|above|below|under|per|up to|down to|nearly|almost) \x00")
"""What makes another number of the number that follows."""
_NOT = re.compile(r"\b(?:no|not|never|none|nothing|nobody|neither|nor|without|\w+n['’]t)\b")
_CUT = re.compile(
    r"[,;:()–—]|(?<=\s)-(?=\s)"
    r"|\b(?:and|but|while|whereas|because|as|versus|vs|against|with|which|compared (?:to|with))\b"
)
_UNCUT = re.compile(r"[\s,;]*(?:and )?(?:then|than|to)\b")
"""What stands behind a cut that is none: it leans on what stood before."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\x00 \t\n\xa0\u2009\u202f.,:;!?'’‘\"“”()\[\]–—…−≈±*=~`-]")
"""Signs that are no punctuation are looked at like words: what cannot be seen may hide or strike out what can."""


class Mark(NamedTuple):
    """What a place of a sentence says.

    `kind`: number, time, edge (of a time), last, ago (spans and moments told from now), label, sensor, fact, stat, way,
    unit, not, refusal, cut (where what one statement says may end), other (what nobody can check).
    """

    start: int
    end: int
    kind: str
    value: Any


class Told(NamedTuple):
    """A number that is told: as it stands, and what it may be in units of facts, each with half of its last digit.

    `size`: characters of it without what stands behind it.
    """

    value: float
    digits: int
    size: int
    may_be: tuple[tuple[str, float, float], ...]
    noun: str = ""
    """`times` or `sensors`, where it counts them."""

    @property
    def unit(self) -> str:
        """As facts have it."""
        return self.may_be[0][0]


def marks_of(sentence: str, situation: Situation) -> list[Mark]:
    """Everything that a sentence says, in order."""
    text = _lowered(sentence)
    marks: list[Mark] = []
    for find in (_labels, _refusals, _times, _cuts, _sensors, _facts, _ways, _stats, _numbers, _nots, _units, _others):
        found = list(find(text, situation))
        for mark in found:
            text = _blank(text, mark.start, mark.end)
        marks += found
    return sorted(marks, key=lambda mark: (mark.start, mark.end))


def nearest(marks: Iterable[Mark], to: Mark, kind: str) -> Mark | None:
    """What of a kind stands last before a place, else first behind it."""
    alike = [mark for mark in marks if mark.kind == kind]
    before = [mark for mark in alike if mark.start < to.start]
    return before[-1] if before else alike[0] if alike else None


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + "\x00" * (end - start) + text[end:]


def _lowered(text: str) -> str:
    """In small letters, each in its place."""
    text = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text.replace("\x00", " "))
    return _POSSESSIVE.sub("  ", text)


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or "(?!)"


def _found(pattern: re.Pattern[str], text: str, kind: str) -> Iterator[Mark]:
    for match in pattern.finditer(text):
        yield Mark(*match.span(), kind, "")


def _labels(text: str, situation: Situation) -> Iterator[Mark]:
    """Labels in words, also those that are no event, and without their article."""
    pattern, said = _label_names(tuple(words for labels in situation.labels.values() for words in labels.values()))
    for match in pattern.finditer(text):
        yield Mark(*match.span(), "label", said[match[1]])


@lru_cache(64)
def _label_names(words: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    said = {one.casefold(): one.casefold() for one in words if one}
    said |= {short: one for one in said if (short := re.sub(r"^(?:an?|the) ", "", one)) not in said}
    return re.compile(rf"(?<![\w-])({_any(said)})(?![\w-])"), said


def _refusals(text: str, situation: Situation) -> Iterator[Mark]:
    yield from _found(_REFUSES, text, "refusal")


def _times(text: str, situation: Situation) -> Iterator[Mark]:
    """Times of day; spans and moments that are told from now as seconds, with half of the last digit."""
    for match in _TIME.finditer(text):
        exact = match[0].count(":") == 2
        yield Mark(*match.span(), "time", tuple((h, m, s if exact else None) for h, m, s in read_clock(match[0])))
        if edge := _EDGE.search(text, 0, match.start()):
            yield Mark(*edge.span(), "edge", "")
        text = _blank(text, *match.span())
    for kind, pattern in (("last", LAST), ("ago", AGO)):
        for match in pattern.finditer(text):
            one = match.groupdict().get("one")
            seconds = float(UNITS[one[0]]) if one else seconds_in(match)
            yield Mark(*match.span(), kind, (seconds, 0.5 * UNITS[(one or match["unit"])[0]]))
            text = _blank(text, *match.span())


def _cuts(text: str, situation: Situation) -> Iterator[Mark]:
    """Where what one statement says may end: marks of no width, so that the words remain to be looked at."""
    for match in _CUT.finditer(text):
        if not _UNCUT.match(text, match.end()):
            yield Mark(match.start(), match.start(), "cut", "")


def _sensors(text: str, situation: Situation) -> Iterator[Mark]:
    placements = tuple(sorted({one.placement.casefold() for one in situation.sensors.values()}))
    for match in _sensor_pattern(placements, _devices(situation)).finditer(text):
        said = match.groupdict()
        modality = _modality_of()[said["name"]] if said["name"] else ""
        place = next((said[key] for key in ("behind", "elsewhere", "front", "alone", "side") if said[key]), "")
        start = match.start("front" if said["front"] else "name" if said["name"] else 0)
        yield Mark(start, match.end(), "sensor", Sensor(modality, place, said["device"] or said["owner"] or ""))


def _devices(situation: Situation) -> tuple[str, ...]:
    """Names by which sensors of one name are told apart, and those of the devices."""
    own = {one.device.casefold() for one in situation.sensors.values()}
    own |= {key.partition("/")[0].casefold() for key in situation.sensors}
    return tuple(sorted(filter(may_name, own)))


@lru_cache(64)
def _sensor_pattern(placements: tuple[str, ...], devices: tuple[str, ...]) -> re.Pattern[str]:
    """A sensor by its name, perhaps with where it is and whose, or by where it is or whose alone."""
    ends = {place.split()[-1] for place in placements if place.strip()} & {*ROOMS, *WORN}
    sides = {place.split()[0] for place in placements if place.startswith(("left ", "right "))}
    places = {*placements, *ROOMS, *WORN, *ends} - {""}
    the, here, device = r"(?:the|my|your|her|his|their)", _any(places), _any(devices)
    kind = rf"(?:(?P<front>{_any(places | sides)}) +)?(?P<name>{_any(_modality_of())})(?![\w-])"
    behind = rf"(?:on|in|at|of) (?:{the} )?(?P<behind>{here}|(?:{_any(sides)})(?! (?:{here})))"
    strange = rf"(?:left|right) (?:{here})|(?!left\b|right\b|(?:{_any(NO_PLACE)})\b)[a-z-]+"
    where = rf"{behind}|(?:on|in|at) {the} (?P<elsewhere>{strange})"
    alone = rf"(?:(?:on|in|at|of|for) )?(?:{the} )?(?P<alone>{_any(places - (UNSURE - {*placements}))})(?: one)?"
    return re.compile(
        rf"(?<![\w-])(?:(?:{the} )?{kind}(?:,? (?:is )?(?:{where})(?: one)?(?![\w-]))?"
        rf"(?: of (?:the )?(?P<device>{device})(?![\w-]))?"
        rf"|{alone}(?![\w-])|{the} (?P<side>{_any(sides)})(?: one)?(?! now)(?![\w-])"
        rf"|(?:{the} )?(?P<owner>{device})(?![\w-]))"
    )


@lru_cache
def _modality_of() -> dict[str, str]:
    names = {name.casefold(): m for m, name in CALLED.items() if m not in ("host", "features")}
    return names | {name: m for m, several in ALSO_CALLED.items() for name in several}


@lru_cache
def _fact_names() -> dict[str, tuple[str, ...]]:
    """By name, the facts that are called so; none of what nothing here tells."""
    names: dict[str, tuple[str, ...]] = dict.fromkeys((*NEVER_TOLD, *NEVER_THERE), ())
    for fact in FACTS:
        for said in (fact_name(fact), *SAID_FACTS.get(fact, ()), *HEARD_FACTS.get(fact, ())):
            names[said] = (*names.get(said, ()), fact)
    related = {word for words in WAYS.values() for word in words}
    return {name: facts for name, facts in names.items() if name not in related}


@lru_cache
def _fact_phrase() -> re.Pattern[str]:
    return phrase(_fact_names())


def _facts(text: str, situation: Situation) -> Iterator[Mark]:
    """Names of facts, each with the facts that it may be; a superlative names a statistic, too: `loudest`."""
    found = list(_fact_phrase().finditer(text))
    others = [match[1] for match in found if match[1] not in ("peak", "person")]
    for match in found:
        name, facts = match[1], _fact_names()[match[1]]
        if name == "peak" and others:
            yield Mark(*match.span(), "stat", LARGEST)
            continue
        yield Mark(*match.span(), "fact", (name, facts))
        if name in _stat_of() and not any(fact_name(fact) == name for fact in facts):
            yield Mark(*match.span(), "stat", _stat_of()[name])


@lru_cache
def _stat_of() -> dict[str, str]:
    return {word: stat for stat, words in STAT_WORDS.items() for word in words}


@lru_cache
def _way_of() -> tuple[re.Pattern[str], dict[str, str]]:
    named = {word: way for way, words in WAYS.items() for word in words}
    return re.compile(rf"(?<![\w-])({_any(named)})(?![\w-])"), named


def _ways(text: str, situation: Situation) -> Iterator[Mark]:
    """Relations; one that is of a certain fact names it, too: `louder`."""
    pattern, named = _way_of()
    for match in pattern.finditer(text):
        yield Mark(*match.span(), "way", named[match[1]])
        of = (MORE | LESS).get(match[1])
        if of is not None:
            facts = tuple(fact for fact in FACTS if fact == of or fact.partition(".")[2] == of)
            yield Mark(*match.span(), "fact", (match[1], facts))


@lru_cache
def _stat_phrase() -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?<!\d )({_any(_stat_of())})(?![\w-])")


def _stats(text: str, situation: Situation) -> Iterator[Mark]:
    for match in _stat_phrase().finditer(text):
        yield Mark(*match.span(), "stat", _stat_of()[match[1]])


def _numbers(text: str, situation: Situation) -> Iterator[Mark]:
    """Numbers in digits and in words with the units behind them; `twice` is a number of times."""
    for match in _MINUTES.finditer(text):
        value = 60.0 * int(match[1]) + int(match[2])
        yield Mark(*match.span(), "number", Told(value, 0, len(match[0]), (("s", value, 0.5),)))
        text = _blank(text, *match.span())
    for match in _OFTEN.finditer(text):
        count = float(("once", "twice", "thrice").index(match[1]) + 1)
        yield Mark(*match.span(), "number", Told(count, 0, len(match[0]), (("", count, 0.5),), "times"))
    end = 0
    for match in _DIGITS.finditer(text):
        if match.start() >= end and not _A_SECOND.match(text, match.start()):  # otherwise it is of a unit
            said = re.sub(r"^(?:minus |[−–])", "-", match[0]).replace(",", "")
            yield (mark := _number(match, float(said), len(said.partition(".")[2]), text))
            end = mark.end
    for match in _WORDED.finditer(text):
        yield _number(match, float(NUMBERS[match[1]] + NUMBERS[match[2]] if match[1] else NUMBERS[match[3]]), 0, text)


def _number(match: re.Match[str], value: float, digits: int, text: str) -> Mark:
    unit, size = _unit_behind(text[match.end() :])
    noun = _NOUN.match(text, match.end()) if not unit else None
    half = 0.5 * 10.0**-digits
    of, factor = CONVERTED.get(unit, (unit, 1.0))
    may_be = [(of, value * factor, half * factor)]
    if unit == "degC":
        may_be.append(("K", value + CELSIUS_K, half))
    elif unit == "%":
        may_be.append(("", value / 100, half / 100))
    counts = "" if noun is None else "times" if noun[1] else "sensors"
    end = match.end() + size if noun is None else noun.end()
    return Mark(match.start(), end, "number", Told(value, digits, len(match[0]), tuple(may_be), counts))


@lru_cache
def _spelled() -> tuple[tuple[str, str], ...]:
    """Spellings of units in small letters with the unit, the longest first."""
    units = {unit_of(fact) for fact in FACTS} - {""}
    spelled = {said.lower(): unit for unit in units | {"s"} for said in (unit, *SPELLED.get(unit, ()))}
    spelled |= {said: said for said in CONVERTED}
    return tuple(sorted(spelled.items(), key=lambda one: -len(one[0])))


def _unit_behind(text: str) -> tuple[str, int]:
    """The unit that a text begins with, and where it ends."""
    rest = text.lstrip(" -")
    for said, unit in _spelled():
        if rest.startswith(said) and not re.match(r"[\w/^²³]", rest[len(said) :]):
            return unit, len(text) - len(rest) + len(said)
    return "", 0


def _nots(text: str, situation: Situation) -> Iterator[Mark]:
    yield from _found(_NOT, text, "not")


@lru_cache
def _unit_phrase() -> re.Pattern[str]:
    return re.compile(rf"(?<![\w/])(?:{_any(said for said, _ in _spelled())})(?![\w/^²³])")


def _units(text: str, situation: Situation) -> Iterator[Mark]:
    """Units that stand without a number."""
    named = dict(_spelled())
    for match in _unit_phrase().finditer(text):
        yield Mark(*match.span(), "unit", named[match[0]])


@lru_cache
def _neutral_phrases() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_any(word for word in NEUTRAL if ' ' in word)}|(?<=the )one)(?![\w-])")


def _others(text: str, situation: Situation) -> Iterator[Mark]:
    """Words that are left, and may claim something."""
    for match in _BY.finditer(text):
        yield Mark(match.start(), match.end() - 1, "other", match[0])
    text = _neutral_phrases().sub(lambda match: "\x00" * len(match[0]), text)
    for match in _WORD.finditer(text):
        if match[0] not in NEUTRAL and match[0] != "one":
            yield Mark(*match.span(), "other", match[0])
