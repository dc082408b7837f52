"""capcontact: what a touch panel measures, and which parts of it skin really touches (Streli and Holz, CHI 2021;
CC BY-NC-SA 4.0).

An image is the mutual capacitance of a panel of 345 x 195 mm, 41 x 72 cells; a camera beneath saw the contact itself,
328 x 576 cells. Every fourth frame of a session is kept and carries its number, but no time: images come one a slot,
and each session is one recording. Images and masks stay on disk.

The truth is the mask, and no label: this set does not say whose finger touches. Masks are as the camera saw them,
displaced by up to a cell of the panel near its edges. Integers are kept; the scale is such that a firm touch is
about 1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Lazy, Origin, check_rows, check_shape, frames, npz_shape, one_a_slot, read_npz, unpacked
from backend.data.recording import Recording, Recordings, Track
from backend.tasks.contact import CONTACT
from broker.errors import DataError
from edge.windows import Stream

SET = Origin("capcontact", ("P*.npz",), "https://github.com/eth-siplab/CapContact", "CC BY-NC-SA 4.0")
SIZE = (41, 72)
SCALE = 1 / 512


def recordings(root: Path) -> Recordings:
    """One recording per person and session: capacitance of "panel", masks of contact. `root`: the folder or its parent.

    Raises DataError where nothing is found, or a file cannot be read.
    """
    return Recordings(one for path in SET.files(root) for one in _person(path))


def _contact(path: Path, first: int, last: int) -> Lazy:
    """(n, 328, 576) uint8 masks of these images: 1 where skin touches the panel, read when used."""
    (count, rows, packed), _ = npz_shape(path, "contact_packed")
    if (rows, packed * 8) != (SIZE[0] * CONTACT.finer, SIZE[1] * CONTACT.finer) or last > count:
        raise DataError(
            f"{path}: contact_packed is {(count, rows, packed)}, not {(last, *SIZE)} x {CONTACT.finer}; get it again"
        )
    return Lazy((last - first, rows, packed * 8), np.uint8, partial(_masks, path, first))


def _masks(path: Path, first: int, index: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.unpackbits(unpacked(path, "contact_packed").rows(index + first), axis=2)


def _person(path: Path) -> list[Recording]:
    found = []
    for session, (first, last) in _sessions(path):
        image = frames(path, "cap", first, last)
        check_shape(path, "cap", image, *SIZE, 1)
        stream = Stream("capacitance", "capacitance", "table", size=SIZE)
        track = Track("panel", stream, one_a_slot(last - first), image, SCALE)
        masks = {CONTACT.name: _contact(path, first, last)}
        found.append(Recording(f"{path.stem}_{session}", SET.name, path.stem, (track,), {}, masks=masks, untimed=True))
    return found


def _sessions(path: Path) -> list[tuple[int, tuple[int, int]]]:
    """Number, first and last + 1 image of each session."""
    session, frame = read_npz(path, "session", "frame")
    check_rows(path, len(session), frame=frame, cap=frames(path, "cap"))
    if not len(session) or (np.diff(session) < 0).any():
        raise DataError(f"{path}: has no images, or sessions out of order; get it again")
    return [(int(n), (int(np.argmax(session == n)), int((session <= n).sum()))) for n in np.unique(session)]
