"""comma2k19_sample and vehicle_gps_imu: where vehicles went and what their inertial sensors felt, without labels.

comma2k19 (Schafer and others 2018; MIT): a minute of highway, satellite fixes ten times a second, motion at 104 Hz
(x forward, y right, z down), both in the clock of the device; the fixes' own UTC sets it. vehicle_gps_imu (P. Balzer;
CC BY-SA 2.0): two drives of a car, 50 Hz, and three rides with a phone, a fix a second.

Fixes become metres east, north and up of the first one, in the plane that touches the ellipsoid there: where people
were on earth is not kept. Acceleration is what a scale would feel (9.8 m/s2 upwards at rest). The loggers of
vehicle_gps_imu tell its opposite, as the car's own speed and turn rate prove and as Apple documents; it is turned.

n is a number of samples, F of fixes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.data.files import Array, Origin, check_rows, read_npz, read_table
from backend.data.recording import Recording, Recordings, Track
from broker.errors import DataError
from edge.clock import SECOND
from edge.plane import local_plane
from edge.windows import Stream

COMMA = Origin("comma2k19_sample", ("segment*.npz",), "https://github.com/commaai/comma2k19", "MIT")
VEHICLES = Origin("vehicle_gps_imu", ("20??-??-??-*.parquet",), "https://github.com/balzer82/Kalman", "CC BY-SA 2.0")
GRAVITY = 9.80665
KMH = 1 / 3.6


def comma2k19(root: Path) -> Recordings:
    """One recording per segment: gps and imu of "phone" in a car. `root` is the set's folder or its parent.

    Raises DataError where nothing is found, or a file cannot be read.
    """
    return Recordings(_segment(path) for path in COMMA.files(root))


def vehicles(root: Path) -> Recordings:
    """One recording per drive: gps and imu of "car" or "phone". `root` is the set's folder or its parent.

    Raises DataError where nothing is found, or a file cannot be read.
    """
    return Recordings(_drive(path) for path in VEHICLES.files(root))


def _recording(
    path: Path, dataset: str, device: str, fixes: tuple[Array, Array], motion: tuple[Array, Array]
) -> Recording:
    """From times (F,) s UTC with latitude, longitude, altitude, speed (F, 4), and times (n,) with motion (n, 6)."""
    (fix_s, fix_F4), (motion_s, motion_n6) = fixes, motion
    if not len(fix_s) or not len(motion_s):
        raise DataError(f"{path}: has {len(fix_s)} fixes and {len(motion_s)} samples of motion; get it again")
    place = np.concatenate([local_plane(*fix_F4.T[:3]), fix_F4[:, 3:]], 1).astype(np.float32)
    tracks = (
        Track(device, Stream("gps", "gps", "car"), _ns(fix_s), place),
        Track(device, Stream("imu", "imu", "car"), _ns(motion_s), motion_n6.astype(np.float32)),
    )
    return Recording(path.stem, dataset, path.stem, tracks, {})


def _ns(seconds: Array) -> NDArray[np.int64]:
    """Times since 1970 to the microsecond, which is what doubles hold."""
    return np.rint(seconds * 1e6).astype(np.int64) * (SECOND // 1_000_000)


def _segment(path: Path) -> Recording:
    gnss, acc, gyro = "GNSS__live_gnss_ublox", "IMU__accelerometer", "IMU__gyro"
    names = [f"{sensor}__{part}" for sensor in (gnss, acc, gyro) for part in ("t", "value")]
    fix_s, fix, acc_s, acc_n3, gyro_s, gyro_n3 = read_npz(path, *names)
    for name, t, value, width in ((gnss, fix_s, fix, 6), (acc, acc_s, acc_n3, 3), (gyro, gyro_s, gyro_n3, 3)):
        check_rows(path, len(t), **{name: value})
        whole = np.isfinite(t).all() and np.isfinite(value).all()
        if value.ndim != 2 or value.shape[1] != width or not len(t) or not whole:
            raise DataError(f"{path}: {name} is {value.shape} or not all numbers, not (n, {width}); get it again")
    ahead = float(np.median(fix[:, 3] / 1000 - fix_s))  # latitude, longitude, speed, UTC ms, altitude, bearing
    turn_n3 = np.stack([np.interp(acc_s, gyro_s, one) for one in gyro_n3.T], -1)
    fixes = fix_s + ahead, fix[:, [0, 1, 4, 2]]
    return _recording(path, COMMA.name, "phone", fixes, (acc_s + ahead, np.concatenate([acc_n3, turn_n3], 1)))


def _drive(path: Path) -> Recording:
    return _car(path) if path.name.endswith("-Data.parquet") else _phone(path)


def _car(path: Path) -> Recording:
    """A logger's rows: a fix is repeated until the next one comes, and the first row may lack one.

    Rows are timed by the fixes between which they stand, in UTC: the logger's own clock is off by 2 s after 23 in one
    of the files.
    """
    acc, rates, place = ("ax", "ay", "az"), ("rollrate", "pitchrate", "yawrate"), ("latitude", "longitude", "altitude")
    rows = read_table(path, ("date", "time", *acc, *rates, *place, "speed"))
    new = np.flatnonzero(np.concatenate([[True], np.diff(rows["time"]) != 0]))
    fix_s, row = _utc(path, rows["date"][new], rows["time"][new]), np.arange(len(rows["time"]))
    if len(new) < 2 or not (np.diff(fix_s) > 0).all():
        raise DataError(f"{path}: times of its {len(new)} fixes do not go on; get it again")
    row_s = np.interp(row, new, fix_s) + np.maximum(row - new[-1], 0) * np.median(np.diff(fix_s) / np.diff(new))
    motion = np.stack([-rows[c] for c in acc] + [np.radians(rows[c]) for c in rates], -1)
    felt = np.isfinite(motion).all(1)
    fix = np.stack([*(rows[c][new] for c in place), rows["speed"][new] * KMH], -1)
    known = np.isfinite(fix).all(1) & (fix[:, 2] != 0)
    return _recording(path, VEHICLES.name, "car", (fix_s[known], fix[known]), (row_s[felt], motion[felt]))


def _utc(path: Path, date: Array, time: Array) -> NDArray[np.float64]:
    """Seconds since 1970 of a receiver's date (day, month, year: 260314) and time (hour, minute, second, ms)."""
    try:
        days = [np.datetime64(f"20{d % 100:02d}-{d // 100 % 100:02d}-{d // 10_000:02d}", "D") for d in date]
    except ValueError:
        raise DataError(f"{path}: a date is no day, month and year like 260314; get it again") from None
    of_day = time // 10_000_000 * 3600 + time // 100_000 % 100 * 60 + time % 100_000 / 1000
    return np.asarray(np.array(days).astype(np.int64) * 86_400 + of_day, np.float64)


def _phone(path: Path) -> Recording:
    """An iPhone's rows: the accelerometer's clock counts from its start, and each sensor has a clock of its own."""
    acc = [f"accelerometerAcceleration{axis}" for axis in "XYZ"]
    gyro = [f"gyroRotation{axis}" for axis in "XYZ"]
    place = [f"location{name}" for name in ("Latitude", "Longitude", "Altitude", "Speed")]
    clocks = ("accelerometerTimestamp_sinceReboot", "gyroTimestamp_sinceReboot")
    wall = ("locationTimestamp_since1970", "locationHeadingTimestamp_since1970")
    rows = read_table(path, (*acc, *gyro, *place, *clocks, *wall))
    acc_s, gyro_s = (rows[name] for name in clocks)
    # A row is written within milliseconds of the heading that it carries, so the two clocks meet there.
    ahead = rows["locationHeadingTimestamp_since1970"] - acc_s
    turn_n3, acc_n3 = (np.stack([rows[c] for c in names], -1) for names in (gyro, acc))
    felt, turned = np.isfinite(acc_s) & np.isfinite(acc_n3).all(1), np.isfinite(gyro_s) & np.isfinite(turn_n3).all(1)
    if not np.isfinite(ahead).any() or not felt.any() or not turned.any():
        raise DataError(f"{path}: has no heading, acceleration or turn rate with a time; get it again")
    turn_n3 = np.stack([np.interp(acc_s[felt], gyro_s[turned], one) for one in turn_n3[turned].T], -1)
    motion = np.concatenate([-GRAVITY * acc_n3[felt], turn_n3], 1)
    fix = np.stack([rows[c] for c in place], -1)
    fix_s = rows["locationTimestamp_since1970"]
    good = np.isfinite(fix_s) & np.isfinite(fix).all(1) & (fix[:, 3] >= 0)  # a speed of -1 is unknown
    return _recording(
        path, VEHICLES.name, "phone", (fix_s[good], fix[good]), (acc_s[felt] + np.nanmedian(ahead), motion)
    )
