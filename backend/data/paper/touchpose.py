"""TouchPose: hands on a touch panel, as its capacitance and as depth (Ahuja, Streli, Holz, UIST 2021).

Layout, from the publishers' README and `src/`: pandas tables `data/*.pkl`, read restrictedly (`pickles.py`), with
columns `subject_id`, `session_id`, `gesture_id`, `cap_img` and `depth_img`, the last two (41, 72) each. As `helper.py`
has it, capacitance below 0 is 0, and 1400 is full scale.

Of the paper's four tasks on this set (touch contact, depth, hand joints, with colour pictures and poses as inputs) the
published part has what depth estimation needs: it has neither colour, nor fingers, nor joints.

Depth has levels 0..255 in no stated unit. They are read as millimetres: the error that the publishers print for unseen
gestures, 24.9 levels, is of the size of their millimetres (20.7 in the paper's Table 1, "unimodal"). 0 is unknown.

Records carry no time: they come one a slot. Tables are read one at a time when the set is opened, for who and what,
and again when their frames are used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.data.camera import depth_map
from backend.data.files import Lazy, Origin, one_a_slot
from backend.data.kept import kept
from backend.data.paper import pickles
from backend.data.recording import Recording, Recordings, Track, Values
from backend.tasks import TASKS as ALL_TASKS
from broker.errors import DataError
from broker.modalities import MODALITIES as ROWS
from edge.windows import Stream

NAME, LICENCE, SOURCE = "touchpose", "CC BY-NC-SA 4.0", "https://github.com/eth-siplab/TouchPose"
TASKS: dict[str, tuple[str, ...]] = {"depth-estimation": ()}
MODALITIES = ("capacitance",)
SET = Origin(NAME, ("data/*.pkl", "*.pkl"), SOURCE, LICENCE)

WHO = ("subject_id", "session_id", "gesture_id")
FRAME = (41, 72)
FULL_SCALE = 1400.0
LEVEL_M = 1e-3


def recordings(root: Path) -> Recordings:
    """One recording per file, subject, session and gesture, capacitance of "panel"; `root` is the set's folder or its
    parent. Raises DataError where nothing is found, or a table lacks a column.
    """
    found = []
    for path in SET.files(root):
        groups: dict[tuple[str, ...], list[int]] = {}
        for row, who in enumerate(zip(*_names(path), strict=True)):
            groups.setdefault(who, []).append(row)
        found += [_recording(path, who, np.array(rows, np.int64)) for who, rows in groups.items()]
    return Recordings(found)


def _column(path: Path, columns: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in columns:
        raise DataError(f"{path}: column {name!r} is missing; it has {', '.join(columns)}; get it again")
    return columns[name]


@kept(2)
def _names(path: Path) -> list[list[str]]:
    """Who, when and what of each row, as text."""
    columns = pickles.table(path)
    return [[_name(value) for value in _column(path, columns, name)] for name in WHO]


def _name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value).lower()


@kept(2)
def _frames(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """(n, 41, 72) capacitance 0..1, and depth in levels."""
    columns = pickles.table(path)
    try:
        capacitance, depth = (
            np.array([np.asarray(cell, np.float32) for cell in _column(path, columns, name)]).reshape(-1, *FRAME)
            for name in ("cap_img", "depth_img")
        )
    except (TypeError, ValueError):
        raise DataError(f"{path}: a frame is not {FRAME[0]} x {FRAME[1]} numbers; get it again") from None
    return np.clip(capacitance / np.float32(FULL_SCALE), 0, 1), np.clip(np.rint(depth), 0, 255).astype(np.uint8)


def _recording(path: Path, who: tuple[str, ...], rows: NDArray[np.int64]) -> Recording:
    subject, session, gesture = who
    t, size, task = one_a_slot(len(rows)), ROWS["capacitance"].size, ALL_TASKS["depth-estimation"]
    frames: Any = Lazy((len(rows), *size, 1), np.float32, partial(_capacitance, path, rows, size))
    truth: Any = Lazy((len(rows), task.size), np.float32, partial(_depth, path, rows))
    track = Track("panel", Stream("capacitance", "capacitance", "table"), t, frames)
    name = f"{path.stem}-{subject}-{session}-{gesture}"
    return Recording(name, NAME, f"subject-{subject}", (track,), {task.name: Values(t, truth)}, untimed=True)


def _capacitance(
    path: Path, rows: NDArray[np.int64], size: tuple[int, int], index: NDArray[np.int64]
) -> NDArray[np.float32]:
    frames = _frames(path)[0][rows[index]]
    fitted = [np.asarray(Image.fromarray(f).resize((size[1], size[0]), Image.Resampling.BOX)) for f in frames]
    return np.array(fitted, np.float32).reshape(-1, *size, 1)


def _depth(path: Path, rows: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.float32]:
    row, column = np.indices(FRAME)
    pixels = np.stack([column.ravel(), row.ravel()], -1).astype(np.float64)
    frames = _frames(path)[1][rows[index]]
    return np.array([depth_map(pixels, frame.ravel() * LEVEL_M, FRAME) for frame in frames], np.float32)
