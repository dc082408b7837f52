"""`MemoryLink`: the wire inside one process, with knobs for what a real one does to messages.

Part of the product: simulations, tests and benchmarks use it where a broker would only add noise. It keeps MQTT's
habits (wildcards, retained messages, last wills) and refuses to be kinder than a network: `Faults` drop, delay
and duplicate messages, `disconnect` cuts a link as a dead cable would.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from broker.errors import LinkDown
from broker.link import Message, Will, check_size


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to messages on one link, both ways: probabilities 0..1 and the longest delay in seconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay_s: float = 0.0


class MemoryBroker:
    """Routes between the links of one process. `seed` makes the faults repeatable."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self._links: list[MemoryLink] = []
        self._retained: dict[str, Message] = {}

    def attach(self, link: "MemoryLink") -> None:
        """Let a link take part."""
        self._links.append(link)
        self.replay_retained(link, link.filters)

    def detach(self, link: "MemoryLink") -> None:
        """Let a link go."""
        if link in self._links:
            self._links.remove(link)

    def route(self, message: Message) -> None:
        """Deliver to every link that subscribed; an empty payload to be retained clears the topic, as in MQTT."""
        if message.retain and message.payload:
            self._retained[message.topic] = message
        elif message.retain:
            self._retained.pop(message.topic, None)
        live = replace(message, retain=False)
        for link in self._links:
            if any(matches(pattern, message.topic) for pattern in link.filters):
                link.transmit(live)

    def replay_retained(self, link: "MemoryLink", filters: tuple[str, ...]) -> None:
        """Hand over what was retained, as a broker does at subscribe."""
        for topic, message in self._retained.items():
            if any(matches(pattern, topic) for pattern in filters):
                link.transmit(message)


class MemoryLink:
    """A `broker.link.Link` over a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, *, will: Will | None = None, faults: Faults | None = None) -> None:
        self.filters: tuple[str, ...] = ()
        self.faults = faults or Faults()
        self._broker, self._will = broker, will
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._up = asyncio.Event()
        self._session = 0
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def connected(self) -> bool:
        """Whether messages can be published now."""
        return self._up.is_set()

    @property
    def session(self) -> int:
        """How many connections there have been."""
        return self._session

    async def __aenter__(self) -> Self:
        self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop_connection()

    def connect(self) -> None:
        """Come back after `disconnect`."""
        self._session += 1
        self._up.set()
        self._broker.attach(self)

    def disconnect(self) -> None:
        """Cut the cable: what is on its way is lost, and the broker publishes the will."""
        self._drop_connection()
        if self._will is not None:
            self._broker.route(Message(self._will.topic, self._will.payload, retain=True))

    async def wait_connected(self) -> None:
        """Return when connected."""
        await self._up.wait()

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, response_topic: str = "", correlation: bytes = b""
    ) -> None:
        """Route a message; see `broker.link.Link.publish`."""
        check_size(topic, payload, correlation)
        if not self.connected:
            raise LinkDown("the memory link is cut")
        if self._lost():
            return
        message = Message(topic, payload, retain, response_topic, correlation)
        self._broker.route(message)
        if self._broker.random.random() < self.faults.duplicate:
            self._broker.route(message)
        await asyncio.sleep(0)

    async def subscribe(self, *filters: str) -> None:
        """Receive what matches, now and after every reconnect."""
        new = tuple(pattern for pattern in filters if pattern not in self.filters)
        self.filters += new
        if self.connected:
            self._broker.replay_retained(self, new)

    async def messages(self) -> AsyncIterator[Message]:
        """What arrives, across reconnects, without end."""
        while True:
            yield await self._inbox.get()

    def transmit(self, message: Message) -> None:
        """Called by the broker: bring a message to this link's inbox, subject to its faults."""
        if self._lost():
            return
        if self.faults.delay_s == 0.0:
            self._inbox.put_nowait(message)
            return
        delay = self._broker.random.uniform(0.0, self.faults.delay_s)
        self._timers.add(asyncio.get_running_loop().call_later(delay, self._inbox.put_nowait, message))

    def _lost(self) -> bool:
        return self._broker.random.random() < self.faults.drop

    def _drop_connection(self) -> None:
        self._up.clear()
        self._broker.detach(self)
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT topic filter (`+` one level, `#` the rest) covers a topic. MQTT 3.1.1, section 4.7."""
    wanted, have = pattern.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(have) or level not in ("+", have[i]):
            return False
    return len(wanted) == len(have)
