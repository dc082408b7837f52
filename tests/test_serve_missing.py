"""Streams that are not there, come, go or are slow: answers degrade and never break, and what was answered stays."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.answer import Answer, Decision
from backend.data import sequence
from backend.data.recording import Sequence
from backend.data.synthetic import scene_recording
from backend.model.adapter import FUSIONS, FuseBatch
from backend.model.history import Context, History, StreamTokens
from backend.model.sensorlm import Predictor, SensorModel, collate
from backend.moment import Moment
from backend.recipes import model_for
from backend.serve.align import Aligner, Closed, Grouping, GroupKey
from backend.serve.engine import Engine
from backend.serve.events import ending, iso
from backend.serve.ingest import Ingest
from backend.tasks import TASKS, Regression
from backend.train.evaluate import Encoded, decide
from broker.messages import Status, encode_frame
from broker.topics import FrameTopic
from edge.clock import SECOND, ManualClock
from edge.sensors import Reading
from edge.simulator import SCENES
from edge.sources import SensorSource
from edge.windows import Stream, cut
from tests.serving import HOP, T0, new_metrics, senses_checkpoint

SLOTS = 6
KEY = GroupKey("s", "g")


@lru_cache(maxsize=1)
def predictor() -> Predictor:
    return Predictor(senses_checkpoint())


@lru_cache(maxsize=3)
def scene(name: str) -> tuple[tuple[Moment, ...], dict[tuple[int, str], StreamTokens]]:
    """Some moments in which all streams of a scene delivered, and their tokens by slot and stream."""
    cut = sequence(scene_recording(20_001, seconds=5, scene=name))
    assert cut is not None
    everything = max(len(moment.windows) for moment in cut.moments())
    moments = tuple(moment for moment in cut.moments() if len(moment.windows) == everything)[:SLOTS]
    assert len(moments) == SLOTS
    windows = [window for moment in moments for window in moment.windows]
    tokens = predictor().encode_windows(windows, HOP)
    return moments, {(row.slot, row.key): row for row in tokens}


def answers(name: str, present: list[frozenset[str]]) -> list[dict[str, Answer]]:
    """By slot: what is answered when only these streams are present."""
    moments, rows = scene(name)
    history, found = History(predictor().slots), []
    for moment, keys in zip(moments, present, strict=True):
        history.add(row for (slot, key), row in rows.items() if slot == moment.slot and key in keys)
        found += predictor().decide([history.at(moment.slot)]) if keys else [{}]
    return found


def streams(name: str) -> dict[str, tuple[str, str]]:
    """Modality and placement of every stream."""
    return {window.key: (window.modality, window.placement) for window in scene(name)[0][0].windows}


def asked(present: list[tuple[str, str]], before: frozenset[str] = frozenset()) -> set[str]:
    return {task for task in predictor().tasks if TASKS[task].asks(present, before)}


def check(answer: Answer, task: str, keys: set[str]) -> None:
    """A whole and finite answer that is due to streams that were there."""
    if isinstance(answer, Decision):
        probs = np.array([*answer.probs.values()])
        assert np.isfinite(probs).all() and probs.sum() == pytest.approx(1.0, abs=1e-4)
        assert answer.probs[answer.label] == answer.confidence == probs.max()
    else:
        assert answer.values.shape == (predictor().tasks[task].size,)
        assert np.isfinite(answer.values).all()
    assert answer.attribution.keys() == keys
    assert sum(answer.attribution.values()) == pytest.approx(1.0, abs=1e-4)
    assert min(answer.attribution.values()) >= 0.0


def same(a: dict[str, Answer], b: dict[str, Answer]) -> bool:
    return a.keys() == b.keys() and all(np.allclose(numbers(a[task]), numbers(b[task]), atol=1e-4) for task in a)


def numbers(answer: Answer) -> list[float]:
    said = answer.probs.values() if isinstance(answer, Decision) else answer.values
    return [*said, *(answer.attribution[key] for key in sorted(answer.attribution))]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.parametrize("name", SCENES)
def test_any_streams_are_enough_for_the_tasks_that_ask_for_them(name: str, data: st.DataObject):
    """Streams come and go from slot to slot; the tasks answered are those that what is there now can tell of."""
    keys = streams(name)
    subsets = st.frozensets(st.sampled_from(sorted(keys)))
    present = [data.draw(subsets) for _ in range(SLOTS)]
    found, depth = answers(name, present), predictor().slots
    for i, (told, now) in enumerate(zip(found, present, strict=True)):
        in_context = set().union(*present[max(0, i - depth) : i + 1])
        before = set().union(*present[max(0, i - depth) : i])
        assert told.keys() == asked([keys[key] for key in now], frozenset(keys[key][0] for key in before))
        for task, answer in told.items():
            check(answer, task, in_context)
    i = data.draw(st.integers(1, SLOTS - 1))
    changed = [*present[:i], *(data.draw(subsets) for _ in present[i:])]
    assert all(same(a, b) for a, b in zip(found[:i], answers(name, changed)[:i], strict=True))


@pytest.mark.parametrize("name", SCENES)
def test_every_stream_alone_and_all_but_any_one(name: str):
    keys = streams(name)
    for key in keys:
        for present in (frozenset({key}), frozenset(keys) - {key}):
            for told in answers(name, [present] * SLOTS):
                assert told.keys() == asked([keys[k] for k in present])
                for task, answer in told.items():
                    check(answer, task, set(present))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_stands_where_nothing_is_does_not_matter(fusion: str):
    """Padding is no news, whatever is in it; and a decision is the same alone and beside a longer one."""
    rows = scene("home")[1]
    torch.manual_seed(0)
    config = replace(model_for("synthetic", "synthetic_drive", "synthetic_touch", layers=1), fusion=fusion)
    model = SensorModel(config).eval()
    slot = min(slot for slot, _ in rows)
    whole = tuple(row for at, row in sorted(rows.items()) if at[0] == slot)
    batch = collate([Context(slot, whole[:2]), Context(slot, whole)], config)
    rubbish = {name: value.clone() for name, value in vars(batch).items()}
    absent = ~batch.present
    rubbish["tokens"][absent] = 6e4
    rubbish["quality"][absent] = 1.0
    for name in ("modality", "placement", "age"):
        rubbish[name][absent] = 1
    with torch.inference_mode():
        clean, dirty = model.fuse(batch), model.fuse(FuseBatch(**rubbish))
        alone = model.fuse(collate([Context(slot, whole[:2])], config))
    for task in config.tasks:
        torch.testing.assert_close(dirty.heads[task], clean.heads[task], rtol=0, atol=1e-5)
        torch.testing.assert_close(clean.heads[task][:1], alone.heads[task], rtol=0, atol=1e-4)
        assert (dirty.gate[task][absent] == 0).all()


@pytest.mark.parametrize(("name", "task"), [("drive", "depth-estimation"), ("home", "pose-estimation")])
def test_a_sensor_that_gives_the_answer_away_and_fails_is_served_as_it_is_evaluated(name: str, task: str):
    """It delivers in the first slot alone: as long as a decision would see that, nothing is asked."""
    given = TASKS[task].given_by
    keys = streams(name)
    there = [frozenset(key for key in keys if keys[key][0] not in given or i == 0) for i in range(SLOTS)]
    served = answers(name, there)
    assert [task in told for told in served] == [i > predictor().slots for i in range(SLOTS)]
    moments, rows = scene(name)
    first = moments[0].slot
    one = Sequence("one", "one", "p", first, HOP, (), {task: np.zeros((SLOTS, TASKS[task].size), np.float32)}, {})
    seen = tuple(row for (slot, key), row in sorted(rows.items()) if key in there[slot - first])
    offline = decide(predictor(), Encoded((one,), (seen,)), task)
    said = dict(zip(offline.slot, offline.said, strict=True))
    for i, told in enumerate(served):
        if task in told:
            assert np.allclose(told[task].values, said[first + i], atol=1e-4)


def due(moments: list[Moment]) -> Iterator[tuple[str, str]]:
    """When and of which tasks estimates are told: at each task's pace, of what those present can tell."""
    told: dict[str, int] = {}
    for i, moment in enumerate(moments):
        before = [window.modality for other in moments[max(0, i - predictor().slots) : i] for window in other.windows]
        for name in asked([(window.modality, window.placement) for window in moment.windows], frozenset(before)):
            task = predictor().tasks[name]
            if isinstance(task, Regression) and moment.t0 - told.get(name, -T0) >= task.rule.every_s * SECOND:
                told[name] = moment.t0
                yield iso(ending(moment)), name


@pytest.mark.parametrize("name", SCENES)
def test_a_sense_that_comes_late_or_falls_silent_breaks_no_episode_and_no_estimate(name: str):
    """Through the engine of serving: half of the streams from the third slot on only, the others until the fourth."""
    moments, _ = scene(name)
    early = {window.key for i, window in enumerate(moments[0].windows) if i % 2}
    changing = [
        replace(moment, site=KEY.site, group=KEY.group, windows=tuple(w for w in moment.windows if there(w.key)))
        for i, moment in enumerate(moments)
        for there in [lambda key, i=i: i < 4 if key in early else i >= 2]
    ]
    runs = []
    for sizes in (1, SLOTS):
        engine = Engine(predictor(), {}, new_metrics(), hop_ns=HOP, update_s=0.5)
        closed = [Closed(KEY, moment, (), "complete") for moment in changing]
        outcomes = [engine.process(closed[at : at + sizes]) for at in range(0, SLOTS, sizes)]
        events = [event for outcome in outcomes for event in outcome.events]
        estimates = [estimate for outcome in outcomes for estimate in outcome.estimates]
        probs = {
            (r.task, iso(ending(moments[r.slot - moments[0].slot]))): r.probs for o in outcomes for r in o.decisions
        }
        for event in events:  # an episode ends when its label is no longer likely, and for nothing else
            if event.phase == "end":
                assert probs[event.task, event.time][event.label] < engine._rules[event.task].off
        assert sorted((e.time, e.task) for e in estimates) == sorted(due(changing))
        runs.append(([(e.id, e.label) for e in events], [(e.id, e.task) for e in estimates]))
        assert events or estimates
        for message in (*events, *estimates):
            assert all(np.isfinite(value) for value in message.attribution.values())
    assert runs[0] == runs[1]


def test_what_only_a_silent_sense_told_of_ends_once_while_the_others_go_on():
    """The microphone stops after six slots; others go on for ten seconds, over a restart at any time."""
    moments = [replace(moment, site=KEY.site, group=KEY.group) for moment in scene("home")[0]]
    still = tuple(window for window in moments[-1].windows if window.modality == "imu")
    for i in range(1, 21):
        t0 = moments[SLOTS - 1].t0 + i * HOP
        windows = tuple(replace(window, t0=t0) for window in still)
        moments.append(Moment(KEY.site, KEY.group, moments[SLOTS - 1].slot + i, t0, windows))
    for restarts in ((), range(len(moments))):
        engine, told = Engine(predictor(), {}, new_metrics(), hop_ns=HOP, update_s=0.0), []
        for i, moment in enumerate(moments):
            outcome = engine.process([Closed(KEY, moment, (), "complete")])
            told += [(i, event) for event in outcome.events if event.task == "event-detection"]
            if i in restarts:
                engine = Engine(predictor(), outcome.groups, new_metrics(), hop_ns=HOP, update_s=0.0)
        (_, start), (at, end) = told
        assert (start.phase, end.phase, end.episode, end.label) == ("start", "end", start.id, start.label)
        assert (at, end.time) == (SLOTS - 1 + 11, iso(ending(moments[SLOTS - 1])))
        assert engine.process([Closed(KEY, None, (), "gone")]).events  # of what the watch tells, and of nothing else
        assert not engine._groups[KEY].episodes.finish(*KEY)


class Turned(ManualClock):
    """A clock that the test turns; who sleeps on it waits for that."""

    async def sleep(self, seconds: float) -> None:
        due = self._now + round(seconds * SECOND)
        while self._now < due:
            await asyncio.sleep(0)

    def turn(self, seconds: float) -> None:
        self._now += round(seconds * SECOND)


@dataclass
class Regular:
    """A live sensor that gives some samples every so often; `given` are its readings so far."""

    modality: str
    clock: Turned
    every_s: float
    shape: tuple[int, ...]
    given: list[Reading] = field(default_factory=list)

    async def readings(self) -> AsyncIterator[Reading]:
        while True:
            await self.clock.sleep(self.every_s)
            ages_s = np.linspace(self.every_s, 0, self.shape[0], endpoint=False)
            t = self.clock.now() - np.rint(ages_s * SECOND).astype(np.int64)
            self.given.append(Reading(t + round(ages_s[-1] * SECOND), np.full(self.shape, 0.5, np.float32)))
            yield self.given[-1]


async def live(seconds: float, *sensors: Regular) -> list[tuple[float, float, Closed]]:
    """What a backend closes of a group whose devices have a sensor each: after how many seconds it came, and closed."""
    clock = sensors[0].clock
    ingest = Ingest({}, new_metrics(), lambda window: None, clock.now)
    grouping = Grouping({KEY.group: [sensor.modality for sensor in sensors]})
    came: dict[int, float] = {}
    closed: list[tuple[float, float, Closed]] = []

    def now_s() -> float:
        return (clock.now() - T0) / SECOND

    aligner = Aligner(grouping, {}, hop_ns=HOP, lateness_s=1.0, idle_s=5.0, clock=now_s)

    def note(found: list[Closed]) -> None:
        closed.extend((came[min(r.t0 for r in one.receipts)], now_s(), one) for one in found)

    async def be(device: str, sensor: Regular) -> None:
        source = SensorSource(KEY.site, device, Stream(device, sensor.modality, "room"), sensor, clock)
        note(aligner.status(KEY.site, device, Status("online", "e", source.streams, "0", "")))
        seq = 0
        async for name, frame in source.frames(lambda name: None):
            seq += 1
            payload = encode_frame(replace(frame, epoch="e", seq=seq))
            _, _, accepted = ingest.take(FrameTopic(KEY.site, device, name), payload)
            came.setdefault(frame.t0, now_s())
            note(aligner.add(accepted))

    devices = [asyncio.create_task(be(sensor.modality, sensor)) for sensor in sensors]
    for _ in range(round(seconds * 10)):
        clock.turn(0.1)
        for _ in range(4):
            await asyncio.sleep(0)
        note(aligner.tick())
    for device in devices:
        device.cancel()
    await asyncio.gather(*devices, return_exceptions=True)
    return closed


@pytest.mark.parametrize("every_s", [0.5, 1.0, 1.5, 2.0, 5.0, 30.0])
async def test_a_camera_however_slow_joins_its_group_live_as_it_does_offline(every_s: float):
    clock = Turned(T0)
    camera, watch = Regular("image", clock, every_s, (1, 48, 64, 3)), Regular("imu", clock, 0.1, (5, 6))
    closed = [at for at in await live(8 * every_s + 4, camera, watch) if at[2].moment]
    fused = {
        window.t0: window.quality for *_, one in closed for window in one.moment.windows if window.modality == "image"
    }
    t, values = np.concatenate([r.t for r in camera.given]), np.concatenate([r.values for r in camera.given])
    offline = {window.t0: window.quality for window in cut(Stream("image", "image", "room"), t, values)}
    known = t[2] - SECOND  # the third frame shows that a camera is slow
    newest = max(one.moment.t0 for *_, one in closed)
    assert {at: fused[at] for at in fused if at > known} == {at: offline[at] for at in offline if known < at <= newest}
    assert len(fused) >= 10
    alone = [then - came for came, then, one in closed if one.moment.t0 > known and one.moment.t0 not in fused]
    assert max(alone, default=0.0) <= 1.0 + 0.1 + 1e-6  # the lateness, and a tick of the clock: for nobody longer


@pytest.mark.parametrize("every_s", [0.1, 0.2, 0.5, 1.0])
async def test_a_gps_at_any_rate_of_its_band_joins_its_group_live_as_it_does_offline(every_s: float):
    """Its windows are cut with a view of what comes after them: they come seconds after those of the watch."""
    clock = Turned(T0)
    gps, watch = Regular("gps", clock, every_s, (1, 4)), Regular("imu", clock, 0.1, (5, 6))
    closed = await live(40.0, gps, watch)
    assert {one.by for *_, one in closed} == {"complete"}
    t, values = np.concatenate([r.t for r in gps.given]), np.concatenate([r.values for r in gps.given])
    offline = {window.t0: window.quality for window in cut(Stream("gps", "gps", "room"), t, values)}
    newest = max(one.moment.t0 for *_, one in closed if one.moment)
    fused = {w.t0: w.quality for *_, one in closed if one.moment for w in one.moment.windows if w.modality == "gps"}
    assert fused == {at: quality for at, quality in offline.items() if at <= newest}
    assert len(fused) > 60
    assert max(then - came for came, then, _ in closed) <= 3.0 + 0.1 + 1e-6  # and a tick of the clock
