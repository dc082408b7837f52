"""RGBDGaze: faces in front of a phone that look at a dot on its screen, in colour and depth (Arakawa, Goel, Harrison,
Ahuja, ICMI 2022).

Layout, from the publishers' README and `preprocess/format.py`: `RGBDGaze_dataset/P1/decoded/standing/label.csv` (and
sitting, walking, lying) with columns `uid`, `device`, `gt_x_pt`, `gt_y_pt`, `bbox_x`, `bbox_y`, `bbox_w`, `bbox_h` and
more, pictures `rgb/1.jpg` and `depth/1.jpg` beside it, and `iphone_spec.csv` with each device's screen in points and
centimetres (`Name`, `w_pt`, `h_pt`, `w_cm`, `h_cm`). The picture of a face is cut out as `format.py` does: mirrored,
rows from `bbox_x` and columns from `bbox_y` on, both as long as the shorter side of the box.

Not read, because what is published does not say what it means:

- depth: 8-bit pictures without a scale. Who knows it gives `metres_per_level`; without it there is no depth stream.
- motion: three numbers a row at the pictures' rate, in no stated unit. An imu stream needs 25 a second and six.

Rows carry no time: they are taken to be 8 a second, as the paper has it (Appendix A.1), from `ORIGIN` on.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backend.data.files import Lazy, Origin, at_rate
from backend.data.paper.layout import gathered
from backend.data.recording import Recording, Recordings, Track, Values
from broker.errors import DataError
from broker.modalities import MODALITIES as ROWS
from edge.windows import Stream

NAME, LICENCE, SOURCE = "rgbdgaze", "GPL-2.0", "https://github.com/FIGLAB/RGBDGaze"
TASKS: dict[str, tuple[str, ...]] = {"gaze-estimation": ()}
MODALITIES = ("image",)
POSTURES = ("standing", "sitting", "walking", "lying")
SET = Origin(NAME, tuple(f"{folder}[Pp]*/decoded/*/label.csv" for folder in ("RGBDGaze_dataset/", "")), SOURCE, LICENCE)

RATE = 8.0
NUMBERS = ("gt_x_pt", "gt_y_pt", "bbox_x", "bbox_y", "bbox_w", "bbox_h")
SCREEN = ("w_pt", "h_pt", "w_cm", "h_cm")


def recordings(root: Path, metres_per_level: float | None = None) -> Recordings:
    """One recording per person and posture, image (and depth) of "phone"; `root` is the set's folder or its parent.

    Pictures stay on disk; `skipped` names the rows whose pictures are not there. Raises DataError where nothing is
    found, or a table cannot be read.
    """
    found: list[Recording] = []
    skipped: list[str] = []
    screens: dict[Path, dict[str, NDArray[np.float64]]] = {}
    for path in sorted(SET.files(root)):
        folder = path.parents[3]
        if folder not in screens:
            screens[folder] = _screens(folder / "iphone_spec.csv")
        recording = _recording(path, screens[folder], metres_per_level, skipped)
        if recording is not None:
            found.append(recording)
    return gathered(root, found, skipped)


def _table(path: Path, columns: tuple[str, ...]) -> pa.Table:
    try:
        table = pyarrow.csv.read_csv(path)
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; get the set from {SOURCE} ({LICENCE})") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as CSV ({reason}); remove it or get it again") from None
    if missing := [column for column in columns if column not in table.column_names]:
        raise DataError(f"{path}: columns {missing} are missing; wanted {', '.join(columns)}")
    return table


def _numbers(path: Path, table: pa.Table, columns: tuple[str, ...]) -> NDArray[np.float64]:
    """(n, columns) numbers, NaN where there is none."""
    try:
        return np.stack([table[column].cast(pa.float64()).to_numpy() for column in columns], -1)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: {', '.join(columns)} are to be numbers ({reason}); get it again") from None


def _screens(path: Path) -> dict[str, NDArray[np.float64]]:
    """Width and height in points, then in cm, of each device's screen."""
    table = _table(path, ("Name", *SCREEN))
    names = [_device(name) for name in table["Name"].to_pylist()]
    return dict(zip(names, _numbers(path, table, SCREEN), strict=True))


def _device(name: object) -> str:
    """A device's name without blanks: the tables write "iPhone 12" and "iPhone12"."""
    return str(name).replace(" ", "").lower()


def _recording(
    path: Path, screens: dict[str, NDArray[np.float64]], metres_per_level: float | None, skipped: list[str]
) -> Recording | None:
    table = _table(path, ("uid", "device", *NUMBERS))
    numbers = _numbers(path, table, NUMBERS)
    folder, person, posture = path.parent, path.parents[2].name.lower(), path.parent.name.lower()
    files = [f"{uid}.jpg" for uid in table["uid"].to_pylist()]
    there = {file.name for file in (folder / "rgb").glob("*.jpg")}
    rows = np.array([file in there for file in files], bool) & np.isfinite(numbers).all(1)
    skipped += [f"{folder / 'rgb' / file}" for file, kept in zip(files, rows, strict=True) if not kept]
    if not rows.any():
        return None
    devices = [_device(name) for name in table["device"].to_pylist()]
    if unknown := sorted({device for device in devices if device not in screens}):
        raise DataError(f"{path}: device {unknown[0]!r} is not in iphone_spec.csv; get that file again")
    screen_N4 = np.stack([screens[device] for device in devices])
    cm_N2 = numbers[:, :2] / screen_N4[:, :2] * screen_N4[:, 2:]
    t = at_rate(len(files), RATE)[rows]
    kept = [file for file, keep in zip(files, rows, strict=True) if keep]
    boxes = numbers[rows, 2:].astype(np.int64)
    image = _faces(folder, kept, boxes, None)
    tracks = [Track("phone", Stream("image", "image", "hand"), t, image, ROWS["image"].scale)]
    if metres_per_level is not None:
        depth = _faces(folder, kept, boxes, metres_per_level)
        tracks.append(Track("phone", Stream("depth", "depth", "hand"), t, depth))
    labels = {"gaze-estimation": Values(t, cm_N2[rows].astype(np.float32))}
    return Recording(f"{person}-{posture}", NAME, person, tuple(tracks), labels)


def _faces(folder: Path, files: list[str], boxes_N4: NDArray[np.int64], metres_per_level: float | None) -> Any:
    """Faces on the modality's grid: of colour pictures as uint8, of depth pictures (with a scale) in metres."""
    size = ROWS["image" if metres_per_level is None else "depth"].size
    cell = (3, np.uint8) if metres_per_level is None else (1, np.float32)
    return Lazy((len(files), *size, cell[0]), cell[1], partial(_rows, folder, files, boxes_N4, metres_per_level))


def _rows(
    folder: Path,
    files: list[str],
    boxes_N4: NDArray[np.int64],
    metres_per_level: float | None,
    index: NDArray[np.int64],
) -> NDArray[Any]:
    if metres_per_level is None:
        return np.stack([face(folder / "rgb" / files[i], boxes_N4[i], ROWS["image"].size) for i in index])
    found = []
    for i in index:
        colour = _upright(folder / "rgb" / files[i]).height
        found.append(face(folder / "depth" / files[i], boxes_N4[i], ROWS["depth"].size, "L", colour))
    return np.stack(found).astype(np.float32) * np.float32(metres_per_level)


def _upright(path: Path) -> Image.Image:
    """A picture as its own notes say it is to be held. Raises DataError for a file that is missing or damaged."""
    try:
        with Image.open(path) as opened:
            return ImageOps.exif_transpose(opened)
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; is the set complete?") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a picture ({reason}); get it again") from None


def face(
    path: Path, box_4: NDArray[np.int64], size: tuple[int, int], mode: str = "RGB", rows: int | None = None
) -> NDArray[np.uint8]:
    """(H, W, C) of the square that a box (x, y, width, height) tells; each pixel is the mean of what it covers.

    The box counts pixels of a picture of `rows` rows, of this one unless told. Raises DataError for a file that is
    missing or damaged, and for a box outside of it.
    """
    picture = ImageOps.mirror(_upright(path).convert(mode))
    step = (rows or picture.height) / picture.height
    side = min(box_4[2:]) / step
    left, top = box_4[1] / step, box_4[0] / step
    box = (max(left, 0.0), max(top, 0.0), min(left + side, picture.width), min(top + side, picture.height))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise DataError(f"{path}: face box {box_4.tolist()} lies outside the picture; remove its row of label.csv")
    fitted = picture.resize((size[1], size[0]), Image.Resampling.BOX, box)
    return np.asarray(fitted, np.uint8).reshape(*size, -1)
