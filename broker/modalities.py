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

    `axes` names the axes of a window after which `channels` follow: ("time",) means (T, C). `units` has one entry
    per channel. `dtype` and `scale` are how raw values travel: physical value = integer x scale.
    `rate` is the grid that windows are resampled to, in Hz; `min_rate`..`max_rate` the band of useful sources.
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
    window_s: float = 1.0
    hop_s: float = 0.5


def _table(*rows: Modality) -> dict[str, Modality]:
    return {row.name: row for row in rows}


_IMU = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
_IMU_UNITS = ("m/s2",) * 3 + ("rad/s",) * 3
_RGB, _GREY = ("red", "green", "blue"), ("1",) * 3
_JOINTS = tuple(f"joint{j}_{axis}" for j in range(24) for axis in ("x", "y", "z"))
_FRAME, _CLIP, _T = ("height", "width"), ("time", "height", "width"), ("time",)

MODALITIES: dict[str, Modality] = _table(
    Modality("imu", _IMU, _IMU_UNITS, _T, "f4", 1.0, 50, 25, 200),
    Modality("gps", ("latitude", "longitude", "altitude"), ("deg", "deg", "m"), _T, "f4", 1.0, 5, 1, 10),
    Modality("gaze", ("x", "y"), ("1", "1"), _T, "f4", 1.0, 60, 30, 120),
    Modality("pose", _JOINTS, ("m",) * 72, _T, "f4", 1.0, 30, 10, 60),
    Modality("audio", ("pressure",), ("full scale",), _T, "i2", 1 / 32768, 16000, 1000, 48000),
    Modality("image", _RGB, _GREY, _FRAME, "u1", 1 / 255, 2, 0.1, 60),
    Modality("video", _RGB, _GREY, _CLIP, "u1", 1 / 255, 8, 1, 60),
    Modality("depth", ("range",), ("m",), _FRAME, "u2", 1e-3, 2, 0.1, 60),
    Modality("thermal", ("temperature",), ("K",), _FRAME, "u2", 1e-2, 2, 0.1, 30),
    Modality("capacitance", ("capacitance",), ("1",), _FRAME, "u2", 1 / 65535, 20, 1, 120),
    Modality("camera", _RGB, _GREY, _FRAME, "u1", 1 / 255, 2, 0.1, 60),
    Modality("lidar", ("x", "y", "z", "intensity"), ("m", "m", "m", "1"), ("point",), "f4", 1.0, 2, 1, 20),
)
