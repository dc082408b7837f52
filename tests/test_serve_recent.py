"""What the console draws of the last minute: lines that keep their peaks, levels, pictures; bounded, and from the store
where the last minute does not reach.
"""

import asyncio
import contextlib
import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from backend.moment import StreamWindow
from backend.serve.align import GroupKey
from backend.serve.api import Parts
from backend.serve.console.charts import bars, plot
from backend.serve.console.desk import Desk
from backend.serve.console.lines import MOST_POINTS, panels
from backend.serve.console.pictures import picture
from backend.serve.events import iso
from backend.serve.past import Measured
from backend.serve.recent import MOST, SPAN_S, Recent
from backend.serve.store import Commit, Store
from edge.clock import SECOND
from tests.serving import T0, new_metrics, status
from tests.test_serve_store import event

EVIL = '<img src=x onerror="window.boom=1">'


def window(modality: str, values: np.ndarray, at_s: float, rate: float, device: str = "d") -> StreamWindow:
    return StreamWindow(device, modality, modality, "x", T0 + round(at_s * SECOND), rate, values=values)


def new_recent() -> Recent:
    return Recent(GroupKey, lambda: T0)


def test_windows_that_overlap_become_one_line_which_keeps_its_peaks():
    rng = np.random.default_rng(0)
    signal_T6 = rng.normal(size=(50 * 70, 6)).astype(np.float32)
    signal_T6[2345, 2] = 77.0
    recent = new_recent()
    for i in range(139):
        recent.window("s", window("imu", signal_T6[25 * i : 25 * i + 50], i / 2, 50.0))
    [strip] = recent.strips(GroupKey("s", "d"))
    joined_T6 = np.concatenate([piece for _, piece in strip.samples])
    assert np.array_equal(joined_T6, signal_T6[len(signal_T6) - len(joined_T6) :])
    assert SPAN_S * 50 <= len(joined_T6) <= SPAN_S * 50 + 50
    acc, gyro = panels(strip, strip.until - round(SPAN_S * SECOND), strip.until)
    assert (acc.names, acc.unit, gyro.unit) == (("acc_x", "acc_y", "acc_z"), "m/s2", "rad/s")
    assert len(acc.rows) <= MOST_POINTS
    largest = max(acc.rows, key=lambda row: row[3])
    assert largest[3] == pytest.approx(77, rel=1e-3)
    assert largest[0] == pytest.approx(T0 / 1e6 + 2345 * 20, abs=400)
    assert [row[0] for row in acc.rows] == sorted(row[0] for row in acc.rows)


def test_a_silence_interrupts_a_line_and_a_clock_that_is_set_back_begins_a_new_one():
    recent, still_T6 = new_recent(), np.ones((50, 6), np.float32)
    for at in (0.0, 0.5, 9.0):
        recent.window("s", window("imu", still_T6, at, 50.0))
    [strip] = recent.strips(GroupKey("s", "d"))
    rows = panels(strip, T0, strip.until)[0].rows
    assert [row[1] for row in rows].count(None) == 1
    recent.window("s", window("imu", still_T6, 3.0, 50.0))
    assert len(strip.samples) == 1 and strip.until == T0 + 4 * SECOND


def test_sound_is_levels_and_frames_are_small_pictures():
    recent = new_recent()
    t_T = np.arange(16000) / 16000
    recent.window("s", window("audio", np.sin(2 * np.pi * 440 * t_T)[:, None].astype(np.float32), 0, 16000.0))
    ranges_HW1 = np.linspace(0, 9, 480 * 640, dtype=np.float32).reshape(480, 640, 1)
    recent.window("s", window("depth", ranges_HW1, 0, 2.0))
    recent.window("s", window("video", np.full((8, 32, 32, 3), 0.5, np.float32), 0, 8.0))
    audio, depth, video = recent.strips(GroupKey("s", "d"))
    assert audio.samples[0][1].ravel() == pytest.approx([-3.01] * 10, abs=0.01)
    assert picture(audio) is None
    seen = picture(depth)
    assert seen.size == (128, 96) and len(seen.url) < 40_000
    assert re.fullmatch(r"[\d.e-]+ to 8.9\d*|[\d.e-]+ to 9", seen.scale)
    assert picture(video).size == (32, 32)


def test_what_is_kept_and_drawn_is_bounded():
    recent, still_T6 = new_recent(), np.ones((50, 6), np.float32)
    for i in range(MOST + 50):
        recent.window("s", window("imu", still_T6, 0, 50.0, device=f"d{i}"))
    assert len(recent.groups()) == MOST
    assert GroupKey("s", "d0") not in recent.groups()
    for i in range(1000):
        recent.window("s", window("imu", still_T6, i, 50.0, device="d305"))
    [strip] = recent.strips(GroupKey("s", "d305"))
    assert len(strip.samples) <= SPAN_S + 1 and len(strip.facts) <= SPAN_S + 1
    for step_s in (0.0, 0.02):  # a clock that stands still, and one that is slow
        for i in range(3000):
            at = window("imu", still_T6, 2000 + i * step_s, 50.0, device="d305")
            recent.window("s", replace(at, facts={"imu.rms": float(i)}))
        assert len(strip.samples) <= 1024 and len(strip.facts) <= 1024
        assert strip.facts[-1][1] == {"imu.rms": 2999.0}


def test_a_device_that_is_offline_keeps_the_streams_that_it_named():
    recent = new_recent()
    recent.status("s", "d", status(["imu"]))
    recent.status("s", "d", replace(status([], "offline"), v=2))
    [health] = recent.devices(GroupKey("s", "d"))
    assert health.status == replace(status(["imu"], "offline"), v=2)


def test_no_key_of_a_plot_is_a_strangers_word():
    """The page takes a key that begins with a colon for a program."""
    recent = new_recent()
    told = {"imu.rms": 1.0, ":evil": 2.0, EVIL: 3.0}
    at = window("imu", np.ones((50, 6), np.float32), 0, 50.0)
    recent.window("s", replace(at, values=None, tokens=np.ones((4, 8), np.float32), facts=told))
    [strip] = recent.strips(GroupKey("s", "d"))
    found = panels(strip, T0, strip.until)
    assert [panel.names for panel in found] == [("imu.rms",)]
    assert "evil" not in json.dumps(plot(found, (T0, strip.until)))


async def test_a_time_beyond_the_last_minute_is_drawn_from_facts_of_the_store(tmp_path: Path):
    key, recent = GroupKey("s", "d"), new_recent()
    for i in range(4):
        recent.window("s", window("imu", np.ones((50, 6), np.float32), 300 + i / 2, 50.0))
    [strip] = recent.strips(key)
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/s.db")) as store:
        told = [Measured(key, T0 + i * SECOND, strip.key, "imu", "x", {"imu.rms": float(i)}) for i in range(60)]
        other = [Measured(key, T0, "d/other", "imu", "x", {"imu.rms": 99.0})]
        store.commit(Commit(measured=[*told, *other]), publish=False)
        desk = Desk(Parts(new_metrics().registry, store))
        [past] = await desk.span(key, strip, (T0 + 30 * SECOND, T0 + 31 * SECOND), "imu.rms")
        now = await desk.span(key, strip, (T0 + 301 * SECOND, T0 + 302 * SECOND), "imu.rms")
    assert (past.names, past.unit) == (("imu.rms",), "m/s2")
    assert [row[1] for row in past.rows] == [float(i) for i in range(25, 38)]
    assert [panel.unit for panel in now] == ["m/s2", "rad/s"]


async def test_what_one_page_marks_is_not_what_another_sees(tmp_path: Path):
    key, now, day = GroupKey("s", "home"), T0 + 86_400 * SECOND, 86_400

    def told(second: int) -> Commit:
        at = T0 + second * SECOND
        begins = replace(event(f"b{second}"), time=iso(at), began=iso(at))
        ends = replace(begins, id=f"e{second}", phase="end", episode=begins.id, time=iso(at + SECOND))
        return Commit(events=[begins, ends])

    with contextlib.closing(Store(f"sqlite:///{tmp_path}/s.db")) as store:
        long_ago, lately = day - 3600, range(day - 500, day - 10, 2)
        for second in (long_ago, *lately):
            store.commit(told(second), publish=False)
        desk = Desk(Parts(new_metrics().registry, store), lambda: 0.0, lambda: now)
        span = T0 + (long_ago - 60) * SECOND, T0 + (long_ago + 60) * SECOND
        [marked] = await desk.episodes(key, span)  # however much was told since
        assert marked.began == T0 + long_ago * SECOND
        live = await desk.episodes(key)
        assert {one.began for one in live} <= {T0 + second * SECOND for second in lately}
        assert live and await desk.episodes(key, span) == [marked]


def test_a_mark_is_there_where_nothing_was_told():
    [series] = bars([], {}, (T0, T0 + 600 * SECOND), (T0 + SECOND, T0 + 2 * SECOND))["series"]
    [[began, ended]] = series["markArea"]["data"]
    assert ended["xAxis"] - began["xAxis"] == 1000


async def test_events_whose_reading_was_given_up_are_read_again(tmp_path: Path):
    clock, key, go_on = [10.0], GroupKey("s", "home"), threading.Event()
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/s.db")) as store:
        store.commit(Commit(events=[event("e1")]), publish=False)

        def slowly(after: int, limit: int) -> list:
            go_on.wait(10)
            return store.events(after, limit)

        slow = SimpleNamespace(newest_offset=store.newest_offset, events=slowly)
        desk = Desk(Parts(new_metrics().registry, slow), lambda: clock[0])
        leaving = asyncio.create_task(desk.events(key))
        await asyncio.sleep(0.05)
        clock[0] += 2
        assert await desk.events(key) == []  # another page waits for nobody
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        go_on.set()
        assert [one.id for one in await desk.events(key)] == ["e1"]
        clock[0] += 2
        assert [one.id for one in await desk.events(key)] == ["e1"]


def test_pages_share_what_is_looked_up():
    clock, asked, recent = [0.0], [], new_recent()
    recent.window("s", window("imu", np.ones((50, 6), np.float32), 0, 50.0))
    pipeline = SimpleNamespace(
        recent=recent,
        dialogue=SimpleNamespace(groups=lambda: asked.append("groups") or []),
        ingest=SimpleNamespace(pending_of=lambda site, device: asked.append(device) or 7),
    )
    desk, key = Desk(SimpleNamespace(pipeline=pipeline), lambda: clock[0]), GroupKey("s", "d")
    for second in (0, 1):
        clock[0] = float(second)
        for _ in range(32):
            assert desk.groups() == [key]
            assert [pending for _, pending in desk.devices(key)] == [7]
            assert [strip.key for strip in desk.strips(key)] == ["d/imu"]
        assert asked == (second + 1) * ["groups", "d"]
