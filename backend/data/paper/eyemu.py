"""EyeMU: gaze and motion on a phone, seven gestures of the hand that holds it (Kong, Ahuja, Goel, Harrison, ICMI 2021).

Layout, from the publishers' notebooks: pandas tables `flask2/data/gazeldataraw.pkl` (trials) and
`flask2/data/calibdata.pkl` (calibration), read restrictedly (`pickles.py`).

A trial has a subject, a target gesture 0..8 and a target on the screen in 0..1, the time of its end in ms UTC, and two
histories up to then: IMU (3 kinds, 3 axes, n) at 60 Hz, and features of the eyes (m, 26) about every 100 ms. As in the
publishers' notebooks the two cover the same time, of which the first 12 steps of the slow one are the look at the
target and the rest is the gesture; trials with no more than 70 samples of gesture, and the two tilts, are left out.
The page (`flask2/static/accel.js`) takes `DeviceMotionEvent.acceleration` (m/s2), from which the phone has taken
gravity out, `rotationRate` (degrees/s; on an iPhone about x, y, z) and orientation (alpha, beta, gamma in degrees,
W3C), which becomes axis times angle, rad. Acceleration stays so: a phone at rest reads 0 here and 9.8 elsewhere.

Of the 26 features 12 and 13 are the base network's own guess of the point looked at, in 0..1: those two lead, and all
26 follow, as in `eyemu_gaze` less their mean over the subject's calibration (over all their trials, where there is
none). Calibration has one sample after another of a subject, about ten a second (from the page's loop; no time is
stored), and starts at `ORIGIN`. Trials and calibration together take 50 MB, and are held.

n is a number of fast samples, m of slow ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.eyemu_gaze import FEATURES, told
from backend.data.files import Origin, at_rate
from backend.data.paper import pickles
from backend.data.paper.layout import gathered, label_index
from backend.data.recording import Recording, Recordings, Segments, Track, Values
from backend.tasks.gaze import SCREEN_CM
from broker.errors import DataError
from edge.clock import SECOND
from edge.simulator.geometry import axis_angle, rotation
from edge.windows import Stream

NAME, LICENCE, SOURCE = "eyemu", "GPL-2.0", "https://github.com/FIGLAB/EyeMU"
GESTURES = {
    0: "flick-forward", 1: "flick-right", 3: "flick-left", 5: "pull-close", 6: "push-away", 7: "turn-right",
    8: "turn-left",
}  # fmt: skip
"""The publishers' number of each gesture; 2 and 4 are tilts, which they leave out."""
TILTS = (2, 4)
LABELS = ("none", *sorted(GESTURES.values()))
TASKS = {"gesture-classification": LABELS, "gaze-estimation": ()}
MODALITIES = ("imu", "gaze")
TRIALS, CALIBRATION = "gazeldataraw.pkl", "calibdata.pkl"
SET = Origin(NAME, tuple(f"{folder}{file}" for folder in ("flask2/data/", "") for file in (TRIALS, CALIBRATION)),
             SOURCE, LICENCE)  # fmt: skip

IMU_RATE, SLOW_RATE = 60.0, 10.0
LOOK = 12
"""Slow samples at a trial's start in which the eyes are on the target and the phone is still."""
LEAST = 70


def recordings(root: Path) -> Recordings:
    """One recording per trial and one of each subject's calibration; `root` is the set's folder or its parent.

    Streams of "phone": imu (9 channels) and gaze (28) in trials, gaze alone in calibration. `left_out` names trials
    that are too short, and tilts. Raises DataError where neither table is found, or one cannot be read.
    """
    found: list[Recording] = []
    left_out: list[str] = []
    means: dict[int, NDArray[np.float64]] = {}
    for path in SET.files(root):  # calibration comes first by name, and its means count
        columns = pickles.table(path)
        means = {**_means(path, columns), **means}
        if path.name == CALIBRATION:
            found += _calibration(path, columns, means)
        else:
            for row in range(len(_column(path, columns, "Subject"))):
                recording = _trial(path, columns, row, means)
                if recording is None:
                    left_out.append(f"trial {row} of {path.name}")
                else:
                    found.append(recording)
    return gathered(root, found, left_out=left_out)


def _column(path: Path, columns: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in columns:
        raise DataError(f"{path}: column {name!r} is missing; it has {', '.join(columns)}; get it again")
    return columns[name]


def _numbers(path: Path, row: int, name: str, cell: Any, *shape: int) -> NDArray[np.float64]:
    """A cell as numbers of a shape in which -1 is any length. Raises DataError for anything else."""
    try:
        found = np.array(cell, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != len(shape) or any(want not in (-1, is_) for want, is_ in zip(shape, found.shape, strict=True)):
        wanted = " x ".join("n" if length < 0 else str(length) for length in shape)
        raise DataError(f"{path}: row {row}: {name!r} is no {wanted} numbers; get it again")
    return found


def _means(path: Path, columns: dict[str, NDArray[Any]]) -> dict[int, NDArray[np.float64]]:
    """(26,) mean of all features of each subject in a table."""
    subjects, features = (_column(path, columns, name) for name in ("Subject", "Embeddings Hist"))
    seen: dict[int, list[NDArray[np.float64]]] = {}
    for row, subject in enumerate(subjects):
        seen.setdefault(int(subject), []).append(_numbers(path, row, "Embeddings Hist", features[row], -1, FEATURES))
    return {subject: np.concatenate(many).mean(0) for subject, many in seen.items()}


def _trial(
    path: Path, columns: dict[str, NDArray[Any]], row: int, means: Mapping[int, NDArray[np.float64]]
) -> Recording | None:
    """A trial, or None for a tilt and for one without 70 samples of gesture."""

    def cell(name: str) -> Any:
        return _column(path, columns, name)[row]

    gesture, subject = int(cell("Target Gesture")), int(cell("Subject"))
    imu_33N = _numbers(path, row, "IMU Hist", cell("IMU Hist"), 3, 3, -1)
    features_M26 = _numbers(path, row, "Embeddings Hist", cell("Embeddings Hist"), -1, FEATURES)
    n, m = imu_33N.shape[2], len(features_M26)
    if gesture in TILTS or m <= LOOK or n - n * LOOK // m <= LEAST:
        return None
    if gesture not in GESTURES:
        raise DataError(f"{path}: row {row}: gesture {gesture} is none of 0 to 8; get it again")
    end = int(cell("Timestamp")) * 1_000_000
    start = end - round((n - 1) / IMU_RATE * SECOND)
    slow = n / IMU_RATE / m
    t_M = start + np.rint(np.arange(m) * slow * SECOND).astype(np.int64)
    turn = start + round(LOOK * slow * SECOND)
    tracks = (
        Track("phone", Stream("imu", "imu", "hand"), at_rate(n, IMU_RATE, start), _motion(imu_33N)),
        Track("phone", Stream("gaze", "gaze", "hand"), t_M, told(features_M26, means[subject])),
    )
    task, target = "gesture-classification", _numbers(path, row, "Gaze Target XY", cell("Gaze Target XY"), 2)
    index = [label_index(task, label, path) for label in ("none", GESTURES[gesture])]
    labels: dict[str, Segments | Values] = {
        task: Segments(np.array([start, turn, end + round(SECOND / IMU_RATE)], np.int64), np.array(index, np.int64)),
        "gaze-estimation": Values(t_M[:LOOK], np.tile(target * SCREEN_CM, (LOOK, 1)).astype(np.float32)),
    }
    return Recording(f"p{subject:02d}-trial-{row}", NAME, f"p{subject:02d}", tracks, labels)


def _motion(imu_33N: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, 9) m/s2, rad/s, rad, of the page's three histories."""
    acceleration, rate = imu_33N[0].T, np.radians(imu_33N[1].T)
    about_z, about_x, about_y = (
        rotation(angle[:, None] * axis)
        for angle, axis in zip(np.radians(imu_33N[2]), np.eye(3)[[2, 0, 1]], strict=True)
    )
    return np.concatenate([acceleration, rate, axis_angle(about_z @ about_x @ about_y)], -1).astype(np.float32)


def _calibration(
    path: Path, columns: dict[str, NDArray[Any]], means: Mapping[int, NDArray[np.float64]]
) -> list[Recording]:
    subjects = _column(path, columns, "Subject").astype(np.int64)
    features, targets = _column(path, columns, "Embeddings Hist"), _column(path, columns, "Gaze Target XY")
    found = []
    for subject in np.unique(subjects):
        rows = np.flatnonzero(subjects == subject)
        seen = np.concatenate(
            [_numbers(path, i, "Embeddings Hist", features[i], -1, FEATURES)[:1] for i in rows.tolist()]
        )
        target = np.stack([_numbers(path, i, "Gaze Target XY", targets[i], 2) for i in rows.tolist()])
        t = at_rate(len(rows), SLOW_RATE)
        track = Track("phone", Stream("gaze", "gaze", "hand"), t, told(seen, means[int(subject)]))
        labels = {"gaze-estimation": Values(t, (target * SCREEN_CM).astype(np.float32))}
        person = f"p{subject:02d}"
        found.append(Recording(f"{person}-calibration", NAME, person, (track,), labels))
    return found
