"""Plain text and chats about sensors, without end: what the small language model learns to read, copy and compare.

A document follows from random numbers alone: facts as devices tell them, who did what when, what was heard, the
tasks' own questions with their choices, times, units, counting, and what cannot be told. What is asked in a chat stands
in its text. Held-out documents have numbers and wordings of their own. None of it was measured: a text says what its
sensors are supposed to have said, and teaches words, not the world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from backend.data.instructions import CANNOT_TELL, UNANSWERABLE, instruction
from backend.data.wording import (
    ROOMS,
    WORN,
    Rng,
    Sensor,
    Told,
    Wordings,
    clock,
    facts_of,
    listed,
    names,
    one,
    sensors,
    some,
    together,
    told,
    unit,
)
from backend.tasks import TASKS, Classification, Regression
from backend.tasks.activity import ACTIVITY
from backend.tasks.events import EVENTS
from edge.facts import FACTS

Made = Callable[[Rng, bool], "Document"]


@dataclass(frozen=True)
class Turn:
    """A question and its answer. `kind` says what the answer takes: copy, compare, refuse ..."""

    question: str
    answer: str
    kind: str = ""
    floor: str = ""
    """What somebody answers who copies the first thing that fits."""


@dataclass(frozen=True)
class Document:
    """A text, and turns of a chat about it; without turns it is plain text."""

    text: str
    turns: tuple[Turn, ...] = ()


_INTRODUCED = Wordings(
    (
        "{facts}",
        "Facts from {start} to {end}\n{facts}",
        "Between {start} and {end} the sensors say\n{facts}",
        "At {start}\n{facts}",
        "Window {start} - {end}\n{facts}",
    ),
    ("What was measured from {start} until {end}\n{facts}",),
)
_COPY = Wordings(
    (
        "What is the {subject}?",
        "How much is the {subject}?",
        "Tell me the {subject}.",
        "{subject}?",
        "Which {name} does the {sensor} have?",
        "Which value has the {subject}?",
    ),
    ("Please say the {subject}.", "The {sensor}: what {name} does it tell?"),
)
_COMPARE = Wordings(
    (
        "Which has the larger {name}, the {a} or the {b}?",
        "Is the {name} larger for the {a} or for the {b}?",
        "Where is the {name} larger: {a}, or {b}?",
        "Compare the {name} of the {a} and the {b}: which is larger?",
        "The {a} or the {b}: which {name} is larger?",
    ),
    ("Of the {a} and the {b}, whose {name} is larger?",),
)
_SENSORS = Wordings(
    ("Which sensors are there?", "Name the sensors.", "What measures here?"), ("Which sensors have said something?",)
)
_COUNT = Wordings(
    ("How many sensors are there?", "Count the sensors.", "How many sensors say something?"),
    ("What is the number of sensors?",),
)
_WHEN = Wordings(
    ("When was it: {what}?", "From when to when: {what}?", "At what time: {what}?", "Between which times: {what}?"),
    ("Tell me the time of this: {what}.",),
)
_WHAT_AT = Wordings(
    ("What was it at {time}?", "What happened at {time}?", "What was going on at {time}?"),
    ("Tell me what there was at {time}.",),
)
_NEXT = Wordings(
    ("What came after {what}?", "And after {what}?", "What followed {what}?"), ("After {what}, what was next?",)
)
_OFTEN = Wordings(
    ("How often: {what}?", "How many times: {what}?", "Count this: {what}."), ("What is the number of times: {what}?",)
)
_LONG = Wordings(("How long: {what}?", "How many seconds: {what}?"), ("What is the length of this: {what}?",))
_UNIT = Wordings(
    ("In which unit is the {name} of the {modality}?", "Which unit has the {name} of the {modality}?"),
    ("What unit does the {name} of the {modality} come in?",),
)
_SHOWN = Wordings(
    (
        "The sensors show: {answer}",
        "Sensors: {answer}",
        "What the sensors say: {answer}",
        "{answer}",
        "It is {start}. The sensors show: {answer}",
    ),
    ("By the sensors it is this: {answer}",),
)
_LESS = Wordings(("No sensor is there.", "Sensors: none", "There are no sensors here."), ("Not one sensor is there.",))
_HELLO = Wordings(
    ("Hello!", "Hi.", "Good morning.", "What can you do?", "Who are you?", "Help"), ("Hello, what is this?",)
)
HELLO = "I answer questions about what sensors show. Ask me what happens, when, where, or how much."


def document(rng: Rng, *, held_out: bool = False, long: bool = False) -> Document:
    """Any document; a `long` one has many windows or many things that happened."""
    kinds, chance = (_LONG_KINDS, _LONG_CHANCE) if long else (_KINDS, _CHANCE)
    return kinds[int(rng.choice(len(kinds), p=chance))](rng, held_out)


def about_facts(rng: Rng, held_out: bool, most: int = 5) -> Document:
    """Facts of some sensors, and questions about them."""
    told_by = [facts_of(rng, sensor, int(rng.integers(1, 6))) for sensor in sensors(rng, int(rng.integers(1, most)))]
    if rng.random() < 0.6:
        told_by = _with_pair(rng, told_by)
    turns = [_question(rng, held_out, told_by) for _ in range(int(rng.integers(1, 5)))]
    return Document(_introduced(rng, held_out, told_by), tuple(turns))


def copying(rng: Rng, held_out: bool) -> Document:
    """Facts of several sensors, and one of them is asked for."""
    told_by = [facts_of(rng, sensor, int(rng.integers(2, 5))) for sensor in sensors(rng, int(rng.integers(2, 5)))]
    return Document(_introduced(rng, held_out, told_by), (_copy(rng, held_out, told_by),))


def comparing(rng: Rng, held_out: bool) -> Document:
    """Facts of several sensors, and a fact of two of them is compared."""
    told_by = [facts_of(rng, sensor, int(rng.integers(1, 4))) for sensor in sensors(rng, int(rng.integers(1, 3)))]
    told_by = _with_pair(rng, told_by)
    return Document(_introduced(rng, held_out, told_by), (_compare(rng, held_out, told_by),))


def about_history(rng: Rng, held_out: bool, most: int = 7) -> Document:
    """Who did what from when to when, or what was heard, and questions about it."""
    task = one(rng, (ACTIVITY, EVENTS))
    pool = some(rng, [words for label, words in task.words.items() if label != task.none_label], most)
    second, lines, spans = int(rng.integers(86000)), [], []
    for _ in range(int(rng.integers(2, most + 1))):
        what, lasts = one(rng, pool), int(rng.integers(2, 120))
        spans.append((second, second + lasts, what))
        lines.append(f"{clock(second)} - {clock(second + lasts)} {what}")
        second += lasts + int(rng.integers(0, 60)) * int(rng.random() < 0.5)
    place = one(rng, (*ROOMS, *WORN))
    head = one(rng, ("", f"The {place}\n", "What happened\n", f"History of the {place}\n"))
    turns = [_history_question(rng, held_out, spans) for _ in range(int(rng.integers(1, 4)))]
    return Document(head + "\n".join(lines), tuple(turns))


def about_task(rng: Rng, held_out: bool) -> Document:
    """The question of a task, where a text says what the sensors show, or that there are none."""
    task = one(rng, list(TASKS.values()))
    target = None
    if rng.random() >= UNANSWERABLE:
        if isinstance(task, Classification):
            target = np.zeros(task.size)
            target[int(rng.integers(task.size))] = 1.0
        else:
            assert isinstance(task, Regression)
            target = rng.normal(np.tile(task.centre, len(task.points)), task.scale, task.size)
    asked = instruction(task, target, rng, held_out=held_out)
    if target is None:
        return Document(_LESS.draw(rng, held_out), (Turn(asked.prompt, asked.answer, "refuse"),))
    shown = _SHOWN.draw(rng, held_out).format(answer=asked.answer, start=clock(int(rng.integers(86400))))
    if rng.random() < 0.4:
        shown = f"{shown}\n{listed(facts_of(rng, sensors(rng, 1)[0], int(rng.integers(1, 5))))}"
    return Document(shown, (Turn(asked.prompt, asked.answer, "task"),))


def about_knowledge(rng: Rng, held_out: bool) -> Document:
    """Units, times of day, counting and greetings: what needs no text to be answered from."""
    return Document("", tuple(_knowledge(rng, held_out) for _ in range(int(rng.integers(2, 6)))))


def narrated(rng: Rng, held_out: bool) -> Document:
    """A few sentences in a row, plain text."""
    second = int(rng.integers(86400))
    sentences = []
    for _ in range(int(rng.integers(2, 8))):
        sentences.append(_sentence(rng, second, held_out))
        second += int(rng.integers(1, 900))
    return Document(" ".join(sentences))


def many_windows(rng: Rng, held_out: bool) -> Document:
    """A sensor's facts window by window, and questions about some of them."""
    sensor = sensors(rng, 1)[0]
    chosen = some(rng, names(sensor.modality), int(rng.integers(1, 4)))
    start, count = int(rng.integers(86000)), int(rng.integers(8, 25))
    rows = [(clock(start + i), [told(rng, sensor, name) for name in chosen]) for i in range(count)]
    text = "\n".join(f"{at} {', '.join(f'{fact.name} {fact.text}' for fact in facts)}" for at, facts in rows)
    turns = [_at(rng, *one(rng, rows)) for _ in range(int(rng.integers(2, 5)))]
    return Document(f"{sensor}\n{text}", tuple(turns))


def _at(rng: Rng, at: str, facts: Sequence[Told]) -> Turn:
    fact = one(rng, facts)
    return Turn(f"What is the {fact.name} at {at}?", f"The {fact.name} at {at} is {fact.text}.", "copy")


def _long_history(rng: Rng, held_out: bool) -> Document:
    return about_history(rng, held_out, most=24)


def _many_sensors(rng: Rng, held_out: bool) -> Document:
    return about_facts(rng, held_out, most=13)


_KINDS: tuple[Made, ...] = (
    about_facts, copying, comparing, about_history, about_task, about_knowledge, narrated,
)  # fmt: skip
_CHANCE = (0.25, 0.15, 0.15, 0.15, 0.15, 0.05, 0.1)
_LONG_KINDS: tuple[Made, ...] = (many_windows, _long_history, _many_sensors)
_LONG_CHANCE = (0.35, 0.3, 0.35)


def _introduced(rng: Rng, held_out: bool, told_by: Sequence[Sequence[Told]]) -> str:
    start = int(rng.integers(86400))
    facts = "\n".join(map(listed, told_by))
    return _INTRODUCED.draw(rng, held_out).format(facts=facts, start=clock(start), end=clock(start + 1))


def _with_pair(rng: Rng, told_by: list[list[Told]]) -> list[list[Told]]:
    """The facts, and those of a sensor of the same kind elsewhere, at least one of the same name."""
    first = one(rng, told_by)
    shared = some(rng, first, int(rng.integers(1, len(first) + 1)))
    taken = {facts[0].sensor for facts in told_by}
    places = ROOMS if first[0].sensor.placement in ROOMS else WORN
    there = [Sensor(first[0].sensor.modality, place) for place in places]
    free = [sensor for sensor in there if sensor not in taken]
    other = one(rng, free)
    more = [told(rng, other, fact.name) for fact in shared]
    return some(rng, [*told_by, more], len(told_by) + 1)


def _question(rng: Rng, held_out: bool, told_by: Sequence[Sequence[Told]]) -> Turn:
    draw = rng.random()
    if draw < 0.4:
        return _copy(rng, held_out, told_by)
    if draw < 0.65 and _pairs(told_by):
        return _compare(rng, held_out, told_by)
    if draw < 0.8:
        return _absent(rng, held_out, told_by)
    named = [str(facts[0].sensor) for facts in told_by]
    if draw < 0.9:
        return Turn(_SENSORS.draw(rng, held_out), f"The {together(named)}.", "list")
    return Turn(_COUNT.draw(rng, held_out), f"{len(named)}: the {together(named)}.", "count")


def _copy(rng: Rng, held_out: bool, told_by: Sequence[Sequence[Told]]) -> Turn:
    facts = [fact for facts in told_by for fact in facts]
    fact = one(rng, facts)
    asked = _COPY.draw(rng, held_out).format(subject=fact.subject, name=fact.name, sensor=fact.sensor)
    return Turn(asked, _is(fact.subject, fact.text), "copy", floor=_is(fact.subject, facts[0].text))


def _is(subject: str, value: str) -> str:
    return f"The {subject} is {value}."


def _pairs(told_by: Sequence[Sequence[Told]]) -> list[tuple[Told, Told]]:
    """Facts of the same name and kind of sensor, with different values."""
    facts = [fact for facts in told_by for fact in facts]
    return [
        (a, b)
        for a in facts
        for b in facts
        if a.sensor != b.sensor and a.sensor.modality == b.sensor.modality and a.name == b.name and a.value != b.value
    ]


def _compare(rng: Rng, held_out: bool, told_by: Sequence[Sequence[Told]]) -> Turn:
    """The answer tells both values first: what is compared stands next to each other."""
    pairs = _pairs(told_by)
    if not pairs:  # by chance both have the same value
        return _copy(rng, held_out, told_by)
    a, b = one(rng, pairs)
    asked = _COMPARE.draw(rng, held_out).format(name=a.name, a=a.sensor, b=b.sensor)
    both = f"{a.text} and {b.text}: larger for the "
    return Turn(asked, f"{both}{max(a, b, key=lambda fact: fact.value).sensor}.", "compare", f"{both}{a.sensor}.")


def _absent(rng: Rng, held_out: bool, told_by: Sequence[Sequence[Told]]) -> Turn:
    """A fact that nothing in the text tells: of a sensor that is not there, or another of one that is."""
    there = {facts[0].sensor: {fact.name for fact in facts} for facts in told_by}
    sensor = one(rng, list(there)) if rng.random() < 0.5 else sensors(rng, 1)[0]
    rest = [name for name in names(sensor.modality) if name not in there.get(sensor, set())]
    if not rest:
        return _copy(rng, held_out, told_by)
    fact = told(rng, sensor, one(rng, rest))
    asked = _COPY.draw(rng, held_out).format(subject=fact.subject, name=fact.name, sensor=fact.sensor)
    return Turn(asked, CANNOT_TELL, "refuse")


def _history_question(rng: Rng, held_out: bool, spans: Sequence[tuple[int, int, str]]) -> Turn:
    i = int(rng.integers(len(spans)))
    start, end, what = spans[i]
    alone = sum(other == what for _, _, other in spans) == 1
    draw = rng.random()
    if draw < 0.3:
        return Turn(_WHAT_AT.draw(rng, held_out).format(time=clock(start)), _answer(what), "at")
    if draw < 0.45:
        times = sum(other == what for _, _, other in spans)
        return Turn(_OFTEN.draw(rng, held_out).format(what=what), f"{times}.", "count")
    if draw < 0.75 and alone:
        return Turn(_WHEN.draw(rng, held_out).format(what=what), f"From {clock(start)} to {clock(end)}.", "when")
    if draw < 0.85 and alone and i + 1 < len(spans):
        return Turn(_NEXT.draw(rng, held_out).format(what=what), _answer(spans[i + 1][2]), "next")
    if draw < 0.92 and alone:
        span = f"From {clock(start)} to {clock(end)}: {end - start} s."
        return Turn(_LONG.draw(rng, held_out).format(what=what), span, "long")
    stranger = one(rng, [words for words in ACTIVITY.words.values() if words not in {w for _, _, w in spans}])
    return Turn(_WHEN.draw(rng, held_out).format(what=stranger), CANNOT_TELL, "refuse")


def _answer(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _knowledge(rng: Rng, held_out: bool) -> Turn:
    draw = int(rng.integers(5))
    if draw == 0:
        fact = one(rng, [fact for fact in FACTS if unit(fact)])
        modality, _, name = fact.partition(".")
        asked = _UNIT.draw(rng, held_out).format(name=name.replace("_", " "), modality=modality)
        return Turn(asked, f"{unit(fact)}.", "unit")
    if draw == 1:
        return Turn(_HELLO.draw(rng, held_out), HELLO, "hello")
    if draw == 2:
        second = int(rng.integers(86400))
        part = ("at night", "in the morning", "in the afternoon", "in the evening")[second // 21600]
        return Turn(f"What part of the day is {clock(second)}?", f"It is {part}.", "day")
    if draw == 3:
        first, count = int(rng.integers(0, 90)), int(rng.integers(3, 9))
        return Turn(
            f"Count from {first} to {first + count}.", f"{', '.join(map(str, range(first, first + count + 1)))}."
        )
    a, b = sorted(map(int, rng.integers(0, 86400, 2)))
    late, early = clock(b), clock(a)
    pair = (early, late) if rng.random() < 0.5 else (late, early)
    return Turn(f"Which is later, {pair[0]} or {pair[1]}?", f"{late}.", "later")


def _sentence(rng: Rng, second: int, held_out: bool) -> str:
    sensor = sensors(rng, 1)[0]
    facts = facts_of(rng, sensor, int(rng.integers(1, 4)))
    at = clock(second)
    said = together([f"a {fact.name} of {fact.text}" for fact in facts])
    activity, sound = one(rng, list(ACTIVITY.words.values())), one(rng, list(EVENTS.words.values()))
    room = one(rng, ROOMS)
    learned = (
        f"At {at} the {sensor} has {said}.",
        f"The {sensor} tells {said} at {at}.",
        f"From {at} to {clock(second + 1)} the {facts[0].subject} is {facts[0].text}.",
        f"In the {room} the microphone hears {sound} at {at}.",
        f"At {at} it is this in the {room}: {activity}.",
        f"The activity at {at} is {activity}, and the sound is {sound}.",
        f"Nothing is heard in the {room} from {at} to {clock(second + 30)}.",
        f"The {facts[0].name} was {facts[0].text} at {at}, and then {told(rng, sensor, facts[0].name).text}.",
    )
    held = (
        f"It is {at}, and the {sensor} gives {said}.",
        f"In the {room}, {at}: {activity}, with {sound} to be heard.",
    )
    return one(rng, held if held_out else learned)
