"""Instruction data: questions about a situation, each with the program that answers it, and what is right.

An item is right because a program says so, never because somebody wrote it: its answer can be computed again from
the situation. Wordings and compositions (which statistic over which kind of span of which fact) are held out to measure
with. About 15 % of the questions cannot be answered, and what is missing is the answer.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backend.dialogue.asked import MAKE, Asked, one_of, tidy
from backend.dialogue.programs import Label, Program, Statistic, Total, none_label
from backend.dialogue.recall import HELLO, Recalled, recall
from backend.dialogue.situation import Situation
from backend.dialogue.understand import Understood
from backend.dialogue.verify import labelled, refusal
from backend.dialogue.wordings import ASK, CONTINUE, STAT_SAID, Rng
from backend.dialogue.words import LARGEST, MEAN, NEWEST, SMALLEST, Sensor, capital, fact_name

UNANSWERABLE = 0.15
"""Share of items whose right answer says what is missing."""
CONTINUED = 0.12
"""Share of questions about numbers and the past that a second one leans on."""
HELD_OUT_SHARE = 8
"""One in so many compositions is held out."""
KINDS = (
    "label", "statistic", "comparison", "localisation", "crossmodal", "caption", "history", "turns", "talk", "missing",
)  # fmt: skip
_SHARE = (0.22, 0.2, 0.08, 0.1, 0.1, 0.05, 0.15, 0.0, 0.1)
"""How often each but the last is drawn."""


@dataclass(frozen=True)
class Turn:
    """A question and its right answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Item:
    """A question about a situation. `before` are the turns that it continues.

    `program` computes `answer`, and `asked` is the part of the statement that is asked for: number, label, time,
    sensor, refusal or text. `composition` names what may be held out, `held_out` says that its wording is. `known`:
    what stands before the question holds the answer.
    """

    kind: str
    question: str
    answer: str
    program: Program
    asked: str
    recalled: Recalled
    before: tuple[Turn, ...] = ()
    task: str = ""
    held_out: bool = False
    composition: str = ""
    known: bool = True

    @property
    def lines(self) -> str:
        """What stands before the question."""
        return self.recalled.lines(self.question)

    def to_json(self) -> dict[str, Any]:
        """Plain values: everything but the situation."""
        return {
            "kind": self.kind,
            "question": self.question,
            "answer": self.answer,
            "program": self.program.to_json(),
            "asked": self.asked,
            "facts": [one.text for one in self.recalled.statements],
            "before": [[turn.question, turn.answer] for turn in self.before],
            "task": self.task,
            "held_out": self.held_out,
            "composition": self.composition,
        }


def is_held_out(composition: str) -> bool:
    """Whether a composition is never learned from."""
    return zlib.crc32(composition.encode()) % HELD_OUT_SHARE == 0


def draw(
    situation: Situation, rng: Rng, *, kind: str | None = None, held_out: bool = False, tries: int = 20
) -> Item | None:
    """An item about a situation; None where none of the kind can be asked.

    With `held_out` its wording is one of those that are held out, and its composition may be; otherwise never.
    """
    unanswerable = kind is None and rng.random() < UNANSWERABLE
    for _ in range(tries):
        chosen = "missing" if unanswerable else kind or _kind(rng)
        made = MAKE[chosen](situation, rng, held_out)
        if made is None or (made.composition and is_held_out(made.composition) and not held_out):
            continue
        item = _item(made, situation, rng, held_out)
        if item is None:
            continue
        if chosen != "turns" and rng.random() < CONTINUED and made.kind in ("statistic", "history"):
            return _continued(item, made, situation, rng, held_out) or item
        return item
    return None


def _kind(rng: Rng) -> str:
    weights = np.array(_SHARE) / sum(_SHARE)
    return KINDS[int(rng.choice(len(_SHARE), p=weights))]


def _item(
    made: Asked, situation: Situation, rng: Rng, held_out: bool, before: Understood | None = None
) -> Item | None:  # fmt: skip
    question = made.question or tidy(ASK[made.form].draw(rng, held_out).format(**made.slots))
    recalled = recall(question, situation, before)
    statement = made.program.evaluate(situation)
    if statement is None:
        return None
    known = any(one.text == statement.text for one in recalled.statements)
    if isinstance(made.program, Label):
        answer, known = labelled(statement.text, recalled.statements), made.task in recalled.tasks
    elif statement.lacks and statement.text != HELLO:
        answer = refusal(statement.text)
    else:
        answer = f"{capital(statement.text)}."
    return Item(
        made.kind, question, answer, made.program, made.asked, recalled,
        task=made.task, held_out=held_out, composition=made.composition, known=known,
    )  # fmt: skip


def _continued(item: Item, made: Asked, situation: Situation, rng: Rng, held_out: bool) -> Item | None:
    """A second question that leans on the first."""
    program = item.program
    found = None
    if isinstance(program, Statistic):
        found = _next_number(program, situation, rng, held_out)
    elif isinstance(program, Total):
        found = _next_label(program, situation, rng)
    if found is None:
        return None
    follow, form, slots = found
    question = capital(CONTINUE[form].draw(rng, held_out).format(**slots))
    asked = Asked("turns", "", follow, made.asked, task=made.task, question=question)
    second = _item(asked, situation, rng, held_out, item.recalled.understood)
    return None if second is None else replace(second, before=(Turn(item.question, item.answer),))


_Next = tuple[Program, str, dict[str, str]]
"""A program, the form that continues with it, and its slots."""


def _next_number(program: Statistic, situation: Situation, rng: Rng, held_out: bool) -> _Next | None:
    others = [s for s in situation.sensors.values() if s != program.sensor and program.fact in situation.facts_of(s)]
    draw = rng.random()
    if others and draw < 0.4:
        other = one_of(rng, others)
        return replace(program, sensor=other), *_other_said(program.sensor, other, situation, rng)
    if draw < 0.7:
        facts = [fact for fact in situation.facts_of(program.sensor) if fact != program.fact]
        fact = one_of(rng, facts) if facts else ""
        return (replace(program, fact=fact), "fact", {"fact": fact_name(fact)}) if fact else None
    if program.stat == NEWEST:
        return None
    stat = one_of(rng, [one for one in (MEAN, LARGEST, SMALLEST) if one != program.stat])
    return replace(program, stat=stat), "stat", {"stat": STAT_SAID[stat].draw(rng, held_out)}


def _other_said(sensor: Sensor, other: Sensor, situation: Situation, rng: Rng) -> tuple[str, dict[str, str]]:
    """A form, and its slots, that mean the other sensor."""
    alike = [one for one in situation.sensors.values() if one.modality == other.modality]
    if len(alike) == 2 and rng.random() < 0.5:
        place = other.placement.split()[-1]
        if sensor.placement.split()[-1] == place:
            return "other", {"place": place}
    return "sensor", {"sensor": str(other)}


def _next_label(program: Total, situation: Situation, rng: Rng) -> _Next | None:
    told = [one.label for one in situation.told(program.task)]
    labels = [label for label in told if label not in (program.label, none_label(program.task))]
    if not labels:
        return None
    label = one_of(rng, labels)
    return replace(program, label=label), "label", {"label": situation.words(program.task, label)}
