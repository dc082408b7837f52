"""What answers follow from, as rows: the facts of every window, and what each task told from when to when.

The store writes them in the same transaction as windows and events, and forgets them alike; dialogue reads them. The
module refuses to know what a fact means, and when to commit.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from backend.serve.align import GroupKey
from broker.messages import Event, decode_event

TABLES = sa.MetaData()
_NAME, _ID = sa.String(63), sa.String(64)
_ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by INTEGER only

READINGS = sa.Table(
    "readings",
    TABLES,
    sa.Column("row", _ROW, primary_key=True, autoincrement=True),
    sa.Column("site", _NAME, nullable=False),
    sa.Column("group", _NAME, nullable=False),
    sa.Column("t0", sa.BigInteger, nullable=False),  # ns UTC
    sa.Column("stream", sa.String(127), nullable=False),  # device/stream
    sa.Column("modality", _NAME, nullable=False),
    sa.Column("placement", sa.String(256), nullable=False),
    sa.Column("facts", sa.Text, nullable=False),  # JSON: name -> number
    sa.UniqueConstraint("site", "group", "t0", "stream"),
)
EPISODES = sa.Table(
    "episodes",
    TABLES,
    sa.Column("row", _ROW, primary_key=True, autoincrement=True),
    sa.Column("id", _ID, nullable=False, unique=True),  # of the event that began it
    sa.Column("site", _NAME, nullable=False),
    sa.Column("group", _NAME, nullable=False),
    sa.Column("task", _NAME, nullable=False),
    sa.Column("label", sa.String(256), nullable=False),
    sa.Column("began", sa.BigInteger, nullable=False),  # ns UTC
    sa.Column("ended", sa.BigInteger, nullable=False),  # ns UTC; 0 while it goes on
    sa.Column("end", _ID, nullable=False),  # the event that ended it, or empty
    sa.Index("episodes_of_group", "site", "group", "began"),
)
_REMEMBERED = 10_000
"""Events of an older database from which episodes are made."""
LATEST = (1 << 63) - 1
"""Of times, ns UTC, that a database integer holds."""


class Measured(NamedTuple):
    """The facts of one window of a group; `stream` is device/stream, `t0` ns UTC of the window's first sample."""

    group: GroupKey
    t0: int
    stream: str
    modality: str
    placement: str
    facts: Mapping[str, float]


class Episode(NamedTuple):
    """What a task told from when to when, ns UTC; `ended` is None while it goes on. `events` are ids."""

    task: str
    label: str
    began: int
    ended: int | None
    events: tuple[str, ...]


Insert = Callable[[sa.Table], Any]
"""The dialect's own `insert`, which knows `on_conflict`."""


def put(db: sa.Connection, insert: Insert, measured: Sequence[Measured], events: Iterable[Event]) -> None:
    """Add windows' facts, and what events say of episodes."""
    rows = [
        {**one.group._asdict(), **one._asdict(), "group": one.group.group, "facts": json.dumps(dict(one.facts))}
        for one in measured
    ]
    if rows:
        db.execute(insert(READINGS).on_conflict_do_nothing(), rows)
    put_episodes(db, insert, events)


def put_episodes(db: sa.Connection, insert: Insert, events: Iterable[Event]) -> None:
    """Begin and end episodes; an end without its beginning tells of both."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        began, time = _ns(event.began), _ns(event.time)
        if began is None or time is None:
            continue
        row = found.setdefault(
            event.episode,
            {
                "id": event.episode, "site": event.site, "group": event.group, "task": event.task,
                "label": event.label, "began": began, "ended": 0, "end": "",
            },
        )  # fmt: skip
        if event.phase == "end":
            row["ended"], row["end"] = time, event.id
    if found:
        new = insert(EPISODES)
        ends = {"ended": new.excluded.ended, "end": new.excluded.end}
        said = new.on_conflict_do_update(index_elements=["id"], set_=ends, where=new.excluded.ended > 0)
        db.execute(said, list(found.values()))


def remember(db: sa.Connection, insert: Insert, events: sa.Table) -> None:
    """Episodes of the newest events of a database that was written before there were any."""
    if db.scalar(sa.select(sa.func.count()).select_from(EPISODES)):
        return
    bodies = db.scalars(sa.select(events.c.body).order_by(events.c.offset.desc()).limit(_REMEMBERED)).all()
    if bodies:
        put_episodes(db, insert, (decode_event(body) for body in reversed(bodies)))


def prune(db: sa.Connection, readings: int, episodes: int) -> None:
    """Keep so many of the newest rows."""
    for table, keep in ((READINGS, readings), (EPISODES, episodes)):
        newest = db.scalar(sa.select(sa.func.max(table.c.row))) or 0
        db.execute(table.delete().where(table.c.row <= newest - keep))


def readings(db: sa.Connection, key: GroupKey, after: int, until: int, most: int) -> list[Measured]:
    """Facts of a group's windows that began after one time and not after another, in order; the newest `most`."""
    t = READINGS.c
    query = (
        sa.select(t.t0, t.stream, t.modality, t.placement, t.facts)
        .where(t.site == key.site, t.group == key.group, t.t0 > after, t.t0 <= until)
        .order_by(t.t0.desc(), t.stream.desc())
        .limit(most)
    )
    found = [Measured(key, *row[:4], json.loads(row.facts)) for row in db.execute(query)]
    return sorted(found, key=lambda one: (one.t0, one.stream))


def episodes(db: sa.Connection, key: GroupKey, since: int, most: int, until: int = LATEST) -> list[Episode]:
    """What was told of a group, had not ended before a time and began by another, in order; the newest `most`."""
    t = EPISODES.c
    query = (
        sa.select(t.task, t.label, t.began, t.ended, t.id, t.end)
        .where(t.site == key.site, t.group == key.group, t.began <= until, (t.ended == 0) | (t.ended > since))
        .order_by(t.began.desc())
        .limit(most)
    )
    return [
        Episode(row.task, row.label, row.began, row.ended or None, tuple(filter(None, (row.id, row.end))))
        for row in reversed(list(db.execute(query)))
    ]


def _ns(time: str) -> int | None:
    """Nanoseconds of a moment in ISO 8601, which has milliseconds."""
    try:
        return round(datetime.fromisoformat(time).timestamp() * 1000) * 1_000_000
    except ValueError:
        return None
