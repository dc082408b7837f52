"""Answers in words to several at once, token by token, in a thread beside the one that decides about moments.

Of transformers the cache is used, and not `generate`, which takes nobody in before all rows of its batch have ended,
nor its `ContinuousBatchingManager`: that takes tokens alone and no soft tokens, exchanges the attention of the very
model that decides, and plans its memory for a GPU that is its own. Instead those who wait together make a round:
prompts padded on the left, one cache, a row leaves when it has ended. Rounds take turns by single steps, so a newcomer
speaks at once while fewer than `ROUNDS` are on, and else with all who wait, when one ends. Any cache of transformers
will do, for nothing is merged.

Whoever decides goes first (`Way`). The modules are a copy that shares every weight, so that what a module remembers of
one forward (a gate its soft tokens) is not seen by the other thread. Answers are greedy; numbers, and lines that have
begun, go on as those that were told (`OnlyTold`). Nothing here knows what is true.
"""

from __future__ import annotations

import copy
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from backend.model.history import Context
from backend.model.language import LanguageModel
from backend.model.sensorlm import Predictor
from backend.model.told import OnlyTold

if TYPE_CHECKING:
    from transformers import Cache

log = logging.getLogger(__name__)

TOGETHER = 16
"""Rows of a round."""
ROUNDS = 2
_PIECE = 512  # tokens of prompts, of all rows, in one forward: others have their turn in between
_PATIENCE_S = 0.2  # whoever talks waits no longer for whoever decides
_LEAST_QUESTION = 16  # tokens of a question that are kept, however long the rest is

Ended = Literal["", "end", "length", "time", "gone", "failed"]
"""Why an answer goes no further; empty while it does. `end`: the model has said all. `gone`: nobody wants to know."""


class Way:
    """Right of way: while anybody is inside, who gives way waits, though not for ever. For one inside at a time."""

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._free, self._patience_s = threading.Event(), patience_s
        self._free.set()

    def __enter__(self) -> Self:
        self._free.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._free.set()

    def give(self) -> None:
        """Wait until nobody is inside, or patience ends."""
        self._free.wait(self._patience_s)


@dataclass(frozen=True)
class Chat:
    """What a language model is told in words: lines that the system says, earlier turns, and the question."""

    lines: str
    question: str
    before: Sequence[tuple[str, str]] = ()


@dataclass(eq=False)
class Saying:
    """One answer on its way. `heard` is called in the thread of `Talk`, with all of the text so far and why it ended.

    `until` is by `Talk`'s clock.
    """

    context: Context
    chat: Chat
    most: int
    until: float
    heard: Callable[[str, Ended], None]
    ids: list[int] = field(default_factory=list)
    prompt: int = 0
    """Tokens of the prompt, once it is read."""
    ended: Ended = ""
    gone: bool = False

    def cancel(self) -> None:
        """Nobody wants to know any more; from any thread."""
        self.gone = True


class Talk:
    """The language model of a `Predictor`, talking. Its thread runs from `start` to `close`, or in a `with`.

    Args:
        predictor: one with a language model.
        together: the most rows of a round.
        clock: seconds, as `Saying.until` has them.

    Raises:
        CheckpointError: its tokenizer cannot be read.
    """

    def __init__(
        self, predictor: Predictor, together: int = TOGETHER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        assert predictor.model.language is not None
        self.way = Way()
        self._predictor, self._together, self._clock = predictor, together, clock
        self._language = _beside(predictor.model.language)
        self._words = self._language.words
        self._ends = _ends(self._language)
        self._accepts = inspect.signature(self._language.llm.forward).parameters
        self._waiting: deque[Saying] = deque()
        self._rounds: list[tuple[Iterator[None], list[Saying]]] = []
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="talk", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Let it talk."""
        self._thread.start()

    def close(self) -> None:
        """Let nobody be answered any more."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def say(self, saying: Saying) -> None:
        """Begin an answer; from any thread."""
        with self._change:
            self._waiting.append(saying)
            self._change.notify()

    def _run(self) -> None:
        torch.set_num_threads(1)  # of this thread: the other cores decide about moments
        with torch.inference_mode():
            OnlyTold([], self._words, 0)  # which tokens are digits is found out once
            while self._admit():
                for one in list(self._rounds):
                    self.way.give()
                    if not self._step(*one):
                        self._rounds.remove(one)
        for saying in [*self._waiting, *(saying for _, rows in self._rounds for saying in rows)]:
            self._end(saying, "gone")

    def _admit(self) -> bool:
        """Let those who wait begin where a round is free; wait while there is nothing to say. False: it is over."""
        with self._change:
            while not self._closed and not self._waiting and not self._rounds:
                self._change.wait()
            if self._closed:
                return False
            if self._waiting and len(self._rounds) < ROUNDS:
                rows = [self._waiting.popleft() for _ in range(min(self._together, len(self._waiting)))]
                self._rounds.append((self._round(rows), rows))
            now = self._clock()
            for saying in [one for one in self._waiting if one.gone or now > one.until]:
                self._waiting.remove(saying)
                self._end(saying, "gone" if saying.gone else "time")
        return True

    def _step(self, steps: Iterator[None], rows: list[Saying]) -> bool:
        """One forward of a round; whether it goes on. What fails ends those who are in it, and nobody else."""
        try:
            next(steps)
        except StopIteration:
            return False
        except Exception:
            log.exception("an answer in words failed; it is given without the language model")
            for saying in rows:
                self._end(saying, "failed")
            return False
        return True

    def _end(self, saying: Saying, why: Ended) -> None:
        if not saying.ended:
            saying.ended = why
            saying.heard(self._text(saying), why)

    def _round(self, rows: list[Saying]) -> Iterator[None]:
        """Prompts, in pieces, and then a token of each row at a time; pauses behind every forward."""
        rows = [saying for saying in rows if self._goes_on(saying)]
        if not rows:
            return
        language, device = self._language, self._predictor.device
        soft_BQh = language.soft(self._predictor.latents([saying.context for saying in rows]))
        x_BLh, there_BL = self._read(rows, soft_BQh)
        place_BL = (there_BL.cumsum(-1) - 1).clamp_min(0)
        told = [language.told(saying.chat.lines.splitlines()) for saying in rows]
        rule = OnlyTold(told, self._words, 0)
        cache = self._cache()
        piece = max(1, _PIECE // len(rows))
        score_BV = torch.empty(0)
        for first in range(0, x_BLh.shape[1], piece):
            wanted = [self._goes_on(saying) for saying in rows]
            if not any(wanted):
                return
            at = slice(first, first + piece)
            score_BV = self._forward(x_BLh[:, at], there_BL[:, : at.stop], place_BL[:, at], soft_BQh, cache)
            yield
        while True:
            said_BL = torch.tensor([saying.ids for saying in rows], dtype=torch.long, device=device)
            token_B = rule(said_BL, score_BV.float()).argmax(-1).tolist()
            kept = [b for b, saying in enumerate(rows) if self._take(saying, token_B[b])]
            if not kept:
                return
            if len(kept) < len(rows):
                index = torch.tensor(kept, device=device)
                cache.batch_select_indices(index)
                rows, rule.told = [rows[b] for b in kept], [rule.told[b] for b in kept]
                there_BL, place_BL, soft_BQh = there_BL[index], place_BL[index], soft_BQh[index]
            there_BL = torch.cat([there_BL, there_BL.new_ones(len(rows), 1)], 1)
            place_BL = place_BL[:, -1:] + 1
            said_B1 = torch.tensor([saying.ids[-1:] for saying in rows], device=device)
            score_BV = self._forward(language.embedded(said_B1), there_BL, place_BL, soft_BQh, cache)
            yield

    def _read(self, rows: Sequence[Saying], soft_BQh: Tensor) -> tuple[Tensor, Tensor]:
        """Prompts as (B, L, h) and which of it there is, padded on the left."""
        language = self._language
        first_BPh = language.before(soft_BQh)
        room = self._room(first_BPh.shape[1])
        texts, there = [], []
        for saying, first_Ph in zip(rows, first_BPh, strict=True):
            ids = prompt(language, saying.chat, room - saying.most)
            saying.prompt = len(ids)
            words_Lh = language.embedded(torch.tensor(ids, dtype=torch.long, device=first_Ph.device))
            texts.append(torch.cat([first_Ph, words_Lh]))
            there.append(torch.ones(len(texts[-1]), dtype=torch.long, device=first_Ph.device))
        return pad_sequence(texts, True, padding_side="left"), pad_sequence(there, True, padding_side="left")

    def _room(self, taken: int) -> int:
        most = getattr(self._language.llm.config.get_text_config(), "max_position_embeddings", None)
        return (most or 1 << 20) - taken

    def _forward(self, x_BLh: Tensor, there_BL: Tensor, place_BL: Tensor, soft_BQh: Tensor, cache: Cache) -> Tensor:
        """(B, V) scores of what follows."""
        named: dict[str, Any] = {"cache" if "cache" in self._accepts else "past_key_values": cache}
        if "position_ids" in self._accepts:
            named["position_ids"] = place_BL
        if "logits_to_keep" in self._accepts:
            named["logits_to_keep"] = 1
        llm = cast(Any, self._language.llm)
        with self._language.sensed(soft_BQh):
            said = llm(inputs_embeds=x_BLh.to(llm.dtype), attention_mask=there_BL, use_cache=True, **named)
        return cast(Tensor, said.logits[:, -1])

    def _cache(self) -> Cache:
        from transformers import DynamicCache

        return DynamicCache(config=self._language.llm.config)

    def _goes_on(self, saying: Saying) -> bool:
        if saying.gone:
            self._end(saying, "gone")
        elif self._clock() > saying.until:
            self._end(saying, "time")
        return not saying.ended

    def _take(self, saying: Saying, token: int) -> bool:
        """Add a token to an answer; whether it goes on."""
        if not self._goes_on(saying):
            return False
        if token in self._ends:
            self._end(saying, "end")
            return False
        saying.ids.append(token)
        if len(saying.ids) >= saying.most:
            self._end(saying, "length")
            return False
        saying.heard(self._text(saying), "")
        return True

    def _text(self, saying: Saying) -> str:
        """What is said so far; half a character is left out."""
        return str(self._words.decode(saying.ids, skip_special_tokens=True)).rstrip("\ufffd").lstrip()


def prompt(language: LanguageModel, chat: Chat, room: int) -> list[int]:
    """The chat as at most `room` tokens: what is too long loses its oldest turns, and then the end of the question."""
    before = list(chat.before)
    while True:
        ids = language.tokens(chat.question, chat.lines, before)
        if len(ids) <= room or not before:
            break
        del before[0]
    question = chat.question
    while len(ids) > room and len(question) > _LEAST_QUESTION:
        question = question[: len(question) * 3 // 4]
        ids = language.tokens(question, chat.lines)
    return ids


def _beside(language: LanguageModel) -> LanguageModel:
    """A copy that shares every weight and the tokenizer, and nothing that a forward leaves behind."""
    shared = [*language.parameters(), *language.buffers(), language.words]
    return copy.deepcopy(language, {id(one): one for one in shared})


def _ends(language: LanguageModel) -> frozenset[int]:
    """Tokens that no answer goes beyond: what ends a text, and what would begin another turn."""
    ends = {language.end(), *language.words.all_special_ids}
    for config in (language.llm.config, language.llm.generation_config):
        end = getattr(config, "eos_token_id", None)
        ends.update(end if isinstance(end, list) else [] if end is None else [end])
    return frozenset(ends)
