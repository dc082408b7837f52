"""LLVIP: streets at night in visible and infrared light at once (Jia, Zhu, Li, Tang, Zhou, ICCV workshops 2021).

Layout, from the publishers' README: pictures of the same name, 1280 x 1024, in `visible/{train,test}/010001.jpg` and
`infrared/{train,test}/010001.jpg`, and the people in both as VOC boxes in `Annotations/010001.xml`. The first two
digits are the place, of 26.

The paper uses the pairs (Appendix A.1, thermal and image) and names no task for them; so there are no labels here, and
`people` gives the boxes. Infrared pictures have 8 bits, automatic gain and no temperature: they are told on the nominal
scale of `thermal_rgb_pairs`, black 10 and white 40 degrees Celsius, which keeps what is warmer warmer and no more.

Pictures carry no time: they come one a slot. The "person" is the place, which publishers keep on one side of the split.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Origin, one_a_slot, pictures, read_picture
from backend.data.paper.layout import gathered
from backend.data.recording import Recording, Recordings, Track
from backend.data.thermal_rgb_pairs import BLACK_K, WHITE_K
from broker.errors import DataError
from broker.modalities import MODALITIES as ROWS
from edge.windows import Stream

NAME, LICENCE, SOURCE = "llvip", "non-commercial, the publishers' terms", "https://bupt-ai-cz.github.io/LLVIP"
TASKS: dict[str, tuple[str, ...]] = {}
MODALITIES = ("thermal", "image")
SET = Origin(NAME, tuple(f"{folder}infrared/*/*.jpg" for folder in ("", "LLVIP/")), SOURCE, LICENCE)


def recordings(root: Path) -> Recordings:
    """One recording per place, thermal and image of "camera"; `root` is the set's folder or its parent.

    Pictures stay on disk; `skipped` names those without a partner. Raises DataError where no pair is found.
    """
    places: dict[tuple[str, str], list[tuple[Path, Path]]] = defaultdict(list)
    skipped = []
    for path in SET.files(root):
        partner = path.parents[2] / "visible" / path.parent.name / path.name
        if partner.is_file():
            places[path.parent.name, path.stem[:2]].append((path, partner))
        else:
            skipped.append(f"{path}: no {partner}")
    if not places:
        raise DataError(f"{root}: infrared pictures without visible ones; get the set from {SOURCE} ({LICENCE})")
    return gathered(root, (_recording(*key, pairs) for key, pairs in sorted(places.items())), skipped)


def _recording(split: str, place: str, pairs: list[tuple[Path, Path]]) -> Recording:
    t, thermal, image = one_a_slot(len(pairs)), ROWS["thermal"], ROWS["image"]
    warm = pictures((pair[0] for pair in pairs), (*thermal.size, 1), np.uint16, kelvins)
    seen = pictures((pair[1] for pair in pairs), (*image.size, 3), np.uint8,
                    partial(read_picture, mode="RGB", size=image.size))  # fmt: skip
    tracks = (
        Track("camera", Stream("thermal", "thermal", "street"), t, warm, thermal.scale),
        Track("camera", Stream("image", "image", "street"), t, seen, image.scale),
    )
    return Recording(f"{split}-{place}", NAME, f"place-{place}", tracks, {}, untimed=True)


def kelvins(path: Path) -> NDArray[np.uint16]:
    """(H, W, 1) of an infrared picture, in the steps of the modality, on the nominal scale."""
    thermal = ROWS["thermal"]
    levels = read_picture(path, "L", thermal.size)[..., None].astype(np.float64)
    return np.rint((BLACK_K + levels / 255 * (WHITE_K - BLACK_K)) / thermal.scale).astype(np.uint16)


def people(path: Path) -> NDArray[np.int64]:
    """(n, 4) left, top, right, bottom in pixels of 1280 x 1024, of the people in a VOC file, n of 0 on.

    Raises DataError for a file that is missing or no such.
    """
    boxes = []
    try:
        for found in ElementTree.parse(path).getroot().iter("object"):
            if found.findtext("name") == "person":
                box = [found.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
                boxes.append([int(float(side or "")) for side in box])
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; get the set from {SOURCE} ({LICENCE})") from None
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: is no VOC annotation ({error}); get it again") from None
    return np.array(boxes, np.int64).reshape(-1, 4)
