"""sp_sw_har: phone and watch on one person who sits, stands up, walks, turns and sits down (CC BY 4.0).

Matey-Sanz, Casteleyn, Granell, Data in Brief 2023, doi 10.1016/j.dib.2023.109809. Two layouts are read: the
publishers' `DATA/s01/s01_01_sp.csv`, and one parquet file per person with columns `exec` and `device`. The phone lies
in a front pocket, the watch is on a wrist; samples carry their own jittery times in milliseconds.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from backend.data.recording import Recording, Recordings, Segments, Track
from backend.tasks.activity import ACTIVITY as TASK
from backend.tasks.activity import MOBILITY
from broker.errors import DataError
from edge.sensors.replay import DEVICES
from edge.windows import Stream

log = logging.getLogger(__name__)

NAME = "sp_sw_har"
COLUMNS = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro")
CSV_NAME = re.compile(r"(?P<person>[A-Za-z0-9-]+)_(?P<run>\d+)_(?P<device>sp|sw)\.csv")
LATEST_MS = 2**63 // 1_000_000
"""Times are int64 nanoseconds from here on."""


@dataclass(frozen=True)
class _Part:
    """What one device recorded of one execution, the file it is from, and the rows of it that could not be read."""

    person: str
    run: str
    device: str
    path: Path
    table: pa.Table
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}: {self.person}_{self.run}_{self.device}"


def recordings(root: Path) -> Recordings:
    """One recording per execution, with both devices where both were recorded.

    `root` is the set's folder or its parent. Rows that are cut short or lack a number are skipped, with a warning: a
    recording was interrupted there. Raises DataError where no recording is found, or one cannot be read.
    """
    runs: dict[tuple[str, str], dict[str, _Part]] = defaultdict(dict)
    for part in _parts(root):
        runs[part.person, part.run][part.device] = part
    if not runs:
        raise DataError(
            f"{root}: no sp_sw_har recordings; give the folder with sNN.parquet files or with DATA/sNN/sNN_EE_sp.csv"
        )
    skipped: list[str] = []
    found = [_recording(person, run, parts, skipped) for (person, run), parts in sorted(runs.items())]
    if skipped:
        log.warning("%s: %d rows cannot be read and are left out, the first %s", root, len(skipped), skipped[0])
    return Recordings(found, skipped)


def _parts(root: Path) -> Iterator[_Part]:
    """Every execution of every device."""
    for folder in (root, root / NAME):
        files = sorted(folder.glob("*.parquet"))
        for path in files:
            yield from _split_parquet(path)
        if files:
            return
    for folder in (root, root / NAME, root / "DATA", root / NAME / "DATA"):
        named = [(path, CSV_NAME.fullmatch(path.name)) for path in sorted(folder.glob("*.csv"))]
        named += [(path, CSV_NAME.fullmatch(path.name)) for path in sorted(folder.glob("*/*.csv"))]
        for path, match in named:
            if match:
                table, skipped = _read_csv(path)
                yield _Part(match["person"], match["run"], match["device"], path, table, skipped)
        if any(match for _, match in named):
            return


def _read_csv(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """The rows of a file, and the names of those that were cut short."""
    short: list[str] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        short.append(f"{path.name} line {row.number}")
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(use_threads=False),  # only then are lines numbered
            parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=skip),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); remove it or get it again") from None
    return table, tuple(short)


def _split_parquet(path: Path) -> Iterator[_Part]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as parquet ({reason}); remove it or get it again") from None
    _require(table, str(path), (*COLUMNS, "timestamp", "label", "exec", "device"))
    if not pa.types.is_integer(table["exec"].type):
        raise DataError(f"{path}: exec is {table['exec'].type}, not integer; get it again")
    for run in sorted(pc.unique(table["exec"].drop_null()).to_pylist()):
        for device in DEVICES:
            chosen = pc.and_(
                pc.equal(table["exec"], run), pc.equal(table["device"].cast(pa.string()), pa.scalar(device))
            )
            part = table.filter(chosen)
            if part.num_rows:
                yield _Part(path.stem, f"{run:02d}", device, path, part)


def _recording(person: str, run: str, parts: dict[str, _Part], skipped: list[str]) -> Recording:
    """One execution; names of rows that could not be read are added to `skipped`."""
    tracks, labels = [], None
    for device, (owner, placement) in DEVICES.items():
        if device not in parts:
            continue
        t, values, index, incomplete = _samples(parts[device])
        skipped += [*parts[device].skipped, *incomplete]
        stream = Stream(name="imu", modality="imu", placement=placement)
        tracks.append(Track(owner, stream, t, values))
        if labels is None:
            labels = Segments.from_samples(t, index)
    assert labels is not None
    return Recording(f"{person}_{run}", NAME, person, tuple(tracks), {TASK.name: labels})


def _samples(part: _Part) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], list[str]]:
    """Times (n,) ns, values (n, 6) m/s2 and rad/s, label indices (n,), by time; and the rows that lack a number."""
    table, where = part.table, str(part)
    _require(table, where, (*COLUMNS, "timestamp", "label"))
    try:
        ms = table["timestamp"].to_numpy().astype(np.float64)  # exact for 200 000 years; NaN where there is none
        values = np.stack([table[c].to_numpy() for c in COLUMNS], -1).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: a value is no number ({error}); remove the recording or get it again") from None
    whole = (ms >= 0) & (ms < LATEST_MS) & np.isfinite(values).all(1)
    if not whole.any():
        raise DataError(f"{where}: no samples; remove the recording or get it again")
    names = [name or "" for name in table["label"].cast(pa.string()).to_pylist()]
    unknown = set(names) - {*MOBILITY, ""}
    if unknown:
        raise DataError(f"{where}: unknown labels {sorted(map(str, unknown))}; known: {', '.join(MOBILITY)}")
    index = np.array([TASK.labels.index(name) if name else -1 for name in names], np.int64)
    t, values, index = ms[whole].astype(np.int64) * 1_000_000, values[whole], index[whole]
    order = np.argsort(t, kind="stable")
    skipped = [f"{part.path.name} sample {n + 1} of {part.run}_{part.device}" for n in np.flatnonzero(~whole)]
    return t[order], values[order], index[order], skipped


def _require(table: pa.Table, where: str, columns: tuple[str, ...]) -> None:
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise DataError(f"{where}: columns {missing} are missing; sp_sw_har files have {', '.join(columns)}")
