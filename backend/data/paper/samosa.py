"""SAMoSA: a watch's motion and sound in 26 daily activities of four places, and in others (Mollyn, Ahuja, Verma,
Harrison, Goel, IMWUT 2022).

Layout, from the publishers' README and notebook: `Data/TrainingDataset/49---Kitchen---Chopping---1.pkl`, which is
participant, context, activity and trial; each a pickled dict of `Audio` (n,), 16 kHz, of the size of 16-bit samples,
and `IMU` (n, 9) at about 50 Hz: acceleration, gyroscope, rotation vector. Files with speech have `1kHz_Audio` instead,
and zeros as `Audio`. Pickles are read restrictedly (`pickles.py`).

The publishers state no units of the IMU: it is a Wear OS watch, and Android gives m/s2, rad/s and axis times sine of
half the angle. The last three become axis times angle, rad, as everywhere here.

In the paper (Appendix A) the set is that of event detection: an activity is an event, "Other" is none. Trials carry
no time and start at `ORIGIN`; the label is the trial's, from end to end.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.files import ORIGIN, Origin
from backend.data.kept import kept
from backend.data.paper import pickles
from backend.data.paper.layout import dashed, from_half_angles, label_index, lasting
from backend.data.recording import Recording, Recordings, Track
from backend.data.whole import regular, whole
from backend.tasks.events import HANDLING
from broker.errors import DataError
from broker.modalities import MODALITIES as ROWS
from edge.clock import SECOND
from edge.windows import Stream

NAME, LICENCE = "samosa", "CMU, academic and non-commercial research only"
SOURCE = "https://github.com/cmusmashlab/SAMoSA"
LABELS = ("none", *HANDLING)
TASKS = {"event-detection": LABELS}
MODALITIES = ("imu", "audio")
SET = Origin(NAME, tuple(f"{folder}*---*---*---*.pkl" for folder in ("Data/TrainingDataset/", "TrainingDataset/", "")),
             SOURCE, LICENCE)  # fmt: skip

FILE = re.compile(r"(?P<person>[^-]+)---(?P<context>.+?)---(?P<activity>.+?)---(?P<trial>[^-]+)\.pkl")
OTHER = "other"
IMU_RATE, AUDIO_RATE, SPEECH_RATE = 50.0, 16_000.0, 1_000.0
AUDIO_SCALE = ROWS["audio"].scale


def recordings(root: Path) -> Recordings:
    """One recording per trial, imu and audio of "watch"; `root` is the set's folder or its parent.

    Of each file only the shapes are read. Raises DataError where there is none, or one is cut short or unknown.
    """
    return Recordings(_recording(path) for path in SET.files(root))


def _recording(path: Path) -> Recording:
    about = FILE.fullmatch(path.name)
    if about is None:
        raise DataError(f"{path}: a file is named participant---context---activity---trial.pkl; rename or remove it")
    label = "none" if OTHER in {dashed(about["context"]), dashed(about["activity"])} else dashed(about["activity"])
    if label not in LABELS:
        raise DataError(f"{path}: unknown activity {about['activity']!r}; known: {', '.join(LABELS[1:])}")
    there = pickles.shapes(path)
    imu, key = _part(path, there, "IMU", 9), "1kHz_Audio" if "1kHz_Audio" in there else "Audio"
    audio = _part(path, there, key)
    rate = SPEECH_RATE if key == "1kHz_Audio" else AUDIO_RATE
    motion = whole(partial(_motion, path), imu.shape, np.float32)
    sound = whole(partial(_sound, path, key), (len(audio), 1), np.int16)
    tracks = (
        Track("watch", Stream("imu", "imu", "wrist"), regular(len(imu), IMU_RATE), motion),
        Track("watch", Stream("audio", "audio", "wrist"), regular(len(audio), rate), sound, AUDIO_SCALE),
    )
    end = ORIGIN + round(max(len(imu) / IMU_RATE, len(audio) / rate) * SECOND)
    task = "event-detection"
    labels = {task: lasting(label_index(task, label, path), ORIGIN, end)}
    return Recording(path.stem, NAME, f"p{about['person']}", tracks, labels)


def _part(path: Path, found: Any, key: str, *cell: int) -> NDArray[Any]:
    """An array (n, *cell) of a trial. Raises DataError where it is missing, empty or of another shape."""
    array = found.get(key) if isinstance(found, dict) else None
    if not isinstance(array, np.ndarray) or array.shape[1:] != cell or not len(array) or array.dtype.kind not in "iuf":
        wanted = " x ".join(map(str, ("n", *cell)))
        raise DataError(f"{path}: has no numbers {key} ({wanted}), which every trial has; get it again")
    return array


_trial = kept(2)(pickles.load)


def _motion(path: Path) -> NDArray[np.float32]:
    imu_N9 = _part(path, _trial(path), "IMU", 9).astype(np.float64)
    return np.concatenate([imu_N9[:, :6], from_half_angles(imu_N9[:, 6:])], -1).astype(np.float32)


def _sound(path: Path, key: str) -> NDArray[np.int16]:
    audio = _part(path, _trial(path), key)
    return np.asarray(np.clip(np.rint(audio), -32768, 32767)[:, None], np.int16)
