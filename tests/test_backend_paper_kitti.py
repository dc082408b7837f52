"""KITTI in its publishers' layout, written small by hand and read back exactly."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backend.data.camera import Intrinsics, depth_map
from backend.data.inspect import inspect
from backend.data.paper import kitti
from backend.data.recording import sequence
from backend.tasks.depth import COLUMNS, ROWS
from broker.errors import DataError
from edge.clock import SECOND
from edge.rangeimage import range_image
from edge.simulator.geometry import attitude, axis_angle
from tests.paper_sets import grey, of

CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_rect_02: 1.280000e+02 9.600000e+01
R_rect_02: 1 0 0 0 1 0 0 0 1
P_rect_02: 7.000000e+01 0 6.300000e+01 4.5e+01 0 8.000000e+01 4.700000e+01 -0.3 0 0 1 0.005
"""


def stamps(count, start="2011-09-26T13:02:25.000000089"):
    t = np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(100_000_007, "ns")
    return t.astype(np.int64), "".join(f"{str(one).replace('T', ' ')}\n" for one in t)


def write_drive(root, number, count=20, maps=range(5, 15), split="train"):
    name = f"2011_09_26_drive_{number:04d}_sync"
    drive = root / "2011_09_26" / name
    (root / "2011_09_26").mkdir(parents=True, exist_ok=True)
    (root / "2011_09_26" / "calib_cam_to_cam.txt").write_text(CALIBRATION)
    for sensor in ("image_02", "oxts", "velodyne_points"):
        (drive / sensor / "data").mkdir(parents=True)
        (drive / sensor / "timestamps.txt").write_text(stamps(count)[1])
    rng = np.random.default_rng(number)
    clouds = []
    for i in range(count):
        grey(drive / "image_02" / "data" / f"{i:010d}.png", 10 * i)
        clouds.append(rng.normal(0, 10, (500, 4)).astype(np.float32))
        clouds[-1].tofile(drive / "velodyne_points" / "data" / f"{i:010d}.bin")
        numbers = np.zeros(30)
        numbers[:6] = 49.0 + 1e-5 * i, 8.4 + 2e-5 * i, 110.0 + 0.1 * i, 0.02, -0.01, 1.5
        numbers[6:11] = 3.0, 4.0, 5.0, 0, 0
        numbers[11:14], numbers[17:20] = (0.1 * i, 0.2, 9.8), (0.01, 0.02, 0.3)
        (drive / "oxts" / "data" / f"{i:010d}.txt").write_text(" ".join(map(str, numbers)) + "\n")
    (drive / "velodyne_points" / "data" / f"{3:010d}.bin").unlink(
        missing_ok=True
    )  # as in some of the publishers' drives
    folder = root / split / name / "proj_depth" / "groundtruth" / "image_02"
    for i in maps:
        folder.mkdir(parents=True, exist_ok=True)
        levels = np.zeros((96, 128), np.uint16)
        levels[40:44, 60:64] = 256 * i
        levels[95, 127] = 65_535
        Image.fromarray(levels).save(folder / f"{i:010d}.png")
    return drive, clouds


def test_kitti(tmp_path):
    root = tmp_path / "kitti"
    drive, clouds = write_drive(root, 1)
    write_drive(root, 2, split="data_depth_annotated/val")
    write_drive(root, 9, maps=())
    found = kitti.recordings(tmp_path)
    assert [r.person for r in found] == ["2011_09_26_drive_0001", "2011_09_26_drive_0002"]
    assert [name.split("/")[-1] for name in found.left_out] == ["2011_09_26_drive_0009_sync: no depth maps"]
    first, t = found[0], stamps(20)[0]
    assert [track.stream.modality for track in first.tracks] == list(kitti.MODALITIES)
    image, camera, lidar = (of(first, name) for name in ("image", "camera", "lidar"))
    assert np.array_equal(image.t, t)
    assert np.array_equal(lidar.t, np.delete(t, 3))
    assert (image.values.shape, image.values.dtype, image.scale) == ((20, 64, 64, 3), np.uint8, 1 / 255)
    assert np.array_equal(image.values[7], np.full((64, 64, 3), 70))
    pinhole = Intrinsics((70.0, 80.0), (63.0, 47.0), (96, 128))
    assert np.allclose(camera.values[7], pinhole.picture(drive / "image_02" / "data" / f"{7:010d}.png"))
    assert np.allclose(camera.values[7][..., 3], pinhole.rays((48, 96))[..., 0])
    assert np.array_equal(lidar.values[3], range_image(clouds[4], (32, 256)))
    gps, imu = of(first, "gps"), of(first, "imu")
    assert gps.values.shape == (20, 4)
    assert np.allclose(gps.values[0], (0, 0, 0, 5), atol=1e-6)
    east, north = 2e-4 * np.pi / 180 * 6_378_137 * np.cos(np.radians(49)), 1e-4 * np.pi / 180 * 6_378_137
    assert np.allclose(gps.values[10], (east, north, 1.0, 5.0), rtol=0.01)
    assert np.allclose(imu.values[10, :6], (1.0, 0.2, 9.8, 0.01, 0.02, 0.3))
    assert np.allclose(imu.values[10, 6:], axis_angle(attitude(1.5, -0.01, 0.02)), atol=1e-6)
    truth = first.labels["depth-estimation"]
    assert np.array_equal(truth.t, t)
    assert np.isfinite(truth.values[:]).any(1).tolist() == [5 <= i < 15 for i in range(20)]
    grid = truth.values[7].reshape(ROWS, COLUMNS)
    assert grid[10, 15] == 7.0
    assert grid[23, 31] == np.float32(65_535 / 256)
    assert np.isfinite(grid).sum() == 2
    cut = sequence(first)
    assert {series.modality for series in cut.series} == set(kitti.MODALITIES)
    target = cut.targets["depth-estimation"]
    assert np.isfinite(target).any(1).any()


def test_kitti_gives_no_picture_the_depth_map_of_an_older_one(tmp_path):
    """A window shows its newest picture: of one without a map nothing is known, however young the map before it is."""
    write_drive(tmp_path, 1, count=35, maps=range(5, 30))
    (drive,) = kitti.recordings(tmp_path)
    image = of(drive, "image")
    t, cut = image.t, sequence(replace(drive, tracks=(image,)))
    ends = (cut.slot + np.arange(cut.length)) * cut.hop_ns + SECOND
    shown = np.searchsorted(t, ends) - 1
    has_map = (shown >= 5) & (shown < 30)
    assert np.isfinite(cut.targets["depth-estimation"]).any(1).tolist() == has_map.tolist()
    assert 0 < has_map.sum() < len(has_map)
    nearest = np.nanmin(cut.targets["depth-estimation"][has_map], 1)
    assert nearest.tolist() == shown[has_map].tolist()  # the map of a picture says its number


def test_kitti_reads_nothing_until_it_is_used(tmp_path):
    write_drive(tmp_path, 1, count=100, maps=range(100))
    (recording,) = kitti.recordings(tmp_path)
    for path in [*tmp_path.rglob("data/*"), *tmp_path.rglob("image_02/*.png"), *tmp_path.rglob("calib*")]:
        path.write_bytes(b"garbage")
    (again,) = kitti.recordings(tmp_path)
    assert len(again.tracks[0].t) == 100
    for track in recording.tracks:
        with pytest.raises(DataError, match=r"0000000000|calib_cam_to_cam\.txt"):
            track.values[0]
    with pytest.raises(DataError, match=r"groundtruth/image_02/0000000050\.png"):
        truth = recording.labels["depth-estimation"]
        truth.newest(truth.t[50:51] + 1, SECOND)


def test_kitti_reads_a_file_again_that_changed(tmp_path):
    drive, _ = write_drive(tmp_path, 1)
    (recording,) = kitti.recordings(tmp_path)
    gps, numbers = of(recording, "gps"), drive / "oxts" / "data" / f"{4:010d}.txt"
    assert gps.values[4, 3] == 5.0
    numbers.write_text(numbers.read_text().replace(" 3.0 4.0 ", " 30.0 40.0 "))
    assert gps.values[4, 3] == 50.0


def test_kitti_keeps_the_times_of_numbers_after_a_blank_line(tmp_path):
    drive, _ = write_drive(tmp_path, 1)
    lines = stamps(20)[1].splitlines()
    lines[3] = ""  # scan 3 is missing, as in some of the publishers' drives
    for sensor in ("velodyne_points", "image_02"):
        (drive / sensor / "timestamps.txt").write_text("\n".join(lines) + "\n\n")
        if sensor == "velodyne_points":
            (recording,) = kitti.recordings(tmp_path)
            assert np.array_equal(of(recording, "lidar").t, np.delete(stamps(20)[0], 3))
    with pytest.raises(
        DataError, match=r"image_02/timestamps\.txt: line 4 is blank, but 0000000003\.png is there; get"
    ):
        kitti.recordings(tmp_path)


def test_kitti_says_what_is_wrong(tmp_path):
    drive, _ = write_drive(tmp_path, 1)
    (recording,) = kitti.recordings(tmp_path)
    scan = drive / "velodyne_points" / "data" / f"{0:010d}.bin"
    scan.write_bytes(scan.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"0000000000\.bin: 7997 bytes are no points"):
        of(recording, "lidar").values[0]
    numbers = drive / "oxts" / "data" / f"{4:010d}.txt"
    numbers.write_text(numbers.read_text().rsplit(" ", 3)[0])
    with pytest.raises(DataError, match=r"0000000004\.txt: is no line of 30 numbers"):
        of(recording, "imu").values[:]
    times = drive / "image_02" / "timestamps.txt"
    times.write_text(stamps(12)[1])
    with pytest.raises(DataError, match=r"timestamps\.txt: 12 times, but file number 19"):
        kitti.recordings(tmp_path)
    times.write_text("2011-09-26 25:99:00\n")
    with pytest.raises(DataError, match=r"timestamps\.txt: holds something that is no time"):
        kitti.recordings(tmp_path)
    times.write_text(stamps(20)[1])
    (drive / "oxts" / "timestamps.txt").unlink()
    with pytest.raises(
        DataError, match=r"oxts/timestamps\.txt: is not there; get the set from https://www\.cvlibs\.net"
    ):
        kitti.recordings(tmp_path)
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no train.*proj_depth.*CC BY-NC-SA"):
        kitti.recordings(tmp_path)


def test_kitti_on_a_real_picture_scan_and_calibration(tmp_path, data_dir):
    here = data_dir / "kitti_samples"
    numbers = kitti.calibration(here / "object_000000_calib.txt")
    assert numbers["P2"].shape == (12,)
    assert numbers["Tr_velo_to_cam"].shape == (12,)
    with Image.open(here / "object_000000_image_2.png") as opened:
        picture = opened.copy()
    drive, _ = write_drive(tmp_path, 1, count=1, maps=())
    picture.save(drive / "image_02" / "data" / f"{0:010d}.png")
    cloud = np.load(here / "object_000000_velodyne.npz")["points"]
    cloud.tofile(drive / "velodyne_points" / "data" / f"{0:010d}.bin")
    matrix = " ".join(map(str, numbers["P2"]))
    (drive.parent / "calib_cam_to_cam.txt").write_text(
        f"S_rect_02: {picture.width} {picture.height}\nP_rect_02: {matrix}\n"
    )
    turn, level = numbers["Tr_velo_to_cam"].reshape(3, 4), numbers["R0_rect"].reshape(3, 3)
    seen = (cloud[:, :3] @ turn[:, :3].T + turn[:, 3]) @ level.T
    seen = seen[seen[:, 2] > 1]
    pixel, depth = Intrinsics(
        (numbers["P2"][0], numbers["P2"][5]), (numbers["P2"][2], numbers["P2"][6]), (1, 1)
    ).project(seen)
    place = np.rint(pixel).astype(int)
    inside = ((place >= 0) & (place < (picture.width, picture.height))).all(1)
    levels = np.zeros((picture.height, picture.width), np.uint16)
    order = np.argsort(-depth[inside])
    levels[place[inside][order, 1], place[inside][order, 0]] = np.rint(depth[inside][order] * 256)
    folder = tmp_path / "val" / drive.name / "proj_depth" / "groundtruth" / "image_02"
    folder.mkdir(parents=True)
    Image.fromarray(levels).save(folder / f"{0:010d}.png")
    (drive / "velodyne_points" / "timestamps.txt").write_text(stamps(1)[1])
    (recording,) = kitti.recordings(tmp_path)
    grid = recording.labels["depth-estimation"].values[0].reshape(ROWS, COLUMNS)
    row, column = np.nonzero(levels)
    wanted = depth_map(np.stack([column, row], -1), levels[row, column] / 256, levels.shape)
    assert np.array_equal(grid.ravel(), wanted, equal_nan=True)
    assert np.isfinite(grid[12:]).mean() > 0.8
    assert np.nanmedian(grid[22]) < np.nanmedian(grid[14])  # the road is nearer at the bottom
    ranges = of(recording, "lidar").values[0]
    assert (ranges[..., 0] > 0).mean() > 0.3
    assert 0 < ranges[..., 1].max() <= 1
    image = of(recording, "image").values[0]
    assert abs(image.mean() - np.asarray(picture).mean()) < 1


def test_kitti_is_whole_although_its_inertial_sensor_is_slow(tmp_path):
    write_drive(tmp_path, 1, maps=range(20))
    report = inspect("kitti", kitti.recordings(tmp_path))
    assert not [line for line in report.problems if line.startswith("imu")], report.problems
    assert [line.split(", in")[0] for line in report.notes] == ["imu: rates of 10 Hz, useful are 25..200 Hz"]
