"""htad and room_occupancy: sets of numbers that no sensor window can be made of, as plain arrays.

htad (Garcia-Ceja and others, MMM 2021; open for research and education) has features of 3 s of sound and of wrist
motion, never the signals: no encoder of ours takes them. room_occupancy (Singh and others 2018, UCI; CC BY 4.0) has a
room's temperature, light, sound level, CO2 and motion every 30 s: none of the 12 modalities. They are here to be
compared with, and are no rows of `DATASETS`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Origin, read_table
from broker.errors import DataError
from edge.clock import SECOND

HTAD = Origin(
    "htad",
    ("htad.parquet",),
    "https://github.com/enriquegit/multiviewstacking",
    "open for research and education",
)
OCCUPANCY = Origin(
    "room_occupancy",
    ("occupancy.parquet",),
    "https://github.com/GiorgioPaoletti-Unicam/membership-function-occupancy-estimation",
    "CC BY 4.0",
)
AUDIO = tuple(f"v1_mfcc{i}" for i in range(1, 37))
"""12 cepstral coefficients of each of three seconds."""
MOTION = tuple(
    f"v2_{name}"
    for name in (
        "meanX", "meanY", "meanZ", "sdX", "sdY", "sdZ", "maxX", "maxY", "maxZ", "corXY", "corXZ", "corYZ",
        "meanMagnitude", "sdMagnitude", "auc", "meanDif",
    )
)  # fmt: skip
"""Statistics of the acceleration of a wrist, g."""
ROOM = (
    *(f"S{i}_Temp" for i in range(1, 5)), *(f"S{i}_Light" for i in range(1, 5)),
    *(f"S{i}_Sound" for i in range(1, 5)), "S5_CO2", "S6_PIR", "S7_PIR",
)  # fmt: skip
"""What the room measures: degrees Celsius, lux, V, ppm, and whether something moves."""


def htad(root: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.str_]]:
    """Features (n, 36) of sound and (n, 16) of motion, and the label (n,), in the order of the file.

    `root` is the set's folder or its parent. Raises DataError where the file is missing or damaged.
    """
    path = HTAD.find(root) / "htad.parquet"
    table = read_table(path, (*AUDIO, *MOTION, "class"))
    sound, motion = (np.stack([table[name] for name in names], -1).astype(np.float32) for names in (AUDIO, MOTION))
    if not (np.isfinite(sound).all() and np.isfinite(motion).all()):
        raise DataError(f"{path}: a feature is no number; get it again")
    return sound, motion, table["class"].astype(np.str_)


def room_occupancy(root: Path) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Times (n,) ns (the room's clock as UTC), measurements (n, 15) in the order of ROOM, and people in the room (n,).

    `root` is the set's folder or its parent. Raises DataError where the file is missing or damaged.
    """
    path = OCCUPANCY.find(root) / "occupancy.parquet"
    table = read_table(path, (*ROOM, "Date", "Time", "Room_Occupancy_Count"))
    measured = np.stack([table[name] for name in ROOM], -1).astype(np.float32)
    if not (np.isfinite(measured).all() and np.isfinite(table["Room_Occupancy_Count"]).all()):
        raise DataError(f"{path}: a measurement or a count is no number; get it again")
    t = []
    for text in (f"{date} {time}" for date, time in zip(table["Date"], table["Time"], strict=True)):
        try:
            moment = datetime.strptime(text, "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            raise DataError(f"{path}: {text!r} is no date like 2017/12/22 10:49:41; get it again") from None
        t.append(int(moment.timestamp()) * SECOND)
    return np.array(t, np.int64), measured, table["Room_Occupancy_Count"].astype(np.int64)
