"""Store and forward: frames wait in SQLite until the backend has acknowledged them. The offline policy, in one place.

A frame gets its sequence number in the transaction that stores it, so numbers have no holes. An acknowledgement deletes
all it covers. When the spool is larger than it may be, or the disk is full, the oldest frames are evicted and a gap
record says which: a loss is counted and never stalls. On a full disk even deleting needs room, so a ballast file is
held ready to be given up.

Nothing is lost when the process is killed. A power cut may lose the last moments before it: waiting for the disk after
every frame would wear out flash memory. Numbers lost that way would be given twice, and the backend would take the
second frame for a repetition of the first; so a spool that was open when the machine stopped goes on under a new
epoch. The spool refuses to know about the network; the sender takes from it.
"""

import contextlib
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from broker.errors import ConfigError, SpoolFull
from broker.messages import Frame, decode_frame, encode_frame

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (
    one INTEGER PRIMARY KEY, epoch TEXT NOT NULL, next_seq INTEGER NOT NULL, boot TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS frames (seq INTEGER PRIMARY KEY, stream TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS streams (name TEXT PRIMARY KEY, t0 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
"""
_LOG_PAGES = 512  # 2 MB of log between two syncs: with 64 pages appending was 5 times slower
_BALLAST = 4 << 20  # bytes: room for what is in the log, and for a transaction that deletes
_EVICT_AT_LEAST = 32  # frames at a time; evicting one by one would cost a transaction each
_LOCKED_S = 2.0  # how long another process may take to let go
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Spooled:
    """A frame that waits: its number, its stream, and its bytes as they may go out now."""

    seq: int
    stream: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames first..last were evicted before they were acknowledged."""

    first: int
    last: int


class Spool:
    """The frames of one device that are not acknowledged.

    Args:
        path: the database; `epoch` is new when it is.
        max_bytes: of all payloads together; beyond it the oldest are evicted.
        owner: whose it is, for a person.

    Raises:
        ConfigError: the file cannot be opened, or is no spool.
    """

    epoch: str
    _next_seq: int

    def __init__(self, path: Path, max_bytes: int = 256 << 20, owner: str = "its device") -> None:
        self.max_bytes = self._limit = max_bytes
        self._ballast = path.with_name(path.name + ".ballast")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None)
            self._open(_boot_id())
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise ConfigError(
                    f"{owner} already runs here (its spool {path} is in use); end that one, or give another device or "
                    "spool.path"
                ) from None
            raise ConfigError(
                f"spool.path {path}: {error}; name a file in a writable folder that no other agent uses"
            ) from None
        self._bytes = self._one("SELECT coalesce(sum(length(payload)), 0) FROM frames")
        self._evicted = self._one("SELECT coalesce(sum(last - first + 1), 0) FROM gaps")
        self._hold_ballast()

    def _open(self, boot: str) -> None:
        for pragma in (
            "locking_mode=EXCLUSIVE",  # two agents would give the same numbers
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={_LOG_PAGES}",
            f"journal_size_limit={_BALLAST}",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO spool VALUES (1, ?, 1, '')", (uuid.uuid4().hex,))
        self.epoch, self._next_seq, before = self._db.execute("SELECT epoch, next_seq, boot FROM spool").fetchone()
        if before not in ("", boot):
            self.epoch = uuid.uuid4().hex
        self._db.execute("UPDATE spool SET epoch = ?, boot = ?", (self.epoch, boot))
        if boot:  # where the system does not tell its restarts apart, every frame waits for the disk
            self._db.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Let go of the file; everything in it is on the disk then."""
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk
            self._db.execute("UPDATE spool SET boot = ''")
        self._db.close()

    @property
    def next_seq(self) -> int:
        """The number that the next frame will get."""
        return self._next_seq

    @property
    def base(self) -> int:
        """The oldest number still held; `next_seq` when none is."""
        return self._one("SELECT coalesce(min(seq), ?) FROM frames", self._next_seq)

    @property
    def size(self) -> int:
        """Bytes of all payloads that wait."""
        return self._bytes

    @property
    def waiting(self) -> int:
        """Number of frames that wait."""
        return self._next_seq - self.base

    @property
    def evicted(self) -> int:
        """Number of frames that were ever given up before they were acknowledged."""
        return self._evicted

    def append(self, stream: str, frame: Frame) -> int:
        """Store a frame under the next number, which is returned; its `epoch`, `seq` and `base` are set here.

        Raises:
            MessageError: receivers would refuse the frame; it would come back for ever.
            SpoolFull: the disk is full, and nothing is left to evict.
        """
        numbered = replace(frame, epoch=self.epoch, seq=self._next_seq, base=self._next_seq)
        payload = encode_frame(numbered)
        decode_frame(payload)
        if (excess := self._bytes + len(payload) - self._limit) > 0:
            self._with_room(lambda: self._evict(excess))
        self._with_room(lambda: self._insert(stream, numbered, payload))
        self._next_seq += 1
        self._bytes += len(payload)
        return numbered.seq

    def pending(self, after: int, limit: int) -> list[Spooled]:
        """The oldest frames with a number above `after`, in order, at most `limit`, stamped with today's base."""
        query = "SELECT seq, stream, payload FROM frames WHERE seq > ? ORDER BY seq LIMIT ?"
        base = self.base
        return [
            Spooled(seq, stream, self._stamped(payload, base))
            for seq, stream, payload in self._db.execute(query, (after, limit))
        ]

    def ack(self, epoch: str, seq: int) -> int:
        """Delete what an acknowledgement covers; the number of frames deleted (0 for another epoch's).

        One for a number that was never given tells that this file is older than what the backend has seen, such as
        a copy put back: a new epoch begins, and all that waits is sent under it.
        """
        if epoch != self.epoch:
            return 0
        if seq >= self._next_seq:
            self.epoch = uuid.uuid4().hex
            self._with_room(lambda: self._db.execute("UPDATE spool SET epoch = ?", (self.epoch,)))
            return 0
        freed = self._with_room(lambda: self._delete_through(seq, evicted=False))
        self._hold_ballast()
        return freed

    def last_t0(self, stream: str) -> int | None:
        """Event time (ns UTC) of the newest window of a stream, sent or not; None before the first."""
        row = self._db.execute("SELECT t0 FROM streams WHERE name = ?", (stream,)).fetchone()
        return None if row is None else int(row[0])

    def gaps(self) -> list[Gap]:
        """Everything that was ever evicted from this spool."""
        return [Gap(*row) for row in self._db.execute("SELECT first, last FROM gaps ORDER BY first")]

    def _stamped(self, payload: bytes, base: int) -> bytes:
        return encode_frame(replace(decode_frame(payload), epoch=self.epoch, base=base))

    def _insert(self, stream: str, frame: Frame, payload: bytes) -> None:
        with self._transaction():
            self._db.execute("INSERT INTO frames VALUES (?, ?, ?)", (frame.seq, stream, payload))
            self._db.execute("INSERT OR REPLACE INTO streams VALUES (?, ?)", (stream, frame.t0))
            self._db.execute("UPDATE spool SET next_seq = ?", (frame.seq + 1,))

    def _evict(self, excess: int) -> bool:
        """Give up the oldest frames, `excess` bytes or a few frames at least; whether there were any."""
        freed, last = 0, 0
        for count, (seq, size) in enumerate(self._db.execute("SELECT seq, length(payload) FROM frames ORDER BY seq")):
            if freed >= excess and count >= _EVICT_AT_LEAST:
                break
            freed, last = freed + size, seq
        return last > 0 and self._delete_through(last, evicted=True) > 0

    def _delete_through(self, seq: int, *, evicted: bool) -> int:
        where = "FROM frames WHERE seq <= ?"
        first, last, count, size = self._db.execute(
            f"SELECT min(seq), max(seq), count(*), coalesce(sum(length(payload)), 0) {where}", (seq,)
        ).fetchone()
        if count:
            with self._transaction():
                self._db.execute(f"DELETE {where}", (seq,))
                if evicted:
                    self._record_gap(first, last)
            self._bytes -= size
            self._evicted += count if evicted else 0
        return int(count)

    def _record_gap(self, first: int, last: int) -> None:
        """One row per loss: a gap that follows right after the newest one makes that longer."""
        longer = self._db.execute("UPDATE gaps SET last = ? WHERE last = ?", (last, first - 1))
        if not longer.rowcount:
            self._db.execute("INSERT INTO gaps VALUES (?, ?)", (first, last))

    def _with_room(self, work: Callable[[], Result]) -> Result:
        """Do it; while the disk is full make room and try again."""
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                if not self._make_room():
                    raise SpoolFull(f"no room for a frame of epoch {self.epoch}: free some disk space") from None

    def _make_room(self) -> bool:
        """Give the ballast up and evict within the space that it leaves. Whether anything was gained.

        Until there is space again the spool grows no further: the pages of evicted frames take the next ones, and
        the log, which stays small, has the place of the ballast.
        """
        gained = self._drop_ballast()
        with contextlib.suppress(sqlite3.OperationalError):
            gained = self._evict(0) or gained
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._limit = min(self._limit, self._bytes)
        return gained

    def _hold_ballast(self) -> None:
        """Where the disk has room, claim what a full one will need, and let the spool grow to its limit."""
        with contextlib.suppress(OSError):
            if not self._ballast.exists() and shutil.disk_usage(self._ballast.parent).free > 2 * _BALLAST:
                self._ballast.write_bytes(b"\1" * _BALLAST)  # not zeros: some file systems store those in no space
                self._limit = self.max_bytes

    def _drop_ballast(self) -> bool:
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _one(self, query: str, *values: int) -> int:
        return int(self._db.execute(query, values).fetchone()[0])


def _boot_id() -> str:
    """What changes when the machine starts anew; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
