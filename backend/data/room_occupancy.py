"""room_occupancy: how many people are in a room, by what its sensors tell (Singh and others 2018, UCI; CC BY 4.0).

Every 30 s or so: four temperatures (degrees Celsius), lights (lux) and sound levels (V), CO2 (ppm) and whether one of
two motion sensors saw something. These are `features`, one row a slot and not one in 30 s, so that a decision sees some
rows before its own. A day is a recording, and stands for a person. The slope of CO2 that the file has is left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Array, Origin, feature_track, read_table
from backend.data.recording import Recording, Recordings, Segments
from backend.tasks import TASKS
from backend.tasks.activity import PEOPLE
from broker.errors import DataError

SET = Origin(
    "room_occupancy",
    ("occupancy.parquet",),
    "https://github.com/GiorgioPaoletti-Unicam/membership-function-occupancy-estimation",
    "CC BY 4.0",
)
TASK = TASKS["activity-recognition"]
INDEX = np.array([TASK.outputs.index(label) for label in PEOPLE])
"""Of 0 to 3 people, the label."""
ROOM = (
    *(f"S{i}_Temp" for i in range(1, 5)), *(f"S{i}_Light" for i in range(1, 5)),
    *(f"S{i}_Sound" for i in range(1, 5)), "S5_CO2", "S6_PIR", "S7_PIR",
)  # fmt: skip


def recordings(root: Path) -> Recordings:
    """One recording per day: features of "room". `root` is the set's folder or its parent.

    Raises DataError where the file is missing or damaged.
    """
    path = SET.find(root) / "occupancy.parquet"
    table = read_table(path, (*ROOM, "Room_Occupancy_Count"), ("Date",))
    measured, people = np.stack([table[name] for name in ROOM], -1), table["Room_Occupancy_Count"]
    if not (np.isfinite(measured).all() and np.isin(people, range(len(PEOPLE))).all()):
        raise DataError(f"{path}: a measurement is no number, or a count none of 0 to 3; get it again")
    date, found = table["Date"].astype(str), []
    for day in np.unique(date):
        rows = date == day
        track = feature_track("room", "room", "temperature1", numbers(measured[rows]))
        name = day.replace("/", "-")
        truth = {TASK.name: Segments.from_samples(track.t, INDEX[people[rows].astype(np.int64)])}
        found.append(Recording(name, SET.name, name, (track,), truth, untimed=True))
    return Recordings(found)


def numbers(measured: Array) -> NDArray[np.float64]:
    """(n, 15) of about one from (n, 15) in the order of ROOM: light and loudness as logarithms, motion as -1 or 1."""
    temperature, light, sound, co2, moves = np.split(measured.astype(np.float64), (4, 8, 12, 13), -1)
    return np.concatenate(
        [
            (temperature - 25.5) / 0.5,
            np.log1p(np.maximum(light, 0)) / 2 - 1,
            np.log(np.maximum(sound, 0.01) / 0.1),
            (co2 - 500) / 200,
            2 * moves - 1,
        ],
        -1,
    )
