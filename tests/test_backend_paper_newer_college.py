"""Newer College in its publishers' layout, written small by hand and read back exactly."""

import numpy as np
import pytest

from backend.data.paper import newer_college
from broker.errors import DataError
from edge.clock import SECOND
from edge.rangeimage import range_image
from tests.paper_sets import of

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("t", "<u4"), ("ring", "u1")])
HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z intensity t ring
SIZE 4 4 4 4 4 1
TYPE F F F F U U
COUNT 1 1 1 1 1 1
WIDTH {n}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {n}
DATA {kind}
"""


def write_cloud(path, cloud, kind="binary"):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = HEADER.format(n=len(cloud), kind=kind).encode()
    if kind == "ascii":
        lines = "\n".join(" ".join(repr(float(cell)) for cell in row) for row in cloud.tolist())
        path.write_bytes(header + lines.encode() + b"\n")
    else:
        path.write_bytes(header + cloud.tobytes())


def a_cloud(seed=0, n=800):
    rng = np.random.default_rng(seed)
    cloud = np.zeros(n, POINT)
    for axis in ("x", "y", "z"):
        cloud[axis] = rng.normal(0, 8, n)
    cloud["intensity"] = rng.uniform(0, 2000, n)
    cloud[5] = 0  # no return
    cloud["x"][6] = np.nan
    return cloud


def test_newer_college(tmp_path):
    top = tmp_path / "newer_college" / "2020-ouster-os1-64-realsense"
    clouds = [a_cloud(i) for i in range(3)]
    for i, kind in enumerate(("binary", "ascii", "binary")):
        name = f"cloud_{1_583_836_591 + i}_{182_590_976 - i}.pcd"
        write_cloud(top / "01_short_experiment" / "raw_format" / "ouster_scan" / name, clouds[i], kind)
    write_cloud(top / "02_long_experiment" / "raw_format" / "ouster_scan" / "cloud_1583836592_5.pcd", clouds[0])
    write_cloud(top / "02_long_experiment" / "raw_format" / "ouster_scan" / "cloud_1583836592_5 (1).pcd", clouds[0])
    found = newer_college.recordings(tmp_path)
    assert [r.person for r in found] == ["01_short_experiment", "02_long_experiment"]
    assert len(found.skipped) == 1
    lidar = of(found[0], "lidar")
    assert lidar.t.tolist() == [(1_583_836_591 + i) * SECOND + 182_590_976 - i for i in range(3)]
    assert of(found[1], "lidar").t.tolist() == [1_583_836_592 * SECOND + 5]
    kept = np.delete(clouds[1], [5, 6])
    points = np.stack([kept[name] for name in ("x", "y", "z", "intensity")], -1)
    points[:, 3] = np.clip(points[:, 3] / 1024, 0, 1)
    path = next((top / "01_short_experiment").rglob("cloud_1583836592*.pcd"))
    assert np.array_equal(newer_college.points(path), points)
    assert np.array_equal(lidar.values[1], range_image(points, (32, 256), (22.5, -22.5)))
    assert (lidar.values[0][..., 0] > 0).sum() > 200
    poses = top / "01_short_experiment" / "ground_truth" / "registered_poses.csv"
    poses.parent.mkdir()
    poses.write_text(
        "#sec,nsec,x,y,z,qx,qy,qz,qw\n1583836591,182590976,1.5,-2,0.25,0,0,0,1\n1583836591,282590976,2,2,2,0,0,1,0\n"
    )
    t, values = newer_college.poses(poses)
    assert t.tolist() == [1_583_836_591_182_590_976, 1_583_836_591_282_590_976]
    assert values[0].tolist() == [1.5, -2, 0.25, 0, 0, 0, 1]


def test_newer_college_says_what_is_wrong(tmp_path):
    folder = tmp_path / "01_short_experiment" / "raw_format" / "ouster_scan"
    path = folder / "cloud_100_5.pcd"
    write_cloud(path, a_cloud())
    (recording,) = newer_college.recordings(tmp_path)
    whole = path.read_bytes()
    for content, message in (
        (b"garbage", "is no point cloud of PCL"),
        (whole[:-30], r"is no whole point cloud with x, y, z, intensity"),
        (whole.replace(b" intensity ", b" bright ", 1), "is no whole point cloud"),
        (whole.replace(b"DATA binary", b"DATA binary_compressed"), "pcl_convert_pcd_ascii_binary"),
        (whole.replace(b"POINTS 800", b"POINTS many"), "is no whole point cloud"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"cloud_100_5\.pcd: .*{message}"):
            recording.tracks[0].values[0]
    path.rename(folder / "scan.pcd")
    with pytest.raises(DataError, match="no scans cloud_SECONDS_NANOSECONDS"):
        newer_college.recordings(tmp_path)
    poses = tmp_path / "registered_poses.csv"
    with pytest.raises(DataError, match=r"registered_poses\.csv: cannot be opened .* get the set from"):
        newer_college.poses(poses)
    poses.write_text("#sec,nsec,x,y,z,qx,qy,qz,qw\n1,2,3\n")
    with pytest.raises(DataError, match=r"registered_poses\.csv: is no table of sec, nsec"):
        newer_college.poses(poses)
