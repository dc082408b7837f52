"""What an answer rests on, claim by claim, as it goes over the wire: streams, facts, labels, times, events.

It knows nothing of who asked, and decides nothing: what holds, `backend.dialogue.verify` has found.
"""

from __future__ import annotations

from collections.abc import Iterable

from backend.dialogue.claims import Claim
from backend.dialogue.programs import Number, Statement
from backend.dialogue.verify import Checked, Verified, check
from backend.serve.events import iso
from backend.serve.situations import Seen
from broker.messages import Evidence, Standing

_MOST = 32  # claims of an answer that are listed
_MOST_EVENTS = 16  # ids of one claim, the newest
_LONGEST = 512  # characters of a claim


def evidence(told: Iterable[Verified], seen: Seen) -> tuple[Evidence, ...]:
    """Of every claim that was told, what it stands on; and what the language model said that did not hold."""
    found: list[Evidence] = []
    for one in told:
        checked = one.checked
        if one.status != "supported":
            found += [_of_claim(each, one.status, seen) for each in checked if not each.holds]
            checked = check(one.text, seen.recalled, seen.situation)
        found += [_of_claim(each, "supported", seen) for each in checked if each.holds]
        if not any(each.holds for each in checked):  # a whole statement, in which nothing is a claim by itself
            found += [_of_statement(each) for each in one.statements if not each.lacks]
    return tuple(dict.fromkeys(found))[:_MOST]


def _of_claim(checked: Checked, status: Standing, seen: Seen) -> Evidence:
    claim, statement = checked.claim, checked.statement
    number = _number(claim, statement) if claim.kind == "number" else None
    stream = number.stream if number else ""
    if not stream and claim.sensor is not None and status == "supported":
        stream = next((key for key, one in seen.situation.sensors.items() if one == claim.sensor), "")
    if not stream and statement is not None and claim.kind == "sensor":
        stream = seen.situation.names.get(statement.sensors[0], "") if len(statement.sensors) == 1 else ""
    now = status == "supported" and statement is None and claim.kind == "label"  # the label of now
    began, ended = (seen.began, seen.ended) if now else _span(statement)
    return Evidence(
        claim=claim.text[:_LONGEST],
        kind=claim.kind,
        status=status,
        stream=stream,
        fact=number.fact if number else "",
        value=float(number.value) if number else None,
        unit=number.unit if number else "",
        label=claim.label[1] if claim.label and status == "supported" else "",
        began=iso(began) if began is not None else "",
        ended=iso(ended) if ended is not None else "",
        events=statement.events[-_MOST_EVENTS:] if statement and claim.kind in ("label", "number") else (),
    )


def _of_statement(statement: Statement) -> Evidence:
    number = statement.numbers[0] if statement.numbers else None
    began, ended = _span(statement)
    return Evidence(
        claim=statement.text[:_LONGEST],
        kind="statement",
        status="supported",
        stream=number.stream if number else "",
        fact=number.fact if number else "",
        value=float(number.value) if number else None,
        unit=number.unit if number else "",
        label=statement.labels[0][1] if statement.labels else "",
        began=iso(began) if began is not None else "",
        ended=iso(ended) if ended is not None else "",
        events=statement.events[-_MOST_EVENTS:],
    )


def _number(claim: Claim, statement: Statement | None) -> Number | None:
    """The number of a statement that a claim is of."""
    numbers = statement.numbers if statement else ()
    return min(numbers, key=lambda one: abs(one.value - claim.value), default=None)


def _span(statement: Statement | None) -> tuple[int | None, int | None]:
    """From when to when a statement is about: its own times, where it names some."""
    if statement is None:
        return None, None
    if statement.times:
        return min(statement.times), max(statement.times)
    return statement.span or (None, None)
