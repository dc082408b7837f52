"""What a question is about: the sensors, facts, statistics, times and labels that its words name, and what it wants.

Words are matched, nothing is learned; a question that continues an earlier one ("and on the other wrist?") takes from
it what it does not name itself. What is understood is only used to look up what could be an answer: which of it answers
the question, and how, is the language model's to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from backend.dialogue.names import exactly, facts_said, facts_told, is_greatest, nouns, phrase, sensors_named
from backend.dialogue.programs import none_label
from backend.dialogue.situation import Situation, Span
from backend.dialogue.times import said_times, without_times
from backend.dialogue.wishes import tasks_of, wishes_of
from backend.dialogue.words import CALLED, EXTREMES, LARGEST, STAT_WORDS, Sensor, fact_name, stem
from edge.facts import FACTS

_LONGEST = 2000
"""Characters of a question that are read."""
_CONTINUES = re.compile(r"^(?:and|what about|how about|also|then|the same|but)\b")
_OTHER = re.compile(r"\bother\b")
_CHOICES = re.compile(r"\b(?:choose|pick|select|answer with)\b[^:]*\b(?:one|any) of\b[^:]*:.*$|\bchoices:.*$")
_SIDES = re.compile(r"\b(left|right),? (and|or|versus|vs|to) (?:the |my |your )?(left|right) (\w+)")
_GOT = re.compile(r"\bhow \w+ (?:did|has|have|had) \w+(?: \w+)?? (?:get|got|gotten|become|go|been at most)\b")
_SMALL = {stem(word) for word in ("a", "an", "the", "of", "on", "in", "at", "with", "something", "up", "down", "from")}
Labels = tuple[tuple[str, str], ...]
"""Tasks and labels."""


@dataclass(frozen=True)
class Understood:
    """What a question names. `missing` are clauses about what it names and is not there, `wishes` what it wants."""

    sensors: tuple[Sensor, ...] = ()
    facts: tuple[str, ...] = ()
    stat: str = ""
    span: Span | None = None
    moment: int | None = None
    labels: Labels = ()
    tasks: tuple[str, ...] = ()
    wishes: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    continues: bool = False
    places: tuple[str, ...] = field(default=())


def understand(question: str, situation: Situation, before: Understood | None = None) -> Understood:
    """What the question is about; what it does not name, and continues, is taken from `before`."""
    low = _CHOICES.sub("", " ".join(question[:_LONGEST].split("\n", 1)[0].split()).casefold())
    low = _SIDES.sub(r"\1 \4 \2 \3 \4", low)
    continues = _CONTINUES.match(low) is not None
    exact, rest = _exact_labels(without_times(low), situation)
    wishes = wishes_of(rest)
    wide, rest = facts_said(rest, wide=True)
    named = sensors_named(rest, situation)
    near = before.sensors if before is not None and continues and not named.sensors else ()
    narrow, plain = facts_said(named.rest, wide=False, modalities=named.modalities)
    if "peak" in narrow and is_greatest(named.rest, {**wide, **narrow}, near, situation):
        del narrow["peak"]
        plain = f"{plain} max"
    tasks = tasks_of(plain)
    facts, lacking = facts_told({**wide, **narrow}, situation, named, sure=not tasks)
    span, moment = said_times(low, situation)
    found = Understood(
        sensors=named.sensors,
        facts=facts,
        stat=_stat(plain, {**wide, **narrow}, facts, wishes) or (LARGEST if facts and _GOT.search(low) else ""),
        span=span,
        moment=moment,
        labels=_in_order(exact or _labels(plain, situation), tasks, situation),
        tasks=tasks,
        wishes=wishes,
        missing=(*named.missing, *lacking),
        continues=continues,
        places=named.places,
    )
    if before is None or not continues:
        return found
    return _continued(found, before, situation, other=bool(_OTHER.search(low)), kind_named=bool(named.modalities))


def _continued(
    found: Understood, before: Understood, situation: Situation, *, other: bool, kind_named: bool
) -> Understood:
    """With what it does not name itself; a question about what is going on now stands for itself."""
    if found.tasks and not (found.facts or found.labels or found.span or found.moment is not None or found.sensors):
        return found
    sensors, there = found.sensors, situation.sensors.values()
    asked = before.sensors or tuple(one for one in there if _tells([one], before.facts, situation))[:1]
    alike = [one for one in there if one.modality in {mine.modality for mine in asked}]
    if other and asked:
        rest = [one for one in alike if one not in asked]
        sensors = tuple([one for one in rest if any(map(one.is_at, found.places))] or rest)
        if not sensors:
            name = CALLED.get(asked[0].modality, asked[0].modality)
            return replace(found, missing=(*found.missing, f"there is no other {name}"), facts=before.facts)
    elif found.places and not kind_named:
        sensors = tuple(one for one in alike if any(map(one.is_at, found.places))) or sensors
    facts = found.facts or (() if found.labels else before.facts)
    if not sensors and (not found.facts or _tells(before.sensors, found.facts, situation)):
        sensors = before.sensors
    elif sensors and not found.facts and not _tells(sensors, facts, situation):
        facts = ()
    return replace(
        found,
        sensors=sensors,
        facts=facts,
        stat=found.stat or before.stat,
        span=found.span or (before.span if found.moment is None else None),
        moment=found.moment if found.moment is not None or found.span or found.labels else before.moment,
        labels=found.labels or (() if found.facts else before.labels),
        tasks=found.tasks or before.tasks,
        wishes=found.wishes or before.wishes,
    )


def _tells(sensors: Iterable[Sensor], facts: Iterable[str], situation: Situation) -> bool:
    return any(fact in situation.facts_of(one) for one in sensors for fact in facts)


def _told_labels(situation: Situation) -> dict[str, list[tuple[str, str]]]:
    """By their words in small letters, the labels that are events; two tasks may have a label of the same words."""
    found: dict[str, list[tuple[str, str]]] = {}
    for task, words in situation.labels.items():
        none = none_label(task)
        for label, said in words.items():
            if label != none:
                found.setdefault(said.casefold(), []).append((task, label))
    return found


def _exact_labels(text: str, situation: Situation) -> tuple[Labels, str]:
    """Labels whose words stand there as they are, and the rest of the text."""
    told = _told_labels(situation)
    pattern = exactly(tuple(told))
    said = sorted(dict.fromkeys(pattern.findall(text)), key=len, reverse=True)
    return tuple(label for words in said for label in told[words]), pattern.sub("#", text)


def _in_order(labels: Labels, tasks: tuple[str, ...], situation: Situation) -> Labels:
    """Of labels with the same words, first the one of the task that is asked for, then the one that happened."""
    words = [situation.words(*label) for label in labels]
    happened = {(one.task, one.label) for one in situation.happenings}
    return tuple(
        sorted(labels, key=lambda one: (words.index(situation.words(*one)), one[0] not in tasks, one not in happened))
    )


@lru_cache(4096)
def _content(said: str) -> frozenset[str]:
    return frozenset(stem(word) for word in re.findall(r"[a-z][a-z-]+", said)) - _SMALL


def _labels(text: str, situation: Situation) -> Labels:
    """Labels whose words are said: all words of it, by their stems; the longest that fit, and none twice."""
    stems = {stem(word) for word in re.findall(r"[a-z][a-z-]+", re.sub(r"\bstands? for\b", "#", text))}
    told = _told_labels(situation)
    fit = {said: len(_content(said)) for said in told if _content(said) and _content(said) <= stems}
    most = max(fit.values(), default=0)
    kept = [label for said, count in fit.items() if count == most for label in told[said]]
    if not kept:  # the first word of it: "sit" for "sitting still"
        firsts = {said: stem(word[0]) for said in told if (word := re.findall(r"[\w-]+", said))}
        kept = [label for said, first in firsts.items() if first in stems - _ANYTHING for label in told[said]]
    if not kept:  # its thing: "dog" for "a dog barking"
        things = {said: stem(match[1]) for said in told if (match := re.match(r"an? ([\w-]+)", said))}
        kept = [label for said, thing in things.items() if thing in stems - _ANYTHING for label in told[said]]
    return tuple(kept) if most > 1 or len(kept) <= 2 else ()


_ANYTHING = _SMALL | {
    stem(word)
    for word in (
        "person", "hand", "phone", "car", "device", "sensor", "one", "two", "three", "do", "use", "make", "take", "put",
        "move", "look", "place", "count", "level",
    )
}  # fmt: skip
"""Words that mean no label by themselves."""


@lru_cache
def _stat_phrases() -> dict[str, re.Pattern[str]]:
    return {stat: phrase(words) for stat, words in STAT_WORDS.items()}


def _stat(text: str, found: Iterable[str], facts: tuple[str, ...], wishes: frozenset[str]) -> str:
    """The statistic that is named, by itself or by how a fact is called: `loudest`; when it is hottest is one, too."""
    own = {fact_name(fact) for fact in FACTS} | nouns()
    for said in (text, *(name for name in found if name not in own)):
        for stat, pattern in _stat_phrases().items():
            if pattern.search(said):
                return stat
    if "when" in wishes and facts:
        return EXTREMES.get(fact_name(facts[0]), "")
    return ""
