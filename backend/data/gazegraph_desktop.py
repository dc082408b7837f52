"""gazegraph_desktop: how eyes move in six activities at a desk (Lan and others, SenSys 2020; the authors ask for
citation).

8 people wore a Pupil Core at 30 Hz, 5 minutes for each activity. Gaze is x, y as shares of the scene camera's
picture, and may leave it; the publishers' y goes up, as Pupil's does, and is turned to go down. Recordings carry no
time and start at `ORIGIN`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.data.files import Origin, at_rate, check_shape, read_npz, throughout
from backend.data.recording import Recording, Recordings, Track
from backend.tasks import TASKS
from backend.tasks.activity import DESKTOP
from broker.errors import DataError
from edge.windows import Stream

SET = Origin(
    "gazegraph_desktop",
    ("P*.npz",),
    "https://github.com/GazeGraphResource/GazeGraph",
    "no licence file; the authors ask for citation",
)
TASK = TASKS["activity-recognition"]
LABELS = tuple(DESKTOP)
RATE = 30.0


def recordings(root: Path) -> Recordings:
    """One recording per person and activity: a gaze stream. `root` is the set's folder or its parent.

    Raises DataError where nothing is found, or a file cannot be read or lacks an activity.
    """
    return Recordings(_recording(path, label) for path in SET.files(root) for label in LABELS)


def _recording(path: Path, label: str) -> Recording:
    activity = label.removeprefix("desktop-")
    (gaze,) = read_npz(path, activity)
    check_shape(path, activity, gaze, 2)
    if not len(gaze):
        raise DataError(f"{path}: {activity} has no samples; get it again")
    t = at_rate(len(gaze), RATE)
    looked_at = np.stack([gaze[:, 0], 1.0 - gaze[:, 1]], -1).astype(np.float32)  # Pupil's y goes up, ours down
    track = Track("glasses", Stream("gaze", "gaze", "head"), t, looked_at)
    labels = {TASK.name: throughout(t, TASK.outputs.index(label))}
    return Recording(f"{path.stem}_{activity}", SET.name, path.stem, (track,), labels)
