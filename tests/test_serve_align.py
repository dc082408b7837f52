"""Moments depend on event time, never on the order of arrival."""

import dataclasses
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.moment import StreamWindow
from backend.serve.align import HOP_NS, Aligner, Closed, Grouping, GroupKey, _delay_s
from backend.serve.config import ServeConfig
from backend.serve.ingest import Accepted, Receipt, Sender
from broker.messages import Status, StreamInfo
from broker.modalities import MODALITIES
from edge.sender import DEFAULT_TIMING, RoundTrip

KEY = GroupKey("s", "home")
MOTION = StreamInfo("imu", "imu", "wrist", (), 50.0, 1.0, 0.5)
GPS = StreamInfo("gps", "gps", "pocket", (), 5.0, 1.0, 0.5)  # its windows come 3 s after their end


class Bench:
    """An aligner with a clock that the test turns."""

    def __init__(
        self,
        groups: dict[str, list[str]] | None = None,
        closed: dict[GroupKey, int] | None = None,
        lateness_s: float = 1.0,
        max_wait_s: float = 30.0,
        max_groups: int = 10_000,
    ) -> None:
        self.now = 0.0
        self.aligner = Aligner(
            Grouping(groups if groups is not None else {"home": ["a", "b"]}),
            closed or {},
            hop_ns=HOP_NS,
            lateness_s=lateness_s,
            idle_s=5.0,
            max_wait_s=max_wait_s,
            clock=lambda: self.now,
            max_groups=max_groups,
        )
        self.seq = 0

    def online(self, device: str, *streams: str) -> list[Closed]:
        infos = tuple(dataclasses.replace(MOTION, name=name) for name in streams or ("imu",))
        return self.aligner.status("s", device, Status("online", "e", infos, "0", ""))

    def online_with_gps(self, device: str) -> list[Closed]:
        return self.aligner.status("s", device, Status("online", "e", (GPS,), "0", ""))

    def offline(self, device: str) -> list[Closed]:
        return self.aligner.status("s", device, Status("offline", "e", (), "0", ""))

    def window(self, device: str, slot: int, stream: str = "imu") -> list[Closed]:
        self.seq += 1
        t0 = slot * HOP_NS
        window = StreamWindow(device, stream, "imu", "wrist", t0, 50.0, values=None, tokens=object())  # type: ignore[arg-type]
        return self.aligner.add(Accepted(Receipt(Sender("s", device, "e"), self.seq, stream, t0), window))

    def wait(self, seconds: float) -> list[Closed]:
        self.now += seconds
        return self.aligner.tick()


def shape(closed: list[Closed]) -> list[tuple]:
    """Slot and streams of every moment, None for windows without one, and what closed it."""
    return [
        (c.moment.slot if c.moment else None, tuple(w.key for w in c.moment.windows) if c.moment else (), c.by)
        for c in closed
    ]


def test_a_moment_is_complete_when_every_announced_stream_has_delivered():
    bench = Bench()
    bench.online("a"), bench.online("b")
    assert bench.window("a", 0) == []
    assert shape(bench.window("b", 0)) == [(0, ("a/imu", "b/imu"), "complete")]


def test_a_device_alone_is_its_own_group():
    bench = Bench({})
    bench.online("x")
    (closed,) = bench.window("x", 7)
    assert closed.group == GroupKey("s", "x")
    assert closed.moment.t0 == 7 * HOP_NS


def test_two_streams_of_one_device_make_one_moment():
    bench = Bench({})
    bench.online("x", "imu", "mic")
    assert bench.window("x", 0, "mic") == []
    assert shape(bench.window("x", 0, "imu")) == [(0, ("x/imu", "x/mic"), "complete")]


def test_a_stream_that_went_past_a_slot_is_not_waited_for():
    bench = Bench()
    bench.online("a"), bench.online("b")
    bench.window("a", 0)
    assert shape(bench.window("b", 1)) == [(0, ("a/imu",), "complete")]


def test_a_silent_stream_is_given_up_after_the_lateness_and_then_is_late():
    bench = Bench()
    bench.online("a"), bench.online("b")
    assert bench.window("a", 0) == []
    bench.now = 0.5
    assert bench.window("a", 1) == []
    bench.now = 1.0
    assert shape(bench.window("a", 2)) == [(0, ("a/imu",), "watermark")]
    assert shape(bench.window("b", 0)) == [(None, (), "late")]
    assert shape(bench.window("b", 1)) == [(1, ("a/imu", "b/imu"), "complete")]


def test_a_device_that_is_behind_but_delivers_is_waited_for():
    """A replay faster than life: one device is far ahead in event time, the other keeps delivering."""
    bench = Bench()
    bench.online("a"), bench.online("b")
    for slot in range(60):
        assert bench.window("a", slot) == []
    closed = []
    for slot in range(60):
        bench.now += 0.5
        closed += bench.aligner.tick() + bench.window("b", slot)
    assert shape(closed) == [(slot, ("a/imu", "b/imu"), "complete") for slot in range(60)]


def longest_wait(
    bench: Bench, slots: range, gps_of: Callable[[int], bool] = lambda slot: False, behind: int = 6
) -> tuple[float, set]:
    """Motion at once and gps 6 slots later: how long a moment waits at most, and the moments that have the gps."""
    opened, waited, fused = {}, [0.0], set()
    for slot in slots:
        closed = bench.wait(0.5)
        opened[slot] = bench.now
        closed += bench.window("a", slot)
        if gps_of(slot - behind):
            closed += bench.window("b", slot - behind, "gps")
        moments = [one.moment for one in closed if one.moment and one.moment.slot in opened]
        waited += [bench.now - opened[moment.slot] for moment in moments]
        fused |= {moment.slot for moment in moments if len(moment.windows) == 2}
    return max(waited), fused


def test_a_stream_that_is_behind_by_its_nature_is_in_every_moment_from_the_first_on():
    bench = Bench()
    bench.online("a"), bench.online_with_gps("b")
    waited, fused = longest_wait(bench, range(100, 160), lambda slot: slot >= 100)
    assert fused == set(range(100, 154))
    assert waited == 3.0


def test_a_stream_that_is_behind_by_its_nature_and_falls_silent_costs_the_lateness_and_comes_back(
    caplog: pytest.LogCaptureFixture,
):
    bench = Bench()
    bench.online("a"), bench.online_with_gps("b")
    longest_wait(bench, range(100, 160), lambda slot: slot >= 100)
    assert longest_wait(bench, range(160, 170))[0] == 3.5  # 4 s since the last one came: 3, and the lateness
    assert longest_wait(bench, range(170, 200)) == (1.0, set())
    waited, fused = longest_wait(bench, range(200, 260), lambda slot: slot >= 200)
    assert fused == set(range(205, 254))  # the first ones come when their moments have closed
    assert waited == 3.0
    assert not caplog.records


@pytest.mark.parametrize("max_wait_s", [1.0, 2.0, 2.5, 3.5])
def test_a_longest_wait_too_short_for_a_stream_leaves_it_behind_and_costs_the_lateness(
    max_wait_s: float, caplog: pytest.LogCaptureFixture
):
    bench = Bench(max_wait_s=max_wait_s)
    bench.online("a"), bench.online_with_gps("b")
    longest_wait(bench, range(100, 110), lambda slot: slot >= 100)  # it is waited for as any stream
    assert longest_wait(bench, range(110, 160), lambda slot: True) == (1.0, set())
    (record,) = caplog.records
    assert "'s/b/gps': 11 windows running came too late" in record.message
    assert f"up to 3 s after their end, and max_wait_s is {max_wait_s:g}" in record.message
    assert "set it to 4 " in record.message
    longest_wait(bench, range(160, 200), lambda slot: True, behind=20)
    assert ["check clock" in record.message or "--now" in record.message for record in caplog.records] == [False, True]


def test_a_longest_wait_of_a_streams_delay_and_the_lateness_is_enough(caplog: pytest.LogCaptureFixture):
    bench = Bench(max_wait_s=4.0)
    bench.online("a"), bench.online_with_gps("b")
    assert longest_wait(bench, range(100, 160), lambda slot: slot >= 100) == (3.0, set(range(100, 154)))
    assert not caplog.records


@pytest.mark.parametrize("max_wait_s", [4.0, 30.0])
@pytest.mark.parametrize("later", range(0, 7))
def test_a_stream_that_is_later_than_the_longest_wait_holds_nothing_and_comes_back(max_wait_s: float, later: int):
    """Its moments close when they have waited for long, so its windows are just behind what has closed."""
    bench, behind = Bench(max_wait_s=max_wait_s), round(2 * max_wait_s) + later
    bench.online("a"), bench.online_with_gps("b")
    longest_wait(bench, range(100, 300), lambda slot: True, behind)
    assert longest_wait(bench, range(300, 500), lambda slot: True, behind) == (1.0, set())
    longest_wait(bench, range(500, 510), lambda slot: True)
    assert longest_wait(bench, range(510, 600), lambda slot: True) == (3.0, set(range(510, 594)))


def test_a_stream_that_is_behind_comes_back_though_a_clock_of_its_group_is_ahead():
    """10 s ahead is a device whose moments wait for the other one's motion; the gps is 2.5 s behind that."""
    bench = Bench()
    bench.online("a"), bench.aligner.status("s", "b", Status("online", "e", (MOTION, GPS), "0", ""))
    fused = set()
    for slot in range(100, 300):
        closed = bench.wait(0.5) + bench.window("a", slot + 20)
        if not 150 <= slot < 200:
            closed += bench.window("b", slot - 5, "gps")
        closed += bench.window("b", slot)
        fused |= {one.moment.slot for one in closed if one.moment and len(one.moment.windows) == 3}
    assert set(range(120, 145)) | set(range(210, 294)) <= fused


@pytest.mark.parametrize(("before", "after", "wait_s"), [("gps", "imu", 1.0), ("imu", "gps", 3.5)])
def test_a_stream_that_is_announced_as_another_modality_is_waited_for_as_that(before: str, after: str, wait_s: float):
    bench, infos = Bench(), {"gps": GPS, "imu": dataclasses.replace(MOTION, name="gps")}
    bench.online("a")
    for modality in (before, after):
        bench.aligner.status("s", "b", Status("online", "e", (infos[modality],), "0", ""))
    bench.window("a", 100), bench.window("b", 100, "gps")
    bench.window("a", 101), bench.window("a", 110)
    assert shape(bench.wait(wait_s - 0.1)) == []
    assert shape(bench.wait(0.6))[0] == (101, ("a/imu",), "watermark")


@pytest.mark.parametrize("count", [4, 12, 20])
def test_a_device_with_many_streams_is_not_stopped_by_one_that_is_behind(count: int):
    """64 frames of a device are on their way at most, and the gps is one of its streams."""
    bench, names = Bench({}), [f"s{i}" for i in range(count)]
    imu = tuple(dataclasses.replace(MOTION, name=name) for name in names)
    bench.aligner.status("s", "x", Status("online", "e", (*imu, GPS), "0", ""))
    spool, unacknowledged = [], 0
    for slot in range(100, 220):
        closed = bench.wait(0.5)
        spool += [(slot, name) for name in names] + [(slot - 6, "gps")]
        unacknowledged -= sum(len(one.receipts) for one in closed)
        while spool and unacknowledged < 64:
            closed = bench.window("x", *spool.pop(0))
            unacknowledged += 1 - sum(len(one.receipts) for one in closed)
    assert len(spool) < 64


def test_a_backlog_of_late_windows_does_not_hold_up_the_group():
    bench = Bench()
    bench.online("a"), bench.online("b")
    bench.window("a", 99), bench.window("b", 99)
    delays = []
    for slot in range(100, 140):
        bench.now += 0.5
        closed = bench.window("a", slot) + (bench.window("b", slot - 10) if slot > 110 else [])
        delays += [slot - c.moment.slot for c in closed if c.moment]
    assert max(delays) <= 2


def test_offline_removes_a_device_at_once():
    bench = Bench()
    bench.online("a"), bench.online("b")
    bench.window("a", 0)
    assert shape(bench.offline("b")) == [(0, ("a/imu",), "complete")]
    assert shape(bench.window("a", 1)) == [(1, ("a/imu",), "complete")]


def test_a_member_of_the_settings_gets_its_chance_before_it_was_ever_heard_of():
    bench = Bench()
    bench.online("a")
    assert bench.window("a", 0) == []
    bench.online("b")
    assert shape(bench.window("b", 0)) == [(0, ("a/imu", "b/imu"), "complete")]


def test_a_member_that_never_shows_up_costs_the_lateness_once():
    bench = Bench()
    bench.online("a")
    assert [bench.window("a", slot) for slot in range(3)] == [[], [], []]
    assert shape(bench.wait(1.0)) == [(0, ("a/imu",), "watermark")] + [(s, ("a/imu",), "complete") for s in (1, 2)]
    assert shape(bench.window("a", 3)) == [(3, ("a/imu",), "complete")]


def test_without_any_status_event_time_alone_decides():
    bench = Bench({})
    assert [bench.window("x", slot) for slot in range(2)] == [[], []]
    assert shape(bench.window("x", 2)) == [(0, ("x/imu",), "watermark")]


def test_silence_closes_what_is_open_and_then_ends_a_group_that_left():
    bench = Bench()
    bench.online("a"), bench.online("b")
    bench.window("a", 0), bench.window("a", 1)
    assert bench.wait(4.9) == []
    assert shape(bench.wait(0.2)) == [(0, ("a/imu",), "idle"), (1, ("a/imu",), "idle")]
    assert bench.wait(9.0) == []
    bench.offline("a"), bench.offline("b")
    assert shape(bench.wait(0.1)) == [(None, (), "gone")]
    assert bench.wait(99.0) == []


def test_a_group_that_is_online_and_silent_for_long_is_gone_once_also_after_a_restart():
    running, restarted = Bench(), Bench(closed={KEY: 0})
    for bench in (running, restarted):
        bench.online("a"), bench.online("b")
        for slot in (1, 2):
            bench.window("a", slot), bench.window("b", slot)
            assert bench.wait(29.9) == []
            assert shape(bench.wait(0.2)) == [(None, (), "gone")]
            assert bench.wait(99.0) == []
    silent = Bench(closed={KEY: 0})
    silent.online("a")
    assert silent.wait(29.9) == []
    assert shape(silent.wait(0.2)) == [(None, (), "gone")]


def test_a_restart_remembers_what_is_closed():
    bench = Bench(closed={KEY: 5})
    bench.online("a"), bench.online("b")
    assert shape(bench.window("a", 5)) == [(None, (), "late")]
    assert bench.window("a", 6) == []
    assert shape(bench.window("b", 6)) == [(6, ("a/imu", "b/imu"), "complete")]


def test_a_second_window_of_a_slot_and_a_refused_one_are_committed_without_a_moment():
    bench = Bench()
    bench.online("a"), bench.online("b")
    bench.window("a", 0)
    assert shape(bench.window("a", 0)) == [(None, (), "twice")]
    receipt = Receipt(Sender("s", "a", "e"), 9, "imu", 0)
    assert shape(bench.aligner.add(Accepted(receipt, None))) == [(None, (), "unusable")]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), ahead=st.integers(1, 64), holes=st.floats(0, 0.3))
def test_any_interleaving_within_the_back_pressure_gives_the_same_moments(seed: int, ahead: int, holes: float):
    """Three devices, one with two streams, windows missing here and there; each is in order, their order is random."""
    chance, slots = random.Random(seed), 40
    queues = {device: [] for device in ("a", "b", "c")}
    expected: dict[int, set[str]] = {}
    for slot in range(slots):
        for device, stream in (("a", "imu"), ("b", "imu"), ("b", "mic"), ("c", "imu")):
            if chance.random() >= holes:
                queues[device].append((slot, stream))
                expected.setdefault(slot, set()).add(f"{device}/{stream}")
    bench = Bench({"home": ["a", "b", "c"]})
    bench.online("a"), bench.online("b", "imu", "mic"), bench.online("c")
    closed: list[Closed] = []
    while any(queues.values()):
        slowest = min(queue[0][0] for queue in queues.values() if queue)
        ready = [d for d, queue in queues.items() if queue and queue[0][0] <= slowest + ahead]
        device = chance.choice(ready)
        bench.now += chance.uniform(0.0, 0.01)
        closed += bench.window(device, *queues[device].pop(0)) + bench.aligner.tick()
        if not queues[device]:
            closed += bench.offline(device)
    assert {c.moment.slot: {w.key for w in c.moment.windows} for c in closed if c.moment} == expected
    slots_closed = [c.moment.slot for c in closed if c.moment]
    assert slots_closed == sorted(slots_closed)
    assert all(c.moment for c in closed)
    assert sum(len(c.receipts) for c in closed) == bench.seq


def test_every_window_is_closed_exactly_once_whatever_comes():
    chance = random.Random(1)
    bench, closed = Bench(), []
    for _ in range(3000):
        bench.now += chance.choice((0.0, 0.01, 0.3, 2.0, 6.0))
        device = chance.choice("abx")
        action = chance.random()
        if action < 0.02:
            closed += bench.online(device, "imu", "mic")
        elif action < 0.04:
            closed += bench.offline(device)
        else:
            closed += bench.window(device, chance.randrange(200), chance.choice(("imu", "mic")))
        closed += bench.aligner.tick()
    bench.now += 10.0
    closed += bench.aligner.tick()
    seqs = [receipt.seq for c in closed for receipt in c.receipts]
    assert sorted(seqs) == list(range(1, bench.seq + 1))
    assert bench.aligner.open_moments == 0


@pytest.mark.parametrize("count", [300])
def test_streams_of_a_group_are_bounded(count: int):
    bench = Bench({})
    closed = [c for i in range(count) for c in bench.window("x", 10, f"s{i}")]
    assert [c.by for c in closed] == ["unusable"] * (count - 128)  # what an event can name


@pytest.mark.parametrize("streams", [("imu",), ("imu", "mic")])
@pytest.mark.parametrize("skew_s", [20, 40, 60, 3600])
def test_a_wrong_clock_blocks_nobody(skew_s: int, streams: tuple[str, ...], caplog: pytest.LogCaptureFixture):
    """Two devices with 64 windows on their way at most, one of them with a clock that is ahead: both keep going."""
    bench = Bench()
    bench.online("a", *streams), bench.online("b")
    unacknowledged = {"a": 0, "b": 0}
    waiting, by = {"a": 0, "b": 0}, []
    for step in range(1200):  # ten minutes
        closed = bench.wait(0.5)
        for device, ahead, names in (("a", 2 * skew_s, streams), ("b", 0, ("imu",))):
            waiting[device] += 1
            while waiting[device] and unacknowledged[device] + len(names) <= 64:
                waiting[device] -= 1
                unacknowledged[device] += len(names)
                for name in names:
                    closed += bench.window(device, 1000 + step - waiting[device] + ahead, name)
        for one in closed:
            by.append(one.by)
            for receipt in one.receipts:
                unacknowledged[receipt.sender.device] -= 1
    assert max(waiting.values()) <= 64
    assert ("late" in by) == ("overdue" in by) == (skew_s > 30)
    assert [record.message.split("'")[1] for record in caplog.records] == ["s/b/imu"] * (skew_s > 30)


def test_a_lateness_beyond_the_longest_wait_counts():
    bench = Bench(lateness_s=60.0)
    bench.online("a"), bench.online("b")
    bench.window("a", 0)
    for slot in range(1, 120):
        assert bench.wait(0.4) + bench.window("a", 100 + slot) == []


def test_a_group_that_waits_for_what_is_behind_acknowledges_before_its_devices_send_again():
    """Before a device has measured anything, the first moment of its group waits for a gps of another one."""
    longest_s = max(
        _delay_s(StreamInfo(row.name, row.name, "", (), row.rate, row.window_s, row.hop_s), HOP_NS / 1e9)
        for row in MODALITIES.values()
    )
    assert longest_s == 3.0
    assert RoundTrip(DEFAULT_TIMING).timeout_s > ServeConfig().lateness_s + longest_s


def test_a_grid_that_fits_no_slot_is_told_once(caplog: pytest.LogCaptureFixture):
    bench = Bench()
    for _ in range(2):
        for name, window_s, hop_s in (("imu", 2.0, 0.25), ("mic", 1.0, 0.5)):
            info = StreamInfo(name, "imu", "wrist", (), 50.0, window_s, hop_s)
            bench.aligner.status("s", "a", Status("online", "e", (info,), "0", ""))
    (record,) = caplog.records
    assert "'s/a/imu': sends windows of 2 s every 0.25 s, the backend takes 1 s every 0.5 s" in record.message


def test_a_recording_that_is_played_long_after_is_told_once_and_a_resend_is_not(caplog: pytest.LogCaptureFixture):
    bench = Bench({}, closed={GroupKey("s", "a"): 10_000})
    assert [c.by for slot in (9_990, 9_995) for c in bench.window("a", slot)] == ["late", "late"]
    assert not caplog.records
    assert [c.by for slot in (10, 11) for c in bench.window("a", slot)] == ["late", "late"]
    (record,) = caplog.records
    assert "'s/a/imu'" in record.message and "4995 s older" in record.message and "--now" in record.message
    assert "what a device has kept while it was cut off" in record.message


def test_a_second_window_of_a_slot_is_told_once_and_is_not_late(caplog: pytest.LogCaptureFixture):
    bench = Bench({"home": ["a", "b"]})
    for slot in (5, 6):
        assert bench.window("a", slot) == []
        assert [c.by for c in bench.window("a", slot)] == ["twice"]
    (record,) = caplog.records
    assert "'s/a/imu': two windows of slot 5" in record.message


def test_groups_beyond_the_limit_are_told_once_and_are_not_late(caplog: pytest.LogCaptureFixture):
    bench = Bench({}, max_groups=1)
    bench.online("b")
    for device in ("c", "d", "d"):
        bench.online(device)
        assert [c.by for c in bench.window(device, 5)] == ["unfollowed"]
    (record,) = caplog.records
    assert "group 'c' is one more than the 1 that are followed" in record.message


def test_a_stream_that_is_late_by_seconds_again_and_again_is_told_and_a_few_are_not(caplog: pytest.LogCaptureFixture):
    bench = Bench({}, closed={GroupKey("s", "a"): 100})
    for slot in (96, 97, 98, 99, 101, 98, 99, 100, 100):
        bench.window("a", slot)  # four, one in time, four
    assert not caplog.records
    bench.wait(6.0), bench.window("a", 95), bench.window("a", 96)
    (record,) = caplog.records
    assert "'s/a/imu': 5 windows running came too late for their moment, the last by 3.0 s" in record.message
    assert "--now" in record.message
