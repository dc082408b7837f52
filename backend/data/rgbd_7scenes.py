"""rgbd_7scenes: a room seen by a moving Kinect, colour and depth (Microsoft 7-Scenes; for non-commercial research).

Every tenth of 1 000 frames of one sequence. Pictures come one a slot, not at the Kinect's three a second: so the
frame that a window shows is the one whose depth is its target. Pictures and depth stay on disk. Poses of the camera
are not read: no task of ours is about them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.camera import SIZE, Intrinsics, depth_map
from backend.data.files import Origin, one_a_slot, pictures, read_picture
from backend.data.kept import kept
from backend.data.recording import Recording, Recordings, Track, Values
from broker.errors import DataError
from broker.modalities import MODALITIES
from edge.windows import Stream

log = logging.getLogger(__name__)

SET = Origin(
    "rgbd_7scenes",
    ("frame-*.color.jpg",),
    "https://github.com/andyzeng/tsdf-fusion-python",
    "Microsoft 7-Scenes: non-commercial research",
)
KINECT = Intrinsics((585.0, 585.0), (320.0, 240.0), (480, 640))
DEPTH = MODALITIES["depth"].size
NONE = 65_535
"""Depth of a pixel that has none; 0 is none, too."""


def recordings(root: Path) -> Recordings:
    """The sequence as one recording: camera and depth of "kinect", and depth as truth.

    `root` is the set's folder or its parent. A picture without its depth is skipped. Raises DataError where nothing is
    found, or a file cannot be read.
    """
    found = SET.files(root)
    colour = [path for path in found if _depth_of(path).is_file()]
    skipped = [str(path) for path in found if path not in colour]
    if skipped:
        log.warning("%s: %d pictures have no depth and are left out", found[0].parent, len(skipped))
    if not colour:
        raise DataError(f"{found[0]}: has no {_depth_of(found[0]).name} beside it; is the set complete?")
    depth, t = [_depth_of(path) for path in colour], one_a_slot(len(colour))
    tracks = (
        Track("kinect", Stream("camera", "camera", "room"), t, pictures(colour, (*SIZE, 5), np.float32, _picture)),
        Track("kinect", Stream("depth", "depth", "room"), t, pictures(depth, (*DEPTH, 1), np.uint16, _sampled), 1e-3),
    )
    truth = Values(t, np.stack([_truth(path) for path in depth]))
    one = Recording("sequence", SET.name, "sequence", tracks, {"depth-estimation": truth}, untimed=True)
    return Recordings([one], skipped)


def _depth_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".color.jpg", ".depth.png"))


@kept(128)
def _picture(path: Path) -> NDArray[np.float32]:
    return KINECT.picture(path)


@kept(128)
def _sampled(path: Path) -> NDArray[np.uint16]:
    """(*DEPTH, 1) mm: the pixel in the middle of each cell, because a mean over an edge is the depth of nothing."""
    rows, columns = (np.int64((np.arange(n) + 0.5) * (all_ / n)) for n, all_ in zip(DEPTH, KINECT.size, strict=True))
    return _depth(path)[np.ix_(rows, columns)][..., None].copy()


def _truth(path: Path) -> NDArray[np.float32]:
    depth = _depth(path)
    row, column = np.nonzero(depth)
    return depth_map(np.stack([column, row], -1), depth[row, column] * 1e-3, KINECT.size)


def _depth(path: Path) -> NDArray[np.uint16]:
    """(480, 640) mm; 0 where there is none."""
    depth = read_picture(path, None)
    if depth.shape != KINECT.size or depth.dtype != np.uint16:
        raise DataError(f"{path}: is {depth.shape} of {depth.dtype}, not {KINECT.size} of uint16; get it again")
    return np.where(depth == NONE, np.uint16(0), depth)
