"""One transaction, or nothing: what a commit contains, what a restart finds, what a SIGKILL leaves."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from backend.serve.align import GroupKey
from backend.serve.ingest import Gap, Mark, Receipt, Sender
from backend.serve.store import Commit, GroupState, Store
from broker.errors import ConfigError
from broker.messages import Event

SENDER = Sender("s", "watch", "e1")
KEY = GroupKey("s", "home")


def event(name: str) -> Event:
    return Event(name, 0, "s", "home", "t", "start", "x", 0.5, "", "", 0.0, name, {"a": 1.0}, {"f": 2.0}, "m")


def commit(first: int, last: int, *events: str, state: str = "x") -> Commit:
    windows = [(Receipt(SENDER, seq, "imu", seq * 10), "complete") for seq in range(first, last + 1)]
    group = GroupState(last, b"\x00history", {"t": {"label": state}}, "m")
    return Commit(windows, [event(name) for name in events], {KEY: group}, {SENDER: Mark(last)})


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").new_database()
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[..., Store]]:
    """Opens the database; what a test leaves open is closed after it."""
    opened: list[Store] = []

    def opener(**options: int) -> Store:
        opened.append(Store(url, **options))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


def count(url: str, table: str) -> int:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as db:
        return db.scalar(sa.select(sa.func.count()).select_from(sa.table(table)))


def test_a_restart_finds_what_was_committed(open_store, url):
    store = open_store()
    assert [e.offset for e in store.commit(commit(1, 3, "a", "b"), publish=True)] == [1, 2]
    done = Commit(marks={SENDER: Mark(3, frozenset({5, 7}), (Gap(1, 2),))})
    store.commit(done, publish=True)
    store.close()
    again = open_store()
    snapshot = again.load()
    assert snapshot.marks == {SENDER: Mark(3, frozenset({5, 7}))}
    assert snapshot.groups == {KEY: GroupState(3, b"\x00history", {"t": {"label": "x"}}, "m")}
    assert [e.offset for e in again.commit(commit(4, 4, "c"), publish=True)] == [3]
    assert count(url, "gaps") == 1


def test_no_event_id_twice_and_no_hole_in_the_offsets(open_store, url):
    store = open_store()
    store.commit(commit(1, 1, "a", "b", "a"), publish=True)
    assert [(e.id, e.offset) for e in store.commit(commit(2, 2, "b", "c"), publish=True)] == [("c", 3)]
    assert [(e.id, e.offset) for e in store.events(0, 9)] == [("a", 1), ("b", 2), ("c", 3)]
    assert [e.id for e in store.events(1, 1)] == ["b"]
    assert store.events(0, 1)[0] == replace(event("a"), offset=1)


def test_a_window_committed_again_is_one_row(open_store, url):
    store = open_store()
    store.commit(commit(1, 3), publish=True)
    store.commit(commit(2, 5), publish=True)
    assert count(url, "windows") == 5


def test_events_wait_while_nobody_can_be_told(open_store, url):
    store = open_store()
    assert store.commit(commit(1, 1, "a"), publish=False) == []
    assert store.commit(commit(2, 2, "b"), publish=True) == []  # not before the older ones
    assert store.unpublished == 2
    store.close()
    store = open_store()
    assert [e.id for e in store.take_unpublished(1)] == ["a"]
    assert [e.id for e in store.take_unpublished(9)] == ["b"]
    assert store.take_unpublished(9) == []
    assert [e.id for e in store.commit(commit(3, 3, "c"), publish=True)] == ["c"]


def test_a_failing_commit_leaves_nothing(open_store, url):
    store = open_store()
    store.commit(commit(1, 1, "a"), publish=True)
    broken = replace(commit(2, 2, "b"), events=[event("b"), replace(event("c"), confidence=float("nan"))])
    with pytest.raises(ValueError, match="JSON"):
        store.commit(broken, publish=True)
    assert (count(url, "windows"), count(url, "events")) == (1, 1)
    assert store.load().marks == {SENDER: Mark(1)}
    assert [e.offset for e in store.commit(commit(2, 2, "b"), publish=True)] == [2]


def test_forgotten_senders_are_gone(open_store, url):
    store = open_store()
    store.commit(commit(1, 1), publish=True)
    store.commit(Commit(forgotten=[SENDER]), publish=True)
    assert store.load().marks == {}


def test_a_sender_that_came_back_within_a_commit_is_not_forgotten(open_store, url):
    store = open_store()
    store.commit(commit(1, 1), publish=True)
    store.commit(Commit(marks={SENDER: Mark(7)}, forgotten=[SENDER]), publish=True)
    assert store.load().marks == {SENDER: Mark(7)}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_failing_removal_of_old_rows_fails_no_commit_and_is_tried_again(open_store, url, tmp_path: Path):
    path = tmp_path / "store.db"
    store = open_store(keep_windows=500)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TRIGGER refuse BEFORE DELETE ON windows BEGIN SELECT RAISE(ABORT, 'disk'); END")
    assert [e.id for e in store.commit(commit(1, 2000, "a"), publish=True)] == ["a"]
    assert count(url, "windows") == 2000
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER refuse")
    assert [e.offset for e in store.commit(commit(2001, 2001, "b"), publish=True)] == [2]
    assert count(url, "windows") == 500


def test_old_rows_are_removed(open_store, url):
    store = open_store(keep_windows=500, keep_events=20)
    for i in range(40):
        store.commit(commit(i * 100 + 1, i * 100 + 100, f"e{i}"), publish=True)
    assert count(url, "windows") <= 1500
    assert [e.offset for e in store.events(0, 99)][-1] == 40
    assert count(url, "events") <= 31


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_database_survives_a_power_cut(open_store, url):
    store = open_store()
    with store._engine.connect() as db:
        assert db.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert db.scalar(sa.text("PRAGMA synchronous")) == 2


WRITER = """
import sys
from backend.serve.store import Store
from tests.test_serve_store import commit
store = Store(sys.argv[1])
for i in range(10_000):
    store.commit(commit(i * 3 + 1, i * 3 + 3, f"e{i}", state=str(i)), publish=True)
    print(i, flush=True)
"""


def open_store_when_free(open_store) -> Store:
    """PostgreSQL notices that a client has gone a moment later."""
    for _ in range(100):
        with contextlib.suppress(ConfigError):
            return open_store()
        time.sleep(0.1)
    return open_store()


def test_sigkill_leaves_whole_commits_only(open_store, url):
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    said = [process.stdout.readline() for _ in range(30)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    told = int(said[-1]) + 1
    store = open_store_when_free(open_store)
    mark, group = store.load().marks[SENDER], store.load().groups[KEY]
    commits = mark.watermark // 3
    assert told <= commits <= told + 1
    assert (group.slot, group.episodes["t"]["label"]) == (mark.watermark, str(commits - 1))
    assert count(url, "windows") == 3 * commits
    assert [e.offset for e in store.events(0, 10_000)] == list(range(1, commits + 1))


def test_a_second_backend_is_refused_until_the_first_has_ended(open_store, url):
    first = open_store()
    with pytest.raises(ConfigError, match="another backend has it"):
        open_store()
    first.commit(commit(1, 1, "a"), publish=True)
    first.close()
    assert open_store_when_free(open_store).newest_offset == 1


def cut_off(url: str) -> None:
    """End the session that holds the lock, as a restart of the server would."""
    with sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as db:
        ours = "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        (pid,) = db.scalars(sa.text(f"SELECT pid FROM pg_locks WHERE {ours}"))
        db.execute(sa.text(f"SELECT pg_terminate_backend({pid}, 5000)"))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_backend_whose_session_was_cut_off_claims_the_database_again(open_store, url):
    store = open_store()
    store.commit(commit(1, 1, "a"), publish=True)
    cut_off(url)
    with pytest.raises(sa.exc.OperationalError):
        store.commit(commit(2, 2, "b"), publish=True)
    assert count(url, "windows") == 1
    assert [e.offset for e in store.commit(commit(2, 2, "b"), publish=True)] == [2]
    with pytest.raises(ConfigError, match="another backend has it"):
        open_store()
    cut_off(url)
    with pytest.raises(sa.exc.OperationalError):
        store.check()
    store.check()
    assert store.take_unpublished(9) == []


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("ended", [False, True])
def test_a_backend_that_lost_the_database_to_another_ends(open_store, url, ended):
    first = open_store()
    first.commit(commit(1, 1, "a"), publish=True)
    cut_off(url)
    second = open_store()
    with pytest.raises(sa.exc.OperationalError):  # it learns of it
        first.commit(commit(2, 2, "b"), publish=True)
    assert [e.offset for e in second.commit(commit(2, 2, "c"), publish=True)] == [2]
    if ended:  # what it has written is unknown to the first one all the same
        second.close()
    with pytest.raises(ConfigError, match="another backend has it"):
        first.commit(commit(2, 2, "b"), publish=True)
    with pytest.raises(sa.exc.SQLAlchemyError, match="another backend has it"):
        first.check()
    assert count(url, "events") == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:s3cret@127.0.0.1:1/d",
        "postgresql+psycopg://u:s3c:r/s3cret@127.0.0.1:1/d",
        "postgresql+psycopg://127.0.0.1:1/d?user=u&password=s3cret",
        "postgresql+psycopg://u:p@s3cret@127.0.0.1:1/d",
        "postgresql+psycopg://u:s3cret",
        "nonsense://u:s3cret@h:port/d",
    ],
)
def test_a_password_is_never_told(url: str):
    with pytest.raises(ConfigError, match=r"store\.url") as error:
        Store(url)
    assert "s3cret" not in str(error.value)


def test_one_file_has_one_backend_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = Store("sqlite:///x.db")
    Path("y.db").symlink_to("x.db")
    for name in ("y.db", "./x.db", f"{tmp_path}/x.db"):
        with pytest.raises(ConfigError, match="another backend has it"):
            Store(f"sqlite:///{name}")
    with pytest.raises(ConfigError, match="not as a file: URI"):
        Store("sqlite:///file:x.db?uri=true")
    store.close()
    assert {path.name for path in tmp_path.iterdir()} - {"x.db.lock"} == {"x.db", "y.db"}


@pytest.mark.parametrize("url", ["sqlite:////proc/none/x.db", "nonsense", "postgresql+nodriver://u@h/d"])
def test_a_wrong_url_is_one_clear_error(url: str):
    with pytest.raises(ConfigError, match=r"store\.url"):
        Store(url)
