"""thermal_rgb_pairs: streets in visible and in infrared light at once (LLVIP and RoadScene; for research).

A pair has the same file name in two folders. Pictures carry no time and come one a slot: LLVIP's by camera position,
of which the first two digits tell, RoadScene's as one recording in the order of its film. There are no labels.

Infrared pictures are grey, and the cameras' gain was automatic: no temperature can be read off them. They are told as
if black were 10 and white 40 degrees Celsius, which keeps what is warmer warmer; facts about temperature mean nothing.
Pictures stay on disk, and are read at the grids of the modalities `image` and `thermal`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Origin, one_a_slot, pictures, read_picture
from backend.data.kept import kept
from backend.data.recording import Recording, Recordings, Track
from broker.errors import DataError
from broker.modalities import MODALITIES
from edge.windows import Stream

log = logging.getLogger(__name__)

SET = Origin(
    "thermal_rgb_pairs",
    ("llvip_ir/*.jpg", "roadscene_ir/*.jpg"),
    "https://github.com/bupt-ai-cz/LLVIP and https://github.com/hanna-xu/RoadScene",
    "for research",
)
BLACK_K, WHITE_K = 283.15, 313.15
IMAGE, THERMAL = MODALITIES["image"], MODALITIES["thermal"]


def recordings(root: Path) -> Recordings:
    """One recording per place or film: image and thermal of "camera". `root` is the set's folder or its parent.

    A picture without its other half is skipped. Raises DataError where nothing is found, or a picture cannot be read.
    """
    scenes: dict[str, list[Path]] = defaultdict(list)
    skipped = []
    for path in SET.files(root):
        if not _visible(path).is_file():
            skipped.append(str(path))
            continue
        source = path.parent.name.removesuffix("_ir")
        scenes[f"{source}-{path.stem[:2]}" if source == "llvip" else source].append(path)
    if skipped:
        log.warning("%s: %d pictures have no visible half and are left out", root, len(skipped))
    if not scenes:
        raise DataError(f"{skipped[0]}: has no visible half; is the set complete?")
    return Recordings((_recording(name, paths) for name, paths in scenes.items()), skipped)


def _visible(path: Path) -> Path:
    return path.parent.with_name(path.parent.name.replace("_ir", "_vi")) / path.name


def _recording(name: str, paths: list[Path]) -> Recording:
    t = one_a_slot(len(paths))
    image = pictures([_visible(path) for path in paths], (*IMAGE.size, 3), np.uint8, _image)
    thermal = pictures(paths, (*THERMAL.size, 1), np.uint16, _thermal)
    tracks = (
        Track("camera", Stream("image", "image", "room"), t, image, IMAGE.scale),
        Track("camera", Stream("thermal", "thermal", "room"), t, thermal, THERMAL.scale),
    )
    return Recording(name, SET.name, name, tracks, {}, untimed=True)


@kept(256)
def _image(path: Path) -> NDArray[np.uint8]:
    return np.asarray(read_picture(path, "RGB", IMAGE.size), np.uint8)


@kept(256)
def _thermal(path: Path) -> NDArray[np.uint16]:
    kelvin = BLACK_K + read_picture(path, "L", THERMAL.size) * ((WHITE_K - BLACK_K) / 255)
    return np.rint(kelvin / THERMAL.scale).astype(np.uint16)[..., None]
