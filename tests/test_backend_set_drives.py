"""comma2k19_sample and vehicle_gps_imu: small copies, and the recordings at hand."""

import numpy as np
import pytest

from edge.clock import SECOND
from edge.plane import local_plane
from tests.small_sets import read, written


def test_the_local_plane_is_in_metres():
    """A degree of latitude is 110.574 km at the equator and 111.694 km at a pole; of longitude 111.320 km (WGS 84)."""
    up = np.zeros(2)
    assert local_plane(np.array([0, 0.01]), np.array([179.995, -179.995]), up)[1] == pytest.approx(
        [1113.2, 1105.74, 0], abs=0.1
    )
    assert local_plane(np.array([89.99, 90.0]), np.zeros(2), np.array([5.0, 8]))[1] == pytest.approx(
        [0, 1116.94, 3], abs=0.1
    )


def test_drives_are_in_our_units_and_in_utc(tmp_path):
    written(tmp_path, "comma2k19_sample"), written(tmp_path, "vehicle_gps_imu")
    (recording,) = read(tmp_path, "comma2k19_sample")
    gps, imu = recording.tracks
    assert gps.t[0] == imu.t[0] == 1_001_000 * SECOND
    assert gps.values[-1] == pytest.approx([0, 1.9 * 1e-5 * 110_990, 0, 10], abs=1e-2)
    assert imu.values[100] == pytest.approx([0, 0, -9.8, 1001, -1001, 0])
    car, phone = read(tmp_path, "vehicle_gps_imu")
    gps, imu = car.tracks
    assert imu.values[0] == pytest.approx([0, 0, 9.8, 0, 0, np.pi / 2])
    assert imu.t[0] == 1_395_835_200 * SECOND and np.diff(imu.t) == pytest.approx(SECOND / 50, abs=1000)
    assert len(gps.t) == 19 and gps.values[0].tolist() == [0, 0, 0, 10]  # the first row has no altitude yet
    assert np.diff(gps.values[:, 1]) == pytest.approx(0.111, abs=2e-3)
    gps, imu = phone.tracks
    assert imu.values[5] == pytest.approx([0, 0, 9.80665, 0.5, 0.5, 0.5]) and imu.t[0] == 1_470_000_000 * SECOND
    assert gps.t.tolist() == [1_470_000_001 * SECOND] and gps.values[0, 3] == 2  # a speed of -1 is unknown


def test_drives_on_record(data_dir):
    """Speed is what the place changes by, and what gravity pulls at is 9.8 m/s2."""
    for recording in (*read(data_dir, "comma2k19_sample"), *read(data_dir, "vehicle_gps_imu")):
        gps, imu = recording.tracks
        assert np.linalg.norm(imu.values[:, :3].mean(0)) == pytest.approx(9.8, abs=2.5)
        span = max(1, round(len(gps.t) / ((gps.t[-1] - gps.t[0]) / SECOND)))  # fixes in a second
        passed = (gps.t[span:] - gps.t[:-span]) / SECOND
        moved = np.linalg.norm(gps.values[span:, :2] - gps.values[:-span, :2], axis=1) / passed
        said = (gps.values[span:, 3] + gps.values[:-span, 3]) / 2
        if (said > 3).sum() > 20:
            assert np.median(moved[said > 3] / said[said > 3]) == pytest.approx(1, abs=0.1)
