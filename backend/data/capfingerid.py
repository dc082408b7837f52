"""capfingerid: which finger of which hand touches a phone, from its touch panel (Le, Mayer, Henze, IUI 2019; MIT).

An image is the capacitance that an LG Nexus 5 measured, 27 x 15 cells of 4.1 mm, with the time at which it came:
7 to 14 times a second here (every second image that shows one touch). Images without a touch, or with several, are
not in the set, so none shows "none". Images of one finger without a pause of 2 s are one recording; they stay on disk.

Integers are kept; the scale is such that a firm touch is about 1. Small negative numbers are noise, and a few images
are torn by the digitiser or have single numbers far outside.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Origin, check_rows, check_shape, frames, read_npz, throughout
from backend.data.recording import Recording, Recordings, Track
from backend.tasks import TASKS
from backend.tasks.touch import FINGERS, HANDS
from broker.errors import DataError
from edge.clock import SECOND
from edge.windows import Stream

SET = Origin("capfingerid", ("P*.npz",), "https://github.com/interactionlab/CapFingerId", "MIT")
TASK = TASKS["touch-contact"]
SIZE = (27, 15)
SCALE = 1 / 256
PAUSE_S = 2.0
"""A longer pause starts a new recording."""


def recordings(root: Path) -> Recordings:
    """One recording per stretch of touches with one finger: capacitance of "phone". `root`: the folder or its parent.

    Raises DataError where nothing is found, or a file cannot be read or names an unknown finger.
    """
    return Recordings(one for path in SET.files(root) for one in _person(path))


def _person(path: Path) -> list[Recording]:
    finger, hand, time_s = read_npz(path, "finger", "hand", "time_s")
    image = frames(path, "image")
    check_rows(path, len(finger), hand=hand, time_s=time_s, image=image)
    check_shape(path, "image", image, *SIZE, 1)
    if not (np.isin(finger, range(len(FINGERS))).all() and np.isin(hand, range(len(HANDS))).all()):
        raise DataError(f"{path}: a finger is none of 0..{len(FINGERS) - 1} or a hand none of 0, 1; get it again")
    if not np.isfinite(time_s).all():
        raise DataError(f"{path}: a time is no number; get it again")
    found = []
    for number, (first, last) in enumerate(_stretches(time_s, hand.astype(np.int64) * len(FINGERS) + finger)):
        label = f"{HANDS[hand[first]]}-{FINGERS[finger[first]]}"
        t = np.rint(time_s[first:last] * 1e6).astype(np.int64) * (SECOND // 1_000_000)
        stream = Stream("capacitance", "capacitance", "screen", size=SIZE)  # resized, a finger has no shape
        track = Track("phone", stream, t, frames(path, "image", first, last), SCALE)
        labels = {TASK.name: throughout(t, TASK.outputs.index(label))}
        found.append(Recording(f"{path.stem}_{number:03d}_{label}", SET.name, path.stem, (track,), labels))
    return found


def _stretches(time_s: NDArray[np.float64], who: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last + 1 of runs of one finger in which time goes on without a pause."""
    step = np.diff(time_s)
    breaks = np.flatnonzero((step < 0) | (step > PAUSE_S) | (np.diff(who) != 0)) + 1
    edges = [0, *breaks.tolist(), len(time_s)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
