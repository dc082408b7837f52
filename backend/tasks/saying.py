"""An answer as text, and back: the words of a label, or a few numbers with their units as a person would say them.

What is said can be read again, so that an answer in text is scored as an answer of a head is. Nothing here knows which
tasks there are, nor who wrote the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = Mapping[str, NDArray[np.floating]]
"""Where each point is: name -> (axes,) in the task's unit; NaN where unknown."""


@dataclass(frozen=True)
class Saying:
    """One number that is told of an answer.

    `phrase` has `{}` where the number and its unit stand, `of` takes it from the points in the task's unit (NaN:
    unknown), `scale` brings it to `unit`. With `ways` a number is told without its sign: the first word for a positive
    one, the second for a negative one, stands behind the unit.
    """

    name: str
    phrase: str
    unit: str
    of: Callable[[Points], float]
    scale: float = 1.0
    digits: int = 0
    ways: tuple[str, str] | None = None

    def number(self, points: Points) -> float:
        """In `unit`; NaN where it is unknown."""
        return float(self.of(points)) * self.scale

    def clause(self, number: float) -> str:
        """The phrase with the number, rounded as it is told."""
        told = round(number, self.digits) + 0.0  # no minus zero
        way = "" if self.ways is None else f" {self.ways[told < 0]}"
        size = told if self.ways is None else abs(told)
        return self.phrase.format(f"{size:.{self.digits}f} {self.unit}{way}")

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds the clause in a text."""
        before, after = (re.escape(part.strip()) for part in self.phrase.split("{}"))
        way = "" if self.ways is None else rf"\s+({'|'.join(self.ways)})"
        tail = rf"\s+{after}" if after else ""
        return re.compile(rf"{before}\s+(-?\d+(?:\.\d+)?)\s*{self.unit}{way}{tail}", re.IGNORECASE)

    def read(self, text: str) -> float | None:
        """The number that a text says, in `unit`; None where it says none."""
        found = self.pattern.search(text)
        if found is None:
            return None
        below = self.ways is not None and found[2].lower() == self.ways[1].lower()
        return -float(found[1]) if below else float(found[1])


def sentence(clauses: Iterable[str]) -> str:
    """Clauses as one sentence: `The a, the b and the c.`"""
    *first, last = clauses
    text = f"{', '.join(first)} and {last}" if first else last
    return f"{text[:1].upper()}{text[1:]}."


def spelled(text: str) -> str:
    """The text without capitals and marks, words apart by one space."""
    return " ".join(re.findall(r"[\w-]+", text.casefold()))


def label_in(text: str, words: Mapping[str, str]) -> str | None:
    """The label whose words stand in a text; of words that are part of longer ones, the longer.

    None where a text has the words of none, or of several.
    """
    rest, found = f" {spelled(text)} ", set()
    for label, said in sorted(words.items(), key=lambda item: -len(item[1])):
        phrase = f" {spelled(said)} "
        if phrase in rest:
            found.add(label)
            rest = rest.replace(phrase, " | ")
    return found.pop() if len(found) == 1 else None


def along(point: str, axis: int) -> Callable[[Points], float]:
    """A coordinate of a point."""
    return lambda points: float(points[point][axis]) if point in points else float("nan")


def apart(one: str, other: str) -> Callable[[Points], float]:
    """The distance between two points."""

    def distance(points: Points) -> float:
        if one not in points or other not in points:
            return float("nan")
        return float(np.linalg.norm(points[one] - points[other]))

    return distance
