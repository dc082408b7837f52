"""Batches: at once when idle, full under load, bounded waiting in between."""

import asyncio
import time

from backend.serve.batcher import Batcher


async def test_an_idle_engine_gets_the_first_item_at_once():
    batcher: Batcher[int] = Batcher(64, 5.0, time.monotonic)
    waiting = asyncio.create_task(batcher.next())
    await asyncio.sleep(0.01)
    batcher.put([1])
    assert await asyncio.wait_for(waiting, 0.5) == [1]


async def test_what_came_while_the_engine_was_busy_goes_in_one_batch_in_order():
    batcher: Batcher[int] = Batcher(8, 0.0, time.monotonic)
    batcher.put(range(20))
    assert [await batcher.next() for _ in range(3)] == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert len(batcher) == 0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_waiting_pays_only_if_a_full_batch_is_near():
    clock = Clock()
    batcher: Batcher[int] = Batcher(10, 0.02, clock)
    for _ in range(50):  # one every 0.5 s
        clock.now += 0.5
        batcher.put([0])
        batcher._items.clear()
    assert batcher.patience_s() == 0.0
    for _ in range(100):  # one every millisecond
        clock.now += 0.001
        batcher.put([0])
        batcher._items.clear()
    assert batcher.patience_s() == 0.02
    clock.now += 0.5  # the stream has stopped
    assert batcher.patience_s() == 0.0


async def test_a_full_batch_ends_the_waiting():
    batcher: Batcher[int] = Batcher(4, 30.0, time.monotonic)
    batcher.put([1, 2, 3])  # at the same instant: a flood
    waiting = asyncio.create_task(batcher.next())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    batcher.put([4, 5])
    assert await asyncio.wait_for(waiting, 0.5) == [1, 2, 3, 4]
    assert len(batcher) == 1


async def test_the_deadline_ends_the_waiting():
    batcher: Batcher[int] = Batcher(4, 0.05, time.monotonic)
    batcher.put([1, 2])
    begun = time.monotonic()
    assert await batcher.next() == [1, 2]
    assert 0.04 <= time.monotonic() - begun < 1.0
