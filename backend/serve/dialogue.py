"""Questions to answers, for every way in: looked up, said by the language model, and checked sentence by sentence.

A sentence is told when it has been checked, and not before: what was told is never taken back. The first one that does
not hold ends the answer, and where nothing had been told, what is true is told in its place; so it is where there is no
language model, or it has said nothing in time. Sessions remember what was asked and meant for a while. Looking up and
checking have a thread of their own and give way to decisions. It refuses to know MQTT and HTTP, and nothing that is
said here makes anything happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from backend.answer import Answer
from backend.dialogue.understand import Understood
from backend.dialogue.verify import Verified, right_answer, verify
from backend.metrics import Metrics
from backend.model.history import Context
from backend.serve.align import GroupKey
from backend.serve.evidence import evidence
from backend.serve.situations import Asked, Seen, Situations
from broker.errors import MessageError
from broker.messages import Evidence, Standing
from broker.questions import MAX_TOKENS, TOKENS

if TYPE_CHECKING:
    from backend.model.talk import Ended, Talk

T = TypeVar("T")
FACTS_ALONE = "facts"
"""What answers where no language model does."""
_BETWEEN = re.compile(r"(?<=[.!?;])\s+(?=[A-Z])|\n+")  # sentences, as claims are found in them
_TURNS = 3  # of a session that a question may continue
_GRACE_S = 2.0  # beyond the time limit, for a step that had begun


@dataclass(frozen=True)
class Question:
    """What somebody wants to know of a group.

    `session` is remembered; empty: none is. `turns` are earlier questions and answers where the asker brings them.
    `streams` are those to answer from, empty for all. `most` is how much the language model may say, in tokens.
    """

    group: GroupKey
    text: str
    session: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    streams: tuple[str, ...] = ()
    most: int = TOKENS
    way: str = "http"


@dataclass(frozen=True)
class Told:
    """What an answer was, in all, when it has been told: what it rests on, by which model, and what it took.

    `cut`: the language model was stopped by the limit of its tokens.
    """

    text: str
    evidence: tuple[Evidence, ...]
    attribution: Mapping[str, float]
    model: str
    standing: Standing
    cut: bool = False
    prompt: int = 0
    tokens: int = 0


@dataclass
class _Session:
    used: float
    turns: tuple[tuple[str, str], ...] = ()
    before: Understood | None = None


@dataclass
class _Heard:
    """What became of the language model's sentences."""

    told: list[Verified] = field(default_factory=list)
    failed: Verified | None = None
    why: Ended = ""
    prompt: int = 0
    tokens: int = 0


class Dialogue:
    """All conversations of a backend.

    Args:
        situations: what is known.
        talk: the language model, started by the caller; None: facts alone.
        decide: what the model says of a context, in the engine's thread.
        model: name of what answers in words.
        metrics: counts.
        time_s, waiting, session_s, sessions: limits, see `backend.serve.config.DialogueConfig`.
        clock: monotonic seconds, that of `talk`.
    """

    def __init__(
        self,
        situations: Situations,
        talk: Talk | None,
        decide: Callable[[Context], Awaitable[Mapping[str, Answer]]],
        model: str,
        metrics: Metrics,
        *,
        time_s: float,
        waiting: int,
        session_s: float,
        sessions: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._situations, self._talk, self._decide, self._metrics = situations, talk, decide, metrics
        self.model = model if talk is not None else FACTS_ALONE
        self._time_s, self._waiting, self._session_s, self._most_sessions = time_s, waiting, session_s, sessions
        self._clock = clock
        self._sessions: OrderedDict[tuple[GroupKey, str], _Session] = OrderedDict()
        self._on = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="dialogue")

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def groups(self) -> list[GroupKey]:
        """Those that can be asked about."""
        return self._situations.groups()

    async def answer(self, question: Question) -> AsyncGenerator[str | Told, None]:
        """The answer in parts as they are known to be true, and then what it was. Close it when nobody listens.

        Raises:
            MessageError: there is none; the reason is `group`, `sensors` or `busy`.
        """
        began, outcome = self._clock(), "failed"
        first = True
        try:
            async with contextlib.aclosing(self._parts(question, began)) as parts:
                async for part in parts:
                    if first:
                        self._metrics.first_part_s.observe(self._clock() - began)
                        first = False
                    if isinstance(part, Told):
                        self._count(part, self._clock() - began)
                        outcome = part.standing
                    yield part
        except MessageError as error:
            outcome = error.reason
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = outcome if outcome != "failed" else "gone"
            raise
        finally:
            self._metrics.questions.labels(question.way, outcome).inc()

    async def _parts(self, question: Question, began: float) -> AsyncGenerator[str | Told, None]:
        if self._on >= self._waiting:
            raise MessageError("busy", f"{self._on} questions are being answered; ask again in some seconds")
        self._on += 1
        try:
            seen, chat = await self._look(question)
            heard, text = _Heard(), ""
            async with contextlib.aclosing(self._listen(question, seen, chat, began, heard)) as sentences:
                async for sentence in sentences:
                    part = f" {sentence}" if text else sentence
                    text += part
                    yield part
            model = self.model
            standing: Standing = "supported"
            if not text:
                verified = heard.failed
                if verified is None:
                    verified, model = await self._think(_by_facts, seen), FACTS_ALONE
                heard.told.append(verified)
                text, standing = verified.text, verified.status
                yield text
            elif heard.failed is not None:
                standing = "withheld"
                heard.told.append(replace(heard.failed, text="", statements=(), status=standing))
            self._remember(question, text, seen)
            yield Told(
                text=text,
                evidence=await self._think(evidence, heard.told, seen),
                attribution=seen.situation.attribution if seen.recalled.tasks else {},
                model=model,
                standing=standing,
                cut=heard.why == "length",
                prompt=heard.prompt,
                tokens=heard.tokens,
            )
        finally:
            self._on -= 1

    async def _look(self, question: Question) -> tuple[Seen, tuple[tuple[str, str], ...]]:
        """What the question is asked about, and the turns that it may continue."""
        session = self._session(question)
        own = None
        if question.streams:
            own = await self._decide(self._situations.newest(question.group, question.streams).context)
        asked = Asked(
            question.group,
            question.text,
            before=None if question.turns or session is None else session.before,
            earlier=tuple(text for text, _ in question.turns[-_TURNS:]),
            streams=question.streams,
            own=own,
        )
        turns = question.turns or (session.turns if session else ())
        return await self._think(self._situations.see, asked), turns[-_TURNS:]

    async def _listen(
        self, question: Question, seen: Seen, turns: tuple[tuple[str, str], ...], began: float, heard: _Heard
    ) -> AsyncGenerator[str, None]:
        """The language model's sentences, as long as they hold."""
        if self._talk is None or not seen.context.rows:
            return
        from backend.model.talk import Chat, Saying

        loop, news = asyncio.get_running_loop(), asyncio.Queue[tuple[str, "Ended"]]()

        def hear(text: str, why: Ended) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(news.put_nowait, (text, why))

        chat = Chat(seen.recalled.lines(question.text), question.text, turns)
        until = began + self._time_s
        saying = Saying(seen.context, chat, min(question.most, MAX_TOKENS), until, hear)
        self._talk.say(saying)
        try:
            async for sentence in self._whole(news, until, heard):
                verified = await self._think(verify, sentence, seen.recalled, seen.situation, tuple(heard.told))
                if verified.status != "supported":
                    heard.failed = verified
                    return
                heard.told.append(verified)
                yield verified.text
        finally:
            saying.cancel()
            heard.prompt, heard.tokens = saying.prompt, len(saying.ids)

    async def _whole(
        self, news: asyncio.Queue[tuple[str, Ended]], until: float, heard: _Heard
    ) -> AsyncGenerator[str, None]:
        """Sentences that have an end; of an answer that was cut off, the last one has none."""
        at = 0
        while not heard.why:
            try:
                text, why = await asyncio.wait_for(news.get(), max(0.0, until + _GRACE_S - self._clock()))
            except TimeoutError:
                heard.why = "time"
                return
            while match := _BETWEEN.search(text, at):
                if sentence := text[at : match.start()].strip():
                    yield sentence
                at = match.end()
            heard.why = why
            if why == "end" and (sentence := text[at:].strip()):
                yield sentence

    async def _think(self, work: Callable[..., T], *about: object) -> T:
        """Work that takes the interpreter some milliseconds, in the thread for it."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._after_others, work, about)

    def _after_others(self, work: Callable[..., T], about: tuple[object, ...]) -> T:
        if self._talk is not None:
            self._talk.way.give()
        return work(*about)

    def _session(self, question: Question) -> _Session | None:
        """The session of a question, a new one where it has expired; those that have are forgotten."""
        now = self._clock()
        while self._sessions and now - next(iter(self._sessions.values())).used > self._session_s:
            self._sessions.popitem(last=False)
        if question.session:
            session = self._sessions.setdefault((question.group, question.session), _Session(now))
            self._sessions.move_to_end((question.group, question.session))
            session.used = now
            if len(self._sessions) > self._most_sessions:
                self._sessions.popitem(last=False)
        self._metrics.conversations.set(len(self._sessions))
        return self._sessions.get((question.group, question.session))

    def _remember(self, question: Question, text: str, seen: Seen) -> None:
        session = self._sessions.get((question.group, question.session))
        if session is not None:
            session.turns = (*session.turns, (question.text, text))[-_TURNS:]
            session.before, session.used = seen.recalled.understood, self._clock()
            self._sessions.move_to_end((question.group, question.session))

    def _count(self, told: Told, seconds: float) -> None:
        self._metrics.answer_s.observe(seconds)
        self._metrics.answer_tokens.inc(told.tokens)
        for one in told.evidence:
            self._metrics.claims.labels(one.status).inc()


def _by_facts(seen: Seen) -> Verified:
    """What is true, without a language model."""
    return verify(right_answer(seen.recalled, seen.situation), seen.recalled, seen.situation)
