"""The 12 modalities as one table: what a window of each holds, in which units, how fast and how long.

The table is the contract between a device and a backend; which of the rows have an encoder is the backend's
business. Ranges follow section 3 of the design and Appendix A.1 of the paper.
"""

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["f4", "f2", "i2", "u2", "u1", "i1"]


@dataclass(frozen=True, slots=True)
class Modality:
    """One kind of sensor.

    `axes` names the axes of a window after which `channels` follow: ("time",) means (T, C), ("height", "width") means
    (H, W, C). `units` has one entry per channel. A series may bring more channels than those named, up to
    `most_channels`; `size` is the grid (height, width) of frames unless a stream has its own. `dtype` and `scale` are
    how raw values travel: physical value = integer x scale. `rate` is the grid in time that windows are resampled to,
    in Hz; `min_rate`..`max_rate` the band of useful sources.
    """

    name: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    axes: tuple[str, ...]
    dtype: Dtype
    scale: float
    rate: float
    min_rate: float
    max_rate: float
    size: tuple[int, int] = (0, 0)
    most_channels: int = 0
    window_s: float = 1.0
    hop_s: float = 0.5

    def takes(self, channels: int) -> bool:
        """Whether a window may have this many channels."""
        return len(self.channels) <= channels <= max(len(self.channels), self.most_channels)


def _table(*rows: Modality) -> dict[str, Modality]:
    return {row.name: row for row in rows}


_IMU = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
_IMU_UNITS = ("m/s2",) * 3 + ("rad/s",) * 3
_RGB, _GREY = ("red", "green", "blue"), ("1",) * 3
JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""The 24 joints of a body, in the order in which a pose names them."""
_POSE = tuple(f"{joint}_{axis}" for joint in JOINTS for axis in ("x", "y", "z"))
_FRAME, _CLIP, _T = ("height", "width"), ("time", "height", "width"), ("time",)

MODALITIES: dict[str, Modality] = _table(
    Modality("imu", _IMU, _IMU_UNITS, _T, "f4", 1.0, 50, 25, 200, most_channels=9),
    # Local tangent plane from the first fix on: float32 degrees are 0.4 m coarse, and nobody's home leaves the device.
    Modality("gps", ("east", "north", "up", "speed"), ("m", "m", "m", "m/s"), _T, "f4", 1.0, 5, 1, 10, most_channels=6),
    Modality("gaze", ("x", "y"), ("1", "1"), _T, "f4", 1.0, 60, 5, 120, most_channels=28),
    Modality("pose", _POSE, ("m",) * 72, _T, "f4", 1.0, 30, 10, 60),
    Modality("audio", ("pressure",), ("full scale",), _T, "i2", 1 / 32768, 16000, 1000, 48000),
    Modality("image", _RGB, _GREY, _FRAME, "u1", 1 / 255, 2, 0.1, 60, (64, 64)),
    Modality("video", _RGB, _GREY, _CLIP, "u1", 1 / 255, 8, 1, 60, (32, 32)),
    Modality("depth", ("range",), ("m",), _FRAME, "u2", 1e-3, 2, 0.1, 60, (48, 64)),
    Modality("thermal", ("temperature",), ("K",), _FRAME, "u2", 1e-2, 2, 0.1, 30, (24, 32)),
    Modality("capacitance", ("capacitance",), ("1",), _FRAME, "i2", 1 / 32768, 2, 0.1, 120, (32, 32)),
    # Intrinsics travel as the ray through each pixel: (column - centre) / focal length, and the same for rows.
    Modality("camera", (*_RGB, "ray_x", "ray_y"), ("1",) * 5, _FRAME, "f2", 1.0, 2, 0.1, 60, (48, 96)),
    # Points become a range image on the device: rows are rings from top to bottom, columns azimuths; 0 is no return.
    Modality("lidar", ("range", "intensity"), ("m", "1"), _FRAME, "f2", 1.0, 2, 0.1, 20, (32, 256)),
)

_MFCC = tuple(f"mfcc_{what}{i}" for what in ("mean", "deviation") for i in range(1, 13))
_XYZ = ("x", "y", "z")
_WORN = (
    *(f"acc_{what}_{axis}" for what in ("mean", "deviation", "max") for axis in _XYZ), "acc_xy", "acc_xz", "acc_yz",
    "acc_mean_length", "acc_deviation_length", "acc_area", "acc_mean_step",
)  # fmt: skip
_ROOM = (*(f"{what}{i}" for what in ("temperature", "light", "loudness") for i in range(1, 5)), "co2", "pir1", "pir2")
FEATURES = Modality(
    "features", (*_MFCC, *_WORN, *_ROOM), ("1",) * 55, _FRAME, "f4", 1.0, 2, 0.01, 2, (1, 1), 128, window_s=0.5
)  # fmt: skip
"""No thirteenth sense, and never on the wire: rows of numbers that somebody else has computed of sensors.

A row is a frame of one cell, and the newest of a slot is its window: numbers are neither resampled nor shared between
windows. Each has a channel of its own, brought to about one by whoever reads it; exactly 0 is absent. New ones come
last.
"""
READABLE: dict[str, Modality] = MODALITIES | _table(FEATURES)
"""What recordings may hold."""
