"""The whole backend over a link in memory, and over a real broker: nothing lost, nothing twice, nothing blocked."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client import generate_latest

from backend.model.history import History
from backend.moment import Moment, StreamWindow
from backend.serve.align import Closed, GroupKey
from backend.serve.config import load
from backend.serve.engine import Engine
from backend.serve.events import iso
from backend.serve.pipeline import Pipeline
from backend.serve.store import DECISIONS, WINDOWS, GroupState, Store
from broker import topics
from broker.errors import ConfigError
from broker.link import Link, Message, MqttLink
from broker.memory import Faults, MemoryBroker, MemoryLink
from broker.messages import Estimate, Event, Frame, decode_estimate, decode_event, encode_frame, encode_json
from edge.clock import SECOND
from tests.serving import HOP, T0, Device, imu_frame, new_metrics, small_model, status


def rows(store: Store, table: sa.Table) -> list[sa.Row]:
    with store._engine.connect() as db:
        return list(db.execute(sa.select(table)))


def committed(store: Store) -> Counter:
    return Counter((row.device, row.epoch, row.seq) for row in rows(store, WINDOWS))


@contextlib.asynccontextmanager
async def serving(link: Link, store: Store, model, **flags):
    pipeline = Pipeline(load(None, flags), link, model, store, new_metrics())
    task = asyncio.create_task(pipeline.run())
    try:
        yield pipeline
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def recording(seed: int, count: int, placement: str = "wrist", epoch: str = "e1") -> list[Frame]:
    return [imu_frame(i + 1, i, seed=seed, placement=placement, epoch=epoch) for i in range(count)]


HOME = {"groups": {"home": ["watch", "phone"]}, "idle_s": 1.0}
COUNT = 150


def everything() -> Counter:
    return Counter((device, "e1", i + 1) for device in ("watch", "phone") for i in range(COUNT))


async def play(links: tuple[Link, Link]) -> None:
    """A watch and a phone, until both have all acknowledged."""
    watch = Device(links[0], "s", "watch", recording(1, COUNT))
    phone = Device(links[1], "s", "phone", recording(2, COUNT, "pocket"))
    await asyncio.wait_for(asyncio.gather(watch.run(), phone.run()), 90)


async def undisturbed(folder: Path) -> list[Event]:
    broker, store = MemoryBroker(), Store(f"sqlite:///{folder}/calm.db")
    async with (
        MemoryLink(broker) as a,
        MemoryLink(broker) as b,
        serving(MemoryLink(broker), store, small_model(), **HOME),
    ):
        await play((a, b))
    return store.events(0, 1000)


async def test_two_devices_of_a_group_become_events(tmp_path: Path):
    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    async with MemoryLink(broker) as subscriber, MemoryLink(broker) as a, MemoryLink(broker) as b:
        await subscriber.subscribe(topics.EVENTS_ALL)
        async with serving(MemoryLink(broker), store, small_model(), **HOME) as pipeline:
            await play((a, b))
            text = generate_latest(pipeline._metrics.registry).decode()
            assert f'iotlm_moments_total{{closed_by="complete"}} {COUNT}.0' in text
            assert "iotlm_late_windows_total 0.0" in text
        assert committed(store) == everything()
        stored = store.events(0, 1000)
        assert [e.offset for e in stored] == list(range(1, len(stored) + 1))
        assert len(stored) >= 6
        live = [decode_event((await anext(subscriber.messages())).payload) for _ in stored]
        assert live == stored
        assert {e.group for e in live} == {"home"}
        assert set(live[0].attribution) == {"watch/imu", "phone/imu"}
        assert "watch/imu/imu.rms" in live[0].facts


async def test_only_the_tasks_of_a_group_are_decided_and_a_window_sent_twice_is_counted(tmp_path: Path):
    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    flags = {"groups": {"home": ["watch", "absent"], "phone": {"tasks": []}}, "idle_s": 0.5}  # so moments stay open
    async with (
        MemoryLink(broker) as a,
        MemoryLink(broker) as b,
        serving(MemoryLink(broker), store, small_model(), **flags) as pipeline,
    ):
        twice = [imu_frame(1, 0), imu_frame(2, 1), imu_frame(3, 1), imu_frame(4, 2)]
        watch, phone = Device(a, "s", "watch", twice), Device(b, "s", "phone", recording(2, 4))
        await asyncio.wait_for(asyncio.gather(watch.run(), phone.run()), 30)
        text = generate_latest(pipeline._metrics.registry).decode()
    assert {row.group for row in rows(store, DECISIONS)} == {"home"}
    assert 'iotlm_unplaced_windows_total{reason="twice"} 1.0' in text


def test_a_task_that_the_model_does_not_know_is_one_line(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path}/s.db")
    for flags, where in (({"tasks": ["gaze"]}, "tasks"), ({"groups": {"a": {"tasks": ["gaze"]}}}, "groups.a.tasks")):
        with pytest.raises(ConfigError, match=f"^{where}: the model knows no 'gaze'; it knows activity-recognition$"):
            Pipeline(load(None, flags), MemoryLink(MemoryBroker()), small_model(), store, new_metrics())


async def test_faulty_links_and_restarts_change_nothing(tmp_path: Path):
    """Messages dropped, doubled and delayed, the backend cut off and restarted: the same windows, the same events."""
    calm = await undisturbed(tmp_path)
    broker, store = MemoryBroker(seed=3), Store(f"sqlite:///{tmp_path}/s.db")
    model, chance = small_model(), random.Random(5)
    bad = Faults(drop=0.03, duplicate=0.1, delay_s=0.01)
    flags = HOME | {"lateness_s": 20.0, "idle_s": 60.0}
    async with MemoryLink(broker, faults=bad) as a, MemoryLink(broker, faults=bad) as b:
        playing, starts = asyncio.create_task(play((a, b))), 0
        while not playing.done():
            starts += 1
            link = MemoryLink(broker)
            async with serving(link, store, model, **flags):
                await asyncio.wait({playing}, timeout=chance.uniform(0.1, 0.5))
                link.disconnect()
        await playing
    assert starts >= 4
    assert committed(store) == everything()
    assert [(e.id, e.label, e.offset) for e in store.events(0, 1000)] == [(e.id, e.label, e.offset) for e in calm]


class Slow:
    """The real model, whose first call takes as long as a busy GPU may."""

    def __init__(self, model, seconds: float) -> None:
        self.model, self.seconds = model, seconds

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    def encode_windows(self, windows, slot_ns):
        end, self.seconds = time.monotonic() + self.seconds, 0.0
        while time.monotonic() < end:  # holds the interpreter, as Python around a GPU does
            pass
        return self.model.encode_windows(windows, slot_ns)


async def test_a_slow_engine_never_blocks_the_keep_alive(mosquitto, tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path}/s.db")
    link = MqttLink("127.0.0.1", mosquitto.port, "backend", keepalive=2)
    async with MqttLink("127.0.0.1", mosquitto.port, "watch") as device_link:
        await device_link.wait_connected()
        async with serving(link, store, Slow(small_model(), 5.0)) as pipeline:
            await asyncio.wait_for(Device(device_link, "s", "watch", recording(1, 20)).run(3.0), 60)
            assert pipeline._link.session == 1
    assert sum(committed(store).values()) == 20


async def test_events_wait_for_the_broker(tmp_path: Path):
    """What is committed while the broker is away goes out when it is back, once and in order."""
    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    link = MemoryLink(broker)
    async with MemoryLink(broker) as subscriber, MemoryLink(broker) as device_link:
        await subscriber.subscribe(topics.EVENTS_ALL)
        async with serving(link, store, Slow(small_model(), 0.3), **{"batch.size": 1000}) as pipeline:
            device = asyncio.create_task(Device(device_link, "s", "watch", recording(1, 64)).run())
            while not pipeline.ingest.pending:
                await asyncio.sleep(0.01)
            link.disconnect()
            while not store.unpublished:
                await asyncio.sleep(0.01)
            waiting = store.unpublished
            link.connect()
            await asyncio.wait_for(device, 30)
            assert waiting > 0
            stored = store.events(0, 1000)
            live = [decode_event((await asyncio.wait_for(anext(subscriber.messages()), 5)).payload) for _ in stored]
            assert live == stored
            await asyncio.sleep(0.2)
            assert store.unpublished == 0
            assert subscriber._inbox.empty()


async def test_an_episode_of_a_device_that_is_online_and_silent_ends_once_also_after_restarts(tmp_path: Path):
    broker, store, model = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db"), small_model()
    flags = {"idle_s": 0.2, "lateness_s": 0.1, "max_wait_s": 2.0}

    def last() -> Event:
        return store.events(0, 1000)[-1]

    async with MemoryLink(broker) as link, asyncio.timeout(60):
        await link.publish(topics.status("s", "watch"), encode_json(status()), retain=True)
        async with serving(MemoryLink(broker), store, model, **flags):
            while sum(committed(store).values()) < 20:
                for frame in recording(1, 20):
                    await link.publish(topics.frames("s", "watch", "imu"), encode_frame(frame))
                await asyncio.sleep(0.1)
            going_on = last()
            assert going_on.phase != "end"
        async with serving(MemoryLink(broker), store, model, **flags):
            while last().phase != "end":
                await asyncio.sleep(0.02)
            end = last()
        assert (end.episode, end.offset) == (going_on.episode, going_on.offset + 1)
        assert (end.time, end.confidence, end.attribution) == (iso(T0 + 19 * HOP + SECOND), 0.0, {})
        async with serving(MemoryLink(broker), store, model, **flags) as pipeline:
            while not all(group.gone for group in pipeline.aligner._groups.values()):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
    assert last() == end


async def test_an_estimate_is_told_while_it_is_new(tmp_path: Path):
    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    gaze = Estimate("e", "s", "g", "gaze-estimation", "", "cm", (1, 2), (), ("x", "y"), (1.0, 2.0), {}, "m")
    ages_s = (0, 30, 32, 3600)  # max_wait_s is 30, lateness_s 1
    async with MemoryLink(broker) as subscriber, MemoryLink(broker) as link:
        await subscriber.subscribe(topics.ESTIMATES_ALL)
        pipeline = Pipeline(load(None, {}), link, small_model(), store, new_metrics(), now=lambda: T0)
        await pipeline._tell([replace(gaze, id=str(age), time=iso(T0 - age * SECOND)) for age in ages_s])
        assert [decode_estimate((await anext(subscriber.messages())).payload).id for _ in range(2)] == ["0", "30"]
        assert subscriber._inbox.empty()
    assert "iotlm_old_estimates_total 2.0" in generate_latest(pipeline._metrics.registry).decode()


async def test_a_poisonous_window_stops_nothing(tmp_path: Path):
    class Allergic(Slow):
        def encode_windows(self, windows, slot_ns):
            if any(window.t0 == T0 + 7 * HOP for window in windows):
                raise RuntimeError("cannot take this")
            return self.model.encode_windows(windows, slot_ns)

    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    async with MemoryLink(broker) as a, serving(MemoryLink(broker), store, Allergic(small_model(), 0)) as pipeline:
        await asyncio.wait_for(Device(a, "s", "watch", recording(1, 40)).run(), 30)
        assert 'iotlm_failures_total{stage="encode"} 1.0' in generate_latest(pipeline._metrics.registry).decode()
    assert sum(committed(store).values()) == 40
    assert store.events(0, 1000)


async def test_what_nobody_thought_of_stops_nothing(tmp_path: Path):
    """A check that fails in its own way costs a window its moment, and no one else anything."""

    class Faulty(Slow):
        def check(self, window) -> None:
            if window.t0 == T0 + 7 * HOP:
                raise OverflowError("nobody thought of this")

    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    async with MemoryLink(broker) as a, serving(MemoryLink(broker), store, Faulty(small_model(), 0)) as pipeline:
        await asyncio.wait_for(Device(a, "s", "watch", recording(1, 40)).run(), 30)
        assert [letter.reason for letter in pipeline.ingest.dead_letters] == ["unexpected"]
    assert sum(committed(store).values()) == 40


async def test_a_message_that_cannot_be_handled_is_buried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OverflowError("nobody thought of this")

    store = Store(f"sqlite:///{tmp_path}/s.db")
    async with serving(MemoryLink(MemoryBroker()), store, small_model()) as pipeline:
        monkeypatch.setattr(pipeline.aligner, "status", fail)
        pipeline.take(Message(topics.status("s", "watch"), encode_json(status()), False))
        assert [letter.reason for letter in pipeline.ingest.dead_letters] == ["unexpected"]


def test_the_state_of_another_model_is_left_behind():
    model = small_model()
    key = GroupKey("s", "watch")
    old = GroupState(41, b"tokens of another shape", {}, "another digest")
    engine = Engine(model, {key: old}, new_metrics(), hop_ns=HOP, update_s=0.0)
    outcome = engine.process([Closed(key, None, (), "gone")])
    state = outcome.groups[key]
    assert (state.slot, state.model, state.episodes, outcome.events) == (41, model.digest, {}, [])


@pytest.mark.parametrize("by", ["moment", "gone"])
def test_an_episode_of_another_model_ends_once_with_what_comes_first(by: str):
    model, key = small_model(), GroupKey("s", "watch")
    track = {"label": "a-label", "episode": "e", "began": T0, "last_t0": T0 + 41 * HOP, "last_end": T0 + 43 * HOP}
    old = GroupState(41, b"tokens of another shape", {"a-task": track, "b-task": {}}, "another digest")
    ids = set()
    for _ in range(2):  # the first backend dies before it has committed
        engine = Engine(model, {key: old}, new_metrics(), hop_ns=HOP, update_s=0.0)
        told = []
        for slot in (42, 43):
            frame = imu_frame(1, slot)
            window = StreamWindow("watch", "imu", "imu", "wrist", frame.t0, 50.0, 1.0, frame.data)
            closed = Closed(key, Moment("s", "watch", frame.t0 // HOP, frame.t0, (window,)), (), "complete")
            told.append(engine.process([closed if by == "moment" else Closed(key, None, (), "gone")]))
        (end,) = [event for outcome in told for event in outcome.events if event.model == "another digest"]
        assert end == told[0].events[0]
        assert (end.phase, end.task, end.label, end.episode) == ("end", "a-task", "a-label", "e")
        assert (end.time, end.confidence) == (iso(T0 + 43 * HOP), 0.0)
        assert told[0].groups[key].model == model.digest
        assert "a-task" not in told[0].groups[key].episodes
        ids.add(end.id)
    assert len(ids) == 1


async def test_an_episode_of_another_model_ends_once_over_restarts(tmp_path: Path):
    broker, store = MemoryBroker(), Store(f"sqlite:///{tmp_path}/s.db")
    flags = {"idle_s": 0.2, "lateness_s": 0.1, "max_wait_s": 0.5}
    async with MemoryLink(broker) as link, MemoryLink(broker) as subscriber, asyncio.timeout(60):
        await subscriber.subscribe(topics.EVENTS_ALL)
        await link.publish(topics.status("s", "watch"), encode_json(status()), retain=True)
        async with serving(MemoryLink(broker), store, small_model(), **flags | {"max_wait_s": 30.0}):
            while sum(committed(store).values()) < 20:
                for frame in recording(1, 20):
                    await link.publish(topics.frames("s", "watch", "imu"), encode_frame(frame))
                await asyncio.sleep(0.1)
        going_on = store.events(0, 1000)
        assert going_on[-1].phase != "end"
        for _ in range(2):
            async with serving(MemoryLink(broker), store, small_model(seed=1), **flags) as pipeline:
                while not all(group.gone for group in pipeline.aligner._groups.values()):
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.2)
        *others, end = store.events(0, 1000)
        assert others == going_on
        assert (end.phase, end.episode, end.model) == ("end", going_on[-1].episode, going_on[-1].model)
        assert end.time == iso(T0 + 19 * HOP + SECOND)
        live = [decode_event((await anext(subscriber.messages())).payload) for _ in range(end.offset)]
        assert live[-1] == end
        assert subscriber._inbox.empty()


def test_an_episode_of_a_task_that_is_no_longer_told_ends_with_the_first_moment():
    model, key = small_model(), GroupKey("s", "watch")
    track = {"label": "WALKING", "episode": "e", "began": T0, "last_t0": T0 + 41 * HOP, "last_end": T0 + 43 * HOP}
    on = GroupState(41, History(model.slots).to_bytes(), {"activity-recognition": track}, model.digest)
    engine = Engine(model, {key: on}, new_metrics(), hop_ns=HOP, update_s=0.0, tasks_of=lambda _: ())
    told = []
    for slot in (42, 43):
        frame = imu_frame(1, slot)
        window = StreamWindow("watch", "imu", "imu", "wrist", frame.t0, 50.0, 1.0, frame.data)
        told.append(
            engine.process([Closed(key, Moment("s", "watch", frame.t0 // HOP, frame.t0, (window,)), (), "complete")])
        )
    assert [(event.phase, event.label, event.episode) for event in told[0].events] == [("end", "WALKING", "e")]
    assert told[0].groups[key].episodes["activity-recognition"]["label"] == ""
    assert not told[1].events
