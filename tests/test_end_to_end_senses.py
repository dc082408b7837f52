"""The whole way of every sense and of every task: simulator, exported encoder, device, real broker, backend, answer.

One export, one broker and one backend serve all tests here; the model is untrained (`tests.serving`), because that what
goes in comes out is not a question of weights. Each test plays devices of its own.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import sqlalchemy as sa

from backend.checkpoint import Checkpoint
from backend.data import sequence
from backend.data.recording import Track
from backend.data.synthetic import START, scene_recording
from backend.model.encoders import ENCODERS
from backend.model.sensorlm import Predictor
from backend.serve.config import load
from backend.serve.engine import Engine
from backend.serve.pipeline import Pipeline
from backend.serve.store import DECISIONS, WINDOWS, Store
from backend.tasks import TASKS, Classification, Regression
from broker import topics
from broker.errors import ConfigError
from broker.link import MqttLink
from broker.messages import Estimate, Event, decode_estimate, decode_event
from broker.modalities import MODALITIES
from edge.agent import Agent
from edge.clock import SystemClock
from edge.encoder import Encoder
from edge.facts import FAMILIES
from edge.sensors import SENSORS, Reading
from edge.simulator import SCENES
from edge.sources import SensorSource, raw, stream_for
from edge.spool import Spool
from edge.windows import Stream, cutter_for
from export.bundle import FP32, INT8, Files, build
from export.parity import EQUAL
from tests.conftest import Mosquitto
from tests.serving import new_metrics, senses_checkpoint

pytestmark = pytest.mark.timeout(240)
in_one_loop = pytest.mark.asyncio(loop_scope="module")

SITE = "house"
BEGIN = "2026-01-01T00:00:00Z"
SECONDS = 3.0
BOUNDS = {FP32: EQUAL / 5, INT8: 2 * EQUAL}
"""How far answers from tokens may be from those of raw windows: of a probability, or in units of a task's scale. Both
are more than a trained model needs: weights that nobody trained make much of a small difference."""

SOURCES = {
    modality: (scene, placement)
    for scene in ("home", "drive", "touch")
    for _, modality, placement in SCENES[scene](0).streams()
}
"""By modality: a scene that has it, and where."""
HOMES = {name: scene for scene in SCENES for name in SCENES[scene](0).tasks}
"""By task: a scene that knows its truth."""
HOMES["depth-estimation"] = "drive"


def group_streams(task: str) -> list[tuple[str, str, str]]:
    """Device, modality and placement of all that a task's scene has, but for what would give the answer away."""
    found = SCENES[HOMES[task]](0).streams()
    return [
        (f"{task}-{device}", modality, at) for device, modality, at in found if modality not in TASKS[task].given_by
    ]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return senses_checkpoint()


@pytest.fixture(scope="module")
def files(checkpoint: Checkpoint) -> Files:
    return build(checkpoint)


@dataclass
class World:
    """A broker, a backend, somebody who listens, and what was heard: messages by topic."""

    port: int
    folder: Path
    store: Store
    pipeline: Pipeline
    heard: list[tuple[str, Event | Estimate]] = field(default_factory=list)

    async def play(self, device: str, sources: list[SensorSource]) -> None:
        """Be a device until all that it measures is acknowledged."""
        link = MqttLink("127.0.0.1", self.port, f"{SITE}.{device}")
        with contextlib.closing(Spool(self.folder / f"{device}.db")) as spool:
            async with link:
                await asyncio.wait_for(Agent(SITE, device, sources, link, spool, SystemClock()).run(), 60)

    async def listen(self) -> None:
        async with MqttLink("127.0.0.1", self.port, "listener") as link:
            await link.subscribe(topics.EVENTS_ALL, topics.ESTIMATES_ALL)
            async for message in link.messages():
                decode = decode_event if isinstance(topics.parse(message.topic), topics.EventTopic) else decode_estimate
                self.heard.append((message.topic, decode(message.payload)))

    async def told(self, group: str) -> list[tuple[str, Event | Estimate]]:
        """What was heard of a group's moments, as soon as nothing is on its way any more.

        What ends because the group has been gone for a while is left out: it has no moment, and no attribution.
        """
        await until(lambda: len(self.heard) >= self._published())
        return [(topic, message) for topic, message in self.heard if message.group == group and message.attribution]

    def _published(self) -> int:
        metrics = self.pipeline._metrics
        counted = [sample for family in metrics.estimates.collect() for sample in family.samples]
        estimates = sum(sample.value for sample in counted if sample.name.endswith("_total"))
        return round(metrics.published._value.get() + estimates)

    def rows(self, table: sa.Table, **where: str) -> list[sa.Row]:
        with self.store._engine.connect() as db:
            return list(db.execute(sa.select(table).where(*(table.c[name] == value for name, value in where.items()))))

    def windows(self, device: str) -> set[tuple[str, int]]:
        """Stream and time of what was decided about; it fails for a window that led to nothing."""
        rows = self.rows(WINDOWS, device=device)
        assert {row.by for row in rows} <= {"complete", "watermark", "idle"}, self.pipeline.ingest.dead_letters
        return {(row.stream, row.t0) for row in rows}

    def answers(self, group: str) -> dict[tuple[str, str], np.ndarray]:
        """By task and time: probabilities, or values in units of the task's scale."""
        found = {(row.task, str(row.t0)): np.array([*json.loads(row.probs).values()])
                 for row in self.rows(DECISIONS, group=group)}  # fmt: skip
        for _, message in self.heard:
            if isinstance(message, Estimate) and message.group == group:
                found[message.task, message.time] = np.array(message.values) / TASKS[message.task].scale
        return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    checkpoint: Checkpoint, broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    groups = {task: sorted({device for device, _, _ in group_streams(task)}) for task in TASKS}
    # Devices of a group render at their own pace on a busy machine: nothing here may be late.
    config = load(None, {"groups": groups, "lateness_s": 30.0, "max_wait_s": 60.0, "idle_s": 5.0, "update_s": 0.5})
    with contextlib.closing(Store(f"sqlite:///{folder}/store.db")) as store:
        link = MqttLink("127.0.0.1", broker.port, "backend")
        pipeline = Pipeline(config, link, Predictor(checkpoint), store, new_metrics(), now=lambda: START)
        world = World(broker.port, folder, store, pipeline)
        tasks = [asyncio.create_task(world.pipeline.run()), asyncio.create_task(world.listen())]
        await until(lambda: link.connected)
        yield world
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def source(device: str, scene: str, modality: str, placement: str, encoder: Encoder | None = None) -> SensorSource:
    """A stream of a scene, as `edge run` would open it."""
    stream = stream_for(modality, modality, placement, encoder)
    options = {"scene": scene, "seed": 3, "start": BEGIN, "seconds": SECONDS, "speed": 0.0}
    sensor = SENSORS["simulator"](options, stream, SystemClock())
    return SensorSource(SITE, device, stream, sensor, SystemClock(), encoder=encoder)


@in_one_loop
@pytest.mark.parametrize("modality", MODALITIES)
async def test_a_sense_is_heard_raw_and_as_tokens(modality: str, world: World, files: Files):
    scene, placement = SOURCES[modality]
    kinds = {"raw": None, FP32: Encoder(files[FP32][modality]), INT8: Encoder(files[INT8][modality])}
    devices = {kind: f"{modality}-{kind}" for kind in kinds}
    playing = (world.play(devices[kind], [source(devices[kind], scene, modality, placement, kinds[kind])])
               for kind in kinds)  # fmt: skip
    await asyncio.gather(*playing)

    heard = {kind: await world.told(device) for kind, device in devices.items()}
    asking = {name for name, task in TASKS.items() if task.asks([(modality, placement)])}
    answers = world.answers(devices["raw"])
    assert {task for task, _ in answers} == asking
    assert {message.task for _, message in heard["raw"]} == asking
    assert len(world.windows(devices["raw"])) >= 2 * SECONDS - 2
    for kind, bound in BOUNDS.items():
        assert world.windows(devices[kind]) == world.windows(devices["raw"])
        found = world.answers(devices[kind])
        assert found.keys() == answers.keys()
        for at, values in found.items():
            np.testing.assert_allclose(values, answers[at], rtol=0, atol=bound, err_msg=f"{kind} {at}")
    clear = {task for task in asking if is_clear(task, answers, world.pipeline.engine)}
    assert clear
    one, other = ([about for about in said(heard[kind]) if about[0] in clear] for kind in (FP32, "raw"))
    assert one == other
    for kind, device in devices.items():
        for topic, message in heard[kind]:
            assert message.attribution == pytest.approx({f"{device}/{modality}": 1.0}, abs=1e-5)
            if isinstance(message, Event):
                assert topic == topics.events(SITE, device, message.task)
                assert {*message.facts} == {f"{device}/{modality}/{fact}" for fact in FAMILIES[modality].facts}
            else:
                assert topic == topics.estimates(SITE, device, message.task)


def is_clear(task: str, answers: dict[tuple[str, str], np.ndarray], engine: Engine) -> bool:
    """Whether no decision is nearer to a threshold, or to another label, than those from tokens may be."""
    if isinstance(TASKS[task], Regression):
        return True
    probs = np.stack([values for (name, _), values in answers.items() if name == task])
    edges = np.array([engine._rules[task].on, engine._rules[task].off])
    first = np.sort(probs)[:, -2:]
    gaps = [np.abs(probs[..., None] - edges).min(), np.diff(first).min()]
    return min(gaps) > 2 * BOUNDS[FP32]


def said(heard: list[tuple[str, Event | Estimate]]) -> list[tuple[str, ...]]:
    """What events and estimates are about, in order of time; on the wire tasks overtake one another."""
    about = (("phase", "label") if isinstance(message, Event) else ("unit",) for _, message in heard)
    return sorted(
        (message.task, message.time, *(getattr(message, name) for name in names))
        for (_, message), names in zip(heard, about, strict=True)
    )


@in_one_loop
@pytest.mark.parametrize("task", TASKS)
async def test_a_task_is_served_for_all_streams_of_its_scene(task: str, world: World, files: Files):
    """Every other device has encoders, the others send raw windows: their group is one."""
    devices: dict[str, list[tuple[str, str]]] = {}
    for device, modality, placement in group_streams(task):
        devices.setdefault(device, []).append((modality, placement))
    playing = []
    for i, (device, streams) in enumerate(devices.items()):
        encoders = {m: Encoder(files[INT8][m]) if i % 2 else None for m, _ in streams}
        sources = [source(device, HOMES[task], m, placement, encoders[m]) for m, placement in streams]
        playing.append(world.play(device, sources))
    await asyncio.gather(*playing)
    for device, streams in devices.items():
        assert {stream for stream, _ in world.windows(device)} == {modality for modality, _ in streams}

    whole = {f"{device}/{modality}" for device, streams in devices.items() for modality, _ in streams}
    heard = [(topic, message) for topic, message in await world.told(task) if message.task == task]
    assert heard
    for topic, message in heard:
        assert message.attribution.keys() <= whole
        assert sum(message.attribution.values()) == pytest.approx(1.0, abs=1e-4)
        assert message.model == world.pipeline.engine._model.digest
        of = TASKS[task]
        if isinstance(of, Classification):
            assert isinstance(message, Event) and topic == topics.events(SITE, task, task)
            check_event(message, of, whole)
        else:
            assert isinstance(message, Estimate) and isinstance(of, Regression)
            assert topic == topics.estimates(SITE, task, task)
            check_estimate(message, world.pipeline.engine._model.tasks[task])
    assert any(message.attribution.keys() == whole for _, message in heard)
    if isinstance(TASKS[task], Regression):
        times = [np.datetime64(message.time.rstrip("Z")) for _, message in heard]
        pace = np.timedelta64(round(TASKS[task].rule.every_s * 1000), "ms")
        assert all(b - a >= pace for a, b in pairwise(times))


def check_event(event: Event, task: Classification, streams: set[str]) -> None:
    assert event.label in task.labels and event.label != task.none_label
    assert event.confidence >= {"start": task.rule.on, "update": task.rule.off, "end": 0.0}[event.phase]
    assert {name.rpartition("/")[0] for name in event.facts} <= streams
    assert event.facts


def check_estimate(estimate: Estimate, task: Regression) -> None:
    assert (estimate.unit, estimate.names, estimate.axes) == (task.unit, task.names, task.axes)
    assert estimate.shape == task.shape and len(estimate.values) == task.size == np.prod(task.shape)
    assert np.isfinite(estimate.values).all() and np.std(estimate.values) > 0


def test_every_sense_and_every_task_has_its_scene():
    assert SOURCES.keys() == MODALITIES.keys() == ENCODERS.keys() - {"features"}
    assert HOMES.keys() == TASKS.keys()


@pytest.mark.parametrize("scene", SCENES)
def test_windows_are_the_same_however_they_came_and_in_a_recording(scene: str):
    """What training sees of a recording is what a device cuts of it, in any chunks, and what the wire brings."""
    recording = scene_recording(10_003, seconds=4, scene=scene)
    offline = sequence(recording)
    assert offline is not None
    for track, series in zip(recording.tracks, offline.series, strict=True):
        assert series.key == f"{track.device}/{track.stream.name}"
        there = {offline.slot + i: i for i in np.flatnonzero(series.present).tolist()}
        runs = [streamed(track, chunks) for chunks in (1, 7, len(track.t))]
        for windows in runs:
            assert [window.t0 // offline.hop_ns for window in windows] == [*there]
            for window, first in zip(windows, runs[0], strict=True):
                i = there[window.t0 // offline.hop_ns]
                assert window.quality == first.quality == pytest.approx(float(series.quality[i]))
                np.testing.assert_array_equal(window.values, first.values)
                kept = series.values[i].astype(np.float32) * np.float32(series.scale)
                half = series.scale / 2 if np.issubdtype(series.values.dtype, np.integer) else 0.0
                np.testing.assert_allclose(window.values, kept, rtol=1e-6, atol=1.001 * half)
                travelling, scale = raw(window)
                fine = np.abs(window.values) * 2.0**-11 if travelling.dtype == np.float16 else scale / 2
                arrived = travelling.astype(np.float32) * np.float32(scale)
                fine = 0.0 if travelling.dtype == np.float32 else fine
                assert (np.abs(arrived - window.values) <= 1.001 * fine + 1e-6).all()


def streamed(track: Track, chunks: int) -> list:
    """The windows of a track that comes as that many readings."""
    cutter = cutter_for(track.stream)
    windows = []
    for rows in np.array_split(np.arange(len(track.t)), chunks):
        values = np.asarray(track.values[rows[0] : rows[-1] + 1], np.float32) * np.float32(track.scale)
        windows += cutter.push(Reading(track.t[rows], values))
    return windows + cutter.flush()


@pytest.mark.parametrize(("modality", "settings", "named"), [
    ("camera", {"size": (512, 512)}, r"size \[512, 512\]"), ("lidar", {"size": (512, 512)}, r"size \[512, 512\]"),
    ("video", {"size": (256, 256)}, r"size \[256, 256\], rate 8 Hz, window_s 1"),
    ("video", {"window_s": 60.0}, r"size \[32, 32\], rate 8 Hz, window_s 60"),
])  # fmt: skip
def test_raw_windows_that_are_too_large_to_travel_are_refused_at_the_start(modality: str, settings: dict, named: str):
    class Silent:
        def __init__(self) -> None:
            self.modality = modality

    stream = Stream(modality, modality, "here", **settings)
    with pytest.raises(ConfigError, match=f"{named}: a raw window of {modality} has .* encoder"):
        SensorSource(SITE, "device", stream, Silent(), SystemClock())
    SensorSource(SITE, "device", Stream(modality, modality, "here"), Silent(), SystemClock())


def test_the_scenes_begin_where_their_recordings_do():
    assert np.datetime64(BEGIN.rstrip("Z"), "ns").astype(int) == START
