"""The wire: `Link`, what every sender and receiver uses, and `MqttLink`, the one file that imports an MQTT client.

A link hides connecting, reconnecting with exponential back-off and resubscribing. It refuses to know what it
carries, and it promises no delivery: a broker's PUBACK proves nothing about the backend, so `publish` returns as
soon as the client has taken the message. The protocol of `broker.messages` provides the promise, end to end.
`session` counts connections: when it changes, whatever was on its way may be gone.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import aiomqtt
from paho.mqtt.client import Client, ConnectFlags, topic_matches_sub
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from broker.errors import ConfigError, LinkDown, MessageError
from broker.messages import LIMIT

log = logging.getLogger(__name__)
_client_log = logging.getLogger(f"{__name__}.client")
_client_log.setLevel(logging.CRITICAL)  # what it says of a lost connection is said here, once; DEBUG shows its side

Version = Literal["3.1.1", "5"]  # of MQTT
_VERSIONS = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}

_QUEUE = 2_000  # messages that wait for us; more are dropped by the client, and come again by resend
_IN_FLIGHT = 1_000  # publishes without PUBACK
_MAX_CORRELATION = 65_535  # bytes; a length of 16 bits goes before them
_UNSUPPORTED = 132  # reason code of a broker that does not take our version (MQTT 5, section 3.2.2.2)
_QUICK_S, _QUICK = 2.0, 3  # so many connections running that end so soon after they began are no accident
_TAKEN = (
    "connections to %s:%s end as soon as they begin: another client may be using the name %s (client id); "
    "give this one another --site or --device. Trying, and saying no more until one lasts"
)


@dataclass(frozen=True, slots=True)
class Message:
    """A payload as it came in; `retain` says that the broker had kept it from before.

    Where publisher and receiver both speak MQTT 5, `response_topic` is where an answer is wanted, and `correlation` is
    to come back with it; otherwise they are empty. Both are a stranger's words: see `broker.topics.check_reply`.
    """

    topic: str
    payload: bytes
    retain: bool = False
    response_topic: str = ""
    correlation: bytes = b""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection ends without a farewell."""

    topic: str
    payload: bytes


class Link(Protocol):
    """A connection that may come and go. Use it as an async context manager."""

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached at this moment."""

    @property
    def session(self) -> int:
        """How many connections there have been; 0 before the first."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def wait_connected(self) -> None:
        """Return when connected; at once if so already."""

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, response_topic: str = "", correlation: bytes = b""
    ) -> None:
        """Hand a message over at QoS 1, without waiting for its PUBACK.

        `response_topic` and `correlation` (see `Message`) stay behind where the connection is no MQTT 5.

        Raises:
            LinkDown: not connected.
            MessageError: larger than `broker.messages.LIMIT` allows, or more correlation data than MQTT does.
        """

    async def subscribe(self, *filters: str) -> None:
        """Receive what matches these topic filters, now and after every reconnect."""

    def messages(self) -> AsyncIterator[Message]:
        """What arrives, across reconnects, without end. One consumer at a time."""


class MqttLink:
    """MQTT with clean sessions, by aiomqtt. Credentials and TLS are parameters; nothing is read from disk until the
    link is entered.

    Args:
        host, port: where the broker listens.
        client_id: unique at the broker; a second client with the same id throws the first one out.
        username, password: as the broker wants them.
        ca: PEM file that the broker's certificate must chain to; giving it turns TLS on.
        cert, key: PEM files by which this client proves itself.
        will: published by the broker when this client dies.
        keepalive: seconds between signs of life.
        backoff: first and longest pause between attempts to connect, in seconds.
        version: of MQTT. 5 carries response topics; a broker that takes no 5 is connected to by 3.1.1, and asked for 5
            again at the next connection.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client_id: str,
        *,
        username: str | None = None,
        password: str | None = None,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        will: Will | None = None,
        keepalive: int = 30,
        backoff: tuple[float, float] = (0.2, 15.0),
        limit: int = LIMIT,
        version: Version = "3.1.1",
    ) -> None:
        if not host:
            raise ConfigError("broker.host is empty: name the machine that the broker runs on, such as 127.0.0.1")
        self._host, self._port, self._client_id = host, port, client_id
        self._username, self._password = username, password
        self._ca, self._cert, self._key = ca, cert, key
        self._will, self._keepalive, self._backoff, self._limit = will, keepalive, backoff, limit
        self._version: Version = version
        self._session = 0
        self._quick = 0  # connections running that ended at once
        self._filters: dict[str, None] = {}
        self._client: aiomqtt.Client | None = None
        self._up = asyncio.Event()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(_QUEUE)
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)
        self._publishing: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached at this moment."""
        return self._client is not None

    @property
    def session(self) -> int:
        """How many connections there have been."""
        return self._session

    async def __aenter__(self) -> Self:
        self._tls = self._tls_context()
        self._runner = asyncio.create_task(self._run(), name=f"mqtt {self._host}:{self._port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._publishing and self.connected:  # last words, such as `offline`, get a moment to leave
            await asyncio.wait(set(self._publishing), timeout=2.0)
        assert self._runner is not None
        self._runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._runner

    async def wait_connected(self) -> None:
        """Return when connected; a broker that refuses us is asked again, as one that is away."""
        assert self._runner is not None, "enter the link first"
        waiter = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait({waiter, self._runner}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if self._runner.done():
            self._runner.result()

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, response_topic: str = "", correlation: bytes = b""
    ) -> None:
        """Hand a message over at QoS 1; see `Link.publish`."""
        check_size(topic, payload, correlation, self._limit)
        await self._in_flight.acquire()
        client = self._client
        if client is None:
            self._in_flight.release()
            raise LinkDown(f"{self._host}:{self._port} is not connected")
        properties = _properties(response_topic, correlation)
        task = asyncio.create_task(self._send(client, topic, payload, retain, properties))
        self._publishing.add(task)
        task.add_done_callback(self._sent)
        await asyncio.sleep(0)

    async def subscribe(self, *filters: str) -> None:
        """Receive what matches, now and after every reconnect."""
        self._filters.update(dict.fromkeys(filters))
        if (client := self._client) is not None:
            with contextlib.suppress(aiomqtt.MqttError):  # the next connection subscribes again
                await client.subscribe([(f, 1) for f in filters])

    async def messages(self) -> AsyncIterator[Message]:
        """What arrives, across reconnects, without end. What matches no filter of ours is passed over: the embedded
        broker sends every retained message to everyone.
        """
        while True:
            message = await self._inbox.get()
            if any(topic_matches_sub(each, message.topic) for each in self._filters):
                yield message

    async def _send(
        self, client: aiomqtt.Client, topic: str, payload: bytes, retain: bool, properties: Properties | None
    ) -> None:
        await client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._in_flight.release()
        self._publishing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a publish was not confirmed: %s", task.exception())  # the protocol above resends

    async def _run(self) -> None:
        """Connect, receive until the connection ends, pause, again."""
        loop = asyncio.get_running_loop()
        first, longest = self._backoff
        pause, told = first, False
        away_since = up_since = 0.0  # loop time when the last connection ended, and when it began
        settling: asyncio.TimerHandle | None = None
        while True:
            try:
                async with self._connection() as client:
                    _check_alive(client)
                    subscribed: set[str] = set()
                    while missing := [f for f in self._filters if f not in subscribed]:
                        await client.subscribe([(f, 1) for f in missing])
                        subscribed.update(missing)
                    self._client, up_since = client, loop.time()
                    self._session += 1
                    self._up.set()
                    if self._quick < _QUICK:
                        again = f", after {up_since - away_since:.0f} s without" if self._session > 1 else ""
                        log.info("connected to %s:%s as %s%s", self._host, self._port, self._client_id, again)
                    else:  # it lasts when it outlives the longest pause of the other one
                        settling = loop.call_later(max(_QUICK_S, 2 * longest), self._settle)
                    async for message in client.messages:
                        await self._inbox.put(_as_ours(message))
            except (aiomqtt.MqttError, ValueError) as error:  # ValueError: a host name that cannot be one
                if self._client is not None:
                    away_since = loop.time()
                    if self._quick < _QUICK:
                        pause, told = first, self._end_at_once(away_since - up_since < _QUICK_S)
                if not told:  # once per outage
                    what = "no connection to" if self._client is None else "lost the connection to"
                    log.warning("%s %s:%s: %s; trying until it is there", what, self._host, self._port, error)
                told = True
            finally:
                if self._client is not None:
                    _heed(self._client)
                self._client = None
                self._up.clear()
                if settling is not None:
                    settling.cancel()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, longest)

    def _end_at_once(self, at_once: bool) -> bool:
        """Count the connections running that ended as soon as they began; whether that is now told."""
        self._quick = self._quick + 1 if at_once else 0
        if self._quick == _QUICK:
            log.warning(_TAKEN, self._host, self._port, self._client_id)
        return self._quick == _QUICK

    def _settle(self) -> None:
        """The connection lasts, after several that did not."""
        self._quick = 0
        log.info("connected to %s:%s as %s, and it lasts", self._host, self._port, self._client_id)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        """A connection by the version of our choice, or by 3.1.1 to a broker that takes no 5."""
        async with contextlib.AsyncExitStack() as stack:
            client = self._new_client(self._version)
            try:
                await stack.enter_async_context(client)
            except aiomqtt.MqttError as error:
                if self._version == "3.1.1" or not _takes_no_5(client, error):
                    raise
                client = self._new_client("3.1.1")
                await stack.enter_async_context(client)
                if self._quick < _QUICK:
                    log.info("%s:%s takes no MQTT 5: by 3.1.1, without response topics", self._host, self._port)
            yield client

    def _new_client(self, version: Version) -> aiomqtt.Client:
        will = aiomqtt.Will(self._will.topic, self._will.payload, qos=1, retain=True) if self._will else None
        client = _Client(
            self._host,
            self._port,
            identifier=self._client_id,
            username=self._username,
            password=self._password,
            tls_context=self._tls,
            will=will,
            keepalive=self._keepalive,
            protocol=_VERSIONS[version],
            clean_session=True if version == "3.1.1" else None,  # 5 begins anew and keeps nothing unless asked to
            max_queued_incoming_messages=_QUEUE,
            max_inflight_messages=_IN_FLIGHT,
            max_concurrent_outgoing_calls=_IN_FLIGHT + 8,
            timeout=10,
            logger=_client_log,
        )
        client.pending_calls_threshold = _IN_FLIGHT  # many publishes on their way are normal here
        return client

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._ca is None:
            if self._cert or self._key:
                raise ConfigError("broker.cert and broker.key need broker.ca, the authority to check against")
            return None
        try:
            context = ssl.create_default_context(cafile=self._ca)
            if self._cert:
                context.load_cert_chain(self._cert, self._key)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(f for f in (self._ca, self._cert, self._key) if f)
            raise ConfigError(f"broker TLS files {files}: {error.strerror or error}; PEM is expected") from None
        return context


class _Client(aiomqtt.Client):
    """Heeds how many publishes a broker takes at once: those of MQTT 5 say so, and may end the connection over more."""

    def _on_connect(
        self,
        client: Client,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        most = min(_IN_FLIGHT, getattr(properties, "ReceiveMaximum", _IN_FLIGHT))
        client._max_inflight_messages = most  # its setter is for before a connection, when this is not known
        super()._on_connect(client, userdata, flags, reason_code, properties)


def check_size(topic: str, payload: bytes, correlation: bytes = b"", limit: int = LIMIT) -> None:
    """Raise `MessageError` for what is too large to be published."""
    if len(payload) > limit:
        raise MessageError("size", f"{len(payload)} bytes for {topic} exceed the limit of {limit}")
    if len(correlation) > _MAX_CORRELATION:
        raise MessageError("correlation", f"{len(correlation)} bytes for {topic} exceed the {_MAX_CORRELATION} of MQTT")


def _takes_no_5(client: aiomqtt.Client, error: aiomqtt.MqttError) -> bool:
    """Whether it was MQTT 5 that a broker refused: most say so, some hang up without a word."""
    if isinstance(error, aiomqtt.MqttCodeError):
        return error.rc == _UNSUPPORTED
    return client._misc_task is not None and client._client.socket() is None  # there was a connection, and is none


def _properties(response_topic: str, correlation: bytes) -> Properties | None:
    """What goes along with a publish in MQTT 5; a client of 3.1.1 leaves it behind."""
    if not response_topic and not correlation:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if response_topic:
        properties.ResponseTopic = response_topic
    if correlation:
        properties.CorrelationData = correlation
    return properties


def _as_ours(message: aiomqtt.Message) -> Message:
    given = message.properties  # None in 3.1.1
    reply, correlation = getattr(given, "ResponseTopic", ""), bytes(getattr(given, "CorrelationData", b""))
    return Message(str(message.topic), _as_bytes(message.payload), message.retain, reply, correlation)


def _check_alive(client: aiomqtt.Client) -> None:
    """Raise MqttError for a connection that ended while the broker's confirmation was handled: aiomqtt forgets that."""
    if not client._client.is_connected():
        raise aiomqtt.MqttError("the broker ended the connection as it began")


def _heed(client: aiomqtt.Client) -> None:
    """Look at why a connection ended: the client leaves it unread, and asyncio would complain about that on stderr."""
    ended = client._disconnected
    if ended.done() and not ended.cancelled():
        ended.exception()


def _as_bytes(payload: object) -> bytes:
    """Some clients decode payloads to text or numbers; ours are always bytes."""
    return payload if isinstance(payload, bytes) else bytes(str(payload), "utf-8") if payload is not None else b""
