"""From what a question is about to what could answer it: the programs that it may mean, as lines of a prompt.

A handful of true statements stands before every question; that is all that a language model is told in words. What
cannot be told is a line, too. It knows nothing of models, and draws nothing at random.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from zlib import crc32

from backend.dialogue.programs import (
    At,
    Beside,
    Changed,
    Compared,
    Facts,
    Heard,
    Known,
    Lacking,
    Meanwhile,
    Program,
    Sensors,
    Statement,
    Statistic,
    Total,
    Unit,
    When,
)
from backend.dialogue.situation import Situation, Span
from backend.dialogue.understand import Understood, understand
from backend.dialogue.words import LARGEST, MEAN, NEWEST, SMALLEST, Sensor, span_words
from edge.clock import SECOND

MOST = 8
"""Statements before a question."""
LEAST = 3
"""What was asked for seldom stands alone."""
LATELY_S = 10
"""What "now" looks back over where a mean is asked, and no span."""
HELLO = "I answer questions about what sensors show: ask me what happens, when, where or how much"
KEY_FACTS = {
    "imu": ("imu.rms", "imu.frequency"),
    "audio": ("audio.level", "audio.centroid"),
    "gps": ("gps.speed", "gps.turned"),
    "gaze": ("gaze.x", "gaze.y"),
    "pose": ("pose.head_height", "pose.speed"),
    "image": ("image.brightness",),
    "video": ("video.motion", "video.moving"),
    "depth": ("depth.nearest", "depth.median"),
    "thermal": ("thermal.hottest", "thermal.person"),
    "capacitance": ("capacitance.contacts", "capacitance.area"),
    "camera": ("camera.brightness",),
    "lidar": ("lidar.nearest", "lidar.free"),
}
"""By modality, the facts that a reason cites."""
TASK_SENSES = {
    "event-detection": ("audio",),
    "gesture-classification": ("imu", "gaze"),
    "touch-contact": ("capacitance",),
    "activity-recognition": ("imu", "video", "gps", "thermal", "pose", "gaze", "depth", "camera", "audio"),
}
"""Whose facts are reasons for a task's label."""
REASONS = 2
_WANTED: tuple[tuple[frozenset[str], tuple[type[Program], ...]], ...] = (
    (frozenset({"before", "after"}), (Beside,)),
    (frozenset({"when"}), (When, Statistic)),
    (frozenset({"long", "often"}), (Total,)),
    (frozenset({"change"}), (Changed,)),
    (frozenset({"compare"}), (Compared,)),
)
_PAST = frozenset({"long", "often", "when", "before", "after", "meanwhile", "change", "past"})
_TALK = frozenset({"sensors", "unit", "known", "hello", "facts"})


@dataclass(frozen=True)
class Recalled:
    """What stands before a question: what it was understood as, statements, and tasks whose label of now is asked."""

    understood: Understood
    statements: tuple[Statement, ...]
    tasks: tuple[str, ...] = ()

    def lines(self, question: str) -> str:
        """The statements as lines, in an order that says nothing: which of them answers is for the reader to find."""
        return "\n".join(
            sorted((one.text for one in self.statements), key=lambda text: crc32(f"{question}{text}".encode()))
        )


def answers(program: Program, asked: Understood) -> bool:
    """Whether a program is of what the question names: how long, how often, when, what changed, which is larger, what
    came before; and of numbers the statistic, the fact and the sensor.

    A question that names none of them may mean any.
    """
    kinds = [kind for wishes, several in _WANTED for kind in several if asked.wishes & wishes]
    if kinds and not isinstance(program, tuple(kinds)):
        return False
    if not isinstance(program, Statistic):
        return True
    named = (asked.stat or program.stat, asked.facts or (program.fact,), asked.sensors or (program.sensor,))
    return program.stat == named[0] and program.fact in named[1] and program.sensor in named[2]


def recall(question: str, situation: Situation, before: Understood | None = None) -> Recalled:
    """What could be the answer to a question, the likeliest first."""
    found = understand(question, situation, before)
    tasks = _now(found, situation)
    programs: list[Program] = [Lacking(clause) for clause in found.missing]
    programs += _programs(found, situation, tasks)
    statements = []
    for program in dict.fromkeys(programs):
        statement = program.evaluate(situation)
        if statement is not None:
            statements.append(statement)
        elif isinstance(program, Statistic | Compared | Changed) and not found.missing:
            statements += _silent(program, situation)
    for program in _beside(statements, situation):
        if len(statements) >= LEAST:
            break
        statement = program.evaluate(situation)
        if statement is not None and all(statement.text != one.text for one in statements):
            statements.append(statement)
    kept = tuple({one.text: one for one in statements}.values())[:MOST]
    return Recalled(found, kept, tasks)


def _silent(program: Statistic | Compared | Changed, situation: Situation) -> list[Statement]:
    """That nothing was measured in its time."""
    span = (program.earlier[0], program.later[1]) if isinstance(program, Changed) else program.span
    lacking = Lacking(f"nothing was measured {span_words(*span, situation.zone)}").evaluate(situation)
    return [] if lacking is None else [lacking]


def _beside(statements: Iterable[Statement], situation: Situation) -> Iterable[Program]:
    """What stands near what was asked: other numbers of the same fact and of the same sensor."""
    whole = (situation.began, situation.now)
    for program in [one.program for one in statements]:
        if isinstance(program, Statistic):
            fact, own, span = program.fact, program.sensor, program.span
            for stat in (LARGEST, SMALLEST, MEAN):
                if program.stat not in (stat, NEWEST):
                    yield Statistic(stat, fact, own, span, program.during)
            for sensor in situation.sensors.values():
                if sensor != own and fact in situation.facts_of(sensor):
                    yield Statistic(program.stat, fact, sensor, span, program.during)
            for other in situation.facts_of(own)[:4]:
                if other != fact:
                    yield Statistic(NEWEST, other, own, whole)
        elif isinstance(program, Total | When | Beside):
            yield When(program.task, program.label, program.span)
            yield Total(program.task, program.label, program.span)


def _now(found: Understood, situation: Situation) -> tuple[str, ...]:
    """Tasks whose label of now answers the question."""
    asks_past = found.span or found.moment is not None or found.labels or found.wishes & _PAST
    if asks_past or found.missing or (found.facts and not found.tasks) or found.wishes & _TALK:
        return ()
    named = tuple(task for task in found.tasks if task in situation.labels)
    return named[:1] or (("activity-recognition",) if "describe" in found.wishes else ())


def _programs(found: Understood, situation: Situation, tasks: tuple[str, ...]) -> list[Program]:
    made = _about_us(found, situation)
    if made:
        return made
    whole = (situation.began, situation.now)
    for task, label in found.labels:
        if not found.facts:  # otherwise the facts while it was
            made += _of_label(found, situation, task, label, found.span or whole)
    if found.facts:
        made += _of_facts(found, situation)
    elif not (found.labels or found.missing or tasks):
        happened = _of_time(found, situation, whole)
        told = _of_sensors(found, situation, whole) if found.sensors else []
        made += happened + told if found.tasks else told + happened
    for task in tasks:
        made += _reasons(task, situation, whole)
    return made or ([] if found.missing else [Sensors()])


def _about_us(found: Understood, situation: Situation) -> list[Program]:
    """Talk about what sensors there are and what can be told of them."""
    wishes, made = found.wishes, list[Program]()
    if "hello" in wishes and not (found.sensors or found.facts or found.labels):
        made.append(Lacking(HELLO))
    exists = "exists" in wishes and found.sensors and not (found.labels or found.tasks)
    if ("sensors" in wishes or exists) and not found.facts:
        made.append(Sensors())
    if "unit" in wishes and found.facts:
        made += [Unit(fact) for fact in found.facts]
    elif "known" in wishes:
        made += [Known(task) for task in (found.tasks or tuple(situation.labels))]
    elif "facts" in wishes and found.sensors and not found.facts:
        made += [Facts(sensor) for sensor in found.sensors]
    return made


def _of_sensors(found: Understood, situation: Situation, whole: Span) -> list[Program]:
    """The key facts of the sensors that are named: side by side, how they change, or as they are."""
    facts = [(one, fact) for one in found.sensors for fact in _key_facts(one, situation)]
    if not found.wishes & {"compare", "change"} and not found.stat and found.span is None and found.moment is None:
        return [Statistic(NEWEST, fact, one, whole) for one, fact in facts]
    first = dict(reversed(facts))
    return _numbers(found, situation, [(one, first[one]) for one in found.sensors if one in first])


def _key_facts(sensor: Sensor, situation: Situation) -> list[str]:
    return [fact for fact in KEY_FACTS.get(sensor.modality, ()) if fact in situation.facts_of(sensor)]


def _of_time(found: Understood, situation: Situation, whole: Span) -> list[Program]:
    """What happened at a time."""
    named = [task for task in found.tasks if task in situation.labels and task != "activity-recognition"]
    asked = named or list(situation.labels)
    if found.moment is not None:
        then: list[Program] = [At(task, found.moment) for task in asked]
        if any(program.evaluate(situation) for program in then):
            return then
        return [Heard(asked[0], whole)] if asked else []
    if found.span or found.wishes & {"describe", "when", "before", "after", "past"}:
        return [Heard(task, found.span or whole) for task in asked]
    return []


def _of_label(found: Understood, situation: Situation, task: str, label: str, span: Span) -> list[Program]:
    wishes = found.wishes
    if found.moment is not None and At(task, found.moment).evaluate(situation) is not None:
        return [At(task, found.moment)]
    total, when = Total(task, label, span), When(task, label, span, "first" not in wishes)
    made: list[Program] = []
    others = [one for one in situation.labels if one != task]
    if "before" in wishes or "after" in wishes:
        made.append(Beside(task, label, span, "before" in wishes))
    if "meanwhile" in wishes:
        asked = [one for one in found.tasks if one in others] or others
        made += [Meanwhile(task, label, other, span) for other in asked]
    if wishes & {"long", "often"} or not made:
        made.append(total)
    if "when" in wishes:
        made.insert(0, when)
    elif not wishes & {"long", "often", "before", "after", "meanwhile"}:
        made.append(when)
    return made


def _of_facts(found: Understood, situation: Situation) -> list[Program]:
    """Numbers of the facts that are named."""
    sensors = found.sensors or tuple(situation.sensors.values())
    pairs = [(sensor, fact) for fact in found.facts for sensor in sensors if fact in situation.facts_of(sensor)]
    if found.labels and (found.wishes & {"meanwhile"} or found.span is None):
        task, label = found.labels[0]
        episodes = [one for one in situation.told(task, found.span) if one.label == label]
        if not episodes:
            return [Total(task, label, found.span or (situation.began, situation.now))]
        span = (episodes[-1].began, episodes[-1].ended)
        return _numbers(found, situation, pairs, span, situation.words(task, label))
    return _numbers(found, situation, pairs)


def _numbers(
    found: Understood,
    situation: Situation,
    pairs: Iterable[tuple[Sensor, str]],
    span: Span | None = None,
    during: str = "",
) -> list[Program]:
    """Of sensors and their facts: which is larger, how it changed, or what it was."""
    span = span or found.span
    if found.moment is not None:
        span = (found.moment - SECOND, found.moment + SECOND)
    lately = span or (situation.now - LATELY_S * SECOND, situation.now)
    made: list[Program] = []
    if "compare" in found.wishes or (len(found.sensors) == 2 and not found.stat):
        for (one, fact), (other, same) in combinations(pairs, 2):
            if fact == same and one.modality == other.modality:
                made.append(Compared(fact, one, other, lately))
    if "change" in found.wishes and not made:
        middle = (lately[0] + lately[1]) // 2
        earlier, later = (lately[0], middle), (middle, lately[1])
        if found.moment is not None:
            earlier, later = lately, (situation.now - (lately[1] - lately[0]), situation.now)
        made += [Changed(fact, sensor, earlier, later) for sensor, fact in pairs]
    if made:
        return made
    return [
        Statistic(stat, fact, sensor, within, during)
        for sensor, fact in pairs
        for stat, within in _stats(found, situation, span)
    ]


def _stats(found: Understood, situation: Situation, span: Span | None) -> Iterable[tuple[str, Span]]:
    """Statistics, and the spans that they are of."""
    whole = (situation.began, situation.now)
    if found.moment is not None and span is not None:
        return [(MEAN, span)]
    if found.stat in (LARGEST, SMALLEST):
        other = SMALLEST if found.stat == LARGEST else LARGEST
        return [(found.stat, span or whole), (other, span or whole)]
    if found.stat == MEAN:
        return [(MEAN, span or whole), (NEWEST, span or whole)]
    if span is None:
        return [(NEWEST, whole)]
    return [(MEAN, span), (LARGEST, span), (SMALLEST, span)]


def _reasons(task: str, situation: Situation, whole: Span) -> list[Program]:
    """The newest facts that a label of now is told with: those of the sensors that weighed most."""
    senses, weights = TASK_SENSES.get(task, ()), situation.attribution
    there = sorted(
        (one for one in situation.sensors.values() if one.modality in senses),
        key=lambda one: (-weights.get(situation.names[one], 0.0), senses.index(one.modality)),
    )
    made: list[Program] = [
        Statistic(NEWEST, fact, sensor, whole) for sensor in there for fact in _key_facts(sensor, situation)
    ]
    return made[:REASONS]
