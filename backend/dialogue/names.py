"""The sensors, places and facts that a text in small letters names: what is there of them, and what is not.

Each search blanks out what it has found, so that the next one looks at the rest. What is asked it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from backend.dialogue.situation import Situation
from backend.dialogue.vocabulary import may_name
from backend.dialogue.words import (
    ALSO_CALLED,
    CALLED,
    COMMON,
    HEARD_FACTS,
    NEVER_THERE,
    NEVER_TOLD,
    ROOMS,
    SAID_FACTS,
    STAT_WORDS,
    THINGS,
    WORN,
    Sensor,
    fact_name,
)
from edge.facts import FACTS, HOST


class Named(NamedTuple):
    """The sensors that are named, what is named and not there, all modalities and placements; the rest of the text."""

    sensors: tuple[Sensor, ...]
    missing: tuple[str, ...]
    modalities: tuple[str, ...]
    places: tuple[str, ...]
    rest: str


def phrase(words: Iterable[str]) -> re.Pattern[str]:
    """Any of these words, as words of their own, perhaps several of it; the longest that fits."""
    listed = "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))
    return re.compile(rf"(?<![\w-])({listed or '(?!)'})s?(?![\w-])")


@lru_cache(256)
def exactly(words: tuple[str, ...]) -> re.Pattern[str]:
    """Any of these words as they are, as words of their own; the longest that fits."""
    listed = "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True) if word)
    return re.compile(rf"(?<![\w-])({listed or '(?!)'})(?![\w-])")


@lru_cache
def _sensor_names() -> tuple[re.Pattern[str], dict[str, str]]:
    names = {name.casefold(): m for m, name in CALLED.items() if m != "host"}
    names |= {name: m for m, several in ALSO_CALLED.items() for name in several}
    return phrase(names), names


def sensors_named(text: str, situation: Situation) -> Named:
    """What is said of sensors: `the microphone in the kitchen`, `my left wrist`, `the watch`."""
    places, known = _places(text, situation)
    there = list(situation.sensors.values())
    pattern, modality_of = _sensor_names()
    found: list[Sensor] = []
    missing: list[str] = []
    modalities = []
    for match in pattern.finditer(text):
        modality = modality_of[match[1]]
        modalities.append(modality)
        where = _place_near(text, match.span(), places)
        mine = [one for one in there if one.modality == modality and (where is None or _is_at(one, where, there))]
        mine = [one for one in mine if _is_of(one, text, situation)] or mine
        found += mine
        if not mine:
            missing.append(f"there is no {CALLED[modality] if where is None else Sensor(modality, where)}")
    if not modalities and places:
        found = [one for one in there if any(_is_at(one, place, there) for place in places)]
        empty = [place for place in known if not any(_is_at(one, place, there) for one in there)]
        empty = empty or ([] if found else list(places[:1]))
        missing += [f"there is no sensor {Sensor('', place).where}" for place in empty]
    if not modalities and not found and not missing:
        found = [one for one in there if _is_of(one, text, situation)]
    rest = pattern.sub("#", text)
    return Named(
        tuple(dict.fromkeys(found)),
        tuple(dict.fromkeys(missing)),
        tuple(dict.fromkeys(modalities)),
        places,
        phrase(place for place in places if place not in ("left", "right")).sub("#", rest),
    )


def _is_at(sensor: Sensor, place: str, there: Iterable[Sensor]) -> bool:
    """Whether it is there; `the wrist` is the left one only where no sensor is on a wrist alone."""
    if any(one.placement.casefold() == place for one in there):
        return sensor.placement.casefold() == place
    return sensor.is_at(place)


def _is_of(sensor: Sensor, text: str, situation: Situation) -> bool:
    """Whether its device is named."""
    names = {sensor.device.casefold(), situation.names[sensor].partition("/")[0].casefold()}
    return any(name in text and may_name(name) and exactly((name,)).search(text) is not None for name in names)


_BELONGS = r"(?:the|my|your|her|his|their)"
_PLACE = re.compile(rf"\b(?:on|in|at) {_BELONGS} ((?:left |right |living )?[a-z-]+)")
NO_PLACE = frozenset({
    "last", "moment", "same", "time", "mean", "average", "past", "first", "other", "end", "minute", "hour", "second",
    "whole", "recent", "current", "previous", "beginning", "start", "middle", "background", "data", "day", "morning",
    "evening", "afternoon", "night", "maximum", "minimum", "largest", "smallest", "highest", "lowest", "way", "sound",
    "air", "panel", "screen", "question", "range", "interval", "period", "window", "world", "house", "home", "sensor",
    "sensors", "case", "total", "newest", "latest", "present", "scene", "moments", "flat",
})  # fmt: skip
"""What is said to be `in the`, and is no placement."""
UNSURE = frozenset({"phone", "hand", "car", "head", "back", "hall", "room", "chest", "belt", "office"})
"""Placements whose names are said of much else."""


@lru_cache
def _place_names(placements: tuple[str, ...]) -> re.Pattern[str]:
    sides = {word for place in placements for word in place.split()[:1] if word in ("left", "right")}
    ends = {place.split()[-1] for place in placements if place.strip()}
    return phrase({*placements, *sides, *(end for end in ends if end in WORN or end in ROOMS), *ROOMS, *WORN} - {""})


def _places(text: str, situation: Situation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Placements that are named, and which of them are surely placements."""
    placements = tuple(sorted({one.placement.casefold() for one in situation.sensors.values()}))
    pattern = _place_names(placements)
    found = []
    for match in pattern.finditer(text):
        place, before = match[1], text[: match.start()]
        if place in ("left", "right"):
            sure = re.search(rf"\b(?:{_BELONGS}|other|on) $", before) is not None
        elif place in placements or place not in UNSURE:
            sure = True
        else:
            sure = re.search(rf"\b(?:on|in|at|of|from|for) {_BELONGS} $", before) is not None
        found += [place] if sure else []
    said = [place for place in _PLACE.findall(pattern.sub("#", text)) if place not in NO_PLACE]
    known = tuple(dict.fromkeys(sorted(found, key=len, reverse=True)))
    return (*known, *(place for place in dict.fromkeys(said) if place not in known)), known


def _place_near(text: str, at: tuple[int, int], places: Iterable[str]) -> str | None:
    """The placement that is said right behind a sensor's name, or before it."""
    behind, before = text[at[1] : at[1] + 60], text[max(0, at[0] - 40) : at[0]]
    for place in places:
        named = rf"(?:(?:is |that is |which is )?(?:on|in|at|of) (?:{_BELONGS} )?)?{re.escape(place)}"
        if re.match(rf"s?,? ?{named}\b", behind):
            return place
    for place in places:
        if re.search(rf"(?<![\w-]){re.escape(place)}(?:'s)? $", before):
            return place
    return None


@lru_cache
def _fact_names() -> dict[str, list[str]]:
    """By name, the facts that are called so."""
    names: dict[str, list[str]] = {}
    for fact in FACTS:
        for name in (fact_name(fact), *SAID_FACTS.get(fact, ()), *HEARD_FACTS.get(fact, ())):
            names.setdefault(name, []).append(fact)
    return names | {name: [] for name in (*NEVER_TOLD, *NEVER_THERE)}


@lru_cache
def _fact_phrase(wide: bool) -> re.Pattern[str]:
    return phrase(name for name in _fact_names() if (" " in name) == wide)


def facts_said(text: str, *, wide: bool, modalities: tuple[str, ...] = ()) -> tuple[dict[str, list[str]], str]:
    """Names of facts that are said, each with the facts of that name; the rest of the text.

    `wide` are those of several words. A word of everyday counts where something is said to have it.
    """
    found: dict[str, list[str]] = {}
    taken = []
    for match in _fact_phrase(wide).finditer(text):
        name = match[1]
        if wide or name not in COMMON or name in found or _is_had(text, match, modalities):
            found[name] = _fact_names()[name]
            taken.append(match.span())
    for start, end in reversed(taken):
        text = f"{text[:start]}#{text[end:]}"
    return found, text


_HAS = re.compile(r"(?:\b(?:the|its|a|which|what) (?:\w+ )?|^(?:and |what about |how about )?|\b(?:and|or) )$")
_HAS_STAT = re.compile(rf"\b(?:{'|'.join(word for words in STAT_WORDS.values() for word in words)}) $")
_HAD = re.compile(r" (?:of|does|did|now|over|during|since|between)\b| in the (?:last|past)\b|[,?.!:]|$")


def _is_had(text: str, match: re.Match[str], modalities: tuple[str, ...]) -> bool:
    """Whether something is said to have it, or a sensor is named of which it is a fact."""
    if any(f"{modality}.{match[1].replace(' ', '_')}" in FACTS for modality in modalities):
        return True
    before, behind = text[: match.start()], text[match.end() :]
    if _HAS_STAT.search(before) or behind.startswith(" of #"):
        return True
    return _HAS.search(before) is not None and (match[1] not in THINGS or _HAD.match(behind) is not None)


def is_greatest(text: str, found: Iterable[str], near: Iterable[Sensor], situation: Situation) -> bool:
    """Whether `the peak` is the greatest of what else is named, `the peak of the rms`, or was asked of before."""
    others = [name for name in found if name != "peak"]
    if others:
        return re.search(r"\bpeak (?:(?:of|in) (?:the |its )?)?#|# peak\b", phrase(others).sub("#", text)) is not None
    own = [fact for one in near for fact in situation.facts_of(one)]
    return bool(own) and not any(fact.endswith(".peak") for fact in own)


def facts_told(
    found: dict[str, list[str]], situation: Situation, named: Named, *, sure: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The facts that are named, of the sensors that are named or else of any; and what is named that none tells.

    Where it is not `sure` that facts are asked for, words of everyday that none tells are none.
    """
    there = {fact for one in named.sensors or situation.sensors.values() for fact in situation.facts_of(one)}
    kinds = (*named.modalities, "host")
    facts, missing = [], []
    near = found.keys() & {"nearest", "farthest", "closest"}
    for name, several in found.items():
        if near and name in ("how far", "how near", "how close"):
            continue
        mine = [fact for fact in several if fact in there]
        if named.modalities:
            mine = [fact for fact in mine if fact.partition(".")[0] in kinds]
        facts += mine
        if not mine and not named.missing and (named.modalities or name not in (_DEGREES if sure else COMMON)):
            missing.append(_lacking(name, several, named))
    return tuple(dict.fromkeys(facts)), tuple(missing)


def _lacking(name: str, several: list[str], named: Named) -> str:
    if not several:
        there = f"there is no {name}"
        return there if name in NEVER_THERE else f"no sensor here tells the {name.removeprefix('how many ')}"
    noun = name if name == fact_name(several[0]) or name in nouns() else fact_name(several[0])
    if named.sensors and any(one.modality in named.modalities for one in named.sensors):
        return f"the {named.sensors[0]} tells no {noun}"
    if several[0] in HOST:
        return f"no device here tells its {noun.removeprefix('device ')}"
    return f"there is no {CALLED[several[0].partition('.')[0]]}, which would tell the {noun}"


_DEGREES = frozenset({"strongest", "hottest", "coldest"})
"""Names of facts that are said of others, too: where the sound is strongest."""


@lru_cache
def nouns() -> frozenset[str]:
    """Ways to say facts that stand behind `the`."""
    return frozenset(
        name for said in SAID_FACTS.values() for name in said if not name.startswith("how ") and not name.endswith("er")
    )
