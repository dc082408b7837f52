"""DIP-IMU: ten people in a suit of 17 inertial sensors, and how their bodies stood (Huang, Kaufmann, Aksan, Black,
Hilliges, Pons-Moll, SIGGRAPH Asia 2018).

Layout, as public readers of the download "DIP IMU and others" agree on it: `DIP_IMU/s_01/01.pkl` and so on, pickled by
Python 2, read restrictedly (`pickles.py`), each a dict of `imu_ori` (n, 17, 3, 3), `imu_acc` (n, 17, 3) and `gt`
(n, 72) at 60 Hz; the order of the sensors is that of SENSORS. Orientations turn a bone's axes into those of the world
(x left, y up, z forward when the person was calibrated), accelerations are the world's, m/s2, without gravity, and `gt`
is SMPL's pose: 24 joints by axis times angle, rad, the first against the world. Missing samples are NaN.

An imu stream is what the sensor itself feels: acceleration with gravity and turn rate in its bone's axes, and its
orientation as axis times angle, in the axes of a camera that the person faced at first (x right, y down, z away), as
other sets have them.

Poses become positions (m, relative to the pelvis, in those camera axes) by forward kinematics over the house's neutral
skeleton of 1.70 m: SMPL's body may not be shipped, and the set has no shapes. The paper also has activities and
pictures of this set; neither is in the download, whose file numbers nothing public explains.

Files start at `ORIGIN`; of each only the shapes are read until it is used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Origin
from backend.data.kept import kept
from backend.data.paper import pickles
from backend.data.paper.layout import CAMERA_AXES, turn_rates
from backend.data.recording import Recording, Recordings, Track, Values
from backend.data.whole import regular, whole
from broker.errors import DataError
from broker.modalities import JOINTS
from edge.simulator.geometry import axis_angle, rotation
from edge.simulator.skeleton import NEUTRAL, PARENTS
from edge.windows import Stream

NAME, LICENCE = "dip_imu", "for research, non-commercial, after registration"
SOURCE = "https://dip.is.tue.mpg.de (DIP IMU and others)"
TASKS: dict[str, tuple[str, ...]] = {"pose-estimation": ()}
MODALITIES = ("imu",)
SET = Origin(
    NAME,
    tuple(f"{folder}s_*/*.pkl" for folder in ("", "DIP_IMU/", "DIP_IMU/DIP_IMU/", "DIP_IMU_and_Others/DIP_IMU/")),
    SOURCE,
    LICENCE,
)

SENSORS = (
    "head", "sternum", "pelvis", "left-shoulder", "right-shoulder", "left-upper-arm", "right-upper-arm",
    "left-forearm", "right-forearm", "left-thigh", "right-thigh", "left-shank", "right-shank", "left-hand",
    "right-hand", "left-foot", "right-foot",
)  # fmt: skip
"""Where the 17 sensors sit, in their order."""
PARTS = {"imu_ori": (len(SENSORS), 3, 3), "imu_acc": (len(SENSORS), 3), "gt": (len(JOINTS) * 3,)}
RATE = 60.0
MISSING = 0.2
"""Share of the numbers that may be missing. The publishers mark missing samples and give no share; each costs the turn
rates beside it, too. Where more are missing, the files are rather damaged."""
GRAVITY = 9.80665
STATURE_M = 1.70
BONES = STATURE_M * NEUTRAL[:, [1, 2, 0]]
"""(24, 3) m from each joint's parent to it in the neutral pose, in SMPL's axes: x left, y up, z forward."""


def recordings(root: Path) -> Recordings:
    """One recording per file, 17 imu streams of "suit"; `root` is the set's folder or its parent.

    Raises DataError where nothing is found, or a file is cut short or lacks a part.
    """
    return Recordings(_recording(path) for path in sorted(SET.files(root)))


def _recording(path: Path) -> Recording:
    n, person = len(_parts(path, pickles.shapes(path))["gt"]), path.parent.name.replace("_", "")
    t = regular(n, RATE)
    tracks = tuple(
        Track("suit", Stream(f"imu-{place}", "imu", place), t, whole(partial(_felt, path, i), (n, 9), np.float32))
        for i, place in enumerate(SENSORS)
    )
    truth = whole(partial(_joints, path), (n, len(JOINTS) * 3), np.float32)
    return Recording(f"{person}-{path.stem}", NAME, person, tracks, {"pose-estimation": Values(t, truth)})


def _parts(path: Path, found: Any) -> dict[str, NDArray[Any]]:
    """The arrays of a file, all of n rows. Raises DataError where one is missing or of another shape."""
    parts = found if isinstance(found, dict) else {}
    rows = {len(part) for part in (parts.get(name) for name in PARTS) if isinstance(part, np.ndarray) and part.ndim}
    for name, cell in PARTS.items():
        part = parts.get(name)
        if not isinstance(part, np.ndarray) or part.shape[1:] != cell or part.dtype.kind != "f" or len(rows) != 1:
            raise DataError(f"{path}: has no {name} of n x {' x '.join(map(str, cell))} numbers; get it again")
    return parts


@kept(2)
def _read(path: Path) -> dict[str, NDArray[Any]]:
    return {name: _parts(path, pickles.load(path))[name] for name in PARTS}


def _felt(path: Path, sensor: int) -> NDArray[np.float32]:
    """(n, 9) m/s2, rad/s, rad of one sensor."""
    parts = _read(path)
    turn_N33 = parts["imu_ori"][:, sensor].astype(np.float64)
    # A sensor at rest feels what holds it up.
    world_N3 = parts["imu_acc"][:, sensor] + np.array([0.0, GRAVITY, 0.0])
    felt_N3 = (turn_N33.swapaxes(1, 2) @ world_N3[..., None])[..., 0]
    seen_N3 = axis_angle(CAMERA_AXES @ turn_N33)
    return np.concatenate([felt_N3, turn_rates(turn_N33, RATE), seen_N3], -1).astype(np.float32)


def _joints(path: Path) -> NDArray[np.float32]:
    return positions(_read(path)["gt"]).reshape(-1, len(JOINTS) * 3)


def positions(pose_N72: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, 24, 3) m, relative to the pelvis in a camera's axes, of SMPL's pose: axis times angle of each joint, rad."""
    local_NJ33 = rotation(pose_N72.reshape(-1, len(JOINTS), 3).astype(np.float64))
    turn_NJ33, place_NJ3 = local_NJ33.copy(), np.zeros((len(pose_N72), len(JOINTS), 3))
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            turn_NJ33[:, joint] = turn_NJ33[:, parent] @ local_NJ33[:, joint]
            place_NJ3[:, joint] = place_NJ3[:, parent] + turn_NJ33[:, parent] @ BONES[joint]
    return (place_NJ3 @ CAMERA_AXES.T).astype(np.float32)
