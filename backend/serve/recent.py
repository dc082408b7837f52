"""The last minute as a person may look at it: samples, levels and pictures of each stream, and how each device is.

It is filled on the way of every frame, so what it does there is little: it copies some samples of a window, and draws
nothing. All of it is bounded and in memory; a restart forgets it. It belongs to the event loop. It refuses to know who
looks, and nothing is decided by it.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.moment import StreamWindow
from backend.serve.align import GroupKey
from broker.messages import Status
from broker.modalities import MODALITIES
from edge.clock import SECOND

SPAN_S = 60.0
"""How far back a strip goes, in event time."""
LEVELS_HZ = 10.0
"""Levels of sound in a second."""
MOST = 256
"""Streams and devices that are followed; those that were heard of longest ago give way."""
_MOST_WINDOWS = 1_024  # of a strip, however its clock goes
_MOST_CHANNELS = 9  # a series of more is told by its facts
_SIDE = 128  # longest side of a picture that is kept
_QUIET = 1e-6  # -120 dB of full scale
_RATE_S = 10  # seconds that a rate is the mean of

Samples = tuple[int, NDArray[np.float32]]
"""When they begin, ns UTC, and (T, C) at the strip's rate."""
T = TypeVar("T")


@dataclass(slots=True)
class Strip:
    """The last minute of a stream. `rate` is that of `samples` in Hz; of frames and tokens there are none.

    `shown` are the channels of `samples`: those of the modality's row, or "level" of sound. `until` is where the newest
    window ends, ns UTC. `version` is another with every window.
    """

    group: GroupKey
    key: str
    modality: str
    placement: str
    tokens: bool
    rate: float
    shown: tuple[str, ...]
    units: tuple[str, ...]
    samples: deque[Samples] = field(default_factory=lambda: deque(maxlen=_MOST_WINDOWS))
    facts: deque[tuple[int, Mapping[str, float]]] = field(default_factory=lambda: deque(maxlen=_MOST_WINDOWS))
    picture: NDArray[np.float32] | None = None
    until: int = 0
    version: int = 0


@dataclass(slots=True)
class Health:
    """How a device is, by its own word and by what came. `heard` is UTC seconds, 0 before the first window."""

    group: GroupKey
    site: str
    device: str
    status: Status | None = None
    heard: float = 0.0
    lost: int = 0
    late: int = 0
    counts: deque[list[int]] = field(default_factory=lambda: deque(maxlen=_RATE_S + 1))

    def rate(self, now: float) -> float:
        """Windows per second, over the last ten."""
        second = int(now)
        return sum(count for at, count in self.counts if second - _RATE_S <= at < second) / _RATE_S


class Recent:
    """What came of late of all groups.

    Args:
        group_of: the group of a site's device.
        now: UTC nanoseconds.
    """

    def __init__(self, group_of: Callable[[str, str], GroupKey], now: Callable[[], int] = time.time_ns) -> None:
        self._group_of, self._now = group_of, now
        self._strips: OrderedDict[tuple[str, str], Strip] = OrderedDict()
        self._devices: OrderedDict[tuple[str, str], Health] = OrderedDict()

    def status(self, site: str, device: str, status: Status) -> None:
        """A device's own word. One that is offline names no streams: those that it named before are kept."""
        health = self._health(site, device)
        if not status.streams and health.status is not None:
            status = replace(status, streams=health.status.streams)
        health.status = status

    def window(self, site: str, window: StreamWindow) -> None:
        """A window that came."""
        now = self._now() / SECOND
        health = self._health(site, window.device)
        health.heard = now
        if health.counts and health.counts[-1][0] == int(now):
            health.counts[-1][1] += 1
        else:
            health.counts.append([int(now), 1])
        strip = self._strips.get((site, window.key))
        if strip is None or (strip.modality, strip.tokens) != (window.modality, window.values is None):
            strip = _strip(self._group_of(site, window.device), window)
        _newest(self._strips, (site, window.key), strip)
        _add(strip, window)

    def note(self, site: str, device: str, *, lost: int = 0, late: int = 0) -> None:
        """Windows of a device that can never come, and those that came after their moment."""
        if (health := self._devices.get((site, device))) is not None:
            health.lost += lost
            health.late += late

    def groups(self) -> set[GroupKey]:
        """Those that something was heard of."""
        return {health.group for health in self._devices.values()}

    def strips(self, key: GroupKey) -> list[Strip]:
        """A group's streams, in order of their names."""
        return sorted((strip for strip in self._strips.values() if strip.group == key), key=lambda strip: strip.key)

    def devices(self, key: GroupKey) -> list[Health]:
        """A group's devices, in order of their names."""
        return sorted((one for one in self._devices.values() if one.group == key), key=lambda one: one.device)

    def _health(self, site: str, device: str) -> Health:
        health = self._devices.get((site, device)) or Health(self._group_of(site, device), site, device)
        _newest(self._devices, (site, device), health)
        return health


def _newest(kept: OrderedDict[tuple[str, str], T], name: tuple[str, str], value: T) -> None:
    kept[name] = value
    kept.move_to_end(name)
    if len(kept) > MOST:
        kept.popitem(last=False)


def _strip(group: GroupKey, window: StreamWindow) -> Strip:
    row = MODALITIES[window.modality]
    shown, units, rate = row.channels, row.units, window.rate
    if window.values is None or row.axes != ("time",) or len(shown) > _MOST_CHANNELS:
        shown, units = (), ()
    elif window.modality == "audio":
        shown, units, rate = ("level",), ("dB",), LEVELS_HZ
    return Strip(group, window.key, window.modality, window.placement, window.values is None, rate, shown, units)


def _add(strip: Strip, window: StreamWindow) -> None:
    if strip.facts and window.t0 < strip.facts[-1][0]:  # a clock that was set back
        strip.samples.clear()
        strip.facts.clear()
        strip.until = 0
    if window.values is not None and strip.shown:
        _sample(strip, window, window.values)
    elif window.values is not None and MODALITIES[window.modality].axes != ("time",):
        frame_HWC = window.values[-1] if window.values.ndim == 4 else window.values
        step = -(-max(frame_HWC.shape[:2]) // _SIDE)
        strip.picture = frame_HWC[::step, ::step, :3].copy()
    strip.facts.append((window.t0, window.facts))
    strip.placement = window.placement
    strip.until = max(strip.until, window.t0 + round(MODALITIES[window.modality].window_s * SECOND))
    strip.version += 1
    oldest = strip.until - round(SPAN_S * SECOND)
    for kept in (strip.samples, strip.facts):
        while kept and kept[0][0] < oldest:
            kept.popleft()


def _sample(strip: Strip, window: StreamWindow, values_TC: NDArray[np.float32]) -> None:
    """The samples of a window that the one before it did not have: windows overlap."""
    begin = round(max(0, strip.until - window.t0) / SECOND * window.rate)
    fresh_TC = values_TC[begin:, : len(strip.shown)]
    if strip.modality == "audio":
        length = round(window.rate / LEVELS_HZ)
        whole = len(fresh_TC) // length * length
        mean_square_N = np.square(fresh_TC[:whole, 0]).reshape(-1, length).mean(1)
        fresh_TC = (10 * np.log10(mean_square_N + _QUIET**2))[:, None]
    elif window.rate != strip.rate:
        strip.samples.clear()
        strip.rate = window.rate
    if len(fresh_TC):
        strip.samples.append((window.t0 + round(begin / window.rate * SECOND), fresh_TC.astype(np.float32)))


def between(samples: Iterable[Samples], rate: float, began: int, ended: int) -> list[Samples]:
    """Those that touch a time, ns UTC."""
    return [one for one in samples if one[0] <= ended and one[0] + len(one[1]) / rate * SECOND >= began]
