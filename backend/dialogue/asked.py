"""Questions that can be asked of a situation: by kind, one drawn at random with the program that answers it.

What is drawn is a program, the form that words it and what stands in its slots; whether the question is understood
again, and what its answer is, is the business of `items`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from backend.dialogue.programs import (
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
    Program,
    Sensors,
    Statistic,
    Total,
    Unit,
    When,
    none_label,
)
from backend.dialogue.recall import HELLO, KEY_FACTS, LATELY_S
from backend.dialogue.situation import Situation, Span
from backend.dialogue.wordings import ASK, CHOOSE, DESCRIBE, LABEL_ASK, SPAN_SAID, STAT_SAID, THINGS, Rng
from backend.dialogue.words import (
    CALLED,
    LARGEST,
    MEAN,
    NEWEST,
    SAID_FACTS,
    SMALLEST,
    WORN,
    Sensor,
    capital,
    clock,
    fact_name,
    span_words,
)
from edge.clock import SECOND
from edge.facts import FACTS

LISTED = 0.4
"""Share of questions about labels that list choices."""
MOST_CHOICES = 30
T = TypeVar("T")


@dataclass
class Asked:
    """A question being made. `asked` is the part of the statement that is asked for; `form` names its wordings, unless
    `question` has been worded already. `composition` may be held out.
    """

    kind: str
    form: str
    program: Program
    asked: str
    slots: dict[str, str] = field(default_factory=dict)
    task: str = ""
    composition: str = ""
    question: str = ""


def one_of(rng: Rng, among: Iterable[T]) -> T:
    """One of them, each as likely as any."""
    listed = list(among)
    return listed[int(rng.integers(len(listed)))]


def tidy(text: str) -> str:
    """A form whose slots are filled as a sentence: an empty slot leaves no space."""
    text = " ".join(text.split()).replace(" ?", "?").replace(" .", ".").replace(" ,", ",")
    return capital(text.lstrip(", "))


def _fact_said(rng: Rng, fact: str) -> str:
    said = SAID_FACTS.get(fact, ())
    nouns = [name for name in said if not name.startswith("how ") and not name.endswith("er")]
    return one_of(rng, nouns) if nouns and rng.random() < 0.3 else fact_name(fact)


def _sensor_said(rng: Rng, sensor: Sensor) -> str:
    draw = rng.random()
    if draw < 0.8 or sensor.device:
        return str(sensor)
    return f"{sensor.placement} {CALLED.get(sensor.modality, sensor.modality)}"


def _sensor_fact(situation: Situation, rng: Rng) -> tuple[Sensor, str] | None:
    there = [sensor for sensor in situation.sensors.values() if situation.facts_of(sensor)]
    if not there:
        return None
    sensor = one_of(rng, there)
    return sensor, one_of(rng, situation.facts_of(sensor))


def _facts_of(modality: str) -> list[str]:
    return [fact for fact in FACTS if fact.startswith(f"{modality}.")]


def _span(situation: Situation, rng: Rng, held_out: bool, kinds: tuple[str, ...]) -> tuple[Span, str, str]:
    """A span, how it is said, and its kind."""
    kind = one_of(rng, kinds)
    length = max(4, (situation.now - situation.began) // SECOND)
    if kind == "whole":
        return (situation.began, situation.now), "", kind
    n = int(one_of(rng, [s for s in (5, 10, 20, 30, 60) if s <= length] or [int(length)]))
    if kind == "last":
        return (situation.now - n * SECOND, situation.now), SPAN_SAID[kind].draw(rng, held_out).format(n=n), kind
    now = situation.now // SECOND
    low = now - int(rng.integers(3, length + 1))
    if kind == "since":
        said = SPAN_SAID[kind].draw(rng, held_out).format(a=clock(low * SECOND, situation.zone))
        return (low * SECOND, situation.now), said, kind
    high = min(low + int(rng.integers(2, max(3, now - low + 1))), now)
    span = (low * SECOND, high * SECOND)
    return span, _between(span, situation, rng, held_out), "between"


def _between(span: Span, situation: Situation, rng: Rng, held_out: bool) -> str:
    a, b = (clock(t, situation.zone) for t in span)
    return SPAN_SAID["between"].draw(rng, held_out).format(a=a, b=b)


def _statistic(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    found = _sensor_fact(situation, rng)
    if found is None:
        return None
    sensor, fact = found
    slots = {"fact": _fact_said(rng, fact), "sensor": _sensor_said(rng, sensor)}
    draw = rng.random()
    if draw < 0.4:
        slots["stat"] = STAT_SAID[NEWEST].draw(rng, held_out)
        newest = Statistic(NEWEST, fact, sensor, (situation.began, situation.now))
        return Asked("statistic", "newest", newest, "number", slots, composition=f"newest/{fact}")
    stat = one_of(rng, (MEAN, LARGEST, SMALLEST))
    span, said, kind = _span(situation, rng, held_out, ("last", "between", "since"))
    slots |= {"stat": STAT_SAID[stat].draw(rng, held_out), "span": said}
    if draw < 0.55:
        span, said, kind = _span(situation, rng, held_out, ("last", "between"))
        middle = (span[0] + span[1]) // 2
        slots["span"] = said
        changed = Changed(fact, sensor, (span[0], middle), (middle, span[1]))
        return Asked("statistic", "change", changed, "text", slots, composition=f"change/{fact}/{kind}")
    program = Statistic(stat, fact, sensor, span)
    return Asked("statistic", "statistic", program, "number", slots, composition=f"{stat}/{fact}/{kind}")


def _localised(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    if rng.random() < 0.4 and (task_label := _told_label(situation, rng)):
        task, label = task_label
        slots = {"label": situation.words(task, label)}
        when = When(task, label, (situation.began, situation.now))
        return Asked("localisation", "when", when, "time", slots, composition=f"when/{label}")
    found = _sensor_fact(situation, rng)
    if found is None:
        return None
    sensor, fact = found
    stat = one_of(rng, (LARGEST, SMALLEST))
    span, said, kind = _span(situation, rng, held_out, ("whole", "last", "between"))
    slots = {"fact": _fact_said(rng, fact), "sensor": _sensor_said(rng, sensor), "span": said}
    slots["stat"] = STAT_SAID[stat].draw(rng, held_out)
    program = Statistic(stat, fact, sensor, span)
    return Asked("localisation", "localise", program, "time", slots, composition=f"when-{stat}/{fact}/{kind}")


def _compared(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    pairs = [
        (a, b)
        for a in situation.sensors.values()
        for b in situation.sensors.values()
        if a != b and a.modality == b.modality and set(situation.facts_of(a)) & set(situation.facts_of(b))
    ]
    if not pairs:
        return None
    one, other = one_of(rng, pairs)
    fact = one_of(rng, sorted(set(situation.facts_of(one)) & set(situation.facts_of(other))))
    form = ASK["compare"].draw(rng, held_out)
    span, said, kind = (situation.now - LATELY_S * SECOND, situation.now), "", "lately"
    if "{span}" in form:
        span, said, kind = _span(situation, rng, held_out, ("last", "between"))
    question = tidy(form.format(fact=_fact_said(rng, fact), sensor=one, other=other, span=said))
    program = Compared(fact, one, other, span)
    return Asked(
        "comparison", "compare", program, "sensor", composition=f"compare/{fact}/{kind}", question=question
    )  # fmt: skip


def _told_label(situation: Situation, rng: Rng) -> tuple[str, str] | None:
    told = sorted({(one.task, one.label) for one in situation.happenings if one.label != none_label(one.task)})
    return one_of(rng, told) if told else None


def _crossmodal(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    found = _told_label(situation, rng)
    if found is None:
        return None
    task, label = found
    words = situation.words(task, label)
    others = [one for one in situation.labels if one != task and one in ("event-detection", "activity-recognition")]
    if others and rng.random() < 0.4:
        other = others[0]
        slots = {"label": words, "heard": "heard" if other == "event-detection" else "seen"}
        meanwhile = Meanwhile(task, label, other, (situation.began, situation.now))
        return Asked("crossmodal", "meanwhile", meanwhile, "label", slots, other, f"meanwhile/{label}")
    chosen = _sensor_fact(situation, rng)
    if chosen is None:
        return None
    sensor, fact = chosen
    stat = one_of(rng, (MEAN, LARGEST, SMALLEST))
    last = [one for one in situation.told(task) if one.label == label][-1]
    slots = {"fact": _fact_said(rng, fact), "sensor": _sensor_said(rng, sensor), "label": words}
    slots["stat"] = STAT_SAID[stat].draw(rng, held_out)
    program = Statistic(stat, fact, sensor, (last.began, last.ended), words)
    return Asked("crossmodal", "during", program, "number", slots, composition=f"during-{stat}/{fact}")


def _label(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    tasks = [task for task in situation.decided if task in LABEL_ASK]
    if not tasks:
        return None
    task = one_of(rng, tasks)
    question = LABEL_ASK[task].draw(rng, held_out)
    if rng.random() < LISTED:
        words = list(situation.labels[task].values())
        right = situation.words(task, situation.decided[task])
        most = int(rng.integers(2, MOST_CHOICES + 1))
        drawn = [words[i] for i in rng.permutation(len(words))[:most]]
        if right not in drawn:
            drawn[int(rng.integers(len(drawn)))] = right
        question = CHOOSE.draw(rng, held_out).format(question=question, choices=", ".join(drawn))
    return Asked("label", "label", Label(task), "label", task=task, question=question)


def _caption(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    if "activity-recognition" not in situation.decided:
        return None
    program = Label("activity-recognition")
    return Asked("caption", "label", program, "label", task=program.task, question=DESCRIBE.draw(rng, held_out))


def _history(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    found = _told_label(situation, rng)
    if found is None:
        return None
    task, label = found
    draw = rng.random()
    if draw < 0.5:
        form = "long" if draw < 0.3 else "often"
        if rng.random() < 0.2:  # one that may not have happened
            label = one_of(rng, [one for one in situation.labels[task] if one != none_label(task)])
        span, said, kind = _span(situation, rng, held_out, ("whole", "last", "between", "since"))
        slots = {"label": situation.words(task, label), "span": said}
        return Asked(
            "history", form, Total(task, label, span), "number", slots, composition=f"{form}/{label}/{kind}"
        )  # fmt: skip
    if draw < 0.75:
        form = one_of(rng, ("before", "after"))
        program = Beside(task, label, (situation.began, situation.now), form == "before")
        slots = {"label": situation.words(task, label)}
        return Asked("history", form, program, "label", slots, task, f"{form}/{label}")
    one = one_of(rng, [h for h in situation.happenings if h.label != none_label(h.task)])
    return (_within if draw < 0.87 else _then)(situation, rng, held_out, (one.began, one.ended))


def _within(situation: Situation, rng: Rng, held_out: bool, during: Span) -> Asked | None:
    """What happened in a span."""
    span, said, kind = _span(situation, rng, held_out, ("last", "between"))
    tasks = [task for task in situation.labels if situation.told(task, span)]
    if not tasks:
        return None
    slots = {"span": said}
    return Asked("history", "history", Heard(tasks[0], span), "label", slots, tasks[0], f"history/{kind}")


def _then(situation: Situation, rng: Rng, held_out: bool, during: Span) -> Asked | None:
    """What was going on in the middle of something, at a full second."""
    middle = (during[0] + during[1]) // 2 // SECOND * SECOND
    if not during[0] <= middle < during[1]:
        return None
    slots = {"span": SPAN_SAID["at"].draw(rng, held_out).format(a=clock(middle, situation.zone))}
    tasks = [t for t in situation.labels if any(h.began <= middle < h.ended for h in situation.told(t))]
    return Asked("history", "at", At(tasks[0], middle), "label", slots, tasks[0])


def _talk(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    draw = rng.random()
    if draw < 0.35:
        return Asked("talk", "sensors", Sensors(), "sensor")
    if draw < 0.5:
        return Asked("talk", "hello", Lacking(HELLO), "text")
    if draw < 0.7:
        task = one_of(rng, [task for task in situation.labels if task in THINGS] or [""])
        known = Known(task)
        return Asked("talk", "known", known, "text", {"things": THINGS[task]}) if known.evaluate(situation) else None
    found = _sensor_fact(situation, rng)
    if found is None:
        return None
    sensor, fact = found
    if draw < 0.85:
        return Asked("talk", "facts", Facts(sensor), "text", {"sensor": str(sensor)})
    return Asked("talk", "unit", Unit(fact), "text", {"fact": fact_name(fact), "sensor": str(sensor)})


def _missing(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    """A sensor that is not there, a fact that a sensor does not tell, a placement without one, a time before any."""
    draw = rng.random()
    stat = one_of(rng, (MEAN, LARGEST, SMALLEST))
    _, said, _ = _span(situation, rng, held_out, ("last", "between", "since"))
    slots = {"stat": STAT_SAID[stat].draw(rng, held_out), "span": said}
    make = next(make for share, make in _LACKS if draw < share)
    return make(situation, rng, held_out, slots)


def _no_such_sensor(situation: Situation, rng: Rng, held_out: bool, slots: dict[str, str]) -> Asked | None:
    there = {sensor.modality for sensor in situation.sensors.values()}
    absent = [modality for modality in KEY_FACTS if modality not in there]
    if not absent:
        return None
    modality = one_of(rng, absent)
    fact = one_of(rng, _facts_of(modality))
    place = one_of(rng, sorted({sensor.placement for sensor in situation.sensors.values()} | {"wrist", "room"}))
    sensor = str(Sensor(modality, place)) if rng.random() < 0.5 else CALLED[modality]
    form = "newest" if rng.random() < 0.5 else "statistic"
    slots |= {"fact": fact_name(fact), "sensor": sensor}
    if form == "newest":
        slots["stat"] = STAT_SAID[NEWEST].draw(rng, held_out)
    return Asked("missing", form, Lacking(f"there is no {sensor}"), "refusal", slots)


def _no_such_fact(situation: Situation, rng: Rng, held_out: bool, slots: dict[str, str]) -> Asked | None:
    sensors = situation.sensors.values()
    own = [(one, fact) for one in sensors for fact in _facts_of(one.modality) if fact not in situation.facts_of(one)]
    other = [
        (one, fact)
        for one in sensors
        for fact in FACTS
        if not fact.startswith((f"{one.modality}.", "host."))
        and f"{one.modality}.{fact.partition('.')[2]}" not in FACTS
    ]
    if not own and not other:
        return None
    sensor, fact = one_of(rng, own or other)
    slots |= {"fact": fact_name(fact), "sensor": str(sensor), "stat": STAT_SAID[NEWEST].draw(rng, held_out)}
    lacking = Lacking(f"the {sensor} tells no {fact_name(fact)}")
    return Asked("missing", "newest", lacking, "refusal", slots)


def _not_there(situation: Situation, rng: Rng, held_out: bool, slots: dict[str, str]) -> Asked | None:
    places = [place for place in WORN if not any(one.is_at(place) for one in situation.sensors.values())]
    known = [sensor for sensor in situation.sensors.values() if sensor.modality in ("imu", "audio")]
    if not places or not known:
        return None
    sensor = replace(one_of(rng, known), placement=one_of(rng, places), device="")
    fact = one_of(rng, _facts_of(sensor.modality))
    slots |= {"fact": fact_name(fact), "sensor": str(sensor), "stat": STAT_SAID[NEWEST].draw(rng, held_out)}
    return Asked("missing", "newest", Lacking(f"there is no {sensor}"), "refusal", slots)


def _not_then(situation: Situation, rng: Rng, held_out: bool, slots: dict[str, str]) -> Asked | None:
    found = _sensor_fact(situation, rng)
    if found is None:
        return None
    sensor, fact = found
    low = situation.began // SECOND - int(rng.integers(600, 7200))
    early = (low * SECOND, (low + int(rng.integers(5, 300))) * SECOND)
    if clock(early[0], situation.zone) > clock(situation.now, situation.zone):
        return None  # it would be read as a later day's
    slots |= {"fact": fact_name(fact), "sensor": str(sensor), "span": _between(early, situation, rng, held_out)}
    lacking = Lacking(f"nothing was measured {span_words(*early, situation.zone)}")
    return Asked("missing", "statistic", lacking, "refusal", slots)


_LACKS = ((0.45, _no_such_sensor), (0.65, _no_such_fact), (0.85, _not_there), (1.0, _not_then))
"""What cannot be told, each up to a share of draws."""


def _turns(situation: Situation, rng: Rng, held_out: bool) -> Asked | None:
    return _statistic(situation, rng, held_out) if rng.random() < 0.7 else _history(situation, rng, held_out)


MAKE: dict[str, Callable[[Situation, Rng, bool], Asked | None]] = {
    "label": _label,
    "statistic": _statistic,
    "comparison": _compared,
    "localisation": _localised,
    "crossmodal": _crossmodal,
    "caption": _caption,
    "history": _history,
    "turns": _turns,
    "talk": _talk,
    "missing": _missing,
}
"""By kind, how a question is drawn; None where there is none of the kind to ask."""
