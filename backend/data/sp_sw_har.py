"""sp_sw_har: phone and watch on one person who sits, stands up, walks, turns and sits down (CC BY 4.0).

Matey-Sanz, Casteleyn, Granell, Data in Brief 2023, doi 10.1016/j.dib.2023.109809. Two layouts are read: the
publishers' `DATA/s01/s01_01_sp.csv`, and one parquet file per person with columns `exec` and `device`. The phone lies
in a front pocket, the watch is on a wrist; samples carry their own jittery times in milliseconds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from backend.data.recording import Recording, Segments, Track
from backend.tasks import TASKS
from broker.errors import DataError
from edge.sensors.replay import DEVICES
from edge.windows import Stream

NAME = "sp_sw_har"
TASK = TASKS["activity-recognition"]
COLUMNS = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro")
CSV_NAME = re.compile(r"(?P<person>[A-Za-z0-9-]+)_(?P<run>\d+)_(?P<device>sp|sw)\.csv")


def recordings(root: Path) -> list[Recording]:
    """One recording per execution, with both devices where both were recorded; raises DataError where none is found.

    `root` is the set's folder or its parent.
    """
    parts: dict[tuple[str, str], dict[str, pa.Table]] = defaultdict(dict)
    for person, run, device, table in _tables(root):
        parts[person, run][device] = table
    if not parts:
        raise DataError(
            f"{root}: no sp_sw_har recordings; give the folder with sNN.parquet files or with DATA/sNN/sNN_EE_sp.csv"
        )
    return [_recording(person, run, tables) for (person, run), tables in sorted(parts.items())]


def _tables(root: Path) -> Iterator[tuple[str, str, str, pa.Table]]:
    """(person, run, device, samples) of every execution of every device."""
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
                yield match["person"], match["run"], match["device"], _read_csv(path)
        if any(match for _, match in named):
            return


def _read_csv(path: Path) -> pa.Table:
    """The rows of a file; one that was cut short (a recording that was interrupted) is left out."""
    options = pyarrow.csv.ParseOptions(invalid_row_handler=lambda row: "skip")
    try:
        return pyarrow.csv.read_csv(path, parse_options=options)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); remove it or get it again") from None


def _split_parquet(path: Path) -> Iterator[tuple[str, str, str, pa.Table]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as parquet ({reason}); remove it or get it again") from None
    _require(table, path.name, (*COLUMNS, "timestamp", "label", "exec", "device"))
    for run in sorted(pc.unique(table["exec"]).to_pylist()):
        for device in DEVICES:
            chosen = pc.and_(
                pc.equal(table["exec"], run), pc.equal(table["device"].cast(pa.string()), pa.scalar(device))
            )
            part = table.filter(chosen)
            if part.num_rows:
                yield path.stem, f"{run:02d}", device, part


def _recording(person: str, run: str, tables: dict[str, pa.Table]) -> Recording:
    name = f"{person}_{run}"
    tracks, labels = [], None
    for device, (owner, placement) in DEVICES.items():
        if device not in tables:
            continue
        t, values, index = _samples(tables[device], f"{name}_{device}")
        stream = Stream(name="imu", modality="imu", placement=placement)
        tracks.append(Track(owner, stream, t, values))
        if labels is None:
            labels = Segments.from_samples(t, index)
    assert labels is not None
    return Recording(name, NAME, person, tuple(tracks), {TASK.name: labels})


def _samples(table: pa.Table, where: str) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Times (n,) ns, values (n, 6) m/s2 and rad/s, label indices (n,), in order of time."""
    _require(table, where, (*COLUMNS, "timestamp", "label"))
    if not table.num_rows:
        raise DataError(f"{where}: no samples; remove the recording or get it again")
    t = table["timestamp"].to_numpy().astype(np.int64) * 1_000_000
    values = np.stack([table[c].to_numpy() for c in COLUMNS], -1).astype(np.float32)
    names = [name or "" for name in table["label"].cast(pa.string()).to_pylist()]
    unknown = set(names) - {*TASK.labels, ""}
    if unknown:
        raise DataError(f"{where}: unknown labels {sorted(map(str, unknown))}; known: {', '.join(TASK.labels)}")
    index = np.array([TASK.labels.index(name) if name else -1 for name in names], np.int64)
    order = np.argsort(t, kind="stable")
    return t[order], values[order], index[order]


def _require(table: pa.Table, where: str, columns: tuple[str, ...]) -> None:
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise DataError(f"{where}: columns {missing} are missing; sp_sw_har files have {', '.join(columns)}")
