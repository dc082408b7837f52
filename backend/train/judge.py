"""What an answer is worth: right by the program of its question, and whether what it claims holds.

Claims are held against the facts and against what the heads decided, as serving does; whether a label is right, the
truth says. Every figure is a share of something counted per answer, so each has an interval by a bootstrap over people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from backend.dialogue.claims import Claim, claims_of
from backend.dialogue.programs import Label, Program, Sensors, Statement
from backend.dialogue.recall import HELLO
from backend.dialogue.situation import Situation
from backend.dialogue.verify import Checked
from backend.dialogue.words import fact_name, unit_of
from backend.train.moments import LABELS
from backend.train.questions import Asked
from edge.facts import FACTS

_DRAWS = 1000


@dataclass
class Answered:
    """What was said to an item by the language model, and what was told after the verifier, with the claims of both."""

    asked: Asked
    said: str
    told: str
    status: str = ""
    claims: Many[Checked] = ()
    claims_told: Many[Checked] = ()

    @cached_property
    def right(self) -> bool:
        """What was told answers the item."""
        return _is_right(self.asked, self.told)

    @cached_property
    def right_said(self) -> bool:
        """What the language model said answers the item."""
        return _is_right(self.asked, self.said)

    @property
    def lacks(self) -> bool:
        """It cannot be answered."""
        return self.asked.item.asked == "refusal"

    @property
    def refuses(self) -> bool:
        """It is told that it cannot be answered."""
        return any(
            c.claim.kind == "refusal" or (c.statement is not None and c.statement.lacks and c.statement.text != HELLO)
            for c in self.claims_told
        )


FIGURES: dict[str, Callable[[Answered], Iterable[bool]]] = {
    "answer_accuracy": lambda a: [a.right],
    "answer_accuracy_unverified": lambda a: [a.right_said],
    "claim_precision": lambda a: [c.holds for c in a.claims_told],
    "claim_precision_unverified": lambda a: [c.holds for c in a.claims],
    "claim_coverage": lambda a: [bool(a.claims_told)],
    "unit_errors": lambda a: [_is_of_another_unit(c) for c in a.claims if c.claim.kind == "number"],
    "absent_sensor_mentions": lambda a: [_names_absent(a.claims_told)],
    "absent_sensor_mentions_unverified": lambda a: [_names_absent(a.claims)],
    "abstention_precision": lambda a: [a.lacks] if a.refuses else [],
    "abstention_recall": lambda a: [a.refuses] if a.lacks else [],
    "label_accuracy": lambda a: [a.right_said] if a.asked.item.kind in LABELS else [],
    "corrected": lambda a: [a.status != "supported"],
}
"""What each answer adds to a figure, which is the share of those that are true."""


def _is_of_another_unit(checked: Checked) -> bool:
    """Whether a number of a fact has a unit that is not the fact's."""
    units = {unit_of(fact) for fact in FACTS if fact_name(fact) == checked.claim.fact}
    return bool(units) and checked.claim.unit not in units


def _names_absent(checked: Many[Checked]) -> bool:
    return any(c.claim.kind == "sensor" and not c.holds for c in checked)


def figures(answered: Many[Answered]) -> dict[str, Any]:
    """Of answers: how many are right, claims that hold, refusals, and what is said of sensors that are not there."""
    shares = {name: share(one for a in answered for one in of(a)) for name, of in FIGURES.items()}
    return {"n": len(answered), **shares, "claims": sum(len(a.claims_told) for a in answered)}


def intervals(answered: Many[Answered]) -> dict[str, list[float] | None]:
    """95 % intervals of the figures by a bootstrap over people; None where fewer than two say anything."""
    by: dict[str, list[Answered]] = {}
    for a in answered:
        by.setdefault(f"{a.asked.dataset}/{a.asked.person}", []).append(a)
    drawn = np.random.default_rng(0).integers(len(by), size=(_DRAWS, len(by))) if by else np.zeros((0, 0), int)
    found: dict[str, list[float] | None] = {}
    for name, of in FIGURES.items():
        values = [[bool(one) for a in own for one in of(a)] for own in by.values()]
        true, count = (np.array([how(own) for own in values], float) for how in (sum, len))
        found[name] = None
        if (count > 0).sum() > 1:
            all_of = count[drawn].sum(1)
            shares = true[drawn].sum(1)[all_of > 0] / all_of[all_of > 0]
            found[name] = [round(float(v), 4) for v in np.quantile(shares, (0.025, 0.975))]
    return found


def share(of: Iterable[Any]) -> float:
    """Of what is counted, how much is true; 0 where nothing is."""
    values = [bool(one) for one in of]
    return round(float(np.mean(values)), 4) if values else 0.0


def _is_right(asked: Asked, text: str) -> bool:
    """Whether a text answers the item: the part that is asked for, as the program says; a label, as the truth does."""
    item, situation = asked.item, asked.situation
    program = item.program
    if isinstance(program, Label):
        wanted = situation.words(program.task, asked.truth[program.task])
        return text.strip().rstrip(".").partition(":")[0].casefold() == wanted.casefold()
    statement = program.evaluate(situation)
    if statement is None:
        return False
    if statement.text.casefold() in text.casefold():
        return True
    return _says(item.asked, program, statement, text, situation)


def _says(asked: str, program: Program, statement: Statement, text: str, situation: Situation) -> bool:
    """Whether a text in other words has the number, the time, the sensor or the label of a statement."""
    claims = claims_of(text, situation)
    if asked == "number" and statement.numbers:
        numbers = [c for c in claims if c.kind == "number"]
        return bool(numbers) and all(_is_number_of(c, statement) for c in numbers)
    if asked == "sensor" and isinstance(program, Sensors):
        return {str(one) for one in statement.sensors} <= {str(c.sensor) for c in claims if c.kind == "sensor"}
    if asked == "label":
        named_labels = {c.label for c in claims if c.kind == "label"}
        return bool(statement.labels) and set(statement.labels) <= named_labels
    return False


def _is_number_of(claim: Claim, statement: Statement) -> bool:
    """Whether it is one of the statement's numbers, and is said of nothing else."""
    return (
        any(claim.unit == n.unit and n.holds(claim.value) for n in statement.numbers)
        and claim.sensor in (None, *statement.sensors)
        and claim.stat in ("", *(n.stat for n in statement.numbers))
    )
