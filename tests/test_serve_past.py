"""What answers follow from is committed with its events, found by group and time, and forgotten in time."""

from dataclasses import replace

import numpy as np
import sqlalchemy as sa

from backend.moment import Moment, StreamWindow
from backend.serve.align import GroupKey
from backend.serve.engine import measured_in
from backend.serve.events import iso
from backend.serve.past import EPISODES, READINGS, Episode, Measured
from backend.serve.store import Commit, Store
from broker.messages import Event, Phase
from edge.clock import SECOND
from edge.facts import FACTS
from tests.test_serve_store import commit, open_store, url

__all__ = ["open_store", "url"]  # fixtures: every test here is of SQLite and of PostgreSQL

HOME, OTHER = GroupKey("s", "home"), GroupKey("s", "other")
T0 = 1_700_000_000 * SECOND


def measured(second: int, stream: str = "watch/imu", key: GroupKey = HOME) -> Measured:
    return Measured(key, T0 + second * SECOND, stream, "imu", "wrist", {"imu.rms": second / 4})


def told(name: str, phase: Phase, began: int, time: int, episode: str = "", label: str = "WALKING") -> Event:
    task = "activity-recognition"
    return Event(
        name, 0, "s", "home", task, phase, label, 0.9, iso(T0 + time * SECOND), iso(T0 + began * SECOND),
        float(time - began), episode or name, {}, {}, "m",
    )  # fmt: skip


def test_facts_are_found_by_group_and_time_in_order(open_store):
    store = open_store()
    rows = [measured(n, stream) for n in range(4) for stream in ("watch/imu", "phone/imu")]
    store.commit(Commit(measured=[*rows, measured(2, key=OTHER)]), publish=False)
    store.commit(Commit(measured=rows[:2]), publish=False)  # again: a window is there once
    found = store.readings(HOME, T0, T0 + 2 * SECOND, 100)
    assert found == [measured(n, stream) for n in (1, 2) for stream in ("phone/imu", "watch/imu")]
    assert store.readings(HOME, 0, 1 << 62, 3) == [
        measured(2, "watch/imu"),
        *store.readings(HOME, T0 + 2 * SECOND, 1 << 62, 9),
    ]
    assert store.readings(OTHER, 0, 1 << 62, 9) == [measured(2, key=OTHER)]


def test_episodes_begin_and_end_with_their_events(open_store):
    store = open_store()
    events = [told("a", "start", 0, 1), told("b", "update", 0, 11, "a"), told("c", "end", 0, 20, "a")]
    store.commit(Commit(events=events[:1]), publish=False)
    on = Episode("activity-recognition", "WALKING", T0, None, ("a",))
    assert store.episodes(HOME, T0, 9) == [on]
    store.commit(Commit(events=[*events[1:], told("d", "start", 30, 31), told("e", "end", 30, 40, "d")]), publish=False)
    store.commit(Commit(events=events), publish=False)  # again: known ids change nothing
    first = on._replace(ended=T0 + 20 * SECOND, events=("a", "c"))
    second = first._replace(began=T0 + 30 * SECOND, ended=T0 + 40 * SECOND, events=("d", "e"))
    assert store.episodes(HOME, T0, 9) == [first, second]
    assert store.episodes(HOME, T0, 1) == [second]
    assert store.episodes(HOME, T0 + 20 * SECOND, 9) == [second]
    assert store.episodes(HOME, T0, 1, until=T0 + 29 * SECOND) == [first]
    assert store.episodes(OTHER, T0, 9) == []


def test_windows_without_facts_get_them_if_they_are_series_and_names_that_are_not_ours_stay_away():
    rng = np.random.default_rng(0)
    motion, picture = rng.normal(size=(50, 6)).astype(np.float32), rng.random((48, 64, 3)).astype(np.float32)
    strange = {"imu.rms": 2.0, "imu.mood": 1.0, "imu.peak": float("nan")}
    windows = (
        StreamWindow("bare", "imu", "imu", "wrist", T0, 50.0, values=motion),
        StreamWindow("bare", "image", "image", "room", T0, 1.0, values=picture),
        StreamWindow("watch", "imu", "imu", "wrist", T0, 50.0, values=motion, facts=strange),
        StreamWindow("phone", "imu", "imu", "wrist", T0, 50.0, tokens=np.zeros((4, 8)), facts={"imu.rms": 3.0}),
    )
    bare, seen, watch, phone = (one.facts for one in measured_in(Moment("s", "home", 0, T0, windows)))
    assert set(bare) == {fact for fact in FACTS if fact.startswith("imu.")}
    assert (seen, watch, phone) == ({}, {"imu.rms": 2.0}, {"imu.rms": 3.0})


def test_what_is_old_is_forgotten(open_store):
    store = open_store(keep_windows=100, keep_events=3)
    for n in range(12):
        rows = [measured(100 * n + i) for i in range(100)]
        walks = [told(f"e{n}", "start", n, n + 1)]
        store.commit(replace(commit(100 * n + 1, 100 * n + 100), measured=rows, events=walks), publish=True)
    assert len(store.readings(HOME, 0, 1 << 62, 10_000)) == 300  # pruned once, after a thousand windows
    assert [one.events for one in store.episodes(HOME, 0, 99)] == [(f"e{n}",) for n in range(7, 12)]


def test_a_database_from_before_opens_and_its_events_are_remembered_as_episodes(open_store, url):
    store = open_store()
    events = [told("a", "start", 0, 1), told("c", "end", 0, 20, "a"), told("d", "start", 30, 31)]
    store.commit(Commit(events=events), publish=True)
    there = store.episodes(HOME, 0, 9)
    store.close()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as db:
        for table in (READINGS, EPISODES):
            table.drop(db)
    again: Store = open_store()
    assert again.episodes(HOME, 0, 9) == there
    assert len(there) == 2
    again.commit(Commit(measured=[measured(1)], events=[told("e", "end", 30, 40, "d")]), publish=True)
    assert again.episodes(HOME, 0, 9)[-1].ended == T0 + 40 * SECOND
    assert again.readings(HOME, 0, 1 << 62, 9) == [measured(1)]
