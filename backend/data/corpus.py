"""Chats about sensors, without end: what the small language model learns to read, to choose from, and to copy.

A document follows from random numbers alone: what is known of sensors that nobody has (`dialogue.imagined`), as lines,
and a question about them with its right answer (`dialogue.items`). Held-out documents have wordings and compositions of
their own. None of it was measured: it teaches words, not the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backend.dialogue.imagined import imagine
from backend.dialogue.items import Item, draw
from backend.dialogue.words import capital

Rng = np.random.Generator
_ASKED = 3
"""Questions about one situation: imagining one costs as much as asking five."""


@dataclass(frozen=True)
class Turn:
    """A question and its answer. `kind` is the item's."""

    question: str
    answer: str
    kind: str = ""
    floor: str = ""
    """What somebody answers who repeats the first line."""


@dataclass(frozen=True)
class Document:
    """Lines, and turns of a chat about them, of which the last one follows from the lines."""

    text: str
    turns: tuple[Turn, ...]


def documents(rng: Rng, *, held_out: bool = False) -> Iterator[Document]:
    """Documents without end."""
    while True:
        situation = imagine(rng)
        for _ in range(_ASKED):
            item = draw(situation, rng, held_out=held_out)
            if item is not None and item.known:
                yield written(item)


def written(item: Item) -> Document:
    """An item as a document: what stands before the question, the turns that it continues, and the question."""
    text = item.lines
    first = text.split("\n")[0]
    last = Turn(item.question, item.answer, item.kind, f"{capital(first)}.")
    return Document(text, (*(Turn(one.question, one.answer) for one in item.before), last))
