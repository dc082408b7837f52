"""thermal_d6t: postures in a bedroom, seen by a thermal array of 4 x 4 pixels (Pontes and others, HCII 2017; called
public domain by the authors).

An Omron D6T told 16 temperatures up to 5 times a second. The bedroom's postures 1 to 8 are read, rows whose checksum
is good; a file of one posture is one recording. The bathroom and the nights are left out: they have other labels, or
none. A file starts at the time of its first row,
taken as UTC; from there the milliseconds between rows count.

Tenths of a degree Celsius become hundredths of a kelvin, as integers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Array, Origin, read_table, throughout
from backend.data.recording import Recording, Recordings, Track
from backend.tasks import TASKS
from backend.tasks.activity import POSTURES
from broker.errors import DataError
from edge.clock import SECOND
from edge.windows import Stream

SET = Origin(
    "thermal_d6t",
    ("d6t.parquet",),
    "https://github.com/brunosilvapontes/research-thermal-sensing",
    "called public domain by the authors",
)
TASK = TASKS["activity-recognition"]
LABELS = tuple(POSTURES)
"""Names of the postures 1 to 8."""
PIXELS = tuple(f"t{i}" for i in range(1, 17))
SCALE = 0.01
CELSIUS = 27_315
"""0 degrees Celsius in hundredths of a kelvin."""


def recordings(root: Path) -> Recordings:
    """One recording per posture, person and day: thermal of "d6t". `root` is the set's folder or its parent.

    Raises DataError where nothing is found, or the file cannot be read.
    """
    path = SET.find(root) / "d6t.parquet"
    table = read_table(path, (*PIXELS, "pec_ok", "dt_ms"), ("time", "room", "volunteer", "posture", "file"))
    wanted = (table["room"] == "bedroom") & np.isin(table["posture"], [str(i + 1) for i in range(len(LABELS))])
    edges = np.flatnonzero(np.concatenate([[True], table["file"][1:] != table["file"][:-1], [True]]))
    spans = [(a, b) for a, b in pairwise(edges) if wanted[a]]
    whole = [one for a, b in spans if (one := _recording(path, {c: v[a:b] for c, v in table.items()})) is not None]
    if not whole:
        raise DataError(f"{path}: has no good rows of bedroom postures 1 to {len(LABELS)}; get it again")
    return Recordings(whole)


def _recording(path: Path, rows: dict[str, Array]) -> Recording | None:
    """One file's rows; None where no checksum is good."""
    pixels = np.stack([rows[name] for name in PIXELS], -1)
    good = (rows["pec_ok"] == 1) & np.isfinite(pixels).all(-1)
    if not good.any():
        return None
    centikelvin = np.rint(pixels[good] * 10).astype(np.int64) + CELSIUS
    if (centikelvin < 0).any() or (centikelvin > 65_535).any():
        raise DataError(f"{path}: {rows['file'][0]}: a temperature is out of range; get it again")
    values = centikelvin.astype(np.uint16).reshape(-1, 4, 4, 1)
    t = _times(path, rows)[good]
    track = Track("d6t", Stream("thermal", "thermal", "room"), t, values, SCALE)
    label = LABELS[int(rows["posture"][0]) - 1]
    name = str(rows["file"][0]).removesuffix(".csv")
    labels = {TASK.name: throughout(t, TASK.outputs.index(label))}
    return Recording(name, SET.name, str(rows["volunteer"][0]), (track,), labels)


def _times(path: Path, rows: dict[str, Array]) -> NDArray[np.int64]:
    """(n,) ns: the first row's own time, then the steps that the sensor counted."""
    text = rows["time"][0]
    try:
        start = datetime.strptime(text, "%Y/%m/%d - %H:%M:%S").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise DataError(f"{path}: time {text!r} is no date like 2016/6/13 - 21:5:41; get it again") from None
    passed_ms = np.cumsum(rows["dt_ms"][1:].astype(np.float64))
    if not np.isfinite(passed_ms).all() or (np.diff(passed_ms) < 0).any():
        raise DataError(f"{path}: {rows['file'][0]}: a step dt_ms is no positive number; get it again")
    steps = np.concatenate([[0], np.rint(passed_ms)]).astype(np.int64) * (SECOND // 1000)
    return int(start.timestamp()) * SECOND + steps
