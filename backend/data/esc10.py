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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.recording import Recording, Recordings, Segments
from backend.data.sound import RATE, SCALE, microphone, read_sound
from backend.tasks.events import EVENTS as TASK
from backend.tasks.events import SOUNDS
from broker.errors import DataError

log = logging.getLogger(__name__)

NAME = "esc10"
PUBLISHED = re.compile(r"\d{3} - (?P<label>[^/]+)/(?P<fold>\d)-(?P<source>\d+)-[A-Z]\.ogg")
COLUMNS = ("file", "class_name", "fold", "freesound_source")
BLOCK_S = 0.05
SILENCE = 10.0**-3.5
"""Root mean square (full scale is 1) below which a block is digital silence: -70 dB."""


def recordings(root: Path) -> Recordings:
    """One recording per clip, in the order of meta.csv, whose sound stays on disk; `root` is the set's folder or its
    parent.

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
    heard = read_sound(folder / row["file"])  # for its labels alone
    track = microphone(folder / row["file"], len(heard))
    labels = {TASK.name: _segments(track.t[:], heard, TASK.labels.index(label))}
    name, source = row["file"].removesuffix(".ogg"), f"freesound-{row['freesound_source']}"
    return Recording(name, NAME, source, (track,), labels, int(row["fold"]))


def _segments(t: NDArray[np.int64], values: NDArray[np.int16], label: int) -> Segments:
    """The clip's label where blocks of 50 ms can be heard, none elsewhere."""
    assert TASK.none_index is not None
    block = round(BLOCK_S * RATE)
    padded = np.pad(values[:, 0].astype(np.float32) * SCALE, (0, -len(values) % block))
    level = np.sqrt((padded.reshape(-1, block) ** 2).mean(1))
    index = np.where(np.repeat(level, block)[: len(values)] < SILENCE, TASK.none_index, label)
    return Segments.from_samples(t, index)
