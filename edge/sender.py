"""The sending end of Go-Back-N: frames leave the spool in order, at most a window of them unacknowledged.

    base ............ sent .......... base + window - 1
    |  on their way   |  may be sent  |  wait (this is the back-pressure)

An acknowledgement of the backend moves `base`. When it stays away for longer than the timeout, or after a reconnect,
everything from `base` on is sent again. The timeout follows the measured round trip (RFC 6298: smoothed mean plus four
deviations, repetitions not measured) and doubles while nothing moves. A PUBACK of the broker means nothing here. The
sender refuses to know what frames contain, and where they come from.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker import topics
from broker.errors import LinkDown
from broker.link import Link
from broker.messages import Ack
from edge.metrics import Metrics
from edge.spool import Spool

log = logging.getLogger(__name__)

WINDOW = 64
_BATCH = 16  # frames sent between two looks at what has arrived
_LOOK_S = 0.5  # how soon a reconnect is noticed when nothing else happens


@dataclass(frozen=True, slots=True)
class Timing:
    """Retransmission timeouts in seconds: before anything is measured, the shortest and the longest.

    The first one is longer than a moment waits for a gps in the group, 4 s, for its windows are acknowledged no sooner.
    A person is told once frames have waited for `silence_s` for their acknowledgement, then at twice that and so on.
    """

    first_s: float = 5.0
    least_s: float = 1.0
    most_s: float = 30.0
    silence_s: float = 30.0


DEFAULT_TIMING = Timing()


class RoundTrip:
    """The timeout that round trips suggest, in seconds; `back_off` doubles it until one is measured again."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._mean: float | None = None
        self._deviation = 0.0
        self._factor = 1.0

    @property
    def timeout_s(self) -> float:
        """How long an acknowledgement may take before its frame is sent again."""
        known = self._timing.first_s if self._mean is None else self._mean + 4 * self._deviation
        return min(max(known, self._timing.least_s) * self._factor, self._timing.most_s)

    def measured(self, seconds: float) -> None:
        """An acknowledgement came for a frame that was sent once."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8

    def back_off(self) -> None:
        """Nothing came in time."""
        if self.timeout_s < self._timing.most_s:
            self._factor *= 2

    def progress(self) -> None:
        """Something came."""
        self._factor = 1.0


class Sender:
    """Sends one device's spool over one link until cancelled.

    Args:
        greet: called after every connect, before the first frame.
        window: frames that may be unacknowledged.
    """

    def __init__(
        self,
        site: str,
        device: str,
        spool: Spool,
        link: Link,
        greet: Callable[[], Awaitable[None]],
        metrics: Metrics,
        *,
        window: int = WINDOW,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self._site, self._device = site, device
        self._spool, self._link, self._greet, self._metrics = spool, link, greet, metrics
        self._window, self._timing, self._trip = window, timing, RoundTrip(timing)
        self._session = 0
        self._sent = 0  # newest number sent since the last going back
        self._newest = 0  # newest number ever sent
        self._once: dict[int, float] = {}  # when frames were sent that were sent once, ascending
        self._since = 0.0  # when the oldest unacknowledged frame began to be waited for
        self._listening = 0.0  # since when an acknowledgement is due: sent on this connection, and none has come
        self._patience_s = timing.silence_s  # how long that may take until a person is told
        self._answered = False  # whether acknowledgements come
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Send until cancelled, over any number of connections."""
        while True:
            await self._link.wait_connected()
            try:
                if self._link.session != self._session:
                    await self._begin_session()
                if await self._send():
                    continue
            except LinkDown:
                await asyncio.sleep(0)
                continue
            await self._wait()

    def wake(self) -> None:
        """There is something new in the spool."""
        self._news.set()

    def acknowledged(self, ack: Ack) -> None:
        """The backend has committed everything up to `ack.seq`."""
        now, epoch = time.monotonic(), self._spool.epoch
        freed = self._spool.ack(ack.epoch, ack.seq)
        if self._spool.epoch != epoch:  # it knew of numbers that this spool never gave; see Spool.ack
            self._session = -1
        if freed:
            self._metrics.acked.inc(freed)
            self._measure(ack.seq, now)
            self._trip.progress()
            self._sent = max(self._sent, ack.seq)
            self._since = self._listening = now
            self._patience_s = self._timing.silence_s
            if not self._answered:
                self._answered = True
                log.info("a backend acknowledges what %s/%s sends", self._site, self._device)
        self._news.set()

    async def _begin_session(self) -> None:
        """After a connect nothing is known to be on its way: greet, and start from the base."""
        session = self._link.session
        await self._greet()
        self._metrics.sessions.inc()
        self._session, self._listening = session, time.monotonic()
        self._go_back()

    async def _send(self) -> int:
        """Send the next few frames that the window allows; their number."""
        base = self._spool.base
        if self._sent < base:
            self._sent, self._since = base - 1, time.monotonic()
        room = base + self._window - 1 - self._sent
        frames = self._spool.pending(self._sent, min(room, _BATCH)) if room > 0 else []
        for frame in frames:
            await self._link.publish(topics.frames(self._site, self._device, frame.stream), frame.payload)
            self._sent = max(self._sent, frame.seq)
            self._note(frame.seq, base)
        return len(frames)

    def _note(self, seq: int, base: int) -> None:
        self._metrics.sent.inc()
        if seq > self._newest:
            self._newest = seq
            self._once[seq] = time.monotonic()
            if seq == base:  # nothing was on its way before
                self._listening = time.monotonic()
        else:
            self._metrics.resent.inc()

    async def _wait(self) -> None:
        """Until something is new; go back when the oldest unacknowledged frame has waited for too long."""
        waiting = self._sent >= self._spool.base
        left = self._since + self._trip.timeout_s - time.monotonic() if waiting else _LOOK_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(left, _LOOK_S))):  # wait_for of 3.11 may swallow a cancellation
                await self._news.wait()
        self._news.clear()
        if waiting:
            self._tell_of_silence()
        late = time.monotonic() >= self._since + self._trip.timeout_s
        if late and self._sent >= self._spool.base and self._link.session == self._session:
            self._trip.back_off()
            self._go_back()

    def _tell_of_silence(self) -> None:
        silent_s = time.monotonic() - self._listening
        if silent_s >= self._patience_s:
            self._answered, self._patience_s = False, 2 * self._patience_s
            log.warning(
                "no backend has acknowledged %s/%s for %.0f s, %d windows wait: start `backend serve`, "
                "or see what it refuses at http://BACKEND:8600/dead-letters",
                self._site,
                self._device,
                silent_s,
                self._spool.waiting,
            )

    def _go_back(self) -> None:
        self._sent, self._since = self._spool.base - 1, time.monotonic()
        self._once.clear()

    def _measure(self, seq: int, now: float) -> None:
        """Take the round trip of the newest frame that the acknowledgement covers, if it was sent once."""
        sent_at = self._once.get(seq)
        if sent_at is not None:
            self._trip.measured(now - sent_at)
            self._metrics.round_trip_s.observe(now - sent_at)
        for covered in [number for number in self._once if number <= seq]:
            del self._once[covered]
