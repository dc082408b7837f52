"""htad: chores at home, by a phone that hears and a bracelet (Garcia-Ceja and others, MMM 2021; open for research and
education).

Of 3 s of sound the file has 12 cepstral coefficients of each second, of the same 3 s of acceleration (g) 16 statistics;
never the signals. Which of the seconds comes first tells nothing: each coefficient's mean and deviation are kept. They
become streams of `features`: "phone" in the room, "bracelet" on the wrist. A row is a recording of its own, because
rows of one label follow each other. Who did it is not in the file: of each label the rows in their order make `BLOCKS`
blocks, which stand for people, and block i of every label is left out in fold i.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.data.files import Origin, feature_track, read_table, throughout
from backend.data.recording import Recording, Recordings
from backend.tasks import TASKS
from backend.tasks.activity import CHORES
from broker.errors import DataError

SET = Origin(
    "htad",
    ("htad.parquet",),
    "https://github.com/enriquegit/multiviewstacking",
    "open for research and education",
)
TASK = TASKS["activity-recognition"]
BLOCKS = 4
SOUND = tuple(f"v1_mfcc{i}" for i in range(1, 37))
SOUND_CENTRE = (122.0, -4.0, -6.0, -4.5, -5.0, -4.0, -5.0, -2.0, -5.0, -2.0, -4.0, -2.0)
SOUND_SPREAD = (9.0, 5.0, 4.0, 3.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0)
"""About what each coefficient is on average, and how far it is from that, so that numbers are of about one."""
MOTION = tuple(
    f"v2_{name}"
    for name in (
        "meanX", "meanY", "meanZ", "sdX", "sdY", "sdZ", "maxX", "maxY", "maxZ", "corXY", "corXZ", "corYZ",
        "meanMagnitude", "sdMagnitude", "auc", "meanDif",
    )
)  # fmt: skip
MOTION_CENTRE = (0.0, 0.7, 0.3, 0.2, 0.2, 0.2, 0.5, 1.3, 0.8, -0.1, -0.25, -0.15, 1.05, 0.17, 76.0, 0.0)
MOTION_SPREAD = (0.4, 0.3, 0.4, 0.2, 0.2, 0.2, 0.5, 0.6, 0.5, 0.4, 0.4, 0.4, 0.08, 0.17, 12.0, 0.005)
"""The same of the acceleration's statistics, g."""


def recordings(root: Path) -> Recordings:
    """One recording per row: features of "phone" and "bracelet". `root` is the set's folder or its parent.

    Raises DataError where the file is missing or damaged, or a label is none of `CHORES`.
    """
    path = SET.find(root) / "htad.parquet"
    table = read_table(path, (*SOUND, *MOTION), ("class",))
    sound, motion = (np.stack([table[name] for name in names], -1) for names in (SOUND, MOTION))
    if not (np.isfinite(sound).all() and np.isfinite(motion).all()):
        raise DataError(f"{path}: a feature is no number; get it again")
    second = (sound.reshape(len(sound), 3, 12) - SOUND_CENTRE) / SOUND_SPREAD
    sound = np.concatenate([second.mean(1), 2 * second.std(1)], -1)
    motion = (motion - MOTION_CENTRE) / MOTION_SPREAD
    labels = np.array([str(name).replace("_", "-") for name in table["class"]])
    if strangers := set(labels) - set(CHORES):
        raise DataError(f"{path}: {str(min(strangers))!r} is no activity of this set; get it again")
    found = []
    for i, label in enumerate(labels):
        same = labels == label
        place = int(same[:i].sum())
        block = place * BLOCKS // int(same.sum())
        tracks = (
            feature_track("phone", "room", "mfcc_mean1", sound[i : i + 1]),
            feature_track("bracelet", "wrist", "acc_mean_x", motion[i : i + 1]),
        )
        truth = {TASK.name: throughout(tracks[0].t, TASK.outputs.index(label))}
        about = (f"{label}-{place}", SET.name, f"{label}-block{block}")
        found.append(Recording(*about, tracks, truth, block, untimed=True))
    return Recordings(found)
