"""The agent: whatever the network does, everything produced is received once and in order, or counted as lost."""

import asyncio
import contextlib
import random
import re
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import topics
from broker.errors import ConfigError
from broker.link import Message, Will
from broker.memory import Faults, MemoryBroker, MemoryLink
from broker.messages import Ack, Frame, StreamInfo, decode_frame, decode_status, encode_json
from broker.modalities import MODALITIES
from edge.agent import Agent, will
from edge.clock import ManualClock
from edge.metrics import Metrics
from edge.sender import RoundTrip, Timing
from edge.sensors import Reading
from edge.sources import LiveSensor, SensorSource
from edge.spool import Spool
from edge.windows import Stream

HOP = 500_000_000
START = 1_767_225_600 * 10**9  # 2026-01-01
QUICK = Timing(first_s=0.03, least_s=0.02, most_s=0.04)


@dataclass
class Numbers:
    """A source of `count` windows whose times tell them apart; a source of a real device would be as repeatable."""

    count: int
    name: str = "imu"
    patient: bool = True
    pause_s: float = 0.0

    @property
    def streams(self):
        return (StreamInfo(self.name, "imu", "wrist", MODALITIES["imu"].units, 50.0, 1.0, 0.5),)

    async def frames(self, done):
        newest = done(self.name)
        for i in range(self.count):
            if newest is None or i * HOP > newest:
                await asyncio.sleep(self.pause_s)
                yield self.name, Frame("", 1, 1, "imu", "wrist", "raw", i * HOP, 50.0, np.zeros((2, 6), "<f4"))


@dataclass
class Receiver:
    """The receiving end as the protocol has it: a watermark per epoch, and what was accepted in order."""

    link: MemoryLink
    watermark: dict[str, int] = field(default_factory=dict)
    accepted: list[tuple[str, int, str, int]] = field(default_factory=list)  # epoch, seq, stream, t0
    lost: int = 0

    async def run(self):
        await self.link.subscribe(topics.FRAMES_ALL)
        async for message in self.link.messages():
            topic, frame = topics.parse(message.topic), decode_frame(message.payload)
            if frame.epoch not in self.watermark:
                self.watermark[frame.epoch] = frame.base - 1
            if frame.base > self.watermark[frame.epoch] + 1:
                self.lost += frame.base - 1 - self.watermark[frame.epoch]
                self.watermark[frame.epoch] = frame.base - 1
            if frame.seq == self.watermark[frame.epoch] + 1:
                self.watermark[frame.epoch] = frame.seq
                self.accepted.append((frame.epoch, frame.seq, topic.stream, frame.t0))
            elif frame.seq > self.watermark[frame.epoch]:
                continue
            ack = encode_json(Ack(frame.epoch, self.watermark[frame.epoch]))
            with contextlib.suppress(Exception):
                await self.link.publish(topics.acks(topic.site, topic.device), ack)


@contextlib.asynccontextmanager
async def receiving(broker, faults=None):
    async with MemoryLink(broker, faults=faults) as link:
        receiver = Receiver(link)
        task = asyncio.create_task(receiver.run())
        await asyncio.sleep(0)
        yield receiver
        task.cancel()


def agent_of(sources, link, spool, **more):
    return Agent("home", "watch", sources, link, spool, ManualClock(), timing=QUICK, **more)


async def cut_now_and_then(link, seed, times):
    rng = random.Random(seed)
    for _ in range(times):
        await asyncio.sleep(rng.uniform(0.0, 0.05))
        link.disconnect()
        await asyncio.sleep(rng.uniform(0.0, 0.03))
        link.connect()


def everything(count, *names):
    return {(name, i * HOP) for name in names for i in range(count)}


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    drop=st.floats(0, 0.15),
    duplicate=st.floats(0, 0.5),
    delay=st.floats(0, 0.01),
    cuts=st.integers(0, 4),
    window=st.integers(1, 32),
)
def test_over_any_network_everything_arrives_once_and_in_order(
    tmp_path_factory, seed, drop, duplicate, delay, cuts, window
):
    async def main():
        broker, faults = MemoryBroker(seed), Faults(drop, duplicate, delay)
        spool = Spool(tmp_path_factory.mktemp("agent") / "a.db")
        async with receiving(broker, faults) as receiver, MemoryLink(broker, faults=faults) as link:
            cutting = asyncio.create_task(cut_now_and_then(link, seed, cuts))
            await agent_of([Numbers(15, "imu"), Numbers(15, "second")], link, spool, window=window).run()
            await cutting
        assert [seq for _, seq, _, _ in receiver.accepted] == list(range(1, 31))
        assert {(stream, t0) for _, _, stream, t0 in receiver.accepted} == everything(15, "imu", "second")
        for name in ("imu", "second"):
            times = [t0 for _, _, stream, t0 in receiver.accepted if stream == name]
            assert times == sorted(times)
        assert (receiver.lost, spool.waiting) == (0, 0)
        spool.close()

    asyncio.run(asyncio.wait_for(main(), 30))


async def test_what_a_full_spool_evicts_is_counted_and_stops_nothing(tmp_path):
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db", max_bytes=40 * 250)
    metrics = Metrics()
    async with receiving(broker) as receiver, MemoryLink(broker) as link:
        first = asyncio.create_task(agent_of([Numbers(20, patient=False)], link, spool, metrics=metrics).run())
        await asyncio.wait_for(first, 10)
        link.disconnect()
        offline = asyncio.create_task(agent_of([Numbers(500, patient=False)], link, spool, metrics=metrics).run())
        while spool.last_t0("imu") != 499 * HOP:
            await asyncio.sleep(0.01)
        link.connect()
        await asyncio.wait_for(offline, 10)
    assert receiver.lost == spool.evicted == metrics.registry.get_sample_value("iotlm_edge_evicted_frames_total") > 0
    assert len(receiver.accepted) + receiver.lost == 500
    assert [seq for _, seq, _, _ in receiver.accepted] == [*range(1, 21), *range(21 + receiver.lost, 501)]


async def test_killed_and_started_again_it_produces_the_same_windows(tmp_path):
    """Cancelled at any moment and with a new process's memory: nothing twice, nothing left out."""
    broker, rng = MemoryBroker(), random.Random(4)
    async with receiving(broker) as receiver:
        for _ in range(12):
            spool = Spool(tmp_path / "a.db")
            async with MemoryLink(broker) as link:
                run = asyncio.create_task(agent_of([Numbers(100, pause_s=0.001)], link, spool).run())
                await asyncio.wait({run}, timeout=rng.uniform(0.0, 0.05))
                run.cancel()
                await asyncio.wait({run})
            spool.close()
        spool = Spool(tmp_path / "a.db")
        async with MemoryLink(broker) as link:
            await asyncio.wait_for(agent_of([Numbers(100)], link, spool).run(), 10)
    assert [t0 for _, _, _, t0 in receiver.accepted] == [i * HOP for i in range(100)]


async def test_a_backend_without_memory_costs_no_window_and_counts_none_as_lost(tmp_path):
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db")
    async with MemoryLink(broker) as link:
        async with receiving(broker) as before:
            await asyncio.wait_for(agent_of([Numbers(10)], link, spool).run(), 10)
        async with receiving(broker) as after:
            await asyncio.wait_for(agent_of([Numbers(20)], link, spool).run(), 10)
    assert [seq for _, seq, _, _ in before.accepted + after.accepted] == list(range(1, 21))
    assert (before.lost, after.lost) == (0, 0)


async def test_acknowledgements_of_another_epoch_and_nonsense_change_nothing(tmp_path):
    broker, spool, metrics = MemoryBroker(), Spool(tmp_path / "a.db"), Metrics()
    async with MemoryLink(broker) as other, MemoryLink(broker) as link:
        run = asyncio.create_task(agent_of([Numbers(5)], link, spool, metrics=metrics).run())
        while spool.waiting < 5:
            await asyncio.sleep(0.01)
        for payload in (encode_json(Ack("another", 5)), b"{", b"", b'{"v":1,"epoch":3}'):
            await other.publish(topics.acks("home", "watch"), payload)
        await asyncio.sleep(0.05)
        assert spool.waiting == 5
        assert metrics.registry.get_sample_value("iotlm_edge_bad_acks_total") == 3
        await other.publish(topics.acks("home", "watch"), encode_json(Ack(spool.epoch, 5)))
        await asyncio.wait_for(run, 10)


async def test_an_acknowledgement_of_what_was_never_sent_begins_an_epoch_and_loses_nothing(tmp_path):
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db")
    old = spool.epoch
    async with MemoryLink(broker) as other, MemoryLink(broker) as link:
        run = asyncio.create_task(agent_of([Numbers(5)], link, spool).run())
        while spool.waiting < 5:
            await asyncio.sleep(0.01)
        await other.publish(topics.acks("home", "watch"), encode_json(Ack(old, 900)))
        async with receiving(broker) as receiver:
            await asyncio.wait_for(run, 10)
    assert [(epoch, seq) for epoch, seq, _, _ in receiver.accepted] == [(spool.epoch, i) for i in range(1, 6)]
    assert spool.epoch != old


async def test_what_is_no_acknowledgement_of_its_own_is_passed_over_in_silence(tmp_path, caplog):
    """The embedded broker sends retained messages to everyone."""
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db")
    async with receiving(broker), MemoryLink(broker) as link:
        link.transmit(Message("iotlm/status/home/phone", b"{}", retain=True))
        await asyncio.wait_for(agent_of([Numbers(5)], link, spool).run(), 10)
    assert spool.waiting == 0
    assert not caplog.records


async def test_its_status_is_retained_on_every_connect_and_at_the_end(tmp_path):
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db")
    sources = [Numbers(120, pause_s=0.01)]
    farewell = will("home", "watch", sources, spool, ManualClock(1_700_000_000_000_000_000))
    assert isinstance(farewell, Will)
    assert decode_status(farewell.payload).time == "2023-11-14T22:13:20.000+00:00"

    async def state():
        async with MemoryLink(broker) as reader:
            await reader.subscribe(topics.STATUS_ALL)
            return decode_status((await anext(reader.messages())).payload)

    async with receiving(broker), MemoryLink(broker, will=farewell) as link:
        run = asyncio.create_task(agent_of(sources, link, spool).run())
        await asyncio.sleep(0.05)
        online = await state()
        assert (online.state, online.epoch, online.streams) == ("online", spool.epoch, sources[0].streams)
        link.disconnect()
        assert (await state()).state == "offline"
        link.connect()
        await asyncio.sleep(0.6)  # it looks for a new connection every half second at least
        assert (await state()).state == "online"
        await asyncio.wait_for(run, 10)
        assert (await state()).state == "offline"


async def test_after_a_reconnect_it_sends_again_without_waiting_for_the_timeout(tmp_path):
    broker, spool, never = MemoryBroker(), Spool(tmp_path / "a.db"), Timing(1e6, 1e6, 1e6)
    async with MemoryLink(broker) as link:
        agent = Agent("home", "watch", [Numbers(5)], link, spool, ManualClock(), timing=never)
        run = asyncio.create_task(agent.run())
        await asyncio.sleep(0.1)  # all are sent, and nobody listens
        async with receiving(broker) as receiver:
            link.disconnect()
            await asyncio.sleep(0.05)
            link.connect()
            await asyncio.wait_for(run, 5)
    assert len(receiver.accepted) == 5


async def test_no_more_than_the_window_is_ever_unacknowledged(tmp_path):
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db")
    async with MemoryLink(broker) as other, MemoryLink(broker) as link:
        await other.subscribe(topics.FRAMES_ALL)
        run = asyncio.create_task(agent_of([Numbers(100)], link, spool, window=7).run())
        await asyncio.sleep(0.15)
        run.cancel()
        await asyncio.wait({run})
        seqs = [decode_frame((await anext(other.messages())).payload).seq for _ in range(8)]
    assert seqs == [1, 2, 3, 4, 5, 6, 7, 1]  # and again from the base
    assert spool.waiting == 28  # a patient source waits once four windows of frames do


async def test_a_source_that_fails_ends_the_agent_with_its_error(tmp_path):
    @dataclass
    class Broken(Numbers):
        async def frames(self, done):
            yield "imu", Frame("", 1, 1, "imu", "wrist", "raw", 0, 50.0, np.zeros((2, 6), "<f4"))
            raise ConfigError("microphone: unplugged")

    async with MemoryLink(MemoryBroker()) as link:
        with pytest.raises(ConfigError, match="unplugged"):
            await agent_of([Broken(1)], link, Spool(tmp_path / "a.db")).run()


async def test_a_window_that_no_receiver_would_take_is_counted_and_the_others_go_on(tmp_path):
    @dataclass
    class Hot(Numbers):
        async def frames(self, done):
            async for name, frame in super().frames(done):
                bad = np.full((2, 6), np.inf, "<f4")
                yield name, replace(frame, data=bad) if frame.t0 == HOP else frame

    broker, spool, metrics = MemoryBroker(), Spool(tmp_path / "a.db"), Metrics()
    async with receiving(broker) as receiver, MemoryLink(broker) as link:
        await asyncio.wait_for(agent_of([Hot(3)], link, spool, metrics=metrics).run(), 10)
    assert [t0 for _, _, _, t0 in receiver.accepted] == [0, 2 * HOP]
    assert metrics.registry.get_sample_value("iotlm_edge_dropped_windows_total") == 1


class Flaky:
    """A sensor of two samples a second that fails after `lasts` readings; opened again, it goes on at the clock."""

    modality = "imu"

    def __init__(self, clock, lasts):
        self.clock, self.lasts = clock, lasts

    async def readings(self):
        for _ in range(self.lasts):
            await self.clock.sleep(0.5)
            t = self.clock.now() - HOP + np.arange(50) * 10_000_000
            yield Reading(t, np.ones((50, 6), np.float32))
        raise OSError("microphone: no samples for 5 s")


class Opening:
    """Opens flaky sensors, one after the other: how long each lasts, None where opening fails."""

    def __init__(self, clock, *lasts):
        self.clock, self.lasts, self.at = clock, iter(lasts), []

    def __call__(self):
        self.at.append((self.clock.now() - START) / 1e9)
        lasts = next(self.lasts)
        if lasts is None:
            raise ConfigError("microphone: device default cannot be opened")
        return Flaky(self.clock, lasts)


async def until(readings, seconds, clock):
    return [reading async for reading in _while(readings, lambda: clock.now() < START + seconds * 1e9)]


async def _while(readings, condition):
    async for reading in readings:
        yield reading
        if not condition():
            return


async def test_a_live_sensor_that_failed_is_opened_again_with_growing_pauses_and_told_once(caplog):
    caplog.set_level("INFO", "edge.sources")
    clock, metrics = ManualClock(START), Metrics()
    opening = Opening(clock, 2, *[None] * 8, 200, 1, 1000)
    sensor = LiveSensor("mic", opening, clock, metrics)
    readings = await until(sensor.readings(), 600, clock)
    # 1 s of sound; then 1, 2, 4 ... 60 s; it lasts for 100 s, so that the next pause is 1 s again
    pauses = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    starts = [0, *(1 + np.cumsum(pauses)).tolist()]
    back = starts[-1] + 100
    assert opening.at == [*starts, back + 1, back + 1.5 + 2]
    assert readings[2].t[0] == START + starts[-1] * 10**9
    assert metrics.registry.get_sample_value("iotlm_edge_sensor_failures_total") == 11
    assert [record.getMessage() for record in caplog.records] == [
        "stream mic: its sensor failed, and is opened again: microphone: no samples for 5 s",
        f"stream mic: its sensor is back after {sum(pauses) + 0.5:.0f} s",
        "stream mic: its sensor failed, and is opened again: microphone: no samples for 5 s",
        "stream mic: its sensor is back after 2 s",
        "stream mic: its sensor failed, and is opened again: microphone: no samples for 5 s",
        "stream mic: its sensor is back after 2 s",
    ]


async def test_while_one_sensor_is_away_the_other_streams_go_on_and_its_gap_is_a_gap(tmp_path):
    broker, spool, clock, metrics = MemoryBroker(), Spool(tmp_path / "a.db"), ManualClock(START), Metrics()
    sensor = LiveSensor("imu", Opening(clock, 8, None, 1000), clock, metrics)
    flaky = SensorSource("home", "watch", Stream("imu", "imu", "wrist"), sensor, clock, metrics=metrics)
    async with receiving(broker) as receiver, MemoryLink(broker) as link:
        run = asyncio.create_task(agent_of([flaky, Numbers(40, "other", pause_s=0.005)], link, spool).run())
        while len([1 for _, _, name, _ in receiver.accepted if name == "imu"]) < 20 or not run_is_past(receiver):
            await asyncio.sleep(0.01)
        run.cancel()
        await asyncio.wait({run})
    times = [(t0 - START) // HOP for _, _, name, t0 in receiver.accepted if name == "imu"]
    assert times[:7] == list(range(7))  # 4 s of windows; 1 s and 2 s away
    assert times[7:10] == [14, 15, 16]


def run_is_past(receiver):
    return len([1 for _, _, name, _ in receiver.accepted if name == "other"]) == 40


@pytest.mark.parametrize(
    ("modality", "every_s", "shape", "words"),
    [
        ("video", 1.0, (1, 8, 8, 3), "its samples make no window: they show less than half .* make an image"),
        ("video", 0.4, (1, 8, 8, 3), None),
        ("imu", 0.2, (1, 6), "its samples make no window: imu takes 25 finite samples a second"),
        ("image", 30.0, (1, 8, 8, 3), None),
    ],
)
async def test_samples_that_make_no_window_are_told_once_with_a_remedy(modality, every_s, shape, words, caplog):
    class Slow:
        def __init__(self):
            self.modality = modality

        async def readings(self):
            for i in range(150):
                yield Reading(np.array([START + round(i * every_s * 10**9)]), np.zeros(shape, np.float32))

    source = SensorSource("s", "d", Stream("cam", modality, "room"), Slow(), ManualClock(START))
    made = [frame async for _, frame in source.frames(lambda name: None)]
    assert bool(made) == (words is None)
    assert len(caplog.records) == (words is not None)
    assert words is None or re.search(f"stream cam: {words}", caplog.records[0].message)


async def test_a_setting_that_can_never_work_is_an_error_at_the_start():
    clock = ManualClock(START)
    with pytest.raises(ConfigError, match="cannot be opened"):
        LiveSensor("mic", Opening(clock, None), clock, Metrics())


async def test_silence_of_all_backends_is_told_with_what_to_do_and_so_is_the_first_answer(tmp_path, caplog):
    caplog.set_level("INFO", "edge.sender")
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db")
    timing = Timing(first_s=0.03, least_s=0.02, most_s=0.04, silence_s=0.2)
    async with MemoryLink(broker) as link:
        agent = Agent("home", "watch", [Numbers(5)], link, spool, ManualClock(), timing=timing)
        run = asyncio.create_task(agent.run())
        await asyncio.sleep(1.0)
        told = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert 1 <= len(told) <= 3  # after 0.2 s, 0.4 s, 0.8 s
        assert {level for level, _ in told} == {"WARNING"}
        assert re.match(
            r"no backend has acknowledged home/watch for \d+ s, 5 windows wait: start `backend serve`, .*/dead-letters",
            told[0][1],
        )
        caplog.clear()
        async with receiving(broker):
            await asyncio.wait_for(run, 10)
    assert [record.getMessage() for record in caplog.records] == ["a backend acknowledges what home/watch sends"]


async def test_a_sensor_that_was_quiet_for_long_makes_no_backend_silent(tmp_path, caplog):
    broker, spool = MemoryBroker(), Spool(tmp_path / "a.db")
    timing = Timing(first_s=0.03, least_s=0.02, most_s=0.04, silence_s=0.3)
    async with receiving(broker), MemoryLink(broker) as link:
        sources = [Numbers(3, pause_s=0.5)]
        await asyncio.wait_for(Agent("home", "watch", sources, link, spool, ManualClock(), timing=timing).run(), 10)
    assert not caplog.records


def test_two_streams_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="'imu' is there twice"):
        agent_of([Numbers(1), Numbers(1)], MemoryLink(MemoryBroker()), Spool(tmp_path / "a.db"))


def test_the_timeout_follows_the_round_trip_and_doubles_while_nothing_moves():
    trip = RoundTrip(Timing(first_s=3.0, least_s=1.0, most_s=30.0))
    assert trip.timeout_s == 3.0
    for _ in range(50):
        trip.measured(2.0)
    assert trip.timeout_s == pytest.approx(2.0, abs=0.01)
    trip.back_off()
    assert trip.timeout_s == pytest.approx(4.0, abs=0.01)
    for _ in range(10):
        trip.back_off()
    assert trip.timeout_s == 30.0
    trip.progress()
    assert trip.timeout_s == pytest.approx(2.0, abs=0.01)
    for _ in range(50):
        trip.measured(0.001)
    assert trip.timeout_s == 1.0


def simulated(clock, **more):
    from edge.sensors import SENSORS

    stream = Stream("imu", "imu", "wrist")
    options = {"seed": 3, "start": "2026-01-01T00:00:00Z", "seconds": 5.0}
    return SensorSource("home", "watch", stream, SENSORS["simulator"](options, stream, clock), clock, **more)


async def collect(source, newest=None):
    return [frame async for _, frame in source.frames(lambda name: newest)]


async def test_a_sensor_becomes_the_same_frames_again_after_a_kill():
    frames = await collect(simulated(ManualClock(START)))
    assert [frame.t0 for frame in frames] == [frames[0].t0 + i * HOP for i in range(9)]
    assert frames[0].facts and frames[0].trace.startswith("00-")
    rest = await collect(simulated(ManualClock(START)), newest=frames[4].t0)
    assert [(f.t0, f.data.tobytes(), f.trace) for f in rest] == [(f.t0, f.data.tobytes(), f.trace) for f in frames[5:]]


async def test_a_clock_that_was_in_the_far_future_silences_nobody():
    far = START + 10**18
    assert len(await collect(simulated(ManualClock(START)), newest=far)) == 9
    assert await collect(simulated(ManualClock(START), patient=True), newest=far) == []


def test_sound_travels_as_integers_and_comes_back_within_half_a_step():
    from edge.sources import raw
    from edge.windows import Window

    values = np.random.default_rng(0).uniform(-1.2, 1.2, (16000, 1)).astype(np.float32)
    data, scale = raw(Window(Stream("audio", "audio", "room"), 0, 16000.0, values, 1.0))
    assert (data.dtype, scale) == (np.dtype("<i2"), 1 / 32768)
    assert np.abs(data * np.float32(scale) - values.clip(-1, 32767 / 32768)).max() <= scale * 0.51
