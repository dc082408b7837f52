"""Whether what was answered holds: every claim is checked against the facts and events that the question was about.

An answer with a claim that does not hold, or to another question, is corrected: what is true takes its place, or, where
nothing is known, what is missing. What comes out has no claim that was not checked, and carries what each rests on. It
knows of no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

from backend.dialogue.claims import REFUSAL, Claim, claims_in, sentences
from backend.dialogue.holds import holds
from backend.dialogue.marks import Mark, marks_of
from backend.dialogue.pieces import Context, Piece, after, fits
from backend.dialogue.programs import Label, Lacking, Sensors, Statement, Statistic
from backend.dialogue.recall import HELLO, Recalled, answers
from backend.dialogue.situation import Situation
from backend.dialogue.words import NEWEST, capital

Status = Literal["supported", "corrected", "withheld"]
NOTHING = "nothing here shows it"
_MOST_PARTS = 30
"""A sentence of more parts than this is not looked at: no answer of ours has as many."""
_LEANS = re.compile(r"^[\s,;:]*(?:and |but )?|[\s.,;:!]*$")


_Part = tuple[int, int, bool, Statement | None]
"""From where to where of a sentence, whether it holds, and the statement that says so."""
_Says = Callable[[Piece, Context], tuple[bool, Statement | None]]
"""Whether a piece holds, and what says so."""


@dataclass(frozen=True)
class Checked:
    """A claim, whether it holds, and the statement that says so."""

    claim: Claim
    holds: bool
    statement: Statement | None = None


@dataclass(frozen=True)
class Verified:
    """An answer that may be told: `text`, what of the first one held, and the statements that it rests on."""

    text: str
    checked: tuple[Checked, ...]
    status: Status
    statements: tuple[Statement, ...]


def verify(answer: str, recalled: Recalled, situation: Situation, told: Sequence[Verified] = ()) -> Verified:
    """The answer if all of it holds, else what is true in its place. `told` is what was said of it before."""
    checked = check(answer, recalled, situation)
    same = next((one for one in recalled.statements if _spelled(one.text) == _spelled(answer)), None)
    rests = tuple({one.statement.text: one.statement for one in checked if one.statement}.values())
    if same is not None:
        rests = (same,)
    holds = same is not None or (bool(checked) and all(one.holds for one in checked))
    if holds and _is_answered(
        recalled,
        [*(one for part in told for one in part.checked), *checked],
        [*(one for part in told for one in part.statements), *rests],
    ):
        return Verified(answer, checked, "supported", rests)
    instead = right_answer(recalled, situation)
    status: Status = "withheld" if instead.startswith(REFUSAL) else "corrected"
    rests = recalled.statements
    return Verified(instead, checked, status, rests if recalled.tasks or not rests else (likeliest(recalled),))


def likeliest(recalled: Recalled) -> Statement:
    """The first statement that is what the question names, or just the first; there has to be one."""
    wanted = (one for one in recalled.statements if one.lacks or answers(one.program, recalled.understood))
    return next(wanted, recalled.statements[0])


def _is_answered(recalled: Recalled, checked: Sequence[Checked], rests: Sequence[Statement]) -> bool:
    """Whether what is asked for is told, or that it cannot be: what is true of something else is no answer, and reasons
    alone do not say what is going on.
    """
    if recalled.tasks:
        return any(one.claim.kind == "label" for one in checked)
    asked = recalled.understood
    if asked.missing:
        return any(one.claim.kind == "refusal" for one in checked) or any(one.lacks for one in rests)
    wanted = any(answers(one.program, asked) for one in recalled.statements)
    return not wanted or not rests or any(answers(one.program, asked) for one in rests)


def check(answer: str, recalled: Recalled, situation: Situation) -> tuple[Checked, ...]:
    """Every claim of an answer, and whether it holds."""
    asked = recalled.understood
    context = Context(
        asked.facts,
        asked.sensors,
        asked.stat,
        tuple(situation.words(*label).casefold() for label in asked.labels),
        recalled.statements[0] if recalled.statements else None,
        bool(asked.missing),
    )
    checked: list[Checked] = []
    for sentence in sentences(answer):
        marks = marks_of(sentence, situation)
        refuses = any(mark.kind == "refusal" for mark in marks)
        says = _missing(recalled, situation) if refuses else _said_by(recalled, situation)
        parts, context = _parts(sentence, marks, context, situation, says)
        if refuses:
            told = next((part[3] for part in parts if part[3] is not None), None)
            parts = [(0, len(sentence), told is not None and all(part[2] for part in parts), told)]
        found = [Checked(claim, *_at(at, parts)) for at, claim in claims_in(sentence, marks, situation)]
        if not all(part[2] for part in parts) and all(one.holds for one in found):
            found.append(Checked(Claim("other", sentence.strip(), sentence=sentence), False))
        checked += found
    return tuple(checked)


def _at(at: int, parts: list[_Part]) -> tuple[bool, Statement | None]:
    """Whether what stands at a place holds, and the line that says so: none does of the label of now."""
    held, told = next((part[2:] for part in parts if part[0] <= at < part[1]), (False, None))
    return held, None if told is not None and isinstance(told.program, Label) else told


def right_answer(recalled: Recalled, situation: Situation) -> str:
    """What is true of the likeliest reading of the question, in one sentence."""
    missing = [one for one in recalled.statements if one.lacks]
    if recalled.tasks:
        task = recalled.tasks[0]
        label = situation.decided.get(task)
        if label is not None:
            return labelled(situation.words(task, label), recalled.statements)
    if missing and missing[0].text == HELLO:
        return f"{HELLO}."
    if missing:
        return refusal(missing[0].text)
    if recalled.statements:
        return f"{capital(likeliest(recalled).text)}."
    return refusal(NOTHING)


def refusal(what: str) -> str:
    """`I cannot tell: there is no GPS.`"""
    return f"{REFUSAL}: {what}."


def labelled(words: str, reasons: Sequence[Statement]) -> str:
    """A label, and the facts that it is told with: `Walking: the rms ... is ..., and the frequency ... is ...`"""
    said = [one.text for one in reasons if not one.lacks]
    return f"{capital(words)}: {', and '.join(said)}." if said else f"{capital(words)}."


def _parts(
    sentence: str, marks: list[Mark], context: Context, situation: Situation, says: _Says
) -> tuple[list[_Part], Context]:
    """A sentence in pieces, each of which holds; where there is no such way, the pieces between all cuts."""
    inside = [mark for mark in marks if mark.end > mark.start]
    cuts = sorted({mark.start for mark in marks if mark.kind == "cut"} - {0})
    edges = [0, *(at for at in cuts if not any(mark.start < at < mark.end for mark in inside)), len(sentence)]
    if len(edges) > _MOST_PARTS:
        return [(0, len(sentence), False, None)], context

    def piece(low: int, high: int) -> Piece:
        own = (mark for mark in inside if low <= mark.start < high)
        return Piece(
            sentence[low:high], tuple(mark._replace(start=mark.start - low, end=mark.end - low) for mark in own)
        )

    dead: set[int] = set()

    def walk(i: int, context: Context) -> tuple[list[_Part], Context] | None:
        if i == len(edges) - 1:
            return [], context
        for j in range(len(edges) - 1, i, -1) if i not in dead else ():
            one = piece(edges[i], edges[j])
            held, told = says(one, context)
            rest = walk(j, after(one, told, context, situation)) if held else None
            if rest is not None:
                return [(edges[i], edges[j], True, told), *rest[0]], rest[1]
        dead.add(i)
        return None

    whole = walk(0, context)
    if whole is not None:
        return whole
    parts: list[_Part] = []
    for low, high in pairwise(edges):
        one = piece(low, high)
        parts.append((low, high, *says(one, context)))
        context = after(one, parts[-1][3], context, situation)
    if all(held for _, _, held, _ in parts):
        parts = [(low, high, False, None) for low, high, _, _ in parts]
    return parts, context


def _said_by(recalled: Recalled, situation: Situation) -> _Says:
    """What was recalled, the label of now where it is asked for, and numbers of facts that are named."""
    now = [made for task in recalled.tasks[:1] if (made := Label(task).evaluate(situation)) is not None]

    def says(piece: Piece, context: Context) -> tuple[bool, Statement | None]:
        spelled = _spelled(piece.text)
        same = next((one for one in recalled.statements if _spelled(one.text) == spelled), None)
        if same is not None:
            return True, same
        for statement in chain(now, recalled.statements, _computed(piece, recalled, context, situation)):
            if holds(piece, statement, context, situation):
                return True, statement
        return False, None

    return says


def _computed(piece: Piece, recalled: Recalled, context: Context, situation: Situation) -> Iterator[Statement]:
    """Numbers of the facts that are named, where a number is told, and which sensors there are."""
    there = Sensors().evaluate(situation)
    if there is not None:
        yield there
    if not piece.has("number") or piece.has("other"):
        return
    named = [fact for _, several in piece.values("fact") for fact in several] or list(context.facts)
    said = piece.values("sensor")
    stat = (piece.values("stat") or [context.stat or NEWEST])[-1]
    span = recalled.understood.span or (situation.began, situation.now)
    for sensor in situation.sensors.values():
        if said and not any(fits(one, sensor, situation) for one in said):
            continue
        for fact in named:
            if fact in situation.facts_of(sensor):
                found = Statistic(stat, fact, sensor, span).evaluate(situation)
                yield from [found] if found is not None else []


def _missing(recalled: Recalled, situation: Situation) -> _Says:
    """What cannot be told: what is missing has to be missing; the rest names what was asked for, and claims nothing."""
    missing = [one for one in recalled.statements if one.lacks and one.text != HELLO]
    if not recalled.statements and not (recalled.tasks and recalled.tasks[0] in situation.decided):
        missing = [made for made in [Lacking(NOTHING).evaluate(situation)] if made is not None]

    def says(piece: Piece, context: Context) -> tuple[bool, Statement | None]:
        spelled = _spelled(piece.text)
        for statement in missing:
            if _spelled(statement.text) == spelled or holds(piece, statement, context, situation):
                return True, statement
        return not any(mark.kind not in ("refusal", "fact", "stat", "sensor") for mark in piece.marks), None

    return says


def _spelled(text: str) -> str:
    return _LEANS.sub("", text).casefold()
