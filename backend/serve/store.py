"""The memory that outlives the process: one transaction commits windows, decisions, events, states and watermarks.

Whatever dies, the next start continues from the last commit: devices send again what it does not cover. Events have
offsets without holes. Publication to live subscribers is at most once: the cursor moves in the commit, or in a
transaction of its own, before an event is handed to the wire; whoever needs every event reads from an offset.
SQLite (write-ahead log, full synchronisation) by default, PostgreSQL by URL. One process writes: a second one is
refused, because both would number the same events. On PostgreSQL all is written over the session that holds the lock;
where that was cut off, nothing is written before it is claimed again. What answers follow from is committed with it, by
`past`. The module refuses to know what an event means or what a state contains.
"""

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from backend.serve import past
from backend.serve.align import GroupKey
from backend.serve.ingest import Mark, Receipt, Sender
from broker.errors import ConfigError
from broker.messages import Event, decode_event, encode_json

log = logging.getLogger(__name__)

_TABLES = sa.MetaData()
_NAME, _EPOCH, _ID = sa.String(63), sa.String(64), sa.String(64)
_ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by INTEGER only

WINDOWS = sa.Table(
    "windows",
    _TABLES,
    sa.Column("row", _ROW, primary_key=True, autoincrement=True),
    sa.Column("site", _NAME, nullable=False),
    sa.Column("device", _NAME, nullable=False),
    sa.Column("epoch", _EPOCH, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("stream", _NAME, nullable=False),
    sa.Column("t0", sa.BigInteger, nullable=False),  # ns UTC
    sa.Column("by", sa.String(16), nullable=False),  # what closed its moment; late and unusable had none
    sa.UniqueConstraint("site", "device", "epoch", "seq"),
)
DECISIONS = sa.Table(
    "decisions",
    _TABLES,
    sa.Column("row", _ROW, primary_key=True, autoincrement=True),
    sa.Column("site", _NAME, nullable=False),
    sa.Column("group", _NAME, nullable=False),
    sa.Column("slot", sa.BigInteger, nullable=False),
    sa.Column("t0", sa.BigInteger, nullable=False),  # ns UTC
    sa.Column("task", _NAME, nullable=False),
    sa.Column("label", _NAME, nullable=False),
    sa.Column("probs", sa.Text, nullable=False),  # JSON: label -> probability
    sa.UniqueConstraint("site", "group", "slot", "task"),
)
EVENTS = sa.Table(
    "events",
    _TABLES,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("offset", sa.BigInteger, nullable=False, unique=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # the message, as it is published
)
RECEIVERS = sa.Table(
    "receivers",
    _TABLES,
    sa.Column("site", _NAME, primary_key=True),
    sa.Column("device", _NAME, primary_key=True),
    sa.Column("epoch", _EPOCH, primary_key=True),
    sa.Column("watermark", sa.BigInteger, nullable=False),
    sa.Column("done", sa.Text, nullable=False),  # JSON list: committed above the watermark
    sa.Column("used", sa.BigInteger, nullable=False),  # ns UTC of the newest commit
)
GAPS = sa.Table(
    "gaps",
    _TABLES,
    sa.Column("row", _ROW, primary_key=True, autoincrement=True),
    sa.Column("site", _NAME, nullable=False),
    sa.Column("device", _NAME, nullable=False),
    sa.Column("epoch", _EPOCH, nullable=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
)
GROUPS = sa.Table(
    "groups",
    _TABLES,
    sa.Column("site", _NAME, primary_key=True),
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("slot", sa.BigInteger, nullable=False),  # newest committed
    sa.Column("history", sa.LargeBinary, nullable=False),
    sa.Column("episodes", sa.Text, nullable=False),  # JSON
    sa.Column("model", _ID, nullable=False),  # digest of the model that the state belongs to
)
CURSOR = sa.Table(
    "cursor",
    _TABLES,
    sa.Column("name", sa.String(16), primary_key=True),
    sa.Column("offset", sa.BigInteger, nullable=False),
)
_LIVE, _CLAIMS = "live", "claims"  # the newest event offered, and how often the database was claimed
_ADVISORY_LOCK = 0x696F746C6D  # "iotlm"


@dataclass(frozen=True, slots=True)
class GroupState:
    """What a group's next decision depends on: newest committed slot, encoded windows, episodes; and whose they are."""

    slot: int
    history: bytes
    episodes: Mapping[str, Any]
    model: str


class Ruling(NamedTuple):
    """What one task decided about one moment: `t0` is ns UTC, `probs` the probability of each label."""

    group: GroupKey
    slot: int
    t0: int
    task: str
    label: str
    probs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Commit:
    """All that becomes durable together. Windows come with what closed their moment."""

    windows: Sequence[tuple[Receipt, str]] = ()
    events: Sequence[Event] = ()
    groups: Mapping[GroupKey, GroupState] = field(default_factory=dict)
    marks: Mapping[Sender, Mark] = field(default_factory=dict)
    forgotten: Sequence[Sender] = ()
    decisions: Sequence[Ruling] = ()
    measured: Sequence[past.Measured] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the last commit left: senders, oldest first, and groups."""

    marks: dict[Sender, Mark]
    groups: dict[GroupKey, GroupState]


class Store:
    """The database. Calls block; one thread writes, any thread may read.

    Args:
        url: SQLAlchemy URL, such as sqlite:///iotlm.db or postgresql+psycopg://user@host/name.
        keep_windows, keep_events: newest rows to keep; older ones are removed now and then.

    Raises:
        ConfigError: the URL cannot be opened or written, or another process has it.
    """

    def __init__(self, url: str, keep_windows: int = 1_000_000, keep_events: int = 1_000_000) -> None:
        self._keep_windows, self._keep_events = keep_windows, keep_events
        self._unpruned = 0
        self._held = ExitStack()
        self._one_writes = threading.RLock()
        self._session: sa.Connection | None = None  # on PostgreSQL, the one that holds the lock
        self._claims: int | None = None
        self._next, self._cursor = 1, 0
        self._shown = _without_passwords(url)
        try:
            self._engine = sa.create_engine(url)
            self._held.callback(self._engine.dispose)
            if "@" in (self._engine.url.host or ""):
                raise ConfigError(f"store.url {self._shown!r}: write an @ in a password as %40")
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
                self._lock_file()
            with self._writing() as db:
                _TABLES.create_all(db)
                past.TABLES.create_all(db)
                self._take_stock(db)
                past.remember(db, self._insert, EVENTS)
        except ConfigError:
            self.close()
            raise
        except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
            self.close()
            bare = type(error) is ArgumentError or isinstance(error, ValueError)  # it may quote a part of the URL
            reason = "no SQLAlchemy URL" if bare else str(error).splitlines()[0]
            remedy = "sqlite:///FILE in a writable folder will do"
            raise ConfigError(f"store.url {self._shown!r}: {reason}; {remedy}") from (None if bare else error)

    def _lock_file(self) -> None:
        """Take the database file for this process until `close` or its death."""
        file = self._engine.url.database or ""
        if file.startswith("file:"):
            raise ConfigError(f"store.url {self._shown!r}: not as a file: URI; write sqlite:///FILE")
        if file not in {"", ":memory:"}:
            try:
                self._held.enter_context(FileLock(f"{Path(file).resolve()}.lock", timeout=0))
            except Timeout:
                raise self._taken() from None

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that nobody but the holder of the lock can have; raises ConfigError if that is another one."""
        with self._one_writes:
            if self._engine.dialect.name != "postgresql":
                with self._engine.begin() as db:
                    yield db
                return
            if self._session is None or self._session.invalidated:
                self._claim()
            assert self._session is not None
            with self._session.begin():
                yield self._session

    def _claim(self) -> None:
        """Take the database for a new session, until `close` or that session's end."""
        if self._session is not None:
            self._session.close()
            self._session = None
        session = self._engine.connect()
        try:
            with session.begin():
                if not session.scalar(sa.select(sa.func.pg_try_advisory_lock(_ADVISORY_LOCK))):
                    raise self._taken()
            if self._claims is not None:
                with session.begin():
                    self._take_stock(session)
        except BaseException:
            session.invalidate()  # not back to the pool, where the lock would stay held
            session.close()
            raise
        self._session = session
        self._held.callback(session.close)

    def _take_stock(self, db: sa.Connection) -> None:
        """Where the events stand. What another process wrote meanwhile makes all that this one remembers wrong."""
        found = {row.name: row.offset for row in db.execute(sa.select(CURSOR))}
        claims = found.get(_CLAIMS, 0)
        if self._claims is None:
            self._upsert(db, CURSOR, [{"name": _CLAIMS, "offset": claims + 1}])
            self._upsert(db, CURSOR, [{"name": _LIVE, "offset": found.get(_LIVE, 0)}])
            self._claims = claims + 1
        elif self._claims != claims:
            raise self._taken()
        self._cursor = found.get(_LIVE, 0)
        self._next = max(1 + (db.scalar(sa.select(sa.func.max(EVENTS.c.offset))) or 0), self._cursor + 1)

    def _taken(self) -> ConfigError:
        return ConfigError(f"store.url {self._shown!r}: another backend has it; end that one, or give another --store")

    def close(self) -> None:
        """Let go of the database."""
        self._held.close()

    @property
    def newest_offset(self) -> int:
        """Offset of the newest event; 0 before the first."""
        return self._next - 1

    @property
    def unpublished(self) -> int:
        """Number of events that live subscribers have not been offered."""
        return self._next - 1 - self._cursor

    def load(self) -> Snapshot:
        """The state to continue from."""
        with self._engine.connect() as db:
            marks = {
                Sender(row.site, row.device, row.epoch): Mark(row.watermark, frozenset(json.loads(row.done)))
                for row in db.execute(sa.select(RECEIVERS).order_by(RECEIVERS.c.used))
            }
            groups = {
                GroupKey(row.site, row.name): GroupState(row.slot, row.history, json.loads(row.episodes), row.model)
                for row in db.execute(sa.select(GROUPS))
            }
        return Snapshot(marks, groups)

    def commit(self, commit: Commit, *, publish: bool) -> list[Event]:
        """Make it durable, all or nothing. Returns the events to hand to the wire now, with their offsets: those of
        this commit if `publish` and none older waits, else none; what is not returned waits for `take_unpublished`.
        """
        with self._one_writes:  # until the numbers here are those in the database
            with self._writing() as db:
                self._put_windows(db, commit.windows)
                self._put_decisions(db, commit.decisions)
                self._put_groups(db, commit.groups)
                self._put_marks(db, commit.marks, commit.forgotten)
                events = self._put_events(db, commit.events)
                past.put(db, self._insert, commit.measured, events)
                publish = publish and self.unpublished == 0 and bool(events)
                if publish:
                    self._move_cursor(db, events[-1].offset)
            self._next += len(events)
            if publish:
                self._cursor = events[-1].offset
        try:
            self._prune(len(commit.windows))
        except DBAPIError as error:  # the commit is durable all the same; the next one prunes
            log.warning("old rows could not be removed: %s", error.orig)
        return events if publish else []

    def take_unpublished(self, limit: int) -> list[Event]:
        """The oldest events that live subscribers have not been offered; they count as offered from now on."""
        events = self.events(self._cursor, limit)
        if events:
            with self._one_writes:
                with self._writing() as db:
                    self._move_cursor(db, events[-1].offset)
                self._cursor = events[-1].offset
        return events

    def events(self, after: int, limit: int) -> list[Event]:
        """Events with an offset above `after`, in order, at most `limit`."""
        query = sa.select(EVENTS.c.body).where(EVENTS.c.offset > after).order_by(EVENTS.c.offset).limit(limit)
        with self._engine.connect() as db:
            return [decode_event(body) for body in db.scalars(query)]

    def readings(self, key: GroupKey, after: int, until: int, most: int) -> list[past.Measured]:
        """Facts of a group's windows, in order of time; see `past.readings`."""
        with self._engine.connect() as db:
            return past.readings(db, key, after, until, most)

    def episodes(self, key: GroupKey, since: int, most: int, until: int = past.LATEST) -> list[past.Episode]:
        """What was told of a group and touches a time; see `past.episodes`."""
        with self._engine.connect() as db:
            return past.episodes(db, key, since, most, until)

    def check(self) -> None:
        """Prove that the store can be written; raises SQLAlchemyError otherwise."""
        try:
            with self._writing() as db:
                self._move_cursor(db, self._cursor)
        except ConfigError as error:  # the next commit ends the process with it
            raise SQLAlchemyError(str(error)) from None

    def _put_windows(self, db: sa.Connection, windows: Sequence[tuple[Receipt, str]]) -> None:
        if not windows:
            return
        rows = [(*receipt.sender, receipt.seq, receipt.stream, receipt.t0, by) for receipt, by in windows]
        names = ("site", "device", "epoch", "seq", "stream", "t0", "by")
        values = [dict(zip(names, row, strict=True)) for row in rows]
        db.execute(self._insert(WINDOWS).on_conflict_do_nothing(), values)

    def _put_decisions(self, db: sa.Connection, decisions: Sequence[Ruling]) -> None:
        values = [
            {
                **found.group._asdict(),
                "slot": found.slot,
                "t0": found.t0,
                "task": found.task,
                "label": found.label,
                "probs": json.dumps({label: round(p, 6) for label, p in found.probs.items()}),
            }
            for found in decisions
        ]
        if values:
            db.execute(self._insert(DECISIONS).on_conflict_do_nothing(), values)

    def _put_groups(self, db: sa.Connection, groups: Mapping[GroupKey, GroupState]) -> None:
        values = [
            {
                **key._asdict(),
                "name": key.group,
                "slot": s.slot,
                "history": s.history,
                "episodes": json.dumps(s.episodes),
                "model": s.model,
            }
            for key, s in groups.items()
        ]
        for value in values:
            del value["group"]
        self._upsert(db, GROUPS, values)

    def _put_marks(self, db: sa.Connection, marks: Mapping[Sender, Mark], forgotten: Sequence[Sender]) -> None:
        now = time.time_ns()
        values = [
            {**sender._asdict(), "watermark": mark.watermark, "done": json.dumps(sorted(mark.done)), "used": now}
            for sender, mark in marks.items()
        ]
        for sender in forgotten:  # first: one of them may have come back within this commit
            db.execute(RECEIVERS.delete().where(*(RECEIVERS.c[k] == v for k, v in sender._asdict().items())))
        self._upsert(db, RECEIVERS, values)
        gaps = [{**sender._asdict(), **gap._asdict()} for sender, mark in marks.items() for gap in mark.gaps]
        if gaps:
            db.execute(GAPS.insert(), gaps)

    def _put_events(self, db: sa.Connection, events: Sequence[Event]) -> list[Event]:
        """Number and insert the events whose id is not there yet."""
        if not events:
            return []
        ids = [event.id for event in events]
        known = set(db.scalars(sa.select(EVENTS.c.id).where(EVENTS.c.id.in_(ids))))
        fresh = {event.id: event for event in events if event.id not in known}.values()
        numbered = [replace(event, offset=self._next + i) for i, event in enumerate(fresh)]
        if numbered:
            rows = [{"id": event.id, "offset": event.offset, "body": encode_json(event)} for event in numbered]
            db.execute(EVENTS.insert(), rows)
        return numbered

    def _move_cursor(self, db: sa.Connection, offset: int) -> None:
        db.execute(CURSOR.update().where(CURSOR.c.name == _LIVE).values(offset=offset))

    def _upsert(self, db: sa.Connection, table: sa.Table, values: list[dict[str, Any]]) -> None:
        if not values:
            return
        keys = [column.name for column in table.primary_key]
        insert = self._insert(table)
        others = {column.name: insert.excluded[column.name] for column in table.c if column.name not in keys}
        db.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), values)

    def _insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table) if self._engine.dialect.name == "postgresql" else sqlite.insert(table)

    def _prune(self, windows: int) -> None:
        """Remove what is older than the newest rows to keep, every now and then, in a transaction of its own."""
        self._unpruned += windows
        if self._unpruned < max(1_000, self._keep_windows // 100):
            return
        with self._writing() as db:
            for table in (WINDOWS, DECISIONS, GAPS):
                newest = db.scalar(sa.select(sa.func.max(table.c.row))) or 0
                db.execute(table.delete().where(table.c.row <= newest - self._keep_windows))
            past.prune(db, self._keep_windows, self._keep_events)
            oldest = min(self._next - self._keep_events, self._cursor)
            db.execute(EVENTS.delete().where(EVENTS.c.offset < oldest))
        self._unpruned = 0


def _without_passwords(url: str) -> str:
    """The URL without its passwords, as it may be told; it need not be a valid one."""
    try:
        parsed = sa.make_url(url)
        secret = {key: "***" for key in parsed.query if "password" in key}
        shown = parsed.update_query_dict(secret).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):  # nobody knows where in it the password is
        shown = re.sub("://.*", "://***", url, flags=re.DOTALL)
    return re.sub(r"(://[^:@/]*):.*@", r"\1:***@", shown)  # a password with an @ in it


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "journal_size_limit=67108864"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
