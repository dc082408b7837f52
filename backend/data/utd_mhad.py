"""utd_mhad: 27 actions of 8 people, seen by a Kinect and felt by one inertial sensor (Chen, Jafari, Kehtarnavaz, ICIP
2015; for research, with citation).

Two layouts are read: the publishers' `Inertial/a1_s1_t1_inertial.mat`, `Skeleton/...` and `Depth/...`, and one pair
of npz files per person (`s1_imu_skeleton.npz`, `s1_depth.npz`), in which clips are concatenated and depth has every
second pixel of every second row.

What the files do not say, measured on the people of this set's training half:

- The two sensors are called 50 Hz and 30 Hz, but a clip's inertial samples outlast its frames by 1.4 s. The turn rate
  of the limb in both agrees (mean correlation 0.77, against 0.23 at 30 Hz) when a clip's frames are spread evenly over
  its inertial samples, which is about 19 Hz. The angles through which the gyroscope turns say that its 50 Hz are right.
- Depth is two frames (0.1 s) later than the skeleton that is filed with it: of the points of a moving hand 69 % lie on
  the depth surface two frames later, 28 % on that of the same number, in the publishers' own files, too. The gyroscope
  agrees with the skeleton. So a depth frame has the time of the skeleton that it shows, and the first two are left out.
- Skeleton and depth are mirror images: of a person who faces the Kinect the left hand is on the picture's left. Both
  are turned back, so that left is left and axes are those of a camera: x right, y down, z forward.

Depth is also cut out as a film of the person alone, which shows movement where a window of depth is one frame: a square
of the frame's resolution about where the person stood at first, red for how near each point is to the camera (a metre
is full scale), green for the person's outline. Nothing of it comes from a colour camera.

A clip carries no time and starts at `ORIGIN`. The inertial sensor sits on the right wrist, for the actions of the
legs (22 to 27) on the right thigh. Frames stay on disk (unpacked 0.3 GB a person); the rest of a clip is 60 KB.

T is a number of inertial samples, F of frames.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Lazy, Origin, at_rate, check_rows, check_shape, frames, natural, read_npz, throughout
from backend.data.kept import kept
from backend.data.recording import Recording, Recordings, Track, Values
from backend.tasks import TASKS
from backend.tasks.activity import ACTIONS
from backend.tasks.reconstruction import BODY, HAND
from broker.errors import DataError
from broker.modalities import JOINTS
from edge.windows import Stream

log = logging.getLogger(__name__)

SET = Origin(
    "utd_mhad",
    ("s*_imu_skeleton.npz", "Inertial/*_inertial.mat"),
    "https://personal.utdallas.edu/~kehtar/UTD-MHAD.html",
    "for research, with citation",
)
LABELS = tuple(ACTIONS)
"""Names of the actions 1 to 27."""
LEGS = range(22, 28)
"""Actions for which the inertial sensor is on the thigh."""
IMU_RATE = 50.0
SIZE = (120, 160)
"""Rows and columns of a depth frame."""
SQUARE = 112
"""Rows and columns of the film, about 2.2 m at the distance at which people stand."""
LATE = 2
"""Frames by which depth is behind the skeleton."""
RELIEF_MM = 1000.0
"""Depth of the relief from black to full red; the person's middle is half of it."""
GRAVITY = 9.80665
CLIP = re.compile(r"a(?P<action>\d+)_s(?P<person>\d+)_t(?P<trial>\d+)_inertial\.mat")

KINECT = {
    "pelvis": "hip_center", "left_hip": "l_hip", "right_hip": "r_hip", "spine1": "spine", "left_knee": "l_knee",
    "right_knee": "r_knee", "left_ankle": "l_ankle", "right_ankle": "r_ankle", "left_foot": "l_foot",
    "right_foot": "r_foot", "neck": "shoulder_center", "head": "head", "left_shoulder": "l_shoulder",
    "right_shoulder": "r_shoulder", "left_elbow": "l_elbow", "right_elbow": "r_elbow", "left_wrist": "l_wrist",
    "right_wrist": "r_wrist", "left_hand": "l_hand", "right_hand": "r_hand",
}  # fmt: skip
"""Which joint of the Kinect is ours. Its spine is 6 cm above the hip centre, as the lowest of our three is."""
BETWEEN = {
    "spine2": ("spine", "shoulder_center", 1 / 3),
    "spine3": ("spine", "shoulder_center", 2 / 3),
    "left_collar": ("shoulder_center", "l_shoulder", 1 / 2),
    "right_collar": ("shoulder_center", "r_shoulder", 1 / 2),
}
"""Joints that the Kinect lacks: a share of the way from one of its joints to another."""


def _mixture() -> NDArray[np.float32]:
    mixed = np.zeros((len(JOINTS), len(BODY)), np.float32)
    for joint, kinect in KINECT.items():
        mixed[JOINTS.index(joint), BODY.index(kinect)] = 1.0
    for joint, (start, end, share) in BETWEEN.items():
        mixed[JOINTS.index(joint), BODY.index(start)] = 1.0 - share
        mixed[JOINTS.index(joint), BODY.index(end)] = share
    return mixed


MIXTURE = _mixture()
"""(24, 20) weights that make our joints of the Kinect's."""
KNOWN = np.array([joint in KINECT for joint in JOINTS])
"""(24,) whether a joint is the Kinect's own."""


def recordings(root: Path) -> Recordings:
    """One recording per clip: imu of "watch", pose, depth and video (the film) of "kinect".

    `root` is the set's folder or its parent.

    A clip without skeleton or depth file has fewer streams and truths, and is named as skipped in part. Raises
    DataError where nothing is found, or a file cannot be read.
    """
    folder = SET.find(root)
    packed = sorted(folder.glob("s*_imu_skeleton.npz"), key=natural)
    skipped: list[str] = []
    clips = (clip for path in packed for clip in _packed(path, skipped)) if packed else _published(folder, skipped)
    found = Recordings(clips, skipped)
    if found.skipped:
        log.warning("%s: %d files are not there, the first %s", folder, len(skipped), skipped[0])
    return found


def _packed(path: Path, skipped: list[str]) -> Iterator[Recording]:
    """The clips of one person's npz files."""
    names = ("subject", "action", "trial", "n_imu", "n_skel", "imu", "skeleton")
    person, action, trial, n_imu, n_skel, imu, skeleton = read_npz(path, *names)
    check_rows(path, len(action), trial=trial, n_imu=n_imu, n_skel=n_skel)
    check_rows(path, int(n_imu.sum()), imu=imu)
    check_rows(path, int(n_skel.sum()), skeleton=skeleton)
    depth_path: Path | None = path.with_name(path.name.replace("_imu_skeleton", "_depth"))
    if depth_path is not None and depth_path.is_file():
        (n_depth,) = read_npz(depth_path, "n_depth")
        if not np.array_equal(n_depth, n_skel):
            raise DataError(f"{depth_path}: n_depth is not n_skel of {path.name}; get both again")
    else:
        skipped.append(str(depth_path))
        depth_path = None
    sample, frame = np.cumsum(n_imu) - n_imu, np.cumsum(n_skel) - n_skel
    for i in range(len(action)):
        first, last = int(frame[i]), int(frame[i] + n_skel[i])
        depth = None if depth_path is None else _in_time(frames(depth_path, "depth", first, last), depth_path)
        name = (int(action[i]), f"s{int(person)}", int(trial[i]))
        yield _recording(path, name, imu[sample[i] : sample[i] + n_imu[i]], skeleton[first:last], depth)


def _published(folder: Path, skipped: list[str]) -> Iterator[Recording]:
    """The clips of the publishers' MAT files, by person, action and trial."""
    named = [CLIP.fullmatch(path.name) for path in sorted((folder / "Inertial").glob("*.mat"))]
    keys = sorted((int(m["person"]), int(m["action"]), int(m["trial"])) for m in named if m)
    for person, action, trial in keys:
        clip = f"a{action}_s{person}_t{trial}"
        paths = [folder / f"{kind}/{clip}_{kind.lower()}.mat" for kind in ("Inertial", "Skeleton", "Depth")]
        skipped += [str(path) for path in paths if not path.is_file()]
        imu = _mat(paths[0], "d_iner")
        skeleton = _mat(paths[1], "d_skel").transpose(2, 0, 1) if paths[1].is_file() else None
        depth = None
        if skeleton is not None and paths[2].is_file():
            depth = Lazy((len(skeleton), *SIZE, 1), np.uint16, partial(_mat_rows, paths[2], len(skeleton)))
            depth = _in_time(depth, paths[2])
        yield _recording(paths[0], (action, f"s{person}", trial), imu, skeleton, depth)


def _mat(path: Path, name: str) -> NDArray[Any]:
    """An array of a MAT file."""
    import scipy.io

    try:
        found = scipy.io.loadmat(path, variable_names=[name])
    except (OSError, ValueError, TypeError, NotImplementedError, scipy.io.matlab.MatReadError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as MAT ({reason}); remove it or get it again") from None
    if (
        name not in found
        or not np.issubdtype(found[name].dtype, np.number)
        or found[name].ndim != 2 + (name != "d_iner")
    ):
        raise DataError(f"{path}: has no array {name} of utd_mhad; remove it or get it again")
    return np.asarray(found[name])


@kept(2)
def _mat_depth(path: Path) -> NDArray[np.uint16]:
    """(F, 120, 160) mm, every second pixel of every second row."""
    return np.ascontiguousarray(_mat(path, "d_depth")[::2, ::2].transpose(2, 0, 1).astype(np.uint16))


def _mat_rows(path: Path, count: int, index: NDArray[np.int64]) -> NDArray[np.uint16]:
    depth = _mat_depth(path)
    if depth.shape != (count, *SIZE):
        raise DataError(f"{path}: depth is {depth.shape}, not {(count, *SIZE)} as the skeleton has it; get it again")
    return depth[index][..., None]


def _in_time(depth: Lazy, path: Path) -> Lazy:
    """Depth frames with left and right exchanged, each in the row of the skeleton that it shows."""
    check_shape(path, "depth", depth, *SIZE, 1)
    return Lazy((max(len(depth) - LATE, 0), *depth.shape[1:]), depth.dtype, partial(_rows_in_time, depth))


def _rows_in_time(depth: Lazy, index: NDArray[np.int64]) -> NDArray[Any]:
    return depth[index + LATE][:, :, ::-1]


def _film(depth: Lazy) -> Lazy:
    """(F, SQUARE, SQUARE, 3) of 0..255 from depth frames in mm."""
    return Lazy((len(depth), SQUARE, SQUARE, 3), np.uint8, partial(_film_rows, depth))


def _film_rows(depth: Lazy, index: NDArray[np.int64]) -> NDArray[np.uint8]:
    first_HW = depth[0][..., 0]
    rows, columns = np.nonzero(first_HW) if first_HW.any() else np.indices(SIZE).reshape(2, -1)
    top, left = (int(np.median(at)) - SQUARE // 2 for at in (rows, columns))
    down_S, across_S = top + np.arange(SQUARE), left + np.arange(SQUARE)
    inside_SS = ((down_S >= 0) & (down_S < SIZE[0]))[:, None] & (across_S >= 0) & (across_S < SIZE[1])
    at = np.ix_(down_S.clip(0, SIZE[0] - 1), across_S.clip(0, SIZE[1] - 1))
    range_NSS = depth[index][..., 0][:, at[0], at[1]] * inside_SS
    nearer_NSS = (np.median(first_HW[rows, columns]) - range_NSS) / RELIEF_MM + 0.5
    there_NSS = range_NSS > 0
    film_NSS3 = np.stack([nearer_NSS.clip(0.0, 1.0) * there_NSS, there_NSS, np.zeros_like(there_NSS)], -1)
    return np.rint(255.0 * film_NSS3).astype(np.uint8)


def _recording(
    path: Path, name: tuple[int, str, int], imu_T6: NDArray[Any], skeleton_FJ3: NDArray[Any] | None, depth: Lazy | None
) -> Recording:
    action, person, trial = name
    clip = f"a{action}_{person}_t{trial}"
    if not 1 <= action <= len(LABELS) or not len(imu_T6):
        raise DataError(f"{path}: {clip} has action {action} and {len(imu_T6)} samples; get it again")
    check_shape(path, "inertial samples", imu_T6, 6)
    t = at_rate(len(imu_T6), IMU_RATE)
    units = np.array([GRAVITY] * 3 + [np.pi / 180] * 3)
    placement = "thigh" if action in LEGS else "wrist"
    tracks = [Track("watch", Stream("imu", "imu", placement), t, (imu_T6 * units).astype(np.float32))]
    labels: dict[str, Any] = {"activity-recognition": throughout(t, _index(action))}
    if skeleton_FJ3 is not None and len(skeleton_FJ3):
        check_shape(path, "skeleton", skeleton_FJ3, len(BODY), 3)
        t_F = frame_times(len(skeleton_FJ3), len(imu_T6))
        body_FJ3 = (skeleton_FJ3 * (-1, -1, 1)).astype(np.float32)
        joints_FJ3 = MIXTURE @ body_FJ3
        tracks.append(Track("kinect", Stream("pose", "pose", "room"), t_F, joints_FJ3.reshape(len(t_F), -1)))
        labels["pose-estimation"] = Values(t_F, _about_pelvis(joints_FJ3))
        unknown = np.full((len(t_F), len(HAND) * 3), np.nan, np.float32)
        labels["3d-reconstruction"] = Values(t_F, np.concatenate([unknown, body_FJ3.reshape(len(t_F), -1)], 1))
        if depth is not None and len(depth):
            t = t_F[: len(depth)]
            tracks.append(Track("kinect", Stream("depth", "depth", "room"), t, depth, 1e-3))
            tracks.append(Track("kinect", Stream("film", "video", "room", hop_s=1.0), t, _film(depth), 1 / 255))
    return Recording(clip, SET.name, person, tuple(tracks), labels)


def _index(action: int) -> int:
    return TASKS["activity-recognition"].outputs.index(LABELS[action - 1])


def frame_times(frames: int, samples: int) -> NDArray[np.int64]:
    """(frames,) ns: frames spread evenly over the time that the clip's inertial samples fill."""
    return at_rate(frames, IMU_RATE * frames / samples)


def _about_pelvis(joints_FJ3: NDArray[np.float32]) -> NDArray[np.float32]:
    """(F, 72) m, relative to the pelvis; NaN for joints that the Kinect does not have."""
    about = joints_FJ3 - joints_FJ3[:, :1]
    about[:, ~KNOWN] = np.nan
    return about.reshape(len(about), -1)
