"""KITTI: a car in traffic, with camera, laser scanner, GPS and inertial sensor (Geiger, Lenz, Stiller, Urtasun, IJRR
2013), and depth maps for its camera (Uhrig et al., 3DV 2017).

Layout, from the development kits of "raw data" (synced and rectified) and of "depth prediction":
`2011_09_26/calib_cam_to_cam.txt`, and for each drive `2011_09_26/2011_09_26_drive_0001_sync/` the folders `image_02`
(PNG, left colour), `oxts` (30 numbers a text file) and `velodyne_points` (float32 x, y, z, reflectance), each with
`data/0000000000...` and `timestamps.txt`, a line per number; depth maps in `train/` or `val/` at
`2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png`, uint16, metres times 256, 0 unknown. The
first and the last five pictures of a drive have none: of them nothing is known.

Streams of "car": `image` and `camera` (the same pictures, the second with the ray of each pixel), `lidar`, `gps`
(east, north, up from the drive's first fix, and speed), `imu` (ax ay az, wx wy wz in the car's axes, and its
orientation as axis times angle). Synced sets have ten samples a second of each. A drive without depth maps is left out.
Times are those of the files, taken as UTC. The "person" is the drive. Everything but times stays on disk.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.camera import SIZE as CAMERA_SIZE
from backend.data.camera import Intrinsics, depth_map
from backend.data.files import Lazy, Origin, pictures, read_picture
from backend.data.kept import kept
from backend.data.paper.layout import gathered
from backend.data.recording import Recording, Recordings, Track, Values
from backend.data.whole import whole
from backend.tasks import TASKS as ALL_TASKS
from broker.errors import DataError
from broker.modalities import MODALITIES as ROWS
from edge.plane import local_plane
from edge.rangeimage import range_image
from edge.simulator.geometry import attitude, axis_angle
from edge.windows import Stream

NAME, LICENCE = "kitti", "CC BY-NC-SA 3.0"
SOURCE = "https://www.cvlibs.net/datasets/kitti (raw_data, and eval_depth for data_depth_annotated)"
TASKS: dict[str, tuple[str, ...]] = {"depth-estimation": ()}
MODALITIES = ("image", "camera", "lidar", "gps", "imu")
SET = Origin(NAME, tuple(f"{folder}????_??_??/*_sync/image_02/timestamps.txt" for folder in ("", "raw/")),
             SOURCE, LICENCE)  # fmt: skip

OXTS = 30
LAT, ROLL, NORTH, ACCELERATION, RATE = slice(0, 3), slice(3, 6), slice(6, 8), slice(11, 14), slice(17, 20)
DEPTH_STEP = 1 / 256
CAMERA = "image_02"
UNKNOWN = np.iinfo(np.int64).min
"""No time: what numpy makes of a blank line."""


def recordings(root: Path) -> Recordings:
    """One recording per drive that has depth maps; `root` is the set's folder or its parent.

    `left_out` names drives without. Raises DataError where nothing is found, or a file that lists others is missing.
    """
    folder = SET.find(root)
    found, left_out = [], []
    for path in sorted(SET.files(root)):
        drive = path.parents[1]
        maps = _depth_maps(folder, drive)
        if maps:
            found.append(_recording(drive, maps))
        else:
            left_out.append(f"{drive}: no depth maps")
    if not found:
        raise DataError(f"{folder}: no train/*_sync/proj_depth/groundtruth/{CAMERA}; get it from {SOURCE} ({LICENCE})")
    return gathered(folder, found, left_out=left_out)


def _depth_maps(folder: Path, drive: Path) -> dict[int, Path]:
    """Depth maps of a drive by number of their picture."""
    places = [folder / part / split for part in ("", "data_depth_annotated") for split in ("train", "val")]
    for place in (*(place / drive.name for place in places), drive):
        maps = _numbered(place / "proj_depth" / "groundtruth" / CAMERA, "png")
        if maps:
            return maps
    return {}


def _numbered(folder: Path, kind: str) -> dict[int, Path]:
    return {int(path.stem): path for path in sorted(folder.glob(f"*.{kind}")) if path.stem.isdecimal()}


def _recording(drive: Path, maps: dict[int, Path]) -> Recording:
    views, t_view = _stream(drive / CAMERA, "png")
    scans, t_scan = _stream(drive / "velodyne_points", "bin")
    fixes, t_fix = _stream(drive / "oxts", "txt")
    pinhole = partial(_pinhole, drive.parent / "calib_cam_to_cam.txt")
    read = partial(read_picture, mode="RGB", size=ROWS["image"].size)
    cameras = Lazy((len(views), *CAMERA_SIZE, 5), np.float32, partial(_camera_rows, pinhole, tuple(views.values())))
    lidar = ROWS["lidar"].size
    ranges = pictures(scans.values(), (*lidar, 2), np.float32, partial(scan, size=lidar))
    placed = tuple(fixes.values())
    tracks = (
        _track(
            "image", t_view, pictures(views.values(), (*ROWS["image"].size, 3), np.uint8, read), ROWS["image"].scale
        ),
        _track("camera", t_view, cameras),
        _track("lidar", t_scan, ranges),
        _track("gps", t_fix, whole(partial(_gps, placed), (len(placed), 4), np.float32)),
        _track("imu", t_fix, whole(partial(_imu, placed), (len(placed), 9), np.float32)),
    )
    task = ALL_TASKS["depth-estimation"]
    # A row for each picture: without one of its own, a picture would be given the map of an older one.
    truth: Any = Lazy((len(views), task.size), np.float32, partial(_truth_rows, tuple(maps.get(i) for i in views)))
    labels = {task.name: Values(t_view, truth)}
    return Recording(drive.name.removesuffix("_sync"), NAME, drive.name.removesuffix("_sync"), tracks, labels)


def _track(modality: str, t: NDArray[np.int64], values: Any, scale: float = 1.0) -> Track:
    return Track("car", Stream(modality, modality, "car"), t, values, scale)


def _stream(folder: Path, kind: str) -> tuple[dict[int, Path], NDArray[np.int64]]:
    """Files of a sensor by number, and their times. Raises DataError where there is none, or more than times."""
    files, t = _numbered(folder / "data", kind), timestamps(folder / "timestamps.txt")
    if not files:
        raise DataError(f"{folder / 'data'}: no .{kind} files; get the drive from {SOURCE} ({LICENCE})")
    if max(files) >= len(t):
        raise DataError(f"{folder / 'timestamps.txt'}: {len(t)} times, but file number {max(files)}; get it again")
    blank = [number for number in files if t[number] == UNKNOWN]
    if blank:
        path = folder / "timestamps.txt"
        raise DataError(f"{path}: line {blank[0] + 1} is blank, but {files[blank[0]].name} is there; get it again")
    return files, t[list(files)]


def timestamps(path: Path) -> NDArray[np.int64]:
    """(n,) ns of lines such as `2011-09-26 13:02:25.964389445`, UNKNOWN of a blank one before the last that is none.

    Raises DataError for a file missing or damaged.
    """
    lines = _text(path).rstrip().split("\n")
    try:
        return np.array([line.strip().replace(" ", "T") for line in lines], "datetime64[ns]").astype(np.int64)
    except ValueError as error:
        raise DataError(f"{path}: holds something that is no time ({error}); get it again") from None


def calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    """Numbers by name of a calibration file, lines such as `P_rect_02: 7.21e+02 ...`; lines of text are left out."""
    found = {}
    for line in _text(path).splitlines():
        name, _, numbers = line.partition(":")
        try:
            found[name.strip()] = np.array(numbers.split(), np.float64)
        except ValueError:
            continue
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise DataError(f"{path}: is not there; get the set from {SOURCE} ({LICENCE})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); get it again") from None


@kept(2)
def _pinhole(path: Path) -> Intrinsics:
    numbers = calibration(path)
    matrix, size = numbers.get("P_rect_02", np.empty(0)), numbers.get("S_rect_02", np.empty(0))
    if matrix.size != 12 or size.size != 2:
        raise DataError(f"{path}: has no P_rect_02 of 12 and S_rect_02 of 2 numbers; get it again")
    return Intrinsics((matrix[0], matrix[5]), (matrix[2], matrix[6]), (int(size[1]), int(size[0])))


def _camera_rows(pinhole: Any, files: tuple[Path, ...], index: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.stack([pinhole().picture(files[i]) for i in index])


def scan(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, 2) range image of a laser scan. Raises DataError for a file that is missing or cut short."""
    return range_image(points(path), size)


def points(path: Path) -> NDArray[np.float32]:
    """(n, 4) x forward, y left, z up (m) and reflectance 0..1. Raises DataError for a file missing or cut short."""
    try:
        numbers = np.fromfile(path, "<f4")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); is the set complete?") from None
    if not len(numbers) or len(numbers) % 4 or path.stat().st_size % 16:
        raise DataError(f"{path}: {path.stat().st_size} bytes are no points of four numbers; get it again")
    return numbers.reshape(-1, 4)


def _truth_rows(maps: tuple[Path | None, ...], index: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, cells) m of these pictures, NaN of one that has no map."""
    rows = np.full((len(index), ALL_TASKS["depth-estimation"].size), np.nan, np.float32)
    for row, path in zip(rows, (maps[i] for i in index), strict=True):
        if path is not None:
            row[:] = depth_truth(path)
    return rows


def depth_truth(path: Path) -> NDArray[np.float32]:
    """(cells,) m, the median of what is known in each cell. Raises DataError for no picture of 16 bits."""
    levels_HW = read_picture(path, None)
    if levels_HW.ndim != 2 or levels_HW.dtype not in (np.uint16, np.int32):
        raise DataError(f"{path}: is no depth map of one channel and 16 bits; get it again")
    row, column = np.nonzero(levels_HW)
    return depth_map(np.stack([column, row], -1), levels_HW[row, column] * DEPTH_STEP, levels_HW.shape)


@kept(2)
def _oxts(files: tuple[Path, ...]) -> NDArray[np.float64]:
    """(n, 30)."""
    rows = []
    for path in files:
        try:
            row = np.array(_text(path).split(), np.float64)
        except ValueError:
            row = np.empty(0)
        if row.size != OXTS:
            raise DataError(f"{path}: is no line of {OXTS} numbers; get it again")
        rows.append(row)
    return np.stack(rows)


def _gps(files: tuple[Path, ...]) -> NDArray[np.float32]:
    oxts = _oxts(files)
    speed = np.hypot(*oxts[:, NORTH].T)
    return np.concatenate([local_plane(*oxts[:, LAT].T), speed[:, None]], -1).astype(np.float32)


def _imu(files: tuple[Path, ...]) -> NDArray[np.float32]:
    oxts = _oxts(files)
    roll, pitch, yaw = oxts[:, ROLL].T
    turned = axis_angle(attitude(yaw, pitch, roll))
    return np.concatenate([oxts[:, ACCELERATION], oxts[:, RATE], turned], -1).astype(np.float32)
