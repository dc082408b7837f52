"""Time as an argument: what reads the clock or waits is handed a `Clock`; tests and simulations bring their own.

`SystemClock` is real time. `ManualClock` moves only when somebody sleeps on it: hours of a simulated day pass at once.
"""

import asyncio
import ctypes
import time
from typing import Protocol

SECOND = 1_000_000_000
"""Nanoseconds: times of ours are integers of them."""
_TIMEX_BYTES = 512  # more than struct timex has anywhere; all zeros ask and set nothing
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class Clock(Protocol):
    """Event time and patience."""

    def now(self) -> int:
        """Nanoseconds UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when that much time has passed on this clock."""
        ...

    def synced(self) -> bool:
        """Whether the time is believed to be right."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Nanoseconds UTC."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(seconds)

    def synced(self) -> bool:
        """What the Linux kernel was told by NTP or the like; True on systems that do not tell."""
        try:
            state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
        except (OSError, TypeError, AttributeError):
            return True
        return state != _TIME_ERROR


class ManualClock:
    """A clock that starts at `start` (ns UTC) and jumps ahead by every sleep, which only yields to other work."""

    def __init__(self, start: int = 0) -> None:
        self._now = start

    def now(self) -> int:
        """Nanoseconds UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Jump ahead."""
        self._now += round(seconds * 1e9)
        await asyncio.sleep(0)

    def synced(self) -> bool:
        """It is right by definition."""
        return True
