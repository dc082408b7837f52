"""Questions off the wire and their answers onto it; each is answered on its own, so nobody waits for another's answer.

An answer goes to the response topic of the question where MQTT 5 brought one that may be written, with the correlation
data that came with it, and else to `iotlm/answers/SITE/GROUP/ID`. It is told once: what the broker does not take at
that moment is gone, as are answers that nobody hears. What an answer is, `dialogue` knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from backend.serve.align import GroupKey
from backend.serve.dialogue import Dialogue, Question, Told
from backend.serve.events import iso
from broker import topics
from broker.errors import LinkDown, MessageError
from broker.link import Link, Message
from broker.messages import Answer, Ask, decode_ask, encode_json
from broker.questions import MAX_PART

log = logging.getLogger(__name__)


class Answers:
    """The MQTT side of dialogue.

    Args:
        link: where answers go; entered by somebody else.
        dialogue: answers.
        now: UTC nanoseconds.
    """

    def __init__(self, link: Link, dialogue: Dialogue, now: Callable[[], int] = time.time_ns) -> None:
        self._link, self._dialogue, self._now = link, dialogue, now
        self._asked: asyncio.Queue[tuple[topics.AskTopic, Ask, str, bytes]] = asyncio.Queue()
        self._on: set[tuple[topics.AskTopic, str]] = set()

    def take(self, topic: topics.AskTopic, message: Message) -> None:
        """A question off the wire. What cannot be answered is no question: raises `MessageError`."""
        if message.retain:
            raise MessageError("retained", "a question that the broker keeps would be asked again for ever")
        ask = decode_ask(message.payload)
        if (topic, ask.id) in self._on:
            return  # delivered twice
        self._on.add((topic, ask.id))
        where, correlation = topics.answers(topic.site, topic.group, ask.id), message.correlation
        try:
            where = topics.check_reply(message.response_topic) if message.response_topic else where
        finally:  # whoever named a topic that may not be written is answered where everyone is
            self._asked.put_nowait((topic, ask, where, correlation))

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._answer(*await self._asked.get()))

    async def _answer(self, topic: topics.AskTopic, ask: Ask, where: str, correlation: bytes) -> None:
        """All parts of one answer; whatever happens, the last part says so."""
        part, error, told = 0, "", None
        question = Question(
            GroupKey(topic.site, topic.group), ask.question, ask.session, (), ask.sensors, ask.most, "mqtt"
        )
        try:
            async with contextlib.aclosing(self._dialogue.answer(question)) as parts:
                async for one in parts:
                    if isinstance(one, Told):
                        told = one
                        continue
                    for at in range(0, len(one), MAX_PART):
                        text = one[at : at + MAX_PART]
                        await self._link.publish(where, self._part(ask, part, text), correlation=correlation)
                        part += 1
        except LinkDown:
            return
        except MessageError as refused:
            error = str(refused)
        except Exception:  # nobody else's answer, and no event, ends with this one
            log.exception("a question to %s/%s could not be answered", topic.site, topic.group)
            error = "the backend failed; its log says more"
        finally:
            self._on.discard((topic, ask.id))
        last = Answer(
            id=ask.id,
            part=part,
            text="",
            done=True,
            evidence=told.evidence if told else (),
            attribution=dict(told.attribution) if told else {},
            model=told.model if told else "",
            time=iso(self._now()),
            error=error,
            trace=ask.trace,
        )
        with contextlib.suppress(LinkDown):
            await self._link.publish(where, encode_json(last), correlation=correlation)

    def _part(self, ask: Ask, part: int, text: str) -> bytes:
        return encode_json(Answer(ask.id, part, text, done=False, trace=ask.trace))
