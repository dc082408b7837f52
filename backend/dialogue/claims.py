"""What a text claims: numbers with their fact, sensor and statistic, labels, times, sensors, and that it cannot tell.

Claims are found by the same words that statements are made of, in whatever order a language model puts them. What
nobody can check is a claim, too. Whether a claim holds is `verify`'s business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from backend.dialogue.marks import Mark, marks_of, nearest
from backend.dialogue.situation import Situation
from backend.dialogue.words import Sensor

REFUSAL = "I cannot tell"
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z])|\n+")
_CLAIMED = ("number", "label", "time", "sensor", "other")


@dataclass(frozen=True)
class Claim:
    """One thing that a text says.

    `kind`: number, label, time, sensor, refusal, or other, which is what cannot be checked; what of the rest it has
    goes with it. `fact` is a name.
    """

    kind: str
    text: str
    value: float = 0.0
    digits: int = 0
    unit: str = ""
    fact: str = ""
    stat: str = ""
    sensor: Sensor | None = None
    label: tuple[str, str] | None = None
    sentence: str = ""


def claims_of(text: str, situation: Situation) -> list[Claim]:
    """All that a text claims, in order."""
    return [claim for one in sentences(text) for _, claim in claims_in(one, marks_of(one, situation), situation)]


def sentences(text: str) -> list[str]:
    """Those that are not empty."""
    return [sentence for sentence in _SENTENCE.split(text) if sentence.strip()]


def claims_in(sentence: str, marks: list[Mark], situation: Situation) -> list[tuple[int, Claim]]:
    """The claims of a sentence, each with its place; a sentence that claims nothing is what cannot be checked."""
    if any(mark.kind == "refusal" for mark in marks):
        return [(0, Claim("refusal", sentence.strip(), sentence=sentence))]
    found = [(mark.start, _claim(mark, marks, sentence, situation)) for mark in marks if mark.kind in _CLAIMED]
    return found or [(0, Claim("other", sentence.strip(), sentence=sentence))]


def _claim(mark: Mark, marks: list[Mark], sentence: str, situation: Situation) -> Claim:
    claim = Claim(mark.kind, sentence[mark.start : mark.end].strip(), sentence=sentence)
    if mark.kind == "label":
        of = [(task, label) for task, labels in situation.labels.items() for label in labels]
        return replace(claim, label=next((one for one in of if situation.words(*one).casefold() == mark.value), None))
    if mark.kind == "sensor":
        return replace(claim, sensor=mark.value)
    if mark.kind == "number":
        fact, stat, sensor = (nearest(marks, mark, kind) for kind in ("fact", "stat", "sensor"))
        return replace(
            claim,
            text=claim.text[: mark.value.size],
            value=mark.value.value,
            digits=mark.value.digits,
            unit=mark.value.unit,
            fact=fact.value[0] if fact else "",
            stat=stat.value if stat else "",
            sensor=sensor.value if sensor else None,
        )
    return claim
