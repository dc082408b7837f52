"""From windows of single devices to moments of groups, in event time.

A moment gathers one group's windows of one slot. Moments of a group close in order of time, each once:

* complete: every stream that an online device announced has delivered this slot or a later one;
* watermark: the newest event time seen in the group, less the lateness, has passed the moment, and each missing
  stream has been silent for the lateness in wall time, too (so that a device that is merely behind, in a replay
  faster than life or after an outage, is waited for while it keeps delivering), and one whose windows are always
  behind, because they are cut with a view of what comes after them, for as much longer as that takes;
* overdue: the same, but the missing stream keeps delivering for other times, and the moment has waited for long;
* idle: nothing came for the group for a while.

What comes after its moment has closed is late: it is committed and raises nothing. Which windows a moment holds
therefore depends on event time, not on the order of arrival, as long as no device falls silent. Time is an
argument, nothing is awaited here, and the module refuses to know about the wire, the model and the store.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from backend.moment import Moment, StreamWindow
from backend.serve.ingest import Accepted, Receipt
from backend.serve.notices import Notices
from broker.messages import Status, StreamInfo
from broker.modalities import MODALITIES
from edge.resample import pad_s
from edge.sender import WINDOW

HOP_NS = 500_000_000
"""Length of a slot, ns: the hop of every modality's windows, which lie on a grid from the UTC epoch."""
_MAX_STREAMS = 128  # of one group: what an event can attribute
_CROWD = WINDOW * 3 // 4  # open windows of a device from which on its sender must not be kept waiting
_BEHIND = "delivers, but for times far behind its group's: what it sends is late from now on; check the devices' clocks"
_MANY_LATE = 5  # windows of a stream running; fewer can be a resend, and as many more as it is behind its coming back
_LATE_AGAIN = (
    "{count} windows running came too late for their moment, the last by {behind_s:.1f} s: they are committed and "
    "raise no event in group {group!r}. Send a recording with `edge replay --now`, or to a site of its own; of a live "
    "device check clock and network"
)
_TOO_SHORT = (
    "{count} windows running came too late for their moment: they come up to {delay_s:g} s after their end, and "
    "max_wait_s is {max_wait_s:g}; set it to {enough_s:g} or more to have them fused. They are committed and raise no "
    "event in group {group!r}"
)
_TOO_LATE = (
    "a window is {behind_s:.0f} s older than the newest moment decided for group {group!r}: it is committed and raises "
    "no event. So is what a device has kept while it was cut off; a recording is sent with `edge replay --now`, or "
    "to a site of its own"
)
_FULL = "group {group!r} is one more than the {most} that are followed: its windows are committed and raise no event"
_TWICE = (
    "two windows of slot {slot}: the first one counts; do two programs send under one name, has the rate changed, or "
    "does a device send again under a new epoch?"
)


class GroupKey(NamedTuple):
    """A group of devices of one site."""

    site: str
    group: str


@dataclass(frozen=True, slots=True)
class Closed:
    """What is to be committed together: a moment, or None for windows that belong to no moment.

    `by` is complete, watermark, overdue or idle; without a moment late, unusable, unfollowed (more groups than the
    limit), twice (the moment has this stream's window), or `gone`: nothing has come from the group for long, so its
    episodes are over.
    """

    group: GroupKey
    moment: Moment | None
    receipts: tuple[Receipt, ...]
    by: str


class Grouping:
    """Whose sensors are fused: a device alone unless the settings join it with others.

    Args:
        groups: name of a group -> names of its devices, at every site.
    """

    def __init__(self, groups: Mapping[str, Iterable[str]]) -> None:
        self._members = {group: frozenset(devices) for group, devices in groups.items()}
        self._group_of = {device: group for group, devices in self._members.items() for device in devices}

    def key(self, site: str, device: str) -> GroupKey:
        """The group of a device."""
        return GroupKey(site, self._group_of.get(device, device))

    def members(self, key: GroupKey) -> frozenset[str]:
        """Devices that the settings name for this group; empty for a device alone."""
        return self._members.get(key.group, frozenset())


@dataclass(slots=True)
class _Open:
    """A moment that still gathers; `since` is wall time in seconds."""

    since: float
    windows: dict[str, StreamWindow] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)


@dataclass(slots=True)
class _Awaited:
    """An announced stream: how long its windows come after their end, and when it was last heard of; in seconds."""

    delay_s: float
    heard: float


@dataclass(slots=True)
class _Group:
    closed: int  # newest slot that has closed
    absent: set[str]  # devices of the settings that have not been heard of and may still come
    known: set[str] = field(default_factory=set)  # devices that gave a status, online or offline
    overdue: bool = False  # whether the newest closed moment had waited too long
    newest: int = -1
    active: float = float("-inf")
    gone: bool = True  # no episode can be going on
    open: dict[int, _Open] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)  # device -> its windows in open moments
    awaited: dict[str, dict[str, _Awaited]] = field(default_factory=dict)  # online device -> its streams by key
    streams: dict[str, int] = field(default_factory=dict)  # key -> newest slot
    late: dict[str, int] = field(default_factory=dict)  # windows of a stream that were late, running


class Aligner:
    """All groups and their open moments.

    Args:
        grouping: which devices belong together.
        closed: newest slot committed of each group, from the store.
        hop_ns: length of a slot.
        lateness_s: how far the newest event time may run ahead of a missing window.
        max_wait_s: wall time, if longer than the lateness, that a moment waits for a stream that is behind: always (if
            this is long enough for the stream and the lateness), or while it keeps delivering. Replays faster than life
            need a little of it. It frees a device whose clock is ahead of its group's: its unacknowledged frames fill
            its sender's window, and none of its own can open that again.
        idle_s: wall time without any window after which a group's moments close, and it is gone. While one of its
            devices is online, it is gone after `max_wait_s` if that is longer: what the device kept while it was cut
            off would go on where it stopped.
        clock: monotonic seconds.
        max_groups: groups kept at most; further ones are not followed.
        notices: where a person is told why a stream's windows lead to nothing.
    """

    def __init__(
        self,
        grouping: Grouping,
        closed: Mapping[GroupKey, int],
        *,
        hop_ns: int,
        lateness_s: float,
        idle_s: float,
        max_wait_s: float = 30.0,
        clock: Callable[[], float],
        max_groups: int = 10_000,
        notices: Notices | None = None,
    ) -> None:
        self._grouping, self._hop_ns, self._clock, self._max_groups = grouping, hop_ns, clock, max_groups
        self._lateness_s, self._idle_s, self._max_wait_s = lateness_s, idle_s, max(max_wait_s, lateness_s)
        self._notices = notices or Notices()
        self._lateness_slots = round(lateness_s * 1e9 / hop_ns)
        self._full = False  # whether a group has been turned away
        self._groups = {
            key: _Group(slot, set(grouping.members(key)), active=clock(), gone=False) for key, slot in closed.items()
        }

    @property
    def open_moments(self) -> int:
        """Number of moments that still gather."""
        return sum(len(group.open) for group in self._groups.values())

    @property
    def online(self) -> int:
        """Number of devices whose last word was online."""
        return sum(len(group.awaited) for group in self._groups.values())

    def status(self, site: str, device: str, status: Status) -> list[Closed]:
        """A device's own word: its streams are awaited from now on, or no longer."""
        key = self._grouping.key(site, device)
        group = self._group(key)
        if group is None:
            return []
        group.absent.discard(device)
        group.known.add(device)
        if status.state == "online":
            known, now = group.awaited.get(device, {}), self._clock()
            named = {f"{device}/{info.name}": info for info in status.streams}
            group.awaited[device] = {
                name: _Awaited(_delay_s(info, self._hop_ns / 1e9), known[name].heard if name in known else now)
                for name, info in named.items()
            }
            for name, info in named.items():
                self._check_grid(f"{site}/{name}", info)
        else:
            group.awaited.pop(device, None)
        return self._close(key, group)

    def add(self, accepted: Accepted) -> list[Closed]:
        """Place a window; what closes by it, in order."""
        receipt, window = accepted.receipt, accepted.window
        key = self._grouping.key(receipt.sender.site, receipt.sender.device)
        if window is None:
            return [Closed(key, None, (receipt,), "unusable")]
        group, slot = self._group(key), window.t0 // self._hop_ns
        if group is None:
            return [Closed(key, None, (receipt,), "unfollowed")]
        if why := self._refusal(key, group, window, slot):
            return [Closed(key, None, (receipt,), why)]
        now = self._clock()
        moment = group.open.setdefault(slot, _Open(now))
        moment.windows[window.key] = window
        moment.receipts.append(receipt)
        group.held[window.device] += 1
        group.streams[window.key] = max(group.streams.get(window.key, -1), slot)
        if awaited := group.awaited.get(window.device, {}).get(window.key):
            awaited.heard = now
        group.late.pop(window.key, None)
        group.newest, group.active, group.gone = max(group.newest, slot), now, False
        group.absent.discard(receipt.sender.device)
        return self._close(key, group)

    def tick(self) -> list[Closed]:
        """What closes because wall time has passed."""
        now, closed = self._clock(), []
        for key, group in self._groups.items():
            silent_s = now - group.active
            if group.open:
                idle = silent_s >= self._idle_s
                closed += [self._finish(key, group, slot, "idle") for slot in sorted(group.open)] if idle else []
                closed += self._close(key, group)
            elif not group.gone and silent_s >= max(self._idle_s, self._max_wait_s if group.awaited else 0.0):
                group.gone = True
                closed.append(Closed(key, None, (), "gone"))
        return closed

    def _group(self, key: GroupKey) -> _Group | None:
        group = self._groups.get(key)
        if group is None and len(self._groups) < self._max_groups:
            group = self._groups[key] = _Group(-1, set(self._grouping.members(key)))
        elif group is None and not self._full:
            self._full = True
            words = _FULL.format(group=key.group, most=self._max_groups)
            self._notices.say(f"{key.site}/{key.group}", "groups", f"{words}; see limits.devices")
        return group

    def _close(self, key: GroupKey, group: _Group) -> list[Closed]:
        """Close the oldest moment while its time has come."""
        closed = []
        while group.open:
            slot = min(group.open)
            by = self._verdict(key, group, slot)
            if by is None:
                break
            closed.append(self._finish(key, group, slot, by))
        return closed

    def _verdict(self, key: GroupKey, group: _Group, slot: int) -> str | None:
        """Why the oldest moment may close now, or None."""
        moment, now = group.open[slot], self._clock()
        missing = {
            name: stream
            for streams in group.awaited.values()
            for name, stream in streams.items()
            if group.streams.get(name, -1) < slot
        }
        unknown = group.absent or any(window.device not in group.known for window in moment.windows.values())
        if not missing and not unknown:
            return "complete"
        if group.newest - self._lateness_slots < slot:
            return None
        behind = [name for name, stream in missing.items() if self._may_come(group, stream, moment.since)]
        if behind or (group.absent and now - moment.since < self._lateness_s):
            if now - moment.since < self._max_wait_s:
                return None
            for name in behind:
                self._notices.say(f"{key.site}/{name}", "late", _BEHIND)
            return "overdue"
        group.absent.clear()  # they had their chance; their status brings them in at any time
        return "watermark"

    def _may_come(self, group: _Group, stream: _Awaited, since: float) -> bool:
        """Whether a window that a moment lacks is waited for; the moment has been open `since` then.

        What is always behind is waited for while it lives, and not by every moment anew once it has fallen silent; and
        only as long as no device has so many windows in open moments that the one behind could not be sent.
        """
        now = self._clock()
        if now - max(since, stream.heard) < self._lateness_s:
            return True
        crowded = max(group.held.values(), default=0) >= _CROWD
        return self._can_wait_for(stream) and not crowded and now - stream.heard < self._lateness_s + stream.delay_s

    def _can_wait_for(self, stream: _Awaited) -> bool:
        """Whether a moment may wait for as long as a stream is behind by its nature; a shorter wait helps nobody."""
        return self._lateness_s + stream.delay_s <= self._max_wait_s

    def _check_grid(self, stream: str, info: StreamInfo) -> None:
        """Say so when a stream announces windows that will not fit the slots."""
        row = MODALITIES.get(info.modality)
        if row is not None and (info.window_s, info.hop_s) != (row.window_s, row.hop_s):
            theirs = f"sends windows of {info.window_s:g} s every {info.hop_s:g} s"
            ours = f"the backend takes {row.window_s:g} s every {row.hop_s:g} s of {row.name}"
            self._notices.say(
                stream, "grid", f"{theirs}, {ours}: leave window_s and hop_s out of the device's settings"
            )

    def _refusal(self, key: GroupKey, group: _Group, window: StreamWindow, slot: int) -> str | None:
        """Why a window has no place in any moment, as `Closed.by` says it; None if it has one."""
        stream = f"{key.site}/{window.key}"
        if slot <= group.closed:
            self._note_late(key, group, window, slot)
            return "late"
        if window.key not in group.streams and len(group.streams) >= _MAX_STREAMS:
            self._notices.say(stream, "streams", f"group {key.group!r} has {_MAX_STREAMS} streams and takes no more")
            return "unusable"
        held = group.open.get(slot)
        if held and window.key in held.windows:  # the grid holds one window of a slot
            self._notices.say(stream, "twice", _TWICE.format(slot=slot))
            return "twice"
        return None

    def _note_late(self, key: GroupKey, group: _Group, window: StreamWindow, slot: int) -> None:
        """Whether a late window brings its stream back, and what a person should hear of it."""
        stream, behind_s = f"{key.site}/{window.key}", (group.closed - slot) * self._hop_ns / 1e9
        awaited = group.awaited.get(window.device, {}).get(window.key)
        delay_s = awaited.delay_s if awaited else 0.0
        too_short = False  # whether it is late by its nature, and the settings leave it behind
        if awaited and behind_s < delay_s:  # it is back, and no further behind than always
            too_short = not self._can_wait_for(awaited)
            if not too_short and not group.overdue:  # what is overdue may have waited for this very stream
                awaited.heard = self._clock()
        if not too_short and behind_s > self._max_wait_s:  # a resend after a crash comes late, too, and is no news
            self._notices.say(stream, "late", _TOO_LATE.format(behind_s=behind_s, group=key.group))
        elif window.key in group.late or len(group.late) < _MAX_STREAMS:
            count = group.late[window.key] = group.late.get(window.key, 0) + 1
            if count >= _MANY_LATE + delay_s * 1e9 / self._hop_ns:
                words = (_TOO_SHORT if too_short else _LATE_AGAIN).format(
                    count=count,
                    behind_s=behind_s,
                    delay_s=delay_s,
                    max_wait_s=self._max_wait_s,
                    enough_s=self._lateness_s + delay_s,
                    group=key.group,
                )
                self._notices.say(stream, "max_wait_s" if too_short else "late", words)

    def _finish(self, key: GroupKey, group: _Group, slot: int, by: str) -> Closed:
        gathered = group.open.pop(slot)
        group.closed, group.overdue = slot, by == "overdue"
        group.held.subtract(window.device for window in gathered.windows.values())
        windows = tuple(gathered.windows[name] for name in sorted(gathered.windows))
        moment = Moment(key.site, key.group, slot, slot * self._hop_ns, windows)
        return Closed(key, moment, tuple(gathered.receipts), by)


def _delay_s(info: StreamInfo, hop_s: float) -> float:
    """How long after its end a window of a stream comes at most, on a device that is never late; in whole slots.

    Series are resampled with a view of `pad_s` beyond the window, and the sample that lies there is as far from the one
    before as the slowest source has them: 3 s in all for a gps of 1 Hz. What is less than a slot is for the lateness.
    """
    row = MODALITIES.get(info.modality)
    if row is None or row.axes != ("time",):
        return 0.0
    delay_s = pad_s(max(info.rate, row.min_rate)) + 1 / row.min_rate
    return delay_s // hop_s * hop_s
