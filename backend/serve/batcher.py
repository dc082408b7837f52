"""Gathers closed moments into batches: as large as they come while the engine is busy, at once when it is idle.

A batch is never waited for in vain: only if the arrivals of late promise a full one within the deadline does the
first moment wait for company, and never longer than that. The batcher knows nothing of what it gathers.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

_WEIGHT = 0.1  # of the newest arrival in the running mean of the time between arrivals


class Batcher(Generic[T]):
    """A queue with one consumer.

    Args:
        size: most items in a batch.
        deadline_s: longest time that an item waits for others while the consumer is free; 0 never waits.
        clock: monotonic seconds.
    """

    def __init__(self, size: int, deadline_s: float, clock: Callable[[], float]) -> None:
        self._size, self._deadline_s, self._clock = size, deadline_s, clock
        self._items: deque[T] = deque()
        self._changed = asyncio.Event()
        self._interval_s = float("inf")
        self._last = float("-inf")

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[T]) -> None:
        """Queue items in their order. What bounds their number is the windows that ingest accepts."""
        for item in items:
            self._items.append(item)
            self._note_arrival()
        self._changed.set()

    async def next(self) -> list[T]:
        """The next batch, 1 to `size` items, in order of arrival."""
        while not self._items:
            await self._wait_change()
        end = self._clock() + self.patience_s()
        while len(self._items) < self._size and (left := end - self._clock()) > 0:
            try:
                async with asyncio.timeout(left):  # wait_for of 3.11 may swallow a cancellation
                    await self._wait_change()
            except TimeoutError:
                break
        return [self._items.popleft() for _ in range(min(self._size, len(self._items)))]

    def patience_s(self) -> float:
        """How long waiting for a full batch pays: the deadline if it would be full by then, else nothing."""
        missing = self._size - len(self._items)
        idle = self._clock() - self._last
        return self._deadline_s if missing * max(self._interval_s, idle) <= self._deadline_s else 0.0

    async def _wait_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _note_arrival(self) -> None:
        now = self._clock()
        gap = now - self._last
        if self._interval_s == float("inf"):
            self._interval_s = gap
        else:
            self._interval_s += _WEIGHT * (gap - self._interval_s)
        self._last = now
