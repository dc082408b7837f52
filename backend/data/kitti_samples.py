"""kitti_samples: what a car sees with a camera and a LiDAR (Geiger and others; CC BY-NC-SA 3.0).

Single moments of the object benchmark have a picture, a scan and their calibration: the scan, projected into the
picture (P2 x R0 x Tr), is the truth of depth, where it has points. Stretches of the odometry benchmark's sequence 00
have scans alone, ten a second. Each is one recording; the scans become range images by the device's own code.
Boxes and poses are not read: no task of ours is about them.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.camera import SIZE, Intrinsics, depth_map
from backend.data.files import ORIGIN, Lazy, Origin, check_shape, one_a_slot, picture_size, pictures, read_npz
from backend.data.kept import kept
from backend.data.recording import Recording, Recordings, Track, Values
from broker.errors import DataError
from broker.modalities import MODALITIES
from edge.clock import SECOND
from edge.rangeimage import range_image
from edge.windows import Stream

SET = Origin(
    "kitti_samples",
    ("object_*_velodyne.npz", "seq*_velodyne.npz"),
    "https://www.cvlibs.net/datasets/kitti",
    "CC BY-NC-SA 3.0",
)
CALIBRATION = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
LIDAR = MODALITIES["lidar"].size
SCAN_S = 0.1
"""From one scan of a stretch to the next."""


def recordings(root: Path) -> Recordings:
    """One recording per moment, with camera, lidar and depth as truth, or per stretch of scans, with lidar alone.

    `root` is the set's folder or its parent. Raises DataError where nothing is found, or a file cannot be read.
    """
    found = SET.files(root)
    moments = [_moment(path) for path in found if path.name.startswith("object_")]
    return Recordings([*moments, *_stretches([path for path in found if path.name.startswith("seq")])])


def _moment(path: Path) -> Recording:
    name = path.name.removesuffix("_velodyne.npz")
    picture = path.with_name(f"{name}_image_2.png")
    matrices = calibration(path.with_name(f"{name}_calib.txt"))
    p2 = matrices["P2"]
    camera = Intrinsics((p2[0, 0], p2[1, 1]), (p2[0, 2], p2[1, 2]), picture_size(picture))
    t = one_a_slot(1)
    tracks = (
        Track(
            "camera", Stream("camera", "camera", "car"), t, pictures([picture], (*SIZE, 5), np.float32, camera.picture)
        ),
        Track("lidar", Stream("lidar", "lidar", "car"), t, _scans([path])),
    )
    truth = depth_map(*project(_points(path), matrices), camera.size)
    return Recording(name, SET.name, name, tracks, {"depth-estimation": Values(t, truth[None])}, untimed=True)


def _stretches(paths: list[Path]) -> list[Recording]:
    """Scans of a sequence that follow one another without a hole, by the times that they carry."""
    scans = sorted((path.name.split("_")[0], float(read_npz(path, "time_s")[0]), path) for path in paths)
    starts = [0] if scans else []
    starts += [i for i, (a, b) in enumerate(pairwise(scans), 1) if a[0] != b[0] or b[1] - a[1] > 1.5 * SCAN_S]
    found = []
    for first, last in pairwise([*starts, len(scans)]):
        seconds = np.array([time_s - scans[first][1] for _, time_s, _ in scans[first:last]])
        files = [path for _, _, path in scans[first:last]]
        t = ORIGIN + np.rint(seconds * SECOND).astype(np.int64)
        name = files[0].name.removesuffix("_velodyne.npz")
        track = Track("lidar", Stream("lidar", "lidar", "car"), t, _scans(files))
        found.append(Recording(name, SET.name, scans[first][0], (track,), {}))
    return found


def calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    """The matrices P2, R0_rect and Tr_velo_to_cam of a calibration file."""
    try:
        rows = dict(line.split(":", 1) for line in path.read_text("ascii").splitlines() if ":" in line)
        return {name: np.array(rows[name].split(), np.float64).reshape(shape) for name, shape in CALIBRATION.items()}
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as KITTI's calibration ({reason}); get it again") from None


def project(
    points_P4: NDArray[np.floating], matrices: dict[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels (P, 2) of camera 2 and depth (P,) m, of a scan's points (x forward, y left, z up) before the camera."""
    at_P4 = np.concatenate([points_P4[:, :3], np.ones((len(points_P4), 1))], 1)
    seen_P3 = at_P4 @ (matrices["R0_rect"] @ matrices["Tr_velo_to_cam"]).T
    seen_P3 = seen_P3[seen_P3[:, 2] > 0.1]
    image_P3 = np.concatenate([seen_P3, np.ones((len(seen_P3), 1))], 1) @ matrices["P2"].T
    return image_P3[:, :2] / image_P3[:, 2:], image_P3[:, 2]


def _scans(paths: list[Path]) -> Lazy:
    return pictures(paths, (*LIDAR, 2), np.float32, _scan)


@kept(64)
def _scan(path: Path) -> NDArray[np.float32]:
    return range_image(_points(path), LIDAR)


def _points(path: Path) -> NDArray[np.float32]:
    (points,) = read_npz(path, "points")
    check_shape(path, "points", points, 4)
    return np.asarray(points, np.float32)
