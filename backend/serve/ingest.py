"""From bytes off the wire to windows, each exactly once: decoding, checking, and the receiver's side of Go-Back-N.

A `Receiver` follows one spool of one device: what is committed is acknowledged again, what is on its way to the
commit is dropped, what comes too early is dropped (the device sends again from its base), what can never come is
counted as lost. `Ingest` holds the receivers and turns frames into windows. A bad frame is counted, kept in a
bounded log and stops nothing. It refuses to know about time slots, the model and the database.
"""

import logging
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from backend.metrics import Metrics
from backend.moment import StreamWindow
from backend.serve.notices import Notices
from backend.wire import window_of
from broker import topics
from broker.errors import IotlmError, MessageError
from broker.messages import LIMIT, Frame, decode_frame

log = logging.getLogger(__name__)

_EPOCH = re.compile(r"[0-9A-Za-z-]{1,64}")
_MAX_SEQ = (1 << 63) - 1  # what a database integer holds
_MAX_EPOCHS = 4  # per device: a spool is replaced once in a while, not all the time
_HEAD = 64  # bytes of a bad payload that are kept
_HEARD = 1_000  # devices whose first frame is told; strangers may make up names without end


class Verdict(StrEnum):
    """What became of a frame."""

    ACCEPTED = "accepted"
    COMMITTED = "committed"  # again, and durable: acknowledge again
    PENDING = "pending"  # again, and on its way
    EARLY = "early"  # one before it is missing
    HELD = "held"  # no room; it comes again
    BAD = "bad"


class Sender(NamedTuple):
    """One spool of one device."""

    site: str
    device: str
    epoch: str


class Receipt(NamedTuple):
    """A window's place in its device's sequence."""

    sender: Sender
    seq: int
    stream: str
    t0: int


class Gap(NamedTuple):
    """Sequence numbers first..last of a sender that can never come."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a receiver stands once a commit is durable: `done` are the committed numbers above the watermark."""

    watermark: int
    done: frozenset[int] = frozenset()
    gaps: tuple[Gap, ...] = ()


class Receiver:
    """The receiving end of one sender's sequence.

    Three steps keep memory and disk in agreement: `offer` accepts a frame; `settle` says what the state will be
    when some of the accepted ones are committed and changes nothing; `confirm` makes it so after the commit.
    """

    def __init__(self, mark: Mark) -> None:
        self.watermark = mark.watermark
        self._received = mark.watermark
        self._done = set(mark.done)
        self._pending: dict[int, int] = {}  # accepted and not committed, ascending; bytes of each
        self._gaps: list[Gap] = []  # not yet passed by the watermark

    @property
    def pending(self) -> int:
        """Number of frames accepted and not committed."""
        return len(self._pending)

    def offer(self, seq: int, base: int, *, room: bool = True, size: int = 0) -> tuple[Verdict, int]:
        """What becomes of frame `seq`, whose window has `size` bytes, of a device that still holds `base` and later;
        and how many are lost.
        """
        lost = self._skip_to(base) if base > self._received + 1 else 0
        if seq <= self.watermark:
            return Verdict.COMMITTED, lost
        if seq <= self._received:
            return Verdict.PENDING, lost
        if seq != self._received + 1:
            return Verdict.EARLY, lost
        if seq in self._done:
            return self._known(seq), lost
        if not room:
            return Verdict.HELD, lost
        self._received = seq
        self._pending[seq] = size
        return Verdict.ACCEPTED, lost

    def _known(self, seq: int) -> Verdict:
        """The next frame was committed before, out of order."""
        self._received = seq
        if self._pending:
            return Verdict.PENDING
        self.watermark = seq  # everything up to it is durable, and no further commit would say so
        return Verdict.COMMITTED

    def settle(self, seqs: Collection[int]) -> Mark:
        """The state when these accepted frames are committed, too. Everything below the first open one is done."""
        open_ = next((seq for seq in self._pending if seq not in seqs), None)
        watermark = self._received if open_ is None else open_ - 1
        while watermark + 1 in self._done:
            watermark += 1
        done = frozenset(seq for seq in self._done.union(seqs) if seq > watermark)
        return Mark(watermark, done, tuple(gap for gap in self._gaps if gap.last <= watermark))

    def confirm(self, seqs: Iterable[int], mark: Mark) -> int:
        """The state that `settle` returned for `seqs` is durable; the bytes that are free by that."""
        freed = sum([self._pending.pop(seq) for seq in seqs])
        self.watermark, self._done = mark.watermark, set(mark.done)
        self._received = max(self._received, mark.watermark)
        self._gaps = [gap for gap in self._gaps if gap.last > mark.watermark]
        return freed

    def _skip_to(self, base: int) -> int:
        """Give up what the device no longer holds; the number of frames lost by that."""
        first, lost = self._received + 1, 0
        for done in sorted(seq for seq in self._done if first <= seq < base):
            lost += self._lose(first, done - 1)
            first = done + 1
        lost += self._lose(first, base - 1)
        self._received = base - 1
        return lost

    def _lose(self, first: int, last: int) -> int:
        if last < first:
            return 0
        self._gaps.append(Gap(first, last))
        return last - first + 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """A frame taken into custody: it will be committed, whether its window is usable or not (then None)."""

    receipt: Receipt
    window: StreamWindow | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A bad frame: when (ns UTC), where, why, how long, and how it began (hex)."""

    time: int
    topic: str
    reason: str
    detail: str
    size: int
    head: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps memory bounded, whatever arrives."""

    payload: int = LIMIT
    devices: int = 10_000
    pending_per_device: int = 1_024
    pending: int = 50_000
    pending_bytes: int = 1 << 30
    """Of the windows' numbers, as 32-bit floats: a picture of one byte a colour is four times as large here."""
    dead_letters: int = 256
    ahead_s: float = 300.0
    """A window further than this in the future has a broken clock: it would make everyone else's late."""


class Ingest:
    """All receivers, and the way from a payload to a window.

    Args:
        marks: where each sender stood at the last commit, oldest first.
        usable: raises an `IotlmError` for a window that the model cannot take.
        clock: UTC nanoseconds.
        notices: where a person is told why a stream's frames lead to nothing.
    """

    def __init__(
        self,
        marks: Mapping[Sender, Mark],
        metrics: Metrics,
        usable: Callable[[StreamWindow], None],
        clock: Callable[[], int],
        limits: Limits = Limits(),
        notices: Notices | None = None,
    ) -> None:
        self.metrics, self._usable, self._clock, self._limits = metrics, usable, clock, limits
        self._notices = notices or Notices()
        self._devices: dict[tuple[str, str], OrderedDict[str, Receiver]] = {}
        self._forgotten: list[Sender] = []
        self._heard: set[tuple[str, str]] = set()  # devices whose first frame was told
        self.pending = self.pending_bytes = 0
        self.dead_letters: deque[DeadLetter] = deque(maxlen=limits.dead_letters)
        for sender, mark in marks.items():
            self._devices.setdefault((sender.site, sender.device), OrderedDict())[sender.epoch] = Receiver(mark)

    def take(self, topic: topics.FrameTopic, payload: bytes) -> tuple[Verdict, Sender | None, Accepted | None]:
        """Judge one payload. `Accepted` comes with verdict ACCEPTED only, a sender with all but BAD."""
        self.metrics.frame_bytes.inc(len(payload))
        try:
            frame = self._decode(payload)
            sender = Sender(topic.site, topic.device, frame.epoch)
            receiver = self._receiver(sender, frame.base)
        except MessageError as error:
            self.bury(topics.frames(topic.site, topic.device, topic.stream), payload, error.reason, str(error))
            self.metrics.frames.labels(Verdict.BAD).inc()
            return Verdict.BAD, None, None
        size = frame.data.size * np.dtype(np.float32).itemsize
        verdict, lost = receiver.offer(frame.seq, frame.base, room=self._has_room(receiver), size=size)
        self.metrics.frames.labels(verdict).inc()
        if lost:
            self.metrics.lost_frames.inc(lost)
        if verdict is not Verdict.ACCEPTED:
            return verdict, sender, None
        self.pending += 1
        self.pending_bytes += size
        receipt = Receipt(sender, frame.seq, topic.stream, frame.t0)
        window = self._window(topic, frame, payload)
        if window is not None and (topic.site, topic.device) not in self._heard and len(self._heard) < _HEARD:
            self._heard.add((topic.site, topic.device))
            place = repr(frame.placement)[1:-1]  # a stranger's words: one line
            log.info("%s/%s delivers %s at %.63s", topic.site, topic.device, frame.modality, place)
        return verdict, sender, Accepted(receipt, window)

    def bury(self, topic: str, payload: bytes, reason: str, detail: str) -> None:
        """Count a payload that cannot be used, keep what helps to find out why, say so once per topic and reason."""
        self.metrics.bad_frames.labels(reason).inc()
        stream = topic.removeprefix(topics.FRAMES_ALL.rstrip("+/") + "/")  # as `align` names it
        self._notices.say(stream, reason, f"a message leads to nothing: {detail[:200]!r}. /dead-letters has the newest")
        head = payload[:_HEAD].hex()
        self.dead_letters.append(DeadLetter(self._clock(), topic[:200], reason, detail[:200], len(payload), head))

    def settle(self, receipts: Iterable[Receipt]) -> dict[Sender, tuple[set[int], Mark]]:
        """By sender: the numbers that these receipts commit, and where its receiver stands then."""
        seqs: dict[Sender, set[int]] = {}
        for receipt in receipts:
            seqs.setdefault(receipt.sender, set()).add(receipt.seq)
        return {sender: (numbers, self._at(sender).settle(numbers)) for sender, numbers in seqs.items()}

    def confirm(self, settled: Mapping[Sender, tuple[set[int], Mark]]) -> None:
        """The commit of what `settle` returned is durable."""
        for sender, (numbers, mark) in settled.items():
            self.pending_bytes -= self._at(sender).confirm(numbers, mark)
            self.pending -= len(numbers)

    def forgotten(self) -> list[Sender]:
        """Senders given up since the last call: epochs that their device has long replaced."""
        senders, self._forgotten = self._forgotten, []
        return senders

    def watermarks(self, senders: Iterable[Sender]) -> dict[Sender, int]:
        """Of each sender that is still known: the newest number of which all up to it are committed."""
        found = {}
        for sender in senders:
            epochs = self._devices.get((sender.site, sender.device), OrderedDict())
            if sender.epoch in epochs:
                found[sender] = epochs[sender.epoch].watermark
        return found

    def senders(self) -> Iterator[tuple[Sender, Receiver]]:
        """All senders known, with their receivers; of one device that heard of last comes last."""
        for (site, device), epochs in self._devices.items():
            for epoch, receiver in epochs.items():
                yield Sender(site, device, epoch), receiver

    def pending_of(self, site: str, device: str) -> int:
        """Windows of a device that are accepted and not committed."""
        return sum(receiver.pending for receiver in self._devices.get((site, device), {}).values())

    def _has_room(self, receiver: Receiver) -> bool:
        """Whether one more window may be held, however large: so the largest gets through, too."""
        limits = self._limits
        mine = self.pending < limits.pending and self.pending_bytes < limits.pending_bytes
        return mine and receiver.pending < limits.pending_per_device

    def _at(self, sender: Sender) -> Receiver:
        return self._devices[sender.site, sender.device][sender.epoch]

    def _decode(self, payload: bytes) -> Frame:
        frame = decode_frame(payload, self._limits.payload)
        if not _EPOCH.fullmatch(frame.epoch):
            raise MessageError("epoch", f"epoch {frame.epoch[:80]!r} is not 1 to 64 letters, digits and '-'")
        if frame.seq > _MAX_SEQ:
            raise MessageError("seq", f"seq {frame.seq} is above {_MAX_SEQ}")
        return frame

    def _receiver(self, sender: Sender, base: int) -> Receiver:
        """The sender's receiver; a new one begins at the base: what was before belongs to no one here."""
        epochs = self._devices.get((sender.site, sender.device))
        if epochs is None:
            if len(self._devices) >= self._limits.devices:
                raise MessageError("devices", f"more than {self._limits.devices} devices; raise limits.devices")
            epochs = self._devices[sender.site, sender.device] = OrderedDict()
        receiver = epochs.get(sender.epoch)
        if receiver is None:
            self._make_room(sender, epochs)
            receiver = epochs[sender.epoch] = Receiver(Mark(base - 1))
        epochs.move_to_end(sender.epoch)
        return receiver

    def _make_room(self, sender: Sender, epochs: OrderedDict[str, Receiver]) -> None:
        if len(epochs) < _MAX_EPOCHS:
            return
        idle = next((epoch for epoch, receiver in epochs.items() if not receiver.pending), None)
        if idle is None:
            raise MessageError("epochs", f"{sender.device} sends from more than {_MAX_EPOCHS} spools at once")
        del epochs[idle]
        self._forgotten.append(sender._replace(epoch=idle))

    def _window(self, topic: topics.FrameTopic, frame: Frame, payload: bytes) -> StreamWindow | None:
        """The window in an accepted frame, or None: it is then committed unused, so that its device can go on."""
        try:
            window = window_of(topic, frame)
            if frame.t0 > self._clock() + self._limits.ahead_s * 1e9:
                raise MessageError("future", f"t0 {frame.t0} is more than {self._limits.ahead_s:g} s ahead")
            self._usable(window)
        except MessageError as error:
            self.bury(topics.frames(topic.site, topic.device, topic.stream), payload, error.reason, str(error))
        except IotlmError as error:
            self.bury(topics.frames(topic.site, topic.device, topic.stream), payload, "unusable", str(error))
        except Exception:  # the frame is in custody: it has to reach the commit, or its device would stall
            log.exception("a window of %s/%s/%s could not be checked", topic.site, topic.device, topic.stream)
            self.bury(topics.frames(topic.site, topic.device, topic.stream), payload, "unexpected", "see the log")
        else:
            return window
        return None
