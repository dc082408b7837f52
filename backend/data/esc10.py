"""esc10: 400 clips of five seconds, ten kinds of sound (Piczak, ACM MM 2015; CC BY 3.0, clips CC0 or CC BY).

Two layouts are read: one folder of Ogg Vorbis files beside `meta.csv` (file, class_id, class_name, fold,
freesound_source), and the publishers' folder per class, `001 - Dog bark/1-100032-A.ogg`. Clips cut from
one source recording share a fold, and their source is the "person" that splits keep together. Short sounds are
padded with digital silence, in which nothing can be heard: there the label is none.
"""

from __future__ import annotations

import csv
import logging
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from backend.data.recording import Recording, Recordings, Segments, Track
from backend.tasks.events import EVENTS as TASK
from backend.tasks.events import SOUNDS
from broker.errors import DataError
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.windows import Stream

log = logging.getLogger(__name__)

NAME = "esc10"
PUBLISHED = re.compile(r"\d{3} - (?P<label>[^/]+)/(?P<fold>\d)-(?P<source>\d+)-[A-Z]\.ogg")
COLUMNS = ("file", "class_name", "fold", "freesound_source")
RATE = round(MODALITIES["audio"].rate)
SCALE = MODALITIES["audio"].scale
BLOCK_S = 0.05
SILENCE = 10.0**-3.5
"""Root mean square (full scale is 1) below which a block is digital silence: -70 dB."""


def recordings(root: Path) -> Recordings:
    """One recording per clip, in the order of meta.csv; `root` is the set's folder or its parent.

    Clips that meta.csv names and that are not there (a part of the set) are skipped, with a warning. Raises DataError
    where there is none at all, or where one cannot be read or is of a sound that is not known.
    """
    for folder in (root, root / NAME):
        rows = _listed(folder) if (folder / "meta.csv").is_file() else _found(folder)
        missing = [row["file"] for row in rows if not (folder / row["file"]).is_file()]
        if missing:
            log.warning("%s: %d of %d clips are not there and left out", folder, len(missing), len(rows))
        if len(missing) < len(rows):
            return Recordings((_recording(folder, row) for row in rows if row["file"] not in missing), missing)
    raise DataError(
        f"{root}: no clips of esc10; give the folder with meta.csv and .ogg files, or with a folder per class"
    )


def _listed(folder: Path) -> list[dict[str, str]]:
    """The rows of meta.csv."""
    try:
        with (folder / "meta.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{folder / 'meta.csv'}: cannot be read as CSV ({error}); get it again") from None
    missing = [column for column in COLUMNS if not rows or column not in rows[0]]
    if missing:
        raise DataError(f"{folder / 'meta.csv'}: columns {missing} are missing; wanted {', '.join(COLUMNS)}")
    for number, row in enumerate(rows, start=2):
        if not (row["fold"] or "").strip().isdecimal():
            raise DataError(f"{folder / 'meta.csv'}: line {number}: fold {row['fold']!r} is no number")
    return rows


def _found(folder: Path) -> list[dict[str, str]]:
    """The clips of the publishers' layout, which says all in the names of folders and files."""
    rows = []
    for path in sorted(folder.glob("* - */*.ogg")):
        match = PUBLISHED.fullmatch(f"{path.parent.name}/{path.name}")
        if match:
            about = {"class_name": match["label"], "fold": match["fold"], "freesound_source": match["source"]}
            rows.append({"file": str(path.relative_to(folder)), **about})
    return rows


def _recording(folder: Path, row: dict[str, str]) -> Recording:
    label = (row["class_name"] or "").strip().lower().replace(" ", "-")
    if label not in SOUNDS:
        known = ", ".join(SOUNDS)
        raise DataError(f"{folder / row['file']}: class_name {row['class_name']!r} is unknown; known: {known}")
    values = read_sound(folder / row["file"])
    if not len(values):
        raise DataError(f"{folder / row['file']}: holds no sound; remove it or get it again")
    t = sample_times(len(values))
    track = Track("microphone", Stream(name="audio", modality="audio", placement="room"), t, values, SCALE)
    labels = {TASK.name: _segments(t, values, TASK.labels.index(label))}
    name, source = row["file"].removesuffix(".ogg"), f"freesound-{row['freesound_source']}"
    return Recording(name, NAME, source, (track,), labels, int(row["fold"]))


def read_sound(path: Path) -> NDArray[np.int16]:
    """(n, 1) samples at 16 kHz, the mean of all channels, 32768 is full scale; raises DataError for no sound file."""
    try:
        frames_TC, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{path}: cannot be read as sound ({error}); is the set complete?") from error
    wave_T = soxr.resample(frames_TC.mean(1), rate, RATE)
    return np.asarray(np.clip(np.rint(wave_T / SCALE), -32768, 32767)[:, None], np.int16)


@lru_cache(maxsize=64)
def sample_times(count: int) -> NDArray[np.int64]:
    """(count,) ns of samples from time 0 on; clips of equal length share one array."""
    return np.arange(count, dtype=np.int64) * (SECOND // RATE)


def _segments(t: NDArray[np.int64], values: NDArray[np.int16], label: int) -> Segments:
    """The clip's label where blocks of 50 ms can be heard, none elsewhere."""
    assert TASK.none_index is not None
    block = round(BLOCK_S * RATE)
    padded = np.pad(values[:, 0].astype(np.float32) * SCALE, (0, -len(values) % block))
    level = np.sqrt((padded.reshape(-1, block) ** 2).mean(1))
    index = np.where(np.repeat(level, block)[: len(values)] < SILENCE, TASK.none_index, label)
    return Segments.from_samples(t, index)
