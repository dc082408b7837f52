"""What all open pages look at: each thing is read and drawn once, however many look, and never by a page itself.

It belongs to the event loop; the database is read in a thread, at most once a second. It refuses to know NiceGUI.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from backend.answer import Decision
from backend.serve.align import GroupKey
from backend.serve.console.lines import Lines, facts_panel, panels
from backend.serve.console.pictures import Picture, picture
from backend.serve.past import LATEST, Episode
from backend.serve.recent import MOST, SPAN_S, Health, Strip
from backend.tasks import Classification
from broker.messages import Event
from edge.clock import SECOND

if TYPE_CHECKING:
    from backend.serve.api import Parts
    from backend.serve.dialogue import Dialogue
    from backend.serve.pipeline import Pipeline

MINUTES = 10
"""How far back the time line goes."""
MOST_GROUPS = 200
"""That can be chosen from."""
_MOST_EVENTS, _MOST_EPISODES, _MOST_READINGS = 200, 200, 10_000
_FRESH_S = 0.9  # what is younger is not made again
_MOST_KEPT = 4 * MOST  # drawings, lists and readings
_AROUND_NS = 6 * SECOND  # what is shown before and after a span
_NOW_NS = 5 * SECOND  # a group whose newest window is younger is drawn up to now
T = TypeVar("T")


class Desk:
    """What the pages of one backend share.

    Args:
        parts: of the backend; `pipeline` is None until the model is loaded.
        clock: monotonic seconds.
        now: UTC nanoseconds.
    """

    def __init__(
        self, parts: Parts, clock: Callable[[], float] = time.monotonic, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._parts, self._clock, self._now = parts, clock, now
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._last = -1  # offset of the newest event that was read
        self._read, self._reading = float("-inf"), asyncio.Lock()
        self._episodes: OrderedDict[tuple[GroupKey, tuple[int, int] | None], tuple[float, list[Episode]]]
        self._episodes = OrderedDict()
        self._made: OrderedDict[Hashable, tuple[float, object]] = OrderedDict()

    @property
    def pipeline(self) -> Pipeline | None:
        """None until the model is loaded."""
        return self._parts.pipeline

    @property
    def dialogue(self) -> Dialogue | None:
        """None until the model is loaded."""
        return self.pipeline.dialogue if self.pipeline else None

    def state(self) -> tuple[str, str]:
        """`ok`, `wait` or `bad`, and in words how the backend is."""
        if self.pipeline is None:
            return "wait", "the model is being loaded"
        if self._parts.link is None or not self._parts.link.connected:
            return "bad", "the broker is away"
        if not self.groups():
            return "wait", "no device has been heard of yet"
        return "ok", "live"

    def groups(self) -> list[GroupKey]:
        """Those that anything is known of, in order of their names."""
        if self.pipeline is None or (recent := self.pipeline.recent) is None:
            return []
        known = self.pipeline.dialogue.groups
        return self.once("groups", lambda: sorted(recent.groups().union(known()))[:MOST_GROUPS])

    def strips(self, key: GroupKey) -> list[Strip]:
        """A group's streams."""
        if self.pipeline is None or (recent := self.pipeline.recent) is None:
            return []
        return self.once(("strips", key), lambda: recent.strips(key))

    def devices(self, key: GroupKey) -> list[tuple[Health, int]]:
        """A group's devices, each with its windows that are on their way to the store."""
        if self.pipeline is None or (recent := self.pipeline.recent) is None:
            return []
        pending = self.pipeline.ingest.pending_of
        return self.once(
            ("devices", key), lambda: [(one, pending(one.site, one.device)) for one in recent.devices(key)]
        )

    def refused(self) -> list[str]:
        """The newest messages that could not be used, newest first, as text."""
        letters = list(self.pipeline.ingest.dead_letters)[-5:] if self.pipeline else []
        return [f"{letter.topic}: {letter.detail}" for letter in reversed(letters)]

    def decisions(self, key: GroupKey) -> Mapping[str, tuple[Decision, int]]:
        """By task what was decided last of a group, and of which time, ns UTC."""
        newest = self.pipeline.engine.newest.get(key) if self.pipeline else None
        return dict(sorted(newest.decisions.items())) if newest else {}

    def words(self) -> dict[str, dict[str, str]]:
        """By task and label what the label is called."""
        tasks = self.pipeline.tasks if self.pipeline else {}
        return {name: task.words for name, task in tasks.items() if isinstance(task, Classification)}

    def minute(self, key: GroupKey) -> tuple[int, int]:
        """The last minute of a group, ns UTC: it ends now, or with its newest window if that is long past."""
        newest = max((strip.until for strip in self.strips(key)), default=0)
        now = self._now()
        end = now if newest == 0 or now - newest < _NOW_NS else newest
        return end - round(SPAN_S * SECOND), end

    def panels(self, strip: Strip, span: tuple[int, int]) -> list[Lines]:
        """What is drawn of a stream's last minute."""
        return self.once(("panels", strip.group, strip.key), lambda: panels(strip, *span))

    def picture(self, strip: Strip) -> Picture | None:
        """A stream's newest frame."""
        return self.once(("picture", strip.group, strip.key), lambda: picture(strip))

    async def span(self, key: GroupKey, strip: Strip, span: tuple[int, int], fact: str) -> list[Lines]:
        """What a stream was like around a time, ns UTC: its samples where they are still there, or else facts."""
        began, ended = span[0] - _AROUND_NS, span[1] + _AROUND_NS
        if strip.shown and strip.samples and strip.samples[0][0] <= span[0]:
            return panels(strip, began, ended)
        told: Sequence[tuple[int, Mapping[str, float]]] = strip.facts
        if not told or told[0][0] > span[0]:
            store = self._parts.store
            try:
                found = await asyncio.to_thread(store.readings, key, began, ended, _MOST_READINGS)
            except SQLAlchemyError:
                found = []
            told = [(one.t0, one.facts) for one in found if one.stream == strip.key] or told
        names = (fact,) if fact else tuple(told[0][1])[:1] if told else ()
        return [facts_panel(told, names, began, ended)]

    async def events(self, key: GroupKey) -> list[Event]:
        """A group's newest events, oldest first; of all groups, so many are kept."""
        newest = self._parts.store.newest_offset
        if newest != self._last and self._clock() - self._read > _FRESH_S and not self._reading.locked():
            async with self._reading:  # who asks meanwhile gets what was there
                after, self._read = max(self._last, newest - _MOST_EVENTS), self._clock()
                with contextlib.suppress(SQLAlchemyError):
                    self._events += await asyncio.to_thread(self._parts.store.events, after, newest - after)
                    self._last = newest  # not before: the page that reads may go meanwhile
        return [event for event in self._events if (event.site, event.group) == key]

    async def episodes(self, key: GroupKey, span: tuple[int, int] | None = None) -> list[Episode]:
        """What was told of a group and touches a time, ns UTC, or the last `MINUTES`; the newest ones."""
        at, found = self._episodes.get((key, span), (float("-inf"), []))
        if self._clock() - at > _FRESH_S:
            _keep(self._episodes, (key, span), (self._clock(), found))  # who asks meanwhile gets what was there
            since, until = span or (self.minute(key)[1] - MINUTES * 60 * SECOND, LATEST)
            with contextlib.suppress(SQLAlchemyError):
                found = await asyncio.to_thread(self._parts.store.episodes, key, since, _MOST_EPISODES, until)
                _keep(self._episodes, (key, span), (self._clock(), found))
        return found

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What all pages show alike, made anew when it is old."""
        at, made = self._made.get(name, (float("-inf"), None))
        if self._clock() - at > _FRESH_S:
            made = make()
            _keep(self._made, name, (self._clock(), made))
        return made  # type: ignore[return-value]


K = TypeVar("K")


def _keep(kept: OrderedDict[K, T], name: K, value: T) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
