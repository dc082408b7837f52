"""What a language model was told is not mixed up: what begins as a line goes on as one, and so does a number.

Which line it says, and what it says beside them, is free. What was written last is looked for in what was told. Where
at least `BEGUN` tokens of it begin a line, that line is said to its end; where a digit is to follow, or follows one,
the next token is one that followed the longest stretch that stands there, anywhere. It knows nothing of sensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 64
"""Tokens of a number's surroundings that are looked for."""
BEGUN = 4
"""Tokens from which on a line has begun."""
_END = 2  # a full stop, and what ends a text


class OnlyTold:
    """A logits processor of `generate` for row b, told the lines `told[b]`; rows of text begin at `start`.

    A line is its tokens as a sentence: a full stop and what ends a text are its last (`LanguageModel.told`). Where
    nothing that was written stands there, everything is allowed: whether it is true, others check.
    """

    def __init__(self, told: Sequence[Sequence[Sequence[int]]], tokenizer: PreTrainedTokenizerBase, start: int) -> None:
        self.told, self.start = told, start
        self.digits, self.marks = _kinds(tokenizer)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(B, V) scores, those of tokens that may not follow at minus infinity."""
        for b, (row, said) in enumerate(zip(self.told, input_ids[:, self.start :].tolist(), strict=True)):
            best = int(scores[b].argmax())
            allowed, ended = _going_on(row, said)
            if ended and best not in self.digits:
                continue
            if not allowed and (best in self.digits or self._within(said)):
                allowed = _followers(row, said)
            if allowed and best not in allowed:
                index = torch.tensor(sorted(allowed), device=scores.device)
                kept = scores[b, index].clone()
                scores[b] = -torch.inf
                scores[b, index] = kept
        return scores

    def _within(self, said: Sequence[int]) -> bool:
        """Whether a number has begun, and may go on."""
        if not said:
            return False
        return said[-1] in self.digits or (len(said) > 1 and said[-1] in self.marks and said[-2] in self.digits)


def _going_on(told: Sequence[Sequence[int]], said: Sequence[int]) -> tuple[set[int], bool]:
    """How lines go on of which most has been begun; none, and True, where such a line has been said."""
    most, found, ended = BEGUN, set[int](), False
    for line in told:
        for length in range(min(len(line) - 1, len(said)), most - 1, -1):
            if line[length - 1] == said[-1] and list(said[-length:]) == list(line[:length]):
                if length > most:
                    most, found, ended = length, set(), False
                found.add(line[length])
                ended = ended or length >= len(line) - _END
                break
    return (set(), True) if ended else (found, False)


def _followers(told: Sequence[Sequence[int]], said: Sequence[int]) -> set[int]:
    """What follows, anywhere in what was told, the longest stretch of what was said last."""
    for length in range(min(LONGEST, len(said)), 0, -1):
        last = list(said[-length:])
        found = {
            text[i + length]
            for text in told
            for i in range(len(text) - length)
            if text[i + length - 1] == last[-1] and list(text[i : i + length]) == last
        }
        if found:
            return found
    return set()


@lru_cache(maxsize=4)
def _kinds(tokenizer: PreTrainedTokenizerBase) -> tuple[frozenset[int], frozenset[int]]:
    """Tokens that are digits, and those that stand between digits of a number."""
    digits, marks = set(), set()
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token]).strip()
        if text.isdigit():
            digits.add(token)
        elif text in (".", ":"):
            marks.add(token)
    return frozenset(digits), frozenset(marks)
