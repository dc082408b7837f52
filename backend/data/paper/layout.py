"""What the readers of the paper's data sets share: what is left out, labels, rotations.

The sets are up to hundreds of gigabytes, so nothing holds one: frames are `backend.data.files.Lazy` arrays, and a
series that lies in one file is a `backend.data.whole.Whole` array. This module knows nothing of any data set.

n is a number of samples.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.recording import Recording, Recordings, Segments
from backend.tasks import TASKS
from broker.errors import DataError
from edge.simulator.geometry import axis_angle

log = logging.getLogger(__name__)

CAMERA_AXES = np.diag([1.0, -1.0, -1.0])
"""From axes x left, y up, z forward of a person (SMPL) to those of a camera that the person faces: x right, y down,
z away. The left of a person is the right of a camera that looks at them."""
Floats = NDArray[np.float64]


def gathered(
    folder: Path, found: Iterable[Recording], skipped: Sequence[str] = (), left_out: Sequence[str] = ()
) -> Recordings:
    """What was found; of what is missing, or left out on purpose, how much and the first is logged."""
    for names in filter(None, (skipped, left_out)):
        log.warning("%s: %d left out, the first %s", folder, len(names), names[0])
    return Recordings(found, skipped, left_out)


def label_index(task: str, label: str, where: object) -> int:
    """Index of a label in its task. Raises DataError, naming the file, for one that the task does not have."""
    labels = TASKS[task].outputs
    if label not in labels:
        raise DataError(f"{where}: {task} has no label {label!r}; add it in backend/tasks, or leave the file out")
    return labels.index(label)


def lasting(index: int, start: int, end: int) -> Segments:
    """One label from `start` to `end` (ns)."""
    return Segments(np.array([start, end], np.int64), np.array([index], np.int64))


def dashed(name: str) -> str:
    """A publisher's label as ours: lower case, words joined by dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def from_half_angles(v_N3: Floats) -> Floats:
    """(n, 3) axis times angle, rad, 0..pi, of axis times sine of half the angle."""
    sine_N = np.linalg.norm(v_N3, axis=-1)
    cosine_N = np.sqrt(np.maximum(1 - sine_N**2, 0.0))
    # Where the angle vanishes the ratio of angle to sine is two.
    ratio_N = np.where(sine_N > 1e-9, 2 * np.arctan2(sine_N, cosine_N) / np.maximum(sine_N, 1e-9), 2.0)
    return v_N3 * ratio_N[:, None]


def turn_rates(turn_N33: Floats, rate: float) -> Floats:
    """(n, 3) rad/s about a sensor's own axes, of orientations (sensor to world) at `rate` Hz: central differences."""
    if len(turn_N33) < 2:
        return np.zeros((len(turn_N33), 3))
    before = np.concatenate([turn_N33[:1], turn_N33[:-1]])
    after = np.concatenate([turn_N33[1:], turn_N33[-1:]])
    steps_N = np.full(len(turn_N33), 2.0)
    steps_N[[0, -1]] = 1.0
    return axis_angle(before.swapaxes(1, 2) @ after) * (rate / steps_N)[:, None]
