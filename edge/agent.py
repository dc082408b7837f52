"""A device: sources fill the spool, a sender empties it, acknowledgements delete what is safe.

The loop of a device, with its ends: it ends when all sources have ended and everything is acknowledged, which
a replay does and a microphone does not; cancelled, it says goodbye and leaves the rest in the spool for the next
start. It refuses to know sensors, encoders and MQTT: those are in the sources and the link it is given.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from broker import topics
from broker.errors import ConfigError, LinkDown, MessageError, SpoolFull
from broker.link import Link, Will
from broker.messages import Frame, State, Status, StreamInfo, decode_ack, encode_json
from edge.clock import Clock
from edge.metrics import Metrics
from edge.sender import DEFAULT_TIMING, WINDOW, Sender, Timing
from edge.sources import Source
from edge.spool import Spool

log = logging.getLogger(__name__)


class Agent:
    """One device on one link.

    Args:
        site, device: where its topics are.
        sources: what it measures; names of streams differ.
        window: frames that may be unacknowledged.
    """

    def __init__(
        self,
        site: str,
        device: str,
        sources: Sequence[Source],
        link: Link,
        spool: Spool,
        clock: Clock,
        *,
        window: int = WINDOW,
        timing: Timing = DEFAULT_TIMING,
        metrics: Metrics | None = None,
    ) -> None:
        self._site, self._device, self._sources = site, device, sources
        self._link, self._spool, self._clock = link, spool, clock
        self._metrics = metrics or Metrics()
        self._streams = streams_of(sources)
        self._ahead = 4 * window  # frames that a patient source puts into the spool before it waits
        self._freed = asyncio.Event()
        self._sender = Sender(site, device, spool, link, self._greet, self._metrics, window=window, timing=timing)

    async def run(self) -> None:
        """Measure and send until the sources have ended and all is acknowledged, or until cancelled.

        Raises:
            IotlmError: a source failed.
        """
        await self._link.subscribe(topics.acks(self._site, self._device))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._sender.run()), group.create_task(self._listen())]
                async with asyncio.TaskGroup() as producers:
                    for source in self._sources:
                        producers.create_task(self._produce(source))
                await self._until(lambda: not self._spool.waiting)
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        finally:
            with contextlib.suppress(LinkDown):
                await self._publish_status("offline")

    async def _produce(self, source: Source) -> None:
        async for stream, frame in source.frames(self._spool.last_t0):
            if source.patient:
                await self._until(self._has_room)
            self._store(stream, frame)

    def _has_room(self) -> bool:
        return self._spool.waiting < self._ahead and self._spool.size < self._spool.max_bytes // 2

    def _store(self, stream: str, frame: Frame) -> None:
        evicted = self._spool.evicted
        try:
            self._spool.append(stream, frame)
        except (SpoolFull, MessageError) as error:
            self._metrics.dropped.inc()
            log.warning("stream %s: a window is lost: %s", stream, error)
            return
        self._metrics.windows.inc()
        self._metrics.evicted.inc(self._spool.evicted - evicted)
        self._measure()
        self._sender.wake()

    async def _listen(self) -> None:
        mine = topics.acks(self._site, self._device)
        async for message in self._link.messages():
            if message.topic != mine:  # the embedded broker sends what nobody has asked for
                continue
            try:
                ack = decode_ack(message.payload)
            except MessageError as error:
                self._metrics.bad_acks.inc()
                log.warning("an acknowledgement could not be read: %s", error)
                continue
            self._sender.acknowledged(ack)
            self._measure()
            self._freed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Return when acknowledgements have made it true."""
        while not condition():
            self._freed.clear()
            await self._freed.wait()

    async def _greet(self) -> None:
        await self._publish_status("online")

    async def _publish_status(self, state: State) -> None:
        status = encode_json(new_status(state, self._spool.epoch, self._streams, self._clock))
        await self._link.publish(topics.status(self._site, self._device), status, retain=True)

    def _measure(self) -> None:
        self._metrics.waiting.set(self._spool.waiting)
        self._metrics.spool_bytes.set(self._spool.size)


def will(site: str, device: str, sources: Iterable[Source], spool: Spool, clock: Clock) -> Will:
    """What the broker is to say when this device vanishes."""
    status = new_status("offline", spool.epoch, streams_of(sources), clock)
    return Will(topics.status(site, device), encode_json(status))


def new_status(state: State, epoch: str, streams: tuple[StreamInfo, ...], clock: Clock) -> Status:
    """A device's word on itself at this moment."""
    time = datetime.fromtimestamp(clock.now() / 1e9, UTC).isoformat(timespec="milliseconds")
    return Status(state, epoch, streams, version("iotlm"), time)


def streams_of(sources: Iterable[Source]) -> tuple[StreamInfo, ...]:
    """All streams of a device. Raises `ConfigError` when two have one name."""
    streams = tuple(stream for source in sources for stream in source.streams)
    names = [stream.name for stream in streams]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"stream {doubled[0]!r} is there twice; streams of a device have names of their own")
    return streams


def first_error(error: BaseException) -> BaseException:
    """The error that ended a group of tasks; the others were its consequence."""
    return first_error(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
